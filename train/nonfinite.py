"""Reports of a loss or gradient that is NaN or infinite, and of the parameters at fault."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from train.files import read_json, write_file
from train.optimizer import OptimizerConfig
from train.sharding import REPLICATED, axis_over, batch_specs, check_divides, pad_to, shard_map_batch
from train.state import PyTree, TrainState, leaf_name
from train.step import LossFn, loss_and_gradient, state_specs
from train.tracking import METRICS_FILE, read_metrics


class NonFinite(FloatingPointError):
    """Raised if a loss, gradient or update isn't finite, before the update.

    Attributes:
        step: the update that failed; the last good state has done `step - 1`.
        loss: the loss at that step.
        grad_norm: the gradient's norm at that step.
        parameters: the fault of the gradient, by parameter name: "nan", "inf", or "too large" if it is finite but
            its norm is not. Empty if the gradient is finite.
        checkpoint: where the last good state is saved, or will be if training stops.
        first: what first wasn't finite inside the net, as returned by `diagnose`; empty without it.
        rollbacks: the number of earlier rollbacks.
    """

    def __init__(
        self,
        step: int,
        loss: float,
        grad_norm: float,
        parameters: dict[str, str],
        checkpoint: Path,
        first: Mapping[str, Any] | None = None,
        rollbacks: int = 0,
    ) -> None:
        self.step, self.loss, self.grad_norm = step, loss, grad_norm
        self.parameters, self.checkpoint = parameters, checkpoint
        self.first, self.rollbacks = first or {}, rollbacks
        tried = f", after {rollbacks} rollbacks," if rollbacks > 1 else ", after a rollback," * rollbacks
        super().__init__(
            f"{self.summary}; training stopped{tried} and the state before it is saved in {checkpoint}; "
            "lower the learning rate or clip the gradient"
        )

    @property
    def summary(self) -> str:
        """Describes what wasn't finite."""
        names = [f"{name} ({fault})" for name, fault in list(self.parameters.items())[:5]]
        if len(self.parameters) > len(names):
            names.append(f"{len(self.parameters) - len(names)} more")
        culprits = f" in {', '.join(names)}" if names else ""
        cause = f"; {self.first['sentence']}" if "sentence" in self.first else ""
        return (
            f"step {self.step}: the loss is {self.loss:.6g} and the norm of its gradient "
            f"{self.grad_norm:.6g}{culprits}{cause}"
        )


def faulty_parameters(
    state: TrainState, batch: PyTree, *, loss_fn: LossFn, accumulate: int = 1, mesh: Mesh | None = None
) -> dict[str, str]:
    """Returns the fault of the gradient of `batch` at `state`, by parameter name.

    It recomputes the gradient, so that the train step need not inspect every array at every step.
    """
    gradient = gradient_at(state, batch, loss_fn=loss_fn, accumulate=accumulate, mesh=mesh)
    return {
        leaf_name(path): _fault(leaf) for path, leaf in jax.tree.leaves_with_path(gradient) if _fault(leaf)
    }


@partial(jax.jit, static_argnames=("loss_fn", "accumulate", "mesh"))
def gradient_at(
    state: TrainState, batch: PyTree, *, loss_fn: LossFn, accumulate: int, mesh: Mesh | None
) -> PyTree:
    """Computes the gradient of a train step with the same arguments, under the name `params`."""
    axis_name = axis_over(mesh)
    batch = pad_to(batch, check_divides(batch, state.carry, mesh, accumulate))

    def shard_gradient(state: TrainState, batch: PyTree) -> PyTree:
        options = {"loss_fn": loss_fn, "accumulate": accumulate, "axis_name": axis_name}
        return {"params": loss_and_gradient(state, batch, **options)[1]}

    specs = batch_specs(batch) if axis_name else None
    return shard_map_batch(shard_gradient, mesh, (state_specs(), specs), REPLICATED)(state, batch)


def _fault(gradient: jax.Array) -> str:
    if jnp.isnan(gradient).any():
        return "nan"
    if jnp.isinf(gradient).any():
        return "inf"
    return "" if jnp.isfinite(jnp.sum(jnp.square(gradient))) else "too large"


INCIDENTS_FILE = "nonfinite.json"
SPLIT = "nonfinite"  # of the records in metrics.jsonl
REPORTED = 3  # a run that skips thousands of steps reports the first and counts the others

Diagnose = Callable[[TrainState, PyTree], Mapping[str, Any]]
"""`(state, batch) -> what first wasn't finite`, as JSON; `sentence`, if there is one, is shown."""


class Incidents:
    """`folder/nonfinite.json`: a list of reports, one for each loss or gradient that wasn't finite.

    A report has `step`, `batch` (the position of the data), `loss`, `grad_norm`, `parameters` (the fault of each
    gradient), `first` (what `diagnose` found), `done` (the action, in words) and `goes_on_from`, the step from
    which training continued, null if it stopped.
    """

    def __init__(self, folder: Path) -> None:
        """Doesn't touch any file."""
        self.path = folder / INCIDENTS_FILE
        self.reports: list[dict[str, Any]] = []

    def truncate_after(self, step: int) -> None:
        """Removes reports after `step`, and that of a stop."""
        known = read_incidents(self.path) if self.path.exists() else []
        self.reports = [r for r in known if r["goes_on_from"] is not None and r["goes_on_from"] <= step]
        self._write()

    def add(self, error: NonFinite, batch: bytes, done: str, goes_on_from: int | None) -> None:
        """Adds a report, unless it was written before the run was killed."""
        report = {
            "step": error.step,
            "batch": _readable(batch),
            "loss": str(error.loss),
            "grad_norm": str(error.grad_norm),
            "parameters": error.parameters,
            "first": dict(error.first),
            "done": done,
            "goes_on_from": goes_on_from,
        }
        if report not in self.reports:
            self.reports.append(report)
            self._write()

    def _write(self) -> None:
        if not self.reports:
            self.path.unlink(missing_ok=True)
            return
        write_file(self.path, json.dumps(self.reports, indent=2) + "\n")


def read_incidents(path: Path) -> list[dict[str, Any]]:
    """Reads the reports written by `Incidents`. Raises ValueError if the file has other content."""
    try:
        reports = read_json(path)
        if isinstance(reports, list) and all(map(_is_report, reports)):
            return reports
    except ValueError:
        pass
    raise ValueError(f"{path} is damaged: it has no reports of a run; remove it")


_FIELDS = {"step": int, "loss": str, "grad_norm": str, "parameters": dict, "first": dict, "done": str}
_FIELDS |= {"goes_on_from": int | None}


def _is_report(report: Any) -> bool:
    """Tells whether this is a report as `Incidents` writes them."""
    return (
        isinstance(report, dict)
        and all(name in report and isinstance(report[name], kind) for name, kind in _FIELDS.items())
        and isinstance(report["first"].get("sentence", ""), str)
    )


def nonfinite_counts(run: Path) -> dict[str, int]:
    """Counts the steps `skipped` and the `rollbacks` of all trainings in a folder, without zeros."""
    counts = {"skipped": 0, "rollbacks": 0}
    for path in run.rglob(METRICS_FILE):
        records = [record for record in read_metrics(path) if record["split"] == SPLIT]
        for kind in counts:
            counts[kind] += max((int(record[kind]) for record in records if kind in record), default=0)
    return {kind: count for kind, count in counts.items() if count}


def _readable(position: bytes) -> Any:
    """Decodes the position of the data: JSON, or else text."""
    try:
        return json.loads(position)
    except ValueError:
        return position.decode(errors="replace")


def skip_step(state: TrainState) -> TrainState:
    """Returns the state after a skipped step: only the step is counted, also for the schedule of the learning
    rate."""

    def count(node: Any) -> Any:
        scheduled = isinstance(node, optax.ScaleByScheduleState)
        return optax.ScaleByScheduleState(jnp.asarray(node.count) + 1) if scheduled else node

    is_schedule = lambda node: isinstance(node, optax.ScaleByScheduleState)  # noqa: E731
    opt_state = jax.tree.map(count, state.opt_state, is_leaf=is_schedule)
    return dataclasses.replace(state, step=state.step + 1, opt_state=opt_state)


def halve_rate(optimizer: OptimizerConfig, rollbacks: int) -> OptimizerConfig:
    """Returns the optimizer after a number of rollbacks, each of which halves the learning rate."""
    return dataclasses.replace(optimizer, learning_rate=optimizer.learning_rate / 2**rollbacks)
