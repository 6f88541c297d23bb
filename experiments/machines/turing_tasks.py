"""Train a Neural Turing machine beside an LSTM on its five tasks: bits a sequence. Graves, Wayne & Danihelka 2014.

Copy, repeat copy, associative recall, dynamic n-grams and priority sort, made from a key. Every net is tested on
sequences like those of training, and on ones as long as the longest of training, --beyond times over. The heads of
a machine and its memory are drawn step by step while it reads one test sequence. By default sequences are short and
memories small; the presets have the sizes of the paper, one task each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from data.synthetic.batches import MakeBatch
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.machines.bits import METRICS, Sizes, TaskName, bit_task, held_out, longer
from experiments.machines.heads import is_machine, watched
from experiments.machines.systems import SideBySide, outcome, read_nets, train_nets
from experiments.machines.turing_report import draw_nets, format_table
from experiments.run_task import Trained
from experiments.task import Task
from experiments.training import CELL_HELP, Flat
from train import LoopConfig, OptimizerConfig, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(SideBySide):
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
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1500, eval_every=150, save_every=150)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, clip_at=50.0)
    )

    carried: ClassVar[str] = "the bits asked for"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(tasks=self.tasks, beyond=self.beyond)
        for factor in self.beyond:
            check_at_least(1, beyond=factor)

    def check(self) -> None:
        """Raises ValueError for nets that can't be built or trained in the free memory, before the run's folder is
        made."""
        self.check_layers()
        for task in self.nets().values():
            check_task_fits(task, self)

    def nets(self) -> dict[str, Task]:
        """Builds the task of training each cell on each task, by the name of the net."""
        return {
            f"{task}, {system}": bit_task(task, self.sizes, layer, self.network.way)
            for task in self.tasks
            for system, layer in self.layers().items()
        }

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
        f"{task}, {system}": task for task in config.tasks for system in config.layers()
    }

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        task = nets[name]
        params, found = outcome(task, config, trained, folder, run.fingerprint)
        for what, sized in config.longer(task_of[name]).items():
            tested = [evaluate(task.objective.evaluate, params, [held_out(make)]) for _, make in sized]
            found[f"longer|{what}|size"] = [size for size, _ in sized]
            found |= {f"longer|{what}|{metric}": [each[metric] for each in tested] for metric in METRICS}
        if task.recurrent is not None and is_machine(task.recurrent.cell):
            _, make = next(iter(longer(task_of[name], config.sizes, 1).values()))
            found |= watched(task.model, params, held_out(make, 1))
        return found

    found = train_nets(run, nets, config, measured, "bits")
    baselines = {task_of[name]: net.baselines for name, net in nets.items()}
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
    return draw_nets(folder, read_nets(folder), read_arrays(folder, "baselines"))
