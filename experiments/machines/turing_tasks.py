"""Train a Neural Turing machine beside an LSTM on its five tasks: bits a sequence. Graves, Wayne & Danihelka 2014.

Copy, repeat copy, associative recall, dynamic n-grams and priority sort, made from a key. Every net is tested on
sequences like those of training, and on ones as long as the longest of training, --beyond times over. The heads of
a machine and its memory are drawn step by step while it reads one test sequence. By default sequences are short and
memories small; the presets have the sizes of the paper, one task each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from data.synthetic.batches import MakeBatch
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.health import check_health
from experiments.machines.bits import METRICS, Sizes, TaskName, bit_task, held_out, longer, parameter_count
from experiments.machines.heads import is_machine, watched
from experiments.machines.turing_report import draw_nets, format_table
from experiments.network import NetworkConfig, check_cells
from experiments.restore import best_params
from experiments.run_task import Trained, run_tasks
from experiments.task import Task
from experiments.task_report import training_record
from experiments.training import CELL_HELP, Flat
from models import Cell
from models.layers.layer import check_causal
from train import LoopConfig, OptimizerConfig, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config:
    """The tasks of the Neural Turing machine."""

    preset: str | None = None
    """One task at the sizes of the paper; options given explicitly override it."""
    tasks: tuple[TaskName, ...] = ("copy", "associative_recall")
    """Tasks, one after another: what they ask is in docs/machines.md."""
    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The cells side by side: {CELL_HELP}.")] = (
        "ntm(slots=16, width=10)",
        "lstm",
    )
    sizes: Sizes = field(default_factory=lambda: Sizes(copied=6, items=3, bits=50))
    beyond: tuple[int, ...] = (1, 2)
    """Multiples of the longest training sequence to test on."""
    hidden_size: int = 64
    """Units of each cell, H; of a machine those of its controller."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    batch_size: int = 32
    """Sequences per step, B."""
    seed: int = 0
    """Seed of parameters and training data; held-out data don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1500, eval_every=150, save_every=150)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, clip_at=50.0)
    )

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_seed(self.seed)
        check_cells(self.cells)
        check_distinct(tasks=self.tasks, beyond=self.beyond)
        for factor in self.beyond:
            check_at_least(1, beyond=factor)

    def check(self) -> None:
        """Raises ValueError for nets that can't be built or trained in the free memory, before the run's folder is
        made."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for cell in self.cells:
            check_health(self.layer(cell), self.loop)
        for task in self.nets().values():
            check_task_fits(task, self)

    def layer(self, cell: str) -> Cell:
        """Builds the layer of a cell. Raises UserError for one that reads what it is asked for."""
        if self.network.direction != "forward":
            raise UserError("--direction", f"{self.network.direction} reads the bits asked for: take forward")
        layer = self.network.build(cell, self.hidden_size)
        check_causal(layer)
        if layer.couples_batch:
            raise UserError("--cells", f"{cell} couples the sequences of a batch: take another")
        return layer

    def nets(self) -> dict[str, Task]:
        """Builds the task of training each cell on each task, by the name of the net."""
        return {
            self.name(task, cell): bit_task(task, self.sizes, self.layer(cell), self.network.way)
            for task in self.tasks
            for cell in self.cells
        }

    def name(self, task: TaskName, cell: str) -> str:
        """Names a net in the progress line and in folders."""
        return f"{task}, {self.network.describe(cell)}"

    def longer(self, task: TaskName) -> dict[str, list[tuple[int, MakeBatch]]]:
        """Returns what is tested beyond the sequences of training, by what is longer, with its sizes."""
        found: dict[str, list[tuple[int, MakeBatch]]] = {}
        for factor in sorted(self.beyond):
            for what, sized in longer(task, self.sizes, factor).items():
                found.setdefault(what, []).append(sized)
        return found


def preset(task: TaskName, cell: str, steps: int, **options: Any) -> Config:
    """Returns the setting of one task, evaluated and saved 40 times."""
    every = steps // 40
    return Config(
        preset=task,
        tasks=(task,),
        cells=(cell, "lstm"),
        sizes=Sizes(),
        hidden_size=100,
        loop=LoopConfig(steps=steps, eval_every=every, save_every=every, log_every=50),
        optimizer=OptimizerConfig(
            learning_rate=options.pop("rate", 3e-3), clip_at=50.0, schedule="cosine", end_fraction=0.05
        ),
        **options,
    )


# The memory for copy has a row for each vector of its longest test, 120.
PRESETS: Mapping[str, Config] = {
    "copy": preset("copy", "ntm(slots=128)", 6000, beyond=(1, 2, 6)),
    "repeat_copy": preset("repeat_copy", "ntm(slots=32)", 8000),
    "associative_recall": preset(
        "associative_recall", "ntm(controller=dense(100), slots=64)", 20000, beyond=(1, 2, 3)
    ),
    "dynamic_ngrams": preset("dynamic_ngrams", "ntm(slots=64)", 4000, beyond=(1, 2)),
    "priority_sort": preset(
        "priority_sort", "ntm(controller=dense(100), slots=64, writes=2, reads=2)", 15000, beyond=(1,)
    ),
}


def main(config: Config, run: Run) -> str:
    """Trains net by net, tests and draws; returns the table."""
    nets = config.nets()
    task_of: dict[str, TaskName] = {
        config.name(task, cell): task for task in config.tasks for cell in config.cells
    }

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        task = nets[name]
        params = best_params(task, config, folder, run.fingerprint)
        record, test = training_record(folder), evaluate(task.objective.evaluate, params, task.data.test())
        found: dict[str, Any] = {f"test|{metric}": value for metric, value in test.items()}
        found |= {"parameters": parameter_count(params), "steps": trained.steps}
        found |= {"curve|step": record["validation/bits/step"], "curve|bits": record["validation/bits"]}
        for what, sized in config.longer(task_of[name]).items():
            tested = [evaluate(task.objective.evaluate, params, [held_out(make)]) for _, make in sized]
            found[f"longer|{what}|size"] = [size for size, _ in sized]
            found |= {f"longer|{what}|{metric}": [each[metric] for each in tested] for metric in METRICS}
        if task.recurrent is not None and is_machine(task.recurrent.cell):
            _, make = next(iter(longer(task_of[name], config.sizes, 1).values()))
            found |= watched(task.model, params, held_out(make, 1))
        return found

    found: dict[str, Mapping[str, np.ndarray]] = {}
    for name, arrays in run_tasks(run, nets, config, measured):
        found[name] = arrays
        print(f"{name}: {METRICS['bits'].label} {float(arrays['test|bits']):.3f}", flush=True)
    baselines = {task_of[name]: net.baselines for name, net in nets.items()}
    run.write_arrays("nets", {f"{name}|{key}": v for name, net in found.items() for key, v in net.items()})
    run.write_arrays(
        "baselines",
        {
            f"{task}|{name}": np.array(values["bits"])
            for task, of_task in baselines.items()
            for name, values in of_task.items()
        },
    )
    table = format_table(found, baselines, task_of)
    run.write_table(table)
    draw(run.folder)
    results = {n: {k: v.tolist() for k, v in net.items() if v.size < 20} for n, net in found.items()}
    run.finish({"nets": results, "baselines": baselines})
    return table


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return draw_nets(folder, read_arrays(folder, "nets"), read_arrays(folder, "baselines"))
