"""Measure the gradients of a Neural Turing machine that copies, beside an LSTM's, before and after training.

The gradient of an answer by the input of every earlier step, by lag; the exponent λ₁ of a sequence; and row by row
what a step of the machine does to its memory: the gain of ∂M_t/∂M_{t−1} is 1 in rows that are left alone, 0 in
erased ones. Jacobians are computed whole, so sequences are short and memories small.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.files import arrays_with_prefix, read_arrays, stored_config
from experiments.harness.run import Run
from experiments.machines.bits import Sizes, bit_task, held_out, longer
from experiments.machines.gradients_measure import measured
from experiments.machines.heads import watched
from experiments.run_task import Trained, run_tasks
from experiments.task import Task
from experiments.training import Flat
from models import LSTM, Cell, NeuralTuringMachine
from train import LoopConfig, OptimizerConfig, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share
MACHINE, PLAIN, MOMENTS = "machine", "lstm", ("before", "after")


@dataclass(frozen=True)
class Config:
    """Gradients of a Neural Turing machine."""

    length: int = 6
    """The most vectors to copy in training, and all that are copied where gradients are measured."""
    slots: int = 16
    """Rows of the memory, N."""
    width: int = 10
    """Numbers in a row, M."""
    hidden_size: int = 64
    """Units of the LSTM, beside the memory and alone."""
    sequences: int = 16
    """Sequences that gradients are averaged over."""
    batch_size: int = 32
    """Sequences per step, B."""
    seed: int = 0
    """Seed of parameters and training data."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1500, eval_every=500, save_every=500)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, clip_at=50.0)
    )

    def __post_init__(self) -> None:
        check_at_least(1, length=self.length, slots=self.slots, width=self.width, sequences=self.sequences)
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_seed(self.seed)

    def check(self) -> None:
        """Raises ValueError for nets that can't be built or trained in the free memory."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for task in self.nets().values():
            check_task_fits(task, self)

    def nets(self) -> dict[str, Task]:
        """Builds the tasks of both nets."""
        cells: dict[str, Cell] = {
            MACHINE: NeuralTuringMachine(self.hidden_size, slots=self.slots, width=self.width),
            PLAIN: LSTM(self.hidden_size),
        }
        return {
            name: bit_task("copy", Sizes(copied=self.length), cell, "auto") for name, cell in cells.items()
        }


def main(config: Config, run: Run) -> str:
    """Trains both nets, measures and draws; returns the table."""
    nets, sizes = config.nets(), Sizes(copied=config.length)
    (_, make), *_ = longer("copy", sizes, 1).values()
    batch = jax.tree.map(jnp.asarray, held_out(make, config.sequences))
    one = jax.tree.map(jnp.asarray, held_out(make, 1))

    def of_net(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        task, found = nets[name], {}
        machine = name == MACHINE
        for moment, params in zip(MOMENTS, (trained.before, trained.after), strict=True):
            test = evaluate(task.objective.evaluate, params, task.data.test())
            found |= {f"{moment}|bits": test["bits"]}
            found |= {f"{moment}|{k}": v for k, v in measured(task.model, params, batch, machine).items()}
        return found | (watched(task.model, trained.after, one) if machine else {})

    found = dict(run_tasks(run, nets, config, of_net))
    run.write_arrays("nets", {f"{name}|{key}": v for name, net in found.items() for key, v in net.items()})
    table = format_table(found, config.length + 1)
    run.write_table(table)
    draw(run.folder)
    run.finish(
        {
            name: {key: float(value) for key, value in net.items() if value.ndim == 0}
            for name, net in found.items()
        }
    )
    return table


def format_table(nets: Mapping[str, Mapping[str, np.ndarray]], lag: int) -> str:
    """Formats a row for each net and moment; `lag` is that of the step at which an answer was stored."""
    lines = [
        f"copy: gradients by lag; what an answer gives back was shown {lag} steps before",
        f"{'':<16}{'bits':>9}{f'lag {lag}':>11}{'other lags':>12}{'times':>8}{'λ₁':>9}",
    ]
    for name, net in nets.items():
        for moment in MOMENTS:
            profile = net[f"{moment}|by_lag"]
            stored, others = profile[lag], np.nanmean(np.delete(profile, lag))
            lines.append(
                f"{f'{name}, {moment}':<16}{float(net[f'{moment}|bits']):>9.3f}{stored:>11.3g}{others:>12.3g}"
                f"{stored / others:>8.2f}{float(net[f'{moment}|exponent']):>9.3f}"
            )
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.attention import Strip, strips_figure
    from analysis.figures.outcomes import outcomes_against
    from analysis.figures.style import save

    arrays, config = read_arrays(folder, "nets"), stored_config(Config, folder)
    panels: dict[str, dict[str, Any]] = {}
    for moment in MOMENTS:
        for name in (MACHINE, PLAIN):
            profile = arrays[f"{name}|{moment}|by_lag"]
            panels.setdefault(f"{moment} training", {})[name] = {
                "x": np.arange(len(profile)),
                "values": profile[:, None],
            }
    lags = outcomes_against(
        panels,
        x_label=f"lag in steps; stored {config.length + 1} steps before",
        y_label="gradient of an answer",
        log="y",
    )
    seen = arrays_with_prefix("watched", arrays_with_prefix(MACHINE, arrays))
    gains = {moment: arrays[f"{MACHINE}|{moment}|gains"] for moment in MOMENTS}
    rows = strips_figure(
        [
            Strip(seen["inputs"], "inputs"),
            Strip(seen["write_weights"][:, 0], "weights of the head that writes, after training", 0, 1),
            *(
                Strip(
                    np.log(values),
                    f"{moment} training: gain of each row; white 1, blue below, red above",
                    -0.2,
                    0.2,
                )
                for moment, values in gains.items()
            ),
        ]
    )
    figures = {"gradient_by_lag": lags, "memory_rows": rows}
    return [path for name, figure in figures.items() for path in save(figure, folder / "figures", name)]
