"""Shared by the experiments that train: options, objectives, training from first to last step."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
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
from experiments.health import check_health, draw_health, explainer, health_probe
from experiments.network import NetworkConfig
from experiments.options import check_seed
from experiments.processes import only_first_goes_on
from experiments.run import Run
from models import CELLS, BatchNormLSTM, Cell
from models.cell import Array, Params, at_least
from models.cells.batch_norm import observe_sequence, update_averages
from train import (
    BATCH_AXIS,
    LoopConfig,
    LossFn,
    OptimizerConfig,
    SumCount,
    Until,
    accuracy,
    batch_mesh,
    create_state,
    cross_entropy,
    fit,
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
        check_seed(self.seed)

    def check(self) -> None:
        """Raises ValueError for a network that can't be had, before a folder is made for the run."""
        check_health(self.layer(), self.loop.health)
        self.optimizer.lasting(self.loop.steps, self.loop.eval_every)

    def layer(self) -> Cell:
        """The layer built of the cell."""
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
    """The first measure as the loss, the others as metrics; equal for equal models, so compiled once."""

    model: nn.Module
    measure: Measure

    def __call__(
        self, params: Params, carry: Any, batch: Batch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict]]:
        rngs = {"recurrent": key}
        outputs = self.model.apply(params, batch.inputs, mask=batch.mask, train=True, rngs=rngs)
        (_, loss), *others = self.measure(jnp.asarray(outputs), batch).items()
        return loss, (carry, dict(others))


@dataclass(frozen=True)
class Averages:
    """The running averages of a model whose cell is a `BatchNormLSTM`, brought up to date by a batch."""

    model: nn.Module

    def __call__(self, params: Params, batch: Batch, key: Array) -> Params:
        cell, inner = cell_of(self.model), params["params"]
        assert isinstance(cell, BatchNormLSTM)
        inputs, mask = jnp.asarray(batch.inputs), jnp.asarray(batch.mask)
        own = inner["recurrent"]["cell"]
        observed = observe_sequence(cell, own, inputs, mask=mask, key=key, train=True)
        own = update_averages(cell, own, observed, mask=mask)
        return params | {"params": inner | {"recurrent": {"cell": own}}}


@dataclass(frozen=True)
class Evaluation:
    """Every measure of a model on a batch."""

    model: nn.Module
    measure: Measure

    def __call__(self, params: Params, batch: Batch) -> dict[str, SumCount]:
        return self.measure(jnp.asarray(self.model.apply(params, batch.inputs, mask=batch.mask)), batch)


def held_out_loss(evaluation: Mapping[str, float]) -> float:
    """By which the best checkpoint is chosen, and what the schedule validation_plateau watches."""
    return evaluation["cross_entropy" if "cross_entropy" in evaluation else "mean_square_error"]


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
    begin: Params | None = None,
    loss: LossFn | None = None,
) -> Params:
    """Trains a fresh model, or goes on with the one in the folder; returns its parameters.

    `config` has `seed`, `loop` and `optimizer`; `until` ends it early: see `fit`. `begin` are parameters to begin
    with in place of fresh ones, `loss` what is made small in place of the first measure. With `loop.health.every`
    its health is measured on the first batch of `validation`, and drawn. Raises Stopped where a signal asked to
    stop.
    """
    cell = cell_of(model)
    probe = health_probe(cell, model, measure, validation[0], config.loop.health)
    params = initial_params(model, config.seed, validation[0]) if begin is None else begin
    state = create_state(params, config.optimizer, jax.random.key(config.seed))
    mesh = batch_mesh(run.devices, processes="all")
    trained = over_devices(model, mesh.size)
    with stop_on_signals() as stop:
        result = fit(
            state,
            loss_fn=Loss(trained, measure) if loss is None else loss,
            eval_fn=Evaluation(model, measure),
            refresh=Averages(trained) if isinstance(cell, BatchNormLSTM) else None,
            mesh=mesh,
            optimizer=config.optimizer,
            batches=batches,
            validation=validation,
            config=config.loop,
            folder=folder,
            resume=run.resumed,
            stop=stop,
            label=label,
            until=until,
            judge=held_out_loss,
            about=run.about,
            probe=probe,
            explain=explainer(cell, model, measure),
        )
    if probe is not None:
        draw_health(run.folder)
    if stop.requested:  # after the last step too: what comes next may be another training
        raise Stopped(run.folder, result.step, stop.signal)
    only_first_goes_on()
    # On one device: what is measured of them next would else be computed on each.
    return jax.device_put(result.state.params, jax.local_devices()[0])


def cell_of(model: nn.Module) -> Cell:
    """The cell of one of our models."""
    return model.cell  # type: ignore


def over_devices(model: nn.Module, devices: int) -> nn.Module:
    """The model as it is trained on so many devices: a cell whose examples see one another names in its field
    `axis_name` the axis over which its batch is shared. Raises ValueError where it has none."""
    cell = cell_of(model)
    if devices == 1 or not cell.couples_batch:
        return model
    if "axis_name" not in {field.name for field in dataclasses.fields(cell)}:
        raise ValueError(
            f"the examples of a batch see one another in {cell}, and it has no field axis_name by which devices "
            "could share a batch: add --devices 1"
        )
    return model.clone(cell=dataclasses.replace(cell, axis_name=BATCH_AXIS))  # type: ignore


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
