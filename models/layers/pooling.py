"""Pooling over time: the last valid output, or the mean, the maximum or a weighted mean of the valid ones."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Float

from models.cell import Array, Key, Params, affine, check_at_least
from models.initializers import Glorot, Initializer
from models.layers.attention import attend


def last_valid(ys: Array, mask: Array | None = None, *, reverse: bool = False) -> Array:
    """Returns the output of each sequence's last valid step, in reverse of its first, which is read last.

    `ys [T, *batch, H]`, `mask [T, *batch]` → `[*batch, H]`. Zero for a sequence without a valid step.
    """
    if ys.shape[0] == 0:
        return jnp.zeros(ys.shape[1:], ys.dtype)
    if mask is None:
        return ys[0 if reverse else -1]
    end = jnp.argmax(mask, axis=0) if reverse else mask.shape[0] - 1 - jnp.argmax(mask[::-1], axis=0)
    picked = jnp.take_along_axis(ys, end[None, ..., None], axis=0)[0]
    return jnp.where(jnp.any(mask, axis=0)[..., None], picked, 0)


def mean_valid(ys: Array, mask: Array | None = None) -> Array:
    """Computes the mean output over each sequence's valid steps: `ys [T, *batch, H]`, `mask [T, *batch]` →
    `[*batch, H]`. Zero for a sequence without one. Summed in single precision at least, returned in the outputs'
    type."""
    wide = ys.astype(jnp.promote_types(ys.dtype, jnp.float32))
    if mask is None:
        mask = jnp.ones(ys.shape[:-1], bool)
    count = jnp.maximum(jnp.sum(mask, axis=0), 1)
    return (jnp.sum(jnp.where(mask[..., None], wide, 0), axis=0) / count[..., None]).astype(ys.dtype)


def max_valid(ys: Array, mask: Array | None = None) -> Array:
    """Computes the largest output of each unit over a sequence's valid steps: `ys [T, *batch, H]`, `mask [T,
    *batch]` → `[*batch, H]`. Zero for a sequence without one. Collobert et al. 2011."""
    if mask is None:
        mask = jnp.ones(ys.shape[:-1], bool)
    largest = jnp.max(jnp.where(mask[..., None], ys, -jnp.inf), axis=0, initial=-jnp.inf)
    return jnp.where(jnp.any(mask, axis=0)[..., None], largest, 0)


@dataclass(frozen=True)
class AttentionPooling:
    """Attention of a whole sequence to its steps:

        e_t = wᵀ tanh(y_t U + b)        α_t = exp e_t / Σ_s exp e_s        c = Σ_t α_t y_t

    over the valid steps; c and all α are zero where there is none. Yang et al. 2016, whose word level it is.

    `size` is the length A of w. Parameters: `kernel [H, A]` U, `bias [A]` b and `readout [A]` w.
    """

    size: int
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, size=self.size)

    def init(self, key: Key, input_size: int) -> Params:
        """Returns parameters for outputs of size H = `input_size`."""
        key_kernel, key_readout = jax.random.split(key)
        return {
            "kernel": self.kernel_init(key_kernel, (input_size, self.size)),
            "bias": jnp.zeros(self.size),
            "readout": self.kernel_init(key_readout, (self.size, 1))[:, 0],
        }

    def __call__(
        self, params: Params, ys: Array, mask: Array | None = None
    ) -> tuple[Float[Array, "*batch H"], Float[Array, "T *batch"]]:
        """Computes c and α of outputs `[T, *batch, H]`; those of masked steps, NaN included, reach nothing."""
        if mask is not None:
            ys = jnp.where(mask[..., None], ys, 0)
        scores = jnp.tanh(affine(ys, params["kernel"], params["bias"])) @ params["readout"]
        places, values = jnp.moveaxis(scores, 0, -1), jnp.moveaxis(ys, 0, -2)
        seen = None if mask is None else jnp.moveaxis(mask, 0, -1)[..., None, :]
        context, weights = attend(places[..., None, :], values, seen)
        return context[..., 0, :], jnp.moveaxis(weights[..., 0, :], -1, 0)
