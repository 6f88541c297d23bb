"""Dropout in recurrent networks: between layers, and within the recurrence."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Params, ProductCell, State, Weights
from models.cells.wrapper import CellWrapper
from models.memory import Memory


@dataclass(frozen=True)
class Dropout:
    """Drops different units at every step of a sequence:

        y_t = m_t ∘ x_t / (1 − p),    m_t ~ Bernoulli(1 − p)

    which preserves the mean. `rate` is p, in [0, 1). Srivastava et al. 2014; between the layers of a recurrent net
    and not within them: Zaremba, Sutskever & Vinyals 2014.
    """

    rate: float

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def __call__(self, xs: Array, key: Key) -> Array:
        """Drops units of a whole sequence `[T, *batch, N]`."""
        return drop(xs, draw_keep_mask(key, self.rate, xs.shape), self.rate)


@dataclass(frozen=True)
class VariationalDropout(Dropout):
    """Drops the same units at every step of a sequence:

        y_t = m ∘ x_t / (1 − p),    m ~ Bernoulli(1 − p)

    Each example has its own mask. Gal & Ghahramani 2016; the recurrent half is `RecurrentDropout`.
    """

    def __call__(self, xs: Array, key: Key) -> Array:
        return drop(xs, draw_keep_mask(key, self.rate, xs.shape[1:]), self.rate)

    def at_step(self, x: Array, key: Key) -> Array:
        """Drops units of one step `[*batch, N]`: the same ones as in the sequence of that key."""
        return drop(x, draw_keep_mask(key, self.rate, x.shape), self.rate)


@dataclass(frozen=True)
class RecurrentDropout(CellWrapper):
    """A cell with dropout on its recurrent connections, the same ones at every step of a sequence:

        r_t = (m ∘ recurrent_input(s_{t−1}) / (1 − p)) R,    m ~ Bernoulli(1 − p)

    Gal & Ghahramani 2016. Parts of the state that bypass the product (an LSTM's c, a GRU's z ∘ h) are not dropped.
    Each example has its own mask. Outside training this is `cell` itself; the parameters are the cell's own.
    `cell` must have the product form, so a GRU needs the reset after the product.
    """

    rate: float

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not isinstance(self.cell, ProductCell) or not self.cell.has_product_form():
            raise ValueError(
                f"RecurrentDropout takes a cell of the product form, whose input to the recurrent matrix it drops; "
                f"{self.cell!r} has another form"
            )

    def cell_weights(self, weights: Weights) -> Weights:
        return weights["cell"]

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> Weights:
        """Returns the cell's own weights and the mask m / (1 − p) `[*batch, H]`, or None outside training."""
        own, drawn = (None, None) if key is None else tuple(jax.random.split(key))
        weights = super().prepare(params, key=own, train=train, batch_shape=batch_shape, memory=memory)
        if not (train and self.rate):
            return {"cell": weights, "mask": None}
        key = require_key(drawn)
        state = self.cell.initial_state(params, batch_shape)
        ones = jnp.ones_like(self.product_cell.recurrent_input(weights, state))
        return {"cell": weights, "mask": drop(ones, draw_keep_mask(key, self.rate, ones.shape), self.rate)}

    def recurrent_input(self, weights: Weights, state: State) -> Array:
        h, mask = super().recurrent_input(weights, state), weights["mask"]
        # The state may have a leading time axis that the mask doesn't have.
        return h if mask is None else h * mask.reshape((1,) * (h.ndim - mask.ndim) + mask.shape)


def draw_keep_mask(key: Key, rate: float, shape: tuple[int, ...]) -> Array:
    """Draws the units to keep: boolean, True with probability 1 − p."""
    return jax.random.bernoulli(key, 1 - rate, shape)


def drop(x: Array, keep: Array, rate: float) -> Array:
    """Computes x / (1 − p) where `keep` is True and 0 elsewhere; `keep` has the last axes of x."""
    keep = jnp.broadcast_to(keep.reshape((1,) * (x.ndim - keep.ndim) + keep.shape), x.shape)
    return jnp.where(keep, x / (1 - rate), jnp.zeros_like(x))


def require_key(key: Key | None) -> Key:
    """Returns the key. Raises ValueError if it is None."""
    if key is None:
        raise ValueError(
            "dropout in training needs a key, but there is none: pass unroll(key=…), or to a Linen module "
            "rngs={'recurrent': …}"
        )
    return key


def check_no_dropout(cell: Cell, rate: float, train: bool) -> None:
    """Raises ValueError in training if a layer whose dropout changes at every step is used step by step: a step
    doesn't know its time."""
    if train and rate:
        raise ValueError(
            f"the dropout of a {type(cell).__name__} draws new units at every step, which a single step can't: "
            "train by unroll, or set dropout=0"
        )


def check_rate(rate: float) -> None:
    """Raises ValueError for a dropout rate outside [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"a dropout rate is at least 0 and below 1, but is {rate!r}")
