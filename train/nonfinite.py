"""A loss or gradient that is NaN or infinite: which parameter, and how to say so."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from train.sharding import EVERYWHERE, axis_over, batch_specs, check_divides, filled_up, on_shares
from train.state import PyTree, TrainState, leaf_name
from train.step import LossFn, loss_and_gradient, state_specs


class NonFinite(FloatingPointError):
    """Training met a loss, gradient or update that isn't finite, and stopped before it.

    Attributes:
        step: the update that couldn't be made; the last good state has done `step - 1`.
        loss: the loss at that step.
        grad_norm: the gradient's norm at that step.
        parameters: what is wrong with the gradient, by parameter name: "nan", "inf", or "too large" where it
            is finite but its norm is not. Empty if the gradient is in order.
        checkpoint: where the last good state is saved, or will be if training stops.
        first: what first wasn't finite inside the net, as `explain` told `fit`; empty if nobody was asked.
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
    batch = filled_up(batch, check_divides(batch, state.carry, mesh))

    def share(state: TrainState, batch: PyTree) -> PyTree:
        return {"params": loss_and_gradient(state, batch, loss_fn=loss_fn, axis_name=axis_name)[1]}

    cut = batch_specs(batch) if axis_name else None
    return on_shares(share, mesh, (state_specs(), cut), EVERYWHERE)(state, batch)


def _fault(gradient: jax.Array) -> str:
    if jnp.isnan(gradient).any():
        return "nan"
    if jnp.isinf(gradient).any():
        return "inf"
    return "" if jnp.isfinite(jnp.sum(jnp.square(gradient))) else "too large"
