"""Compare kinds of gradient clipping over learning rates, on two nets whose gradients explode.

The two nets explode in different ways: tanh units with a recurrent matrix slightly larger than orthogonal,
trained on the temporal order of two symbols (the loss stays bounded, but learning fails), and ReLU units that
begin as the identity, trained on adding (nothing stays bounded). Every kind of clipping starts from the same nets
and sees the same data, at each learning rate with several seeds. By norm: Pascanu, Mikolov & Bengio 2013; by
value: Mikolov 2012; adaptive: Brock, De, Smith & Simonyan 2021.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import tyro

from data import adding, temporal_order
from data.synthetic.batches import MakeBatch
from experiments.cell_spec import parse_cell
from experiments.ensemble import EnsembleConfig, check_ensemble_fits, train_at_rates
from experiments.gradients.clipping_report import (
    QUESTIONS,
    WAYS,
    ProblemName,
    draw,
    format_outcome,
    format_table,
    results,
)
from experiments.harness.checks import (
    check_at_least,
    check_distinct,
    check_positive,
    check_rising,
    check_seed,
)
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.training import CELL_HELP
from models import SequenceClassifier
from train import OptimizerConfig
from train.optimizer import Clip

ORDER_CELL = Annotated[str, tyro.conf.arg(help=f"The cell that tells the temporal order: {CELL_HELP}.")]
ADDING_CELL = Annotated[str, tyro.conf.arg(help=f"The cell that adds: {CELL_HELP}.")]


@dataclass(frozen=True)
class Config:
    """Clipping."""

    problems: tuple[ProblemName, ...] = ("temporal_order", "adding")
    """temporal_order: which of two symbols came first; adding: the sum of two marked numbers."""
    clips: tuple[Clip, ...] = ("none", "value", "block_norm", "global_norm", "adaptive")
    """Kinds of clipping: none, value, block_rms, block_norm, global_norm, adaptive."""
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Learning rates."""
    seeds: int = 5
    """Nets at each learning rate, with consecutive seeds."""
    order_cell: ORDER_CELL = "elman(recurrent_init=orthogonal(gain=1.1))"
    order_length: int = 20
    """Length of its sequences, T."""
    adding_cell: ADDING_CELL = "elman(activation=relu, recurrent_init=identity)"
    adding_length: int = 30
    """Length of its sequences, T."""
    hidden_size: int = 32
    """Units of each cell, H."""
    batch_size: int = 32
    """Sequences per step, B."""
    steps: int = 500
    """Updates of each net."""
    optimizer: Literal["sgd", "momentum", "adam", "rmsprop"] = "momentum"
    """The optimizer that receives the clipped gradient."""
    value_at: float = 0.1
    """Bound of value: on each entry."""
    norm_at: float = 1.0
    """Bound of block_rms, block_norm and global_norm."""
    adaptive_at: float = 0.03
    """Bound of adaptive: the norm of a unit's gradient over that of its weights."""
    seed: int = 0
    """The first seed, of parameters and training data; held-out data don't depend on it."""

    def __post_init__(self) -> None:
        check_at_least(
            1, hidden_size=self.hidden_size, batch_size=self.batch_size, steps=self.steps, seeds=self.seeds
        )
        check_seed(self.seed)
        check_at_least(4, order_length=self.order_length)
        check_at_least(2, adding_length=self.adding_length)
        check_distinct(problems=self.problems, clips=self.clips, rates=self.rates)
        check_rising(rates=self.rates)
        check_positive(value_at=self.value_at, norm_at=self.norm_at, adaptive_at=self.adaptive_at)
        for rate in self.rates:
            check_positive(rates=rate)

    def check(self) -> None:
        """Raises ValueError for a cell that cannot be built or trained in the free memory."""
        for problem in self.problems:
            check_ensemble_fits(self.ensemble(problem, self.clips[0]), self.seeds * len(self.rates))

    def cell(self, problem: ProblemName) -> str:
        """Returns the expression of the cell that meets a problem."""
        return self.order_cell if problem == "temporal_order" else self.adding_cell

    def task(self, problem: ProblemName) -> MakeBatch:
        """Returns the task that the sequences come from."""
        if problem == "temporal_order":
            return partial(temporal_order, length=self.order_length)
        return partial(adding, length=self.adding_length)

    def ensemble(self, problem: ProblemName, clip: Clip) -> EnsembleConfig:
        """Returns what nets are trained on, and how."""
        question = QUESTIONS[problem]
        cell = parse_cell(self.cell(problem), self.hidden_size)
        model = SequenceClassifier(cell, question.classes, method=NetworkConfig().way)
        optimizer = OptimizerConfig(self.optimizer, 1.0, clip=clip, clip_at=self.bound(clip))
        return EnsembleConfig(
            model, question.measure, self.task(problem), optimizer, self.steps, self.batch_size
        )

    def bound(self, clip: Clip) -> float:
        """Returns the bound of a way of clipping, 1 without clipping."""
        return {"value": self.value_at, "adaptive": self.adaptive_at, "none": 1.0}.get(clip, self.norm_at)


def main(config: Config, run: Run) -> str:
    """Trains all nets of a problem and a way of clipping at a time, tabulates and draws; returns the table."""
    for problem in config.problems:
        for clip in config.clips:
            name = f"{problem}_{clip}"
            if run.resumed and (run.folder / "arrays" / f"{name}.npz").exists():
                print(f"{QUESTIONS[problem].title}, {WAYS[clip]}: trained before", flush=True)
                continue
            arrays = train(config, problem, clip, run.devices)
            run.write_arrays(name, arrays)
            print(
                f"{QUESTIONS[problem].title}, clipping: {WAYS[clip]}: {format_outcome(problem, arrays)}",
                flush=True,
            )
    table = format_table(run.folder)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(run.folder))
    return table


def train(config: Config, problem: ProblemName, clip: Clip, devices: int) -> dict[str, np.ndarray]:
    """Trains one way of clipping at all R rates with all N seeds: `held_out [R, N]` (infinite for a net that
    wasn't finite to the end), `clipped [R, N]` the share of its steps, `steps [R, N]`, and `loss`, `norm [R, N,
    steps]`."""
    seeds = config.seed + np.arange(config.seeds)
    trained, held_out = train_at_rates(config.ensemble(problem, clip), seeds, config.rates, devices)
    steps, shape = np.asarray(trained.steps), held_out.shape
    return {
        "held_out": held_out,
        "clipped": (np.asarray(trained.clipped).sum(1) / np.maximum(steps, 1)).reshape(shape),
        "steps": steps.reshape(shape),
        "loss": np.asarray(trained.loss).reshape(*shape, -1),
        "norm": np.asarray(trained.norm).reshape(*shape, -1),
    }
