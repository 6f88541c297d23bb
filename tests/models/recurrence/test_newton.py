"""Newton's method over time gives what scan gives, in values and gradients."""

from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from models import GRU, LSTM, BasicGRU, Cell, Elman
from models.cell import Array, BatchShape, Key, Params
from models.recurrence.newton import Newton, newton
from models.recurrence.scan import scan
from tests.models.recurrence.newton_and_scan import (
    BOTH,
    DIAGONAL,
    FULL,
    D,
    H,
    assert_same,
    both,
    compare,
    example,
)

pytestmark = pytest.mark.slow


class Pair(NamedTuple):
    z: Array
    m: Array


@dataclass(frozen=True)
class Spiral(Cell):
    """A complex vector and a real matrix in the state; analytic in neither."""

    def init(self, key: Key, input_size: int) -> Params:
        keys = jax.random.split(key, 3)
        return {
            "turn": jax.random.normal(keys[0], (H,)),
            "mix": 0.5 * jax.random.normal(keys[1], (H, H)),
            "kernel": jax.random.normal(keys[2], (input_size, H)),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Pair:
        dtype = jnp.result_type(params["mix"].dtype, jnp.complex64)
        return Pair(jnp.zeros((*batch_shape, H), dtype), jnp.zeros((*batch_shape, 2, H), params["mix"].dtype))

    def drive(self, weights: Params, x: Array) -> Array:
        return x @ weights["kernel"]

    def step(self, weights: Params, state: Pair, drive: Array) -> tuple[Pair, dict[str, Array]]:
        turn = jnp.broadcast_to(jnp.exp(1j * weights["turn"]), state.z.shape)
        z = (
            0.7 * turn * state.z
            + jnp.tanh(drive + state.m[..., 0, :] @ weights["mix"])
            + 0.1 * state.z.conj()
        )
        m = 0.5 * jnp.tanh(state.m + z.real[..., None, :])
        return Pair(z, m), {"modulus": jnp.abs(z) ** 2, "z": z}


@dataclass(frozen=True)
class Counting(Elman):
    """Counts its steps."""

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Any:
        return super().initial_state(params, batch_shape), jnp.zeros(batch_shape, jnp.int32)


CELLS: dict[str, Cell] = {
    "elman": Elman(H),
    "gru": GRU(H),
    "lstm": LSTM(H),
    "basic_gru": BasicGRU(H),
    "spiral": Spiral(),
}


@BOTH
@pytest.mark.parametrize(
    "name",
    [name if name == "lstm" else pytest.param(name, marks=pytest.mark.full) for name in CELLS],
)
@pytest.mark.usefixtures("x64")
def test_cells(name: str, options: Newton) -> None:
    """Values and gradients, with a mask that differs by example, in reverse."""
    info = compare(CELLS[name], options, 17, (3,), masked=True, reverse=True)
    assert info["converged"].all()
    # Of 17 steps n are valid; after n rounds all are exact, by the method's nature.
    assert (info["iterations"] >= 1).all()
    assert (info["iterations"] <= 18).all()
    assert (info["residual"] <= 4 * 2.3e-16).all()


@pytest.mark.parametrize(
    ("length", "batch", "masked", "reverse", "options"),
    [
        (0, (2,), True, False, FULL),
        (2, (2, 3), True, False, FULL),
        (17, (2, 3), False, False, DIAGONAL),
        (2, (0,), False, False, FULL),
        *(
            pytest.param(length, batch, False, reverse, options, marks=pytest.mark.full)
            for length, batch, reverse, options in (
                (1, (), False, FULL),
                (1, (), False, DIAGONAL),
                (17, (), True, FULL),
            )
        ),
    ],
)
@pytest.mark.usefixtures("x64")
def test_shapes(length: int, batch: BatchShape, masked: bool, reverse: bool, options: Newton) -> None:
    info = compare(Elman(H), options, length, batch, masked=masked, reverse=reverse)
    assert info["converged"].all()


def test_single_precision() -> None:
    assert compare(GRU(H), FULL, 17, (3,), masked=True, tolerance=1e-5)["converged"].all()


@dataclass(frozen=True)
class Dropped(Elman):
    """An Elman cell whose state is thinned before it meets the matrix, in each example otherwise."""

    def recurrent_input(self, weights: Params, state: Array) -> Array:
        return state * weights["kept"]


@pytest.mark.usefixtures("x64")
def test_weights_that_know_of_the_batch() -> None:
    params, state, xs = example(Dropped(H), 9, (3,))
    params = {**params, "kept": jnp.asarray([[1.0, 0, 1], [0, 0, 1], [0, 1, 0]])}
    found, expected, info = both(Dropped(H), FULL, params, state, xs, None, reverse=False, batch_shape=(3,))
    assert_same(found, expected, 1e-10)
    assert info["converged"].all()
    assert (info["iterations"] <= 8).all()


@pytest.mark.usefixtures("x64")
def test_linear() -> None:
    """On a linear cell the first round is the solution, whatever the mask."""
    info = compare(Elman(H, activation="identity"), FULL, 17, (3,), masked=True)
    assert (info["iterations"] <= 2).all()


@pytest.mark.usefixtures("x64")
def test_without_jit() -> None:
    params, state, xs = example(Elman(H), 4, (2,))
    drive = Elman(H).drive(params, xs)
    final, ys, info = newton(Elman(H), params, state, drive, batch_shape=(2,), options=FULL)
    assert_same((final, ys), scan(Elman(H), params, state, drive), 1e-12)
    assert info["converged"].all()


# --- what is refused


def test_integers_are_refused() -> None:
    cell = Counting(H)
    params = cell.init(jax.random.key(0), D)
    with pytest.raises(ValueError, match=r"'newton' can't run Counting.*integer in its state.*'scan'"):
        newton(cell, params, cell.initial_state(params), jnp.zeros((4, H)), batch_shape=(), options=FULL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "iterations must be a whole number of at least 1, but is 0"),
        ({"tolerance": 0.0}, "tolerance must be a number above 0, but is 0.0"),
        ({"tolerance": float("nan")}, "tolerance must be .* but is nan"),
        ({"jacobian": "block"}, "'full' or 'diagonal', but is 'block'"),
        ({"damping": -1.0}, "damping must be a number of at least 0, but is -1.0"),
        ({"damping": float("inf")}, "damping must be .* but is inf"),
    ],
)
def test_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        # The hook in conftest would refuse a wrong name before we do.
        Newton.__post_init__(SimpleNamespace(**(asdict(FULL) | options)))  # pyright: ignore[reportArgumentType]
