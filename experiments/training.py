"""What the experiments that train share: options, objectives, training from first to last step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import linen as nn

from data import Batch
from data.batch import Batches
from experiments.network import NetworkConfig
from experiments.run import Run
from models import CELLS, Cell
from models.cell import Array, Params, at_least
from train import (
    LoopConfig,
    OptimizerConfig,
    SumCount,
    Until,
    accuracy,
    create_state,
    cross_entropy,
    fit,
    mean,
    read_metrics,
    square_error,
    stop_on_signals,
)

CELL_HELP = (
    f"{', '.join(CELLS)}; with options as in "
    '"gru(reset=before)"; or your own, "path/to/file.py:MyCell(alpha=0.3)"'
)
Flat = tyro.conf.arg(name="")  # the fields of a nested config without its name in front


@dataclass(frozen=True)
class TrainingConfig:
    """The options of every experiment that trains one cell on one task."""

    cell: Annotated[str, tyro.conf.arg(help=CELL_HELP)] = "lstm"
    hidden_size: int = 64
    """Units of the cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    batch_size: int = 50
    """Sequences a step, B."""
    seed: int = 0
    """Of parameters and training data; held-out data don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=3000, eval_every=250))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))

    def __post_init__(self) -> None:
        at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        at_least(0, seed=self.seed)

    def check(self) -> None:
        """Raises ValueError for a network that can't be had, before a folder is made for the run."""
        self.layer()

    def layer(self) -> Cell:
        """What is built of the cell."""
        return self.network.build(self.cell, self.hidden_size)


Measure = Callable[[Array, Batch], dict[str, SumCount]]
"""`(model's answer, batch) → {name: (sum, count)}`; the first is what training makes small."""


def regression(outputs: Array, batch: Batch) -> dict[str, SumCount]:
    """One number a sequence: `outputs [B, 1]`, targets `[B]`."""
    real = jnp.any(batch.mask, axis=0)
    return {"mean_square_error": square_error(outputs[..., 0], jnp.asarray(batch.targets), real)}


def classification(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """One class a sequence: `logits [B, classes]`, targets `[B]`."""
    real, targets = jnp.any(batch.mask, axis=0), jnp.asarray(batch.targets)
    return {
        "cross_entropy": cross_entropy(logits, targets, real),
        "accuracy": accuracy(logits, targets, real),
    }


def tagging(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """One class a step: `logits [T, B, classes]`, targets `[T, B]`."""
    mask, targets = jnp.asarray(batch.mask), jnp.asarray(batch.targets)
    return {
        "cross_entropy": cross_entropy(logits, targets, mask),
        "accuracy": accuracy(logits, targets, mask),
    }


@dataclass(frozen=True)
class Loss:
    """The first measure's mean as the loss, the others as metrics; equal for equal models, so compiled once."""

    model: nn.Module
    measure: Measure

    def __call__(
        self, params: Params, carry: Any, batch: Batch, key: Array
    ) -> tuple[Array, tuple[Any, dict]]:
        rngs = {"recurrent": key}
        outputs = self.model.apply(params, batch.inputs, mask=batch.mask, train=True, rngs=rngs)
        (_, loss), *others = self.measure(jnp.asarray(outputs), batch).items()
        return mean(loss), (carry, {name: mean(value) for name, value in others})


@dataclass(frozen=True)
class Evaluation:
    """Every measure of a model on a batch."""

    model: nn.Module
    measure: Measure

    def __call__(self, params: Params, batch: Batch) -> dict[str, SumCount]:
        return self.measure(jnp.asarray(self.model.apply(params, batch.inputs, mask=batch.mask)), batch)


class Stopped(Exception):
    """The run was asked to stop and has saved itself."""

    def __init__(self, folder: Path, step: int, signal: int) -> None:
        super().__init__(f"stopped at step {step}; go on with the same command and --resume {folder}")
        self.signal = signal


def train_model(
    folder: Path,
    *,
    run: Run,
    model: nn.Module,
    measure: Measure,
    config: Any,
    batches: Batches,
    validation: Sequence[Batch],
    label: str,
    until: Until | None = None,
) -> Params:
    """Trains a fresh model, or goes on with the one in the folder; returns its parameters.

    `config` has `seed`, `loop` and `optimizer`; `until` ends it early: see `fit`. Raises Stopped where a signal
    asked to stop.
    """
    params = initial_params(model, config.seed, validation[0])
    state = create_state(params, config.optimizer, jax.random.key(config.seed))
    with stop_on_signals() as stop:
        result = fit(
            state,
            loss_fn=Loss(model, measure),
            eval_fn=Evaluation(model, measure),
            optimizer=config.optimizer,
            batches=batches,
            validation=validation,
            config=config.loop,
            folder=folder,
            resume=run.resumed,
            stop=stop,
            label=label,
            until=until,
        )
    if stop.requested:  # after the last step too: what comes next may be another training
        raise Stopped(run.folder, result.step, stop.signal)
    return result.state.params


def initial_params(model: nn.Module, seed: int, batch: Batch) -> Params:
    """Fresh parameters; the same seed gives the same ones on every machine."""
    key = jax.random.fold_in(jax.random.key(seed), 1)
    return jax.jit(model.init)(key, batch.inputs, mask=batch.mask)


def training_record(folder: Path) -> dict[str, np.ndarray]:
    """`metrics.jsonl` as arrays: `train/loss`, `validation/accuracy`, …, each with its `…/step`."""
    columns: dict[str, list[float]] = {}
    for record in read_metrics(folder):
        split = record["split"]
        for name, value in record.items():
            if name not in ("split", "step"):
                columns.setdefault(f"{split}/{name}", []).append(value)
                columns.setdefault(f"{split}/{name}/step", []).append(record["step"])
    return {name: np.asarray(values) for name, values in columns.items()}
