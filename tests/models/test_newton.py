"""Newton's method over time gives what scan gives, in values and gradients, and says how it went."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, BasicGRU, Cell, Elman
from models.cell import Array, BatchShape, Key, Params, State
from models.newton import Newton, newton
from models.scan import scan
from tests.contract import weigh

pytestmark = pytest.mark.slow

D, H = 2, 3


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


def example(cell: Cell, length: int, batch: BatchShape, seed: int = 0) -> tuple[Params, State, Array]:
    """Random parameters, biases too; a state that is not the initial one; inputs."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: cell.init(key, D), jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape), leaf.dtype), shapes)
    xs = jnp.asarray(rng.normal(size=(length, *batch, D)), params["kernel"].dtype)
    state = cell.initial_state(params, batch)
    noise = [
        rng.normal(size=leaf.shape) + 1j * rng.normal(size=leaf.shape) for leaf in jax.tree.leaves(state)
    ]
    fresh = iter(noise)

    def random(leaf: Array) -> Array:
        values = next(fresh)
        return jnp.asarray(values if jnp.iscomplexobj(leaf) else values.real, leaf.dtype)

    return params, jax.tree.map(random, state), xs


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("reverse", "batch_shape"))
def both(
    cell: Cell,
    options: Newton,
    params: Params,
    state: State,
    xs: Array,
    mask: Any,
    *,
    reverse: bool,
    batch_shape: Any,
) -> Any:
    """Newton's and scan's (results, gradients) in everything, and what Newton tells."""

    def run(way: str, params: Params, state: State, xs: Array) -> tuple[Array, Any]:
        drive = cell.drive(params, xs)
        if way == "scan":
            out, info = scan(cell, params, state, drive, mask=mask, reverse=reverse), None
        else:
            *out, info = newton(
                cell,
                params,
                state,
                drive,
                batch_shape=batch_shape,
                options=options,
                mask=mask,
                reverse=reverse,
            )
        return weigh(tuple(out)), (tuple(out), info)

    differentiate = jax.grad(run, argnums=(1, 2, 3), has_aux=True)
    found, (out, info) = differentiate("newton", params, state, xs)
    expected, (reference, _) = differentiate("scan", params, state, xs)
    return (out, found), (reference, expected), info


def compare(
    cell: Cell,
    options: Newton,
    length: int,
    batch: BatchShape,
    *,
    masked: bool = False,
    reverse: bool = False,
    tolerance: float = 1e-10,
) -> Any:
    params, state, xs = example(cell, length, batch)
    mask = jnp.asarray(np.random.default_rng(1).random((length, *batch)) < 0.7) if masked else None
    found, expected, info = both(cell, options, params, state, xs, mask, reverse=reverse, batch_shape=batch)
    assert_same(found, expected, tolerance)
    assert all(leaf.shape == batch for leaf in info.values())
    return info


def assert_same(found: Any, expected: Any, tolerance: float) -> None:
    """Equal structures, types and shapes; values to a tolerance relative to the largest of each leaf."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.asarray(a), np.asarray(b)
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.max(np.abs(b), initial=0), 1e-3))


FULL, DIAGONAL = Newton(), Newton(200, jacobian="diagonal")
BOTH = pytest.mark.parametrize("options", [FULL, DIAGONAL], ids=["full", "diagonal"])


@BOTH
@pytest.mark.parametrize("name", CELLS)
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
        (1, (), False, False, FULL),
        (1, (), False, False, DIAGONAL),
        (2, (2, 3), True, False, FULL),
        (17, (), False, True, FULL),
        (17, (2, 3), False, False, DIAGONAL),
        (2, (0,), False, False, FULL),
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
    """What meets the matrix is thinned, in each example otherwise."""

    def exposed(self, weights: Params, state: Array) -> Array:
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


# --- iterations against the largest Lyapunov exponent: tanh, N = 16, T = 512, Gaussian weights


def driven(gain: float, length: int = 512, size: int = 16) -> tuple[Params, Array, Array]:
    rng = np.random.default_rng(0)
    recurrent = gain * rng.normal(size=(size, size)) / 4
    xs = 0.5 * rng.normal(size=(length, size))
    params = {"kernel": np.eye(size), "recurrent": recurrent, "bias": np.zeros(size)}
    return jax.tree.map(jnp.asarray, params), jnp.zeros(size), jnp.asarray(xs)


def largest_exponent(params: Params, ys: Array) -> float:
    """λ₁ of a tanh net along its states, by QR of the Jacobians' product."""
    recurrent, grown = np.asarray(params["recurrent"]), np.zeros(16)
    basis = np.eye(16)
    for h in np.asarray(ys):
        basis, triangle = np.linalg.qr((1 - h**2)[:, None] * recurrent.T @ basis)
        grown += np.log(np.abs(np.diag(triangle)))
    return float(grown.max() / len(ys))


@pytest.mark.usefixtures("x64")
def test_rounds_grow_towards_chaos() -> None:
    """5 at λ₁ ≈ −1.2, 6 or 7 at −0.55, 10 to 16 at −0.25, about 200 at 0 as measured with other weights."""
    cell, limit = Elman(16), Newton(512)

    @jax.jit
    def run(params: Params, state: Array, xs: Array) -> Any:
        drive = cell.drive(params, xs)
        out = newton(cell, params, state, drive, batch_shape=(), options=limit)
        return out, scan(cell, params, state, drive)

    rounds = []
    for gain, low, high, fewest, most in [
        (0.3, -1.5, -1.0, 3, 6),
        (0.6, -0.7, -0.45, 4, 8),
        (0.9, -0.35, -0.2, 6, 16),
        (1.7, -0.1, 0.05, 80, 400),
    ]:
        params, state, xs = driven(gain)
        (final, ys, info), expected = run(params, state, xs)
        assert low < largest_exponent(params, expected[1]) < high
        assert info["converged"]
        assert_same((final, ys), expected, 1e-10)
        assert fewest <= int(info["iterations"]) <= most
        rounds.append(int(info["iterations"]))
    assert rounds == sorted(set(rounds))


@pytest.mark.usefixtures("x64")
def test_chaos_falls_back() -> None:
    """Beyond the edge it gives up at the limit, and everything is scan's, the gradient included."""
    params, state, xs = driven(3.0)
    found, expected, info = both(Elman(16), FULL, params, state, xs, None, reverse=False, batch_shape=())
    assert largest_exponent(params, expected[0][1]) > 0.1
    assert not info["converged"]
    assert info["iterations"] == 100
    assert info["residual"] > 1e-3
    assert_same(found, expected, 1e-8)


@pytest.mark.usefixtures("x64")
def test_examples_are_judged_one_by_one() -> None:
    """A NaN in one example, and a limit that another doesn't meet, are no matter to the rest."""
    params, state, xs = example(Elman(H), 12, (3,))
    params = params | {"recurrent": 4 * params["recurrent"]}
    xs = xs.at[5, 0].set(jnp.nan).at[:, 1].multiply(20)  # the second is saturated: one round or two
    drive = Elman(H).drive(params, xs)
    options = Newton(4)
    run = jax.jit(lambda *given: newton(Elman(H), *given, batch_shape=(3,), options=options))
    final, ys, info = run(params, state, drive)
    expected = scan(Elman(H), params, state, drive)
    np.testing.assert_array_equal(info["converged"], [False, True, False])
    assert info["iterations"][1] < info["iterations"][2] == 4
    np.testing.assert_allclose(final, expected[0], rtol=0, atol=1e-12)  # NaN where scan's is
    np.testing.assert_allclose(ys, expected[1], rtol=0, atol=1e-12)
    assert np.isnan(ys).sum() == (12 - 5) * H


def test_overflow() -> None:
    """Products of Jacobians beyond the range of single precision: on the way, where the step alone goes on, and
    on the way back, where steps one after the other do."""
    cell = Elman(1)
    weights = {"recurrent": jnp.full((1, 1), 10.0)}
    drive = jnp.full((200, 1), 1e-3)
    run = jax.jit(lambda state, drive: newton(cell, weights, state, drive, batch_shape=(), options=FULL))
    final, ys, info = run(jnp.zeros(1), drive)
    assert_same((final, ys), scan(cell, weights, jnp.zeros(1), drive), 1e-5)
    assert info["converged"]

    found = jax.grad(lambda state: run(state, jnp.zeros((200, 1)))[1][0].sum())(jnp.zeros(1))
    np.testing.assert_allclose(found, [10.0], rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_what_has_converged_is_left_alone() -> None:
    """With a wide tolerance, an example's result doesn't depend on how long the others take."""
    params, state, xs = example(Elman(H), 30, (2,))
    xs = xs.at[:, 0].multiply(5)
    drive = Elman(H).drive({**params, "recurrent": 3 * params["recurrent"]}, xs)
    options = Newton(tolerance=1e-2)
    run = jax.jit(lambda *given: newton(Elman(H), *given, batch_shape=(2,), options=options)[2])
    together, doubled = run(params, state, drive), run(params, state[jnp.array([0, 0])], drive[:, [0, 0]])
    assert together["iterations"][0] < together["iterations"][1]
    assert doubled["residual"][0] > 1e-9
    np.testing.assert_allclose(together["residual"][0], doubled["residual"][0], rtol=1e-6)


# --- damping


@dataclass(frozen=True)
class Cubic(Cell):
    """Stable near 0, and off to infinity from far away."""

    def step(self, weights: Params, state: Array, drive: Array) -> tuple[Array, Array]:
        h = 0.9 * state + drive - 0.1 * state**3
        return h, h


@BOTH
@pytest.mark.usefixtures("x64")
def test_damping_holds_what_runs_away(options: Newton) -> None:
    drive = jnp.asarray(np.random.default_rng(0).normal(size=(200, 2)))
    expected = scan(Cubic(), None, jnp.zeros(2), drive)

    def run(options: Newton) -> Any:
        run = jax.jit(lambda *given: newton(Cubic(), None, *given, batch_shape=(), options=options))
        final, ys, info = run(jnp.zeros(2), drive)
        assert_same((final, ys), expected, 1e-12)
        return info

    plain, damped = run(options), run(replace(options, damping=1.0))
    assert not plain["converged"]
    assert not np.isfinite(plain["residual"])
    assert damped["converged"]
    assert damped["iterations"] < 60


@pytest.mark.usefixtures("x64")
def test_damping_holds_a_misleading_diagonal() -> None:
    """Eigenvalues ½ and ½, but 1.5 on the diagonal: what quasi-Newton takes for growth."""
    params = {"kernel": jnp.eye(2), "recurrent": jnp.array([[1.5, 1.0], [-1.0, -0.5]]), "bias": jnp.zeros(2)}
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(200, 2)))
    for damping, expected in ((0.0, False), (20.0, True)):
        options, cell = Newton(100, jacobian="diagonal", damping=damping), Elman(2, activation="identity")
        found, reference, info = both(
            cell, options, params, jnp.zeros(2), xs, None, reverse=False, batch_shape=()
        )
        assert info["converged"] == expected
        assert_same(found, reference, 1e-10)


@pytest.mark.usefixtures("x64")
def test_damping_leaves_the_solution() -> None:
    assert compare(BasicGRU(H), Newton(damping=1.0), 17, (3,), masked=True)["converged"].all()


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
