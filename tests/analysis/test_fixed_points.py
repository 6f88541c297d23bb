"""Fixed points against those known in closed form, SciPy's root finder, and the fixed-point equation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root, root_scalar
from scipy.special import expit

from analysis import FixedPoints, ScalarRNN, find_fixed_points, principal_axes
from models import GRU, LSTM, MLSTM, SLSTM, Cell, Elman, Gaussian, Stacked
from models.cell import Array

NO_INPUT = jnp.zeros(0)


def zero_of(function: Any, low: float, high: float) -> float:
    """By SciPy, from a bracket."""
    return float(root_scalar(function, bracket=(low, high), method="brentq", xtol=1e-14).root)


@dataclass(frozen=True)
class Map(Cell):
    """A map of the state, given as a function of the parameters and it."""

    function: Any
    size: int

    def init(self, key: Array, input_size: int) -> Any:
        return {}

    def initial_state(self, params: Any, batch_shape: tuple[int, ...] = ()) -> Array:
        return jnp.zeros((*batch_shape, self.size))

    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Array, Array]:
        state = self.function(weights, state)
        return state, state


def affine_map(p: Any, s: Array) -> Array:
    return s @ p["matrix"].T + p["shift"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0.5, -0.9, 0.1], "stable"), ([0.5, -1.2, 0.3], "saddle"), ([2.0, -1.1, 3.0], "unstable")],
)
@pytest.mark.usefixtures("x64")
def test_linear_map(values: list[float], kind: str) -> None:
    """s = A s + c has the one solution (I − A)⁻¹ c."""
    basis = np.array([[1, 0.2, 0], [0.3, 1, -0.4], [0, 0.5, 1]])
    matrix, shift = basis @ np.diag(values) @ np.linalg.inv(basis), np.array([1.0, -2, 0.5])
    params = {"matrix": jnp.asarray(matrix), "shift": jnp.asarray(shift)}
    starts = 10 * jax.random.normal(jax.random.key(0), (20, 3))
    found = find_fixed_points(Map(affine_map, 3), params, NO_INPUT, starts)
    np.testing.assert_allclose(found.states, [np.linalg.solve(np.eye(3) - matrix, shift)], rtol=1e-8)
    np.testing.assert_allclose(found.eigenvalues[0], sorted(values, key=abs, reverse=True), atol=1e-12)
    assert found.kinds == [kind]
    assert found.unstable[0] == sum(abs(v) > 1 for v in values)
    assert (found.starts.tolist(), found.lost) == ([20], 0)


def line_attractor(p: Any, s: Array) -> Array:
    return jnp.stack([s[0] + p["drift"], 0.5 * s[1]])


@pytest.mark.usefixtures("x64")
def test_slow_points() -> None:
    """s_1 drifts at 0.003 a step wherever it is: no fixed point, a slow one for each start that stands
    apart."""
    starts = jnp.stack([jnp.arange(6.0), jnp.ones(6)], axis=1)
    cell = Map(line_attractor, 2)
    found = find_fixed_points(cell, {"drift": jnp.asarray(0.003)}, NO_INPUT, starts)
    assert not found.fixed.any()
    np.testing.assert_allclose(found.speed, 0.003, rtol=1e-6)
    np.testing.assert_allclose(np.sort(found.states[:, 0]), np.arange(6), atol=1e-6)
    np.testing.assert_allclose(found.states[:, 1], 0, atol=1e-6)
    assert set(found.kinds) == {"slow stable"}
    fast = find_fixed_points(cell, {"drift": jnp.asarray(0.03)}, NO_INPUT, starts)
    assert (len(fast.states), fast.lost) == (0, 6)


# --- x' = 5 σ(x) + b


def one_unit(b: float) -> FixedPoints:
    params = {"w": jnp.asarray(5.0), "b": jnp.asarray(b)}
    return find_fixed_points(ScalarRNN(), params, NO_INPUT, jnp.linspace(-4, 4, 17), separation=1e-4)


def edges() -> list[float]:
    """Finds where x = 5 σ(x) + b and 5 σ'(x) = 1: σ = (1 ± √(1/5))/2."""
    sigma = (1 + np.array([1, -1]) * np.sqrt(0.2)) / 2
    return (np.log(sigma / (1 - sigma)) - 5 * sigma).tolist()


@pytest.mark.usefixtures("x64")
def test_bistable_between_its_edges() -> None:
    """Two stable points and a saddle for −2.65561 < b < −2.34439, to 1e-5 on both sides of both edges; one
    beyond."""
    low, high = edges()
    np.testing.assert_allclose([low, high], [-2.65561, -2.34439], atol=5e-6)
    for b, inside in ((low, 1e-5), (high, -1e-5)):
        found = one_unit(b + inside)
        assert sorted(np.array(found.kinds)[found.fixed]) == ["stable", "stable", "unstable"]
        found = one_unit(b - inside)
        assert np.array(found.kinds)[found.fixed].tolist() == ["stable"]
        assert "slow" in " ".join(found.kinds)  # the ghost of the two that have met


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("b", [-2.335, -2.338, -2.342, -2.66, -2.658])
def test_a_ghost_is_no_matter_of_rounding(b: float) -> None:
    """The slow point left where fixed points have met and gone has an eigenvalue of 1 to rounding."""
    found = one_unit(b)
    ghosts = [kind for kind, fixed in zip(found.kinds, found.fixed, strict=True) if not fixed]
    np.testing.assert_allclose(found.eigenvalues[~found.fixed], 1, atol=1e-6)
    assert ghosts == ["slow stable"]


@pytest.mark.usefixtures("x64")
def test_points_of_one_unit() -> None:
    """Each where SciPy finds the root between the bends, with slope 5 σ(1 − σ)."""
    b = -2.45
    found = one_unit(b)
    brackets = [(-6, -0.97), (-0.96, 0.96), (0.97, 6)]
    expected = [zero_of(lambda x: 5 * expit(x) + b - x, *bracket) for bracket in brackets]
    order = np.argsort(found.states[:, 0])
    np.testing.assert_allclose(found.states[order, 0], expected, atol=1e-8)
    slopes = [5 * expit(x) * expit(-x) for x in expected]
    np.testing.assert_allclose(found.eigenvalues[order, 0], slopes, rtol=1e-6)


# --- nets


@pytest.mark.usefixtures("x64")
def test_hopfield_net() -> None:
    """h' = tanh(g (ξ¹ξ¹ᵀ + ξ²ξ²ᵀ) h / N) with orthogonal patterns: ±a ξ with a = tanh(g a) are stable, zero
    is unstable in the two directions of the patterns, and ±c (ξ¹ ± ξ²) with 2c = tanh(2 g c) are the saddles
    between."""
    size, gain = 8, 2.0
    patterns = np.array([[1, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1, 1, 1, -1, -1]], float)
    cell = Elman(size)
    params = {
        "kernel": jnp.zeros((1, size)),
        "recurrent": jnp.asarray(gain * patterns.T @ patterns / size),
        "bias": jnp.zeros(size),
    }
    starts = jax.random.normal(jax.random.key(0), (400, size))
    found = find_fixed_points(cell, params, jnp.zeros(1), starts)
    a = zero_of(lambda a: a - np.tanh(gain * a), 0.1, 1)
    c = zero_of(lambda c: 2 * c - np.tanh(2 * gain * c), 0.1, 1)
    expected = {
        "stable": [s * a * p for s in (1, -1) for p in patterns],
        "saddle": [
            np.zeros(size),
            *(s * c * (patterns[0] + t * patterns[1]) for s in (1, -1) for t in (1, -1)),
        ],
    }
    assert found.fixed.all()
    for kind, points in expected.items():
        ours = found.states[np.array(found.kinds) == kind]
        assert len(ours) == len(points)
        for point in points:
            assert np.min(np.linalg.norm(ours - point, axis=1)) < 1e-7
    at_zero = np.argmin(np.linalg.norm(found.states, axis=1))
    assert found.unstable[at_zero] == 2
    np.testing.assert_allclose(found.eigenvalues[at_zero, :2], gain, rtol=1e-6)


@pytest.mark.parametrize("cell", [GRU(5, recurrent_init=Gaussian(3.0)), LSTM(4)], ids=["gru", "lstm"])
@pytest.mark.usefixtures("x64")
def test_scipy_finds_the_same(cell: Cell) -> None:
    """Gated nets with input: Powell's hybrid method from where ours ended, and a little off it, stays there."""
    params = cell.init(jax.random.key(1), 2)
    x = jnp.asarray([0.7, -1.0])
    starts = jax.tree.map(
        lambda leaf: jax.random.uniform(jax.random.key(2), leaf.shape, minval=-1, maxval=1),
        cell.initial_state(params, (60,)),
    )
    found = find_fixed_points(cell, params, x, starts)
    leaves, structure = jax.tree.flatten(cell.initial_state(params))
    drive = cell.drive(params, x)

    @jax.jit
    def velocity(vector: Array) -> Array:
        pieces = jnp.split(vector, len(leaves))
        stepped = cell.step(params, jax.tree.unflatten(structure, pieces), drive)[0]
        return jnp.concatenate(jax.tree.leaves(stepped)) - vector

    assert found.fixed.any()
    for point in found.states[found.fixed]:
        theirs = root(lambda v: np.asarray(velocity(v)), point + 1e-4, tol=1e-12)
        assert theirs.success
        np.testing.assert_allclose(point, theirs.x, atol=1e-7)


@pytest.mark.usefixtures("x64")
def test_out_of_reach() -> None:
    """Starts about 3, the only fixed point at 0: found if reach is ample, lost if it isn't."""
    cell, params = Map(affine_map, 1), {"matrix": jnp.full((1, 1), 0.5), "shift": jnp.zeros(1)}
    starts = jnp.asarray([[2.5], [3.5]])
    assert find_fixed_points(cell, params, NO_INPUT, starts, reach=3.1).starts.tolist() == [2]
    assert find_fixed_points(cell, params, NO_INPUT, starts, reach=2.9).lost == 2


def test_single_precision() -> None:
    """The saddle-node's stable points to 1e-4 in float32 too."""
    found = one_unit(-2.45)
    stable = np.sort(found.states[np.array(found.kinds) == "stable", 0])
    expected = [zero_of(lambda x: 5 * expit(x) - 2.45 - x, *bracket) for bracket in ((-6, -0.97), (0.97, 6))]
    np.testing.assert_allclose(stable, expected, atol=1e-4)


def test_starts_that_do_not_fit() -> None:
    cell = LSTM(3)
    params = cell.init(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="starts must be N states of LSTM"):
        find_fixed_points(cell, params, jnp.zeros(1), jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="no starts"):
        find_fixed_points(cell, params, jnp.zeros(1), cell.initial_state(params, (0,)))


@pytest.mark.parametrize("cell", [SLSTM(2), MLSTM(2), Stacked((Elman(2), SLSTM(2)))], ids=str)
def test_states_written_in_more_than_one_way_are_refused(cell: Cell) -> None:
    params = cell.init(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="several representations"):
        find_fixed_points(cell, params, jnp.zeros(1), cell.initial_state(params, (3,)))


def test_principal_axes() -> None:
    """Of points on an ellipse in a plane of five dimensions: its axes, long one first."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    long, short = np.array([0, 1, 0, 0, 0.0]), np.array([0.6, 0, 0, -0.8, 0])
    points = 3 + 4 * np.cos(angle)[:, None] * long + np.sin(angle)[:, None] * short
    mean, axes = principal_axes(points.reshape(8, 5, 5))
    np.testing.assert_allclose(mean, np.full(5, 3), atol=1e-12)
    np.testing.assert_allclose(axes, [long, -short], atol=1e-12)  # the largest entry of each is positive
    with pytest.raises(ValueError, match="2 axes"):
        principal_axes(points[:1])
