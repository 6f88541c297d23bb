"""A loss or gradient that is NaN or infinite: which parameter, and how to say so."""

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

from train.files import write_file
from train.optimizer import OptimizerConfig
from train.reading import read_json
from train.sharding import REPLICATED, axis_over, batch_specs, check_divides, pad_to, shard_map_batch
from train.state import PyTree, TrainState, leaf_name
from train.step import LossFn, loss_and_gradient, state_specs
from train.tracking import METRICS_FILE, read_metrics


class NonFinite(FloatingPointError):
    """Training met a loss, gradient or update that isn't finite, and stopped before it.

    Attributes:
        step: the update that couldn't be made; the last good state has done `step - 1`.
        loss: the loss at that step.
        grad_norm: the gradient's norm at that step.
        parameters: what is wrong with the gradient, by parameter name: "nan", "inf", or "too large" where it
            is finite but its norm is not. Empty if the gradient is in order.
        checkpoint: where the last good state is saved, or will be if training stops.
        first: what first wasn't finite inside the net, as `diagnose` told `fit`; empty if nobody was asked.
        rollbacks: how many times the run had gone back to an earlier state before.
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
            f"{self.met}; training stopped{tried} and the state before it is saved in {checkpoint}; "
            "lower the learning rate or clip the gradient"
        )

    @property
    def met(self) -> str:
        """Says what wasn't finite, without what was done about it."""
        shown = [f"{name} ({fault})" for name, fault in list(self.parameters.items())[:5]]
        if len(self.parameters) > len(shown):
            shown.append(f"{len(self.parameters) - len(shown)} more")
        culprits = f" in {', '.join(shown)}" if shown else ""
        why = f"; {self.first['sentence']}" if "sentence" in self.first else ""
        return (
            f"step {self.step}: the loss is {self.loss:.6g} and the norm of its gradient "
            f"{self.grad_norm:.6g}{culprits}{why}"
        )


def faulty_parameters(
    state: TrainState, batch: PyTree, *, loss_fn: LossFn, mesh: Mesh | None = None
) -> dict[str, str]:
    """Says what is wrong with the gradient of `batch` at `state`, by parameter name.

    It is computed once more here, so that the train step need not look at every array of every step.
    """
    return {
        leaf_name(path): _fault(leaf)
        for path, leaf in jax.tree.leaves_with_path(gradient_at(state, batch, loss_fn=loss_fn, mesh=mesh))
        if _fault(leaf)
    }


@partial(jax.jit, static_argnames=("loss_fn", "mesh"))
def gradient_at(state: TrainState, batch: PyTree, *, loss_fn: LossFn, mesh: Mesh | None) -> PyTree:
    """The gradient that a train step of the same arguments would take, under the name `params`."""
    axis_name = axis_over(mesh)
    batch = pad_to(batch, check_divides(batch, state.carry, mesh))

    def share(state: TrainState, batch: PyTree) -> PyTree:
        return {"params": loss_and_gradient(state, batch, loss_fn=loss_fn, axis_name=axis_name)[1]}

    cut = batch_specs(batch) if axis_name else None
    return shard_map_batch(share, mesh, (state_specs(), cut), REPLICATED)(state, batch)


def _fault(gradient: jax.Array) -> str:
    if jnp.isnan(gradient).any():
        return "nan"
    if jnp.isinf(gradient).any():
        return "inf"
    return "" if jnp.isfinite(jnp.sum(jnp.square(gradient))) else "too large"


INCIDENTS_FILE = "nonfinite.json"
SPLIT = "nonfinite"  # of the records in metrics.jsonl
REPORTED = 3  # a run that skips thousands of steps reports the first ones, and counts the others

Diagnose = Callable[[TrainState, PyTree], Mapping[str, Any]]
"""`(state, batch) -> what first wasn't finite`, in terms that JSON holds; `sentence`, if there, is shown."""


class Incidents:
    """`folder/nonfinite.json`: a list of reports, one for each loss or gradient that wasn't finite.

    A report has `step`, `batch` (the data's position at it, in the data's own words), `loss`, `grad_norm`,
    `parameters` (what is wrong with the gradient of each), `first` (what `diagnose` found), `done` (in words) and
    `goes_on_from`, the step from which training went on, null where it stopped.
    """

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self.path = folder / INCIDENTS_FILE
        self.reports: list[dict[str, Any]] = []

    def cut_back(self, step: int) -> None:
        """Forgets what a run that stands at `step` hasn't met yet, and why it was stopped."""
        known = read_incidents(self.path) if self.path.exists() else []
        self.reports = [r for r in known if r["goes_on_from"] is not None and r["goes_on_from"] <= step]
        self._write()

    def add(self, met: NonFinite, batch: bytes, done: str, goes_on_from: int | None) -> None:
        """Adds a report, but for one that a run killed right after it has written already."""
        report = {
            "step": met.step,
            "batch": _readable(batch),
            "loss": str(met.loss),
            "grad_norm": str(met.grad_norm),
            "parameters": met.parameters,
            "first": dict(met.first),
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
    """Reads the reports that `Incidents` wrote. Raises ValueError where the file holds anything else."""
    try:
        reports = read_json(path)
        if isinstance(reports, list) and all(map(_is_report, reports)):
            return reports
    except ValueError:
        pass
    raise ValueError(f"{path} is damaged: it isn't the reports that a run writes; remove it")


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
    """Counts how many steps were `skipped` and how many `rollbacks` made in all trainings of a folder; none that is
    0."""
    counts = {"skipped": 0, "rollbacks": 0}
    for path in run.rglob(METRICS_FILE):
        met = [record for record in read_metrics(path) if record["split"] == SPLIT]
        for kind in counts:
            counts[kind] += sum(kind in record for record in met)
    return {kind: count for kind, count in counts.items() if count}


def _readable(position: bytes) -> Any:
    """The data's position: JSON, as all of ours is, or its characters."""
    try:
        return json.loads(position)
    except ValueError:
        return position.decode(errors="replace")


def skip_step(state: TrainState) -> TrainState:
    """The state after a step that was skipped: the step counted, for a schedule of the learning rate too (which is
    a function of steps), and everything else as it was."""

    def count(node: Any) -> Any:
        scheduled = isinstance(node, optax.ScaleByScheduleState)
        return optax.ScaleByScheduleState(jnp.asarray(node.count) + 1) if scheduled else node

    is_schedule = lambda node: isinstance(node, optax.ScaleByScheduleState)  # noqa: E731
    opt_state = jax.tree.map(count, state.opt_state, is_leaf=is_schedule)
    return dataclasses.replace(state, step=state.step + 1, opt_state=opt_state)


def halve_rate(optimizer: OptimizerConfig, rollbacks: int) -> OptimizerConfig:
    """The optimizer after so many rollbacks, each of which halves the learning rate."""
    return dataclasses.replace(optimizer, learning_rate=optimizer.learning_rate / 2**rollbacks)
