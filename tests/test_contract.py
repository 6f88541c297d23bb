"""Every built-in cell passes the contract, and the contract fails cells that are wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import pytest

from experiments.contract import checks as contract
from models import GRU, LSTM, BasicGRU, Cell, Elman, Gaussian, LSTMState
from models.cell import Array, Params
from tests.contract import each_check

pytestmark = pytest.mark.usefixtures("quick_compilation")

BUILT_IN: dict[str, Cell] = {
    "elman": Elman(4),
    "gru": GRU(4),
    "lstm": LSTM(4),
}
ACTIVATIONS: dict[str, Cell] = {
    "elman relu": Elman(3, activation="relu"),
    "elman sin": Elman(1, activation=jnp.sin),
}
VARIANTS: dict[str, Cell] = {
    "elman identity": Elman(3, activation="identity", recurrent_init=Gaussian(0.8)),
    "basic_gru": BasicGRU(4),
    "gru reset before": GRU(3, reset="before"),
    "lstm of one unit": LSTM(1, forget_bias=0.0),
}


@each_check(BUILT_IN, whole=("lstm",))
def test_built_in(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.full
@each_check(VARIANTS)
def test_variants(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.full
@each_check(ACTIVATIONS)
def test_activations(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@dataclass(frozen=True)
class WrongBatch(Elman):
    """Mixes the examples of a batch."""

    def pointwise(self, weights: Params, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        h = jnp.tanh(drive + r - jnp.mean(drive, axis=tuple(range(drive.ndim - 1)), keepdims=True))
        return h, h


@dataclass(frozen=True)
class WrongDrive(Elman):
    """Looks at the whole sequence when it prepares the drive."""

    def drive(self, weights: Params, x: Array) -> Array:
        return super().drive(weights, x - jnp.sum(x) / 100)


@dataclass(frozen=True)
class StopsGradient(Elman):
    """The state's gradient is cut, so its Jacobian is wrong."""

    def pointwise(self, weights: Params, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        from jax.lax import stop_gradient

        h = jnp.tanh(drive + stop_gradient(r))
        return h, h


@dataclass(frozen=True, eq=False)
class ByIdentity(Elman):
    """Equal only to itself."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class Logarithm(Elman):
    """Has an infinite drive at an input of zero, which is what padding is replaced by."""

    def drive(self, weights: Params, x: Array) -> Array:
        return super().drive(weights, jnp.log(jnp.abs(x)))


@dataclass(frozen=True)
class LosesState(LSTM):
    """Has coordinates that leave out the memory, on which its steps depend."""

    def coordinates(self, state: LSTMState) -> Array:
        return state.h

    def from_coordinates(self, coordinates: Array, like: LSTMState) -> LSTMState:
        return LSTMState(coordinates, like.c)


@pytest.mark.parametrize(
    ("cell", "caught_by"),
    [
        (WrongBatch(3), "batch"),
        (WrongDrive(3), "stepping"),
        (StopsGradient(3), "jacobian"),
        (ByIdentity(3), "compiles_once"),
        (Logarithm(3), "mask"),
        (LosesState(3), "coordinates"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Cell) else value,
)
def test_catches_what_is_wrong(cell: Cell, caught_by: str) -> None:
    with pytest.raises(AssertionError):
        contract.run(contract.CHECKS[caught_by], cell)
