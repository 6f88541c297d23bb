"""Mixed precision: a loss computed in bfloat16, with weights, sums and updates in single precision."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from train.config import Precision
from train.metrics import SumCount
from train.state import PyTree, is_average, leaf_name
from train.step import LossFn


@dataclass(frozen=True)
class MixedPrecision:
    """A loss computed in bfloat16: parameters θ, carried state and inputs are rounded to 8 significant bits, and
    its gradient reaches θ in their own precision (Micikevicius et al. 2018).

    With φ(θ) = L(round(θ)) the update of θ uses ∂φ/∂θ = L'(round(θ)), and sums over examples are in float32. No
    loss needs scaling, as bfloat16 has the exponents of float32 (Kalamkar et al. 2019). Running averages, targets
    and whatever isn't float32 stay as they are.
    """

    loss_fn: LossFn

    def __call__(
        self, params: PyTree, carry: PyTree, batch: PyTree, key: jax.Array
    ) -> tuple[SumCount, tuple[PyTree, dict[str, SumCount]]]:
        narrow = jax.tree.map_with_path
        loss, (after, metrics) = self.loss_fn(
            narrow(rounded, params), narrow(rounded, carry), narrow(rounded, batch), key
        )
        after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, carry)
        return wide(loss), (after, wide(metrics))


def rounded(path: tuple[Any, ...], leaf: Any) -> Any:
    """Rounds a float32 array to bfloat16, unless it is one of targets or of running averages."""
    exempt = is_average(path) or leaf_name(path).split("/")[-1] == "targets"
    return leaf if exempt or jnp.result_type(leaf) != jnp.float32 else jnp.asarray(leaf, jnp.bfloat16)


def wide(sums: PyTree) -> PyTree:
    """Gives sums and counts single precision at least."""
    return jax.tree.map(lambda s: jnp.asarray(s, jnp.promote_types(jnp.result_type(s), jnp.float32)), sums)


def in_precision(loss_fn: LossFn, precision: Precision) -> LossFn:
    """Returns the loss as it is computed in a precision; float32 leaves it as it is."""
    return MixedPrecision(loss_fn) if precision == "bfloat16" else loss_fn
