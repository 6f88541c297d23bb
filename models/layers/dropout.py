"""Dropout in recurrent networks: between layers, and within the recurrence."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Drive, Key, Output, Params, ProductCell, State, Weights


@dataclass(frozen=True)
class Dropout:
    """Drops units anew at every step of a sequence:

        y_t = m_t ∘ x_t / (1 − p),    m_t ~ Bernoulli(1 − p)

    so that the mean is kept. `rate` is p, in [0, 1). Srivastava et al. 2014; between the layers of a recurrent net
    and not within them: Zaremba, Sutskever & Vinyals 2014.
    """

    rate: float

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def __call__(self, xs: Array, key: Key) -> Array:
        """A whole sequence `[T, *batch, N]`, with units dropped."""
        return drop(xs, kept(key, self.rate, xs.shape), self.rate)


@dataclass(frozen=True)
class VariationalDropout(Dropout):
    """Drops the same units at every step of a sequence:

        y_t = m ∘ x_t / (1 − p),    m ~ Bernoulli(1 − p)

    Each example has a mask of its own. Gal & Ghahramani 2016; the recurrent half is `RecurrentDropout`.
    """

    def __call__(self, xs: Array, key: Key) -> Array:
        return drop(xs, kept(key, self.rate, xs.shape[1:]), self.rate)

    def at_step(self, x: Array, key: Key) -> Array:
        """One step `[*batch, N]`: with the key of a sequence the same units as there."""
        return drop(x, kept(key, self.rate, x.shape), self.rate)


@dataclass(frozen=True)
class RecurrentDropout(ProductCell):
    """A cell whose recurrent connections are dropped, the same ones at every step of a sequence:

        r_t = (m ∘ recurrent_input(s_{t−1}) / (1 − p)) R,    m ~ Bernoulli(1 − p)

    Gal & Ghahramani 2016. What of the state goes on without a product (an LSTM's c, a GRU's z ∘ h) is not dropped.
    Each example has a mask of its own. In training only; otherwise this is `cell` itself, whose parameters it has.
    `cell` must be of the product form, so a GRU only with the reset after the product.
    """

    cell: ProductCell
    rate: float

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not isinstance(self.cell, ProductCell) or not self.cell.has_product_form():
            raise ValueError(
                f"RecurrentDropout takes a cell of the product form, which drops what meets the recurrent matrix; "
                f"{self.cell!r} has another form"
            )

    @property
    def additive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the cell's own."""
        return self.cell.additive

    @property
    def elementwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the cell's own."""
        return self.cell.elementwise

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the cell's own."""
        return self.cell.couples_batch

    def init(self, key: Key, input_size: int) -> Params:
        return self.cell.init(key, input_size)

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return self.cell.initial_state(params, batch_shape)

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """The cell's own weights and the mask m / (1 − p) `[*batch, H]`, or None outside training."""
        own, drawn = (None, None) if key is None else tuple(jax.random.split(key))
        weights = self.cell.prepare(params, key=own, train=train, batch_shape=batch_shape)
        if not (train and self.rate):
            return {"cell": weights, "mask": None}
        key = needed(drawn)
        state = self.cell.initial_state(params, batch_shape)
        ones = jnp.ones_like(self.cell.recurrent_input(weights, state))
        return {"cell": weights, "mask": drop(ones, kept(key, self.rate, ones.shape), self.rate)}

    def drive(self, weights: Weights, x: Array) -> Drive:
        return self.cell.drive(weights["cell"], x)

    def masked(self, drive: Drive, mask: Array) -> Drive:
        return self.cell.masked(drive, mask)

    def added_columns(self, columns: int) -> int:
        return self.cell.added_columns(columns)

    def recurrent_matrix(self, weights: Weights) -> Array:
        return self.cell.recurrent_matrix(weights["cell"])

    def recurrent_input(self, weights: Weights, state: State) -> Array:
        h, mask = self.cell.recurrent_input(weights["cell"], state), weights["mask"]
        # The state may have a time axis in front that the mask has not.
        return h if mask is None else h * mask.reshape((1,) * (h.ndim - mask.ndim) + mask.shape)

    def pointwise(self, weights: Weights, state: State, drive: Drive, r: Array) -> tuple[State, Output]:
        return self.cell.pointwise(weights["cell"], state, drive, r)

    def coordinates(self, state: State) -> State:
        return self.cell.coordinates(state)

    def from_coordinates(self, coordinates: State, like: State) -> State:
        return self.cell.from_coordinates(coordinates, like)

    def begun(self, state: State) -> Array:
        return self.cell.begun(state)

    def observe(self, weights: Weights, state: State, drive: Drive) -> dict[str, Array]:
        """Returns what the cell shows of itself; of the undropped step."""
        return self.cell.observe(weights["cell"], state, drive)


def kept(key: Key, rate: float, shape: tuple[int, ...]) -> Array:
    """Draws the units that stay: boolean, True with probability 1 − p."""
    return jax.random.bernoulli(key, 1 - rate, shape)


def drop(x: Array, stays: Array, rate: float) -> Array:
    """x / (1 − p) where it stays and 0 elsewhere; `stays` has the last axes of x."""
    stays = jnp.broadcast_to(stays.reshape((1,) * (x.ndim - stays.ndim) + stays.shape), x.shape)
    return jnp.where(stays, x / (1 - rate), jnp.zeros_like(x))


def needed(key: Key | None) -> Key:
    """The key; ValueError where there is none."""
    if key is None:
        raise ValueError(
            "dropout in training draws at random, but there is no key: give unroll(key=…), or a Linen module "
            "rngs={'recurrent': …}"
        )
    return key


def check_rate(rate: float) -> None:
    """Raises ValueError where a share to be dropped is not in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"a dropout rate is at least 0 and below 1, but is {rate!r}")
