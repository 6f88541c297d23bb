"""Initialisers have the statistics that their papers say, block by block, and cells use them as the design says."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from models import GRU, LSTM, BasicGRU, Cell, Elman, Gaussian, Glorot, Identity, Orthogonal
from models.initializers import Initializer, gate_blocks

KEY = jax.random.key(11)
CELLS: dict[str, tuple[Callable[..., Cell], int]] = {
    "elman": (Elman, 1),
    "basic_gru": (BasicGRU, 2),
    "gru": (GRU, 3),
    "lstm": (LSTM, 4),
}
GIVEN = pytest.mark.parametrize("name", CELLS)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As a user has it: without the suite's own check of annotations, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@functools.cache
def initial(name: str) -> dict[str, Any]:
    """Parameters of a cell of 40 units for 60 inputs."""
    return jax.jit(lambda key: CELLS[name][0](40).init(key, 60))(KEY)


def blocks(matrix: Any, gates: int) -> list[np.ndarray]:
    return np.split(np.asarray(matrix, np.float64), gates, axis=1)


@GIVEN
def test_recurrent_kernels_are_orthogonal_gate_by_gate(name: str) -> None:
    found = blocks(initial(name)["recurrent"], CELLS[name][1])
    for block in found:
        np.testing.assert_allclose(block @ block.T, np.eye(40), atol=1e-6)
    # Each from its own key: an orthogonal matrix is no other one.
    for i, block in enumerate(found):
        assert all(np.abs(block - other).max() > 0.1 for other in found[:i])


@GIVEN
def test_input_kernels_are_glorot_uniform_gate_by_gate(name: str) -> None:
    """By the size of one gate, not of all packed: U(−a, a) with a² = 6 / (D + H), whose variance is a²/3."""
    bound = math.sqrt(6 / (60 + 40))
    for block in blocks(initial(name)["kernel"], CELLS[name][1]):
        assert np.abs(block).max() <= bound
        assert np.abs(block).max() > 0.98 * bound
        # Of 2,400 draws: mean and variance within five standard errors.
        assert abs(block.mean()) < 5 * bound / math.sqrt(3 * block.size)
        assert abs(block.var() / (bound**2 / 3) - 1) < 5 * math.sqrt(0.8 / block.size)


@GIVEN
def test_biases_are_zero_but_for_the_forget_gate(name: str) -> None:
    params = initial(name)
    expected = np.zeros((CELLS[name][1], 40), np.float32)
    if name == "lstm":
        expected[1] = 1
    np.testing.assert_array_equal(params["bias"], expected.ravel())
    assert not np.any(params.get("recurrent_bias", 0.0))


def test_forget_bias() -> None:
    bias = jax.jit(lambda key: LSTM(2, forget_bias=-1.5).init(key, 1)["bias"])(KEY)
    np.testing.assert_array_equal(bias, np.array([0, 0, -1.5, -1.5, 0, 0, 0, 0], np.float32))


@pytest.mark.parametrize(("shape", "gain"), [((12, 12), 1.0), ((5, 9), 0.5), ((9, 5), 3.0)])
def test_orthogonal(shape: tuple[int, int], gain: float) -> None:
    """Every singular value is the gain; rows or columns, whichever are fewer, are orthogonal."""
    matrix = np.asarray(Orthogonal(gain)(KEY, shape), np.float64)
    np.testing.assert_allclose(np.linalg.svd(matrix)[1], np.full(min(shape), gain), rtol=1e-6)


def test_orthogonal_is_drawn_uniformly() -> None:
    """By the Haar measure an entry of an n×n matrix has mean 0 and variance 1/n, the diagonal's sign included."""
    keys = jax.random.split(KEY, 2000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: Orthogonal()(key, (3, 3))))(keys), np.float64)
    np.testing.assert_allclose(drawn.mean(axis=0), np.zeros((3, 3)), atol=5 * math.sqrt(1 / 3 / 2000))
    np.testing.assert_allclose(drawn.var(axis=0), np.full((3, 3), 1 / 3), atol=0.04)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.8])
def test_gaussian(gain: float) -> None:
    """Variance g²/rows, and eigenvalues that fill the disc of radius g (Girko; Sompolinsky et al.)."""
    size = 200
    matrix = np.asarray(Gaussian(gain)(KEY, (size, size)), np.float64)
    assert abs(matrix.var() * size / gain**2 - 1) < 5 * math.sqrt(2) / size
    moduli = np.abs(np.linalg.eigvals(matrix))
    assert abs(moduli.max() / gain - 1) < 0.1
    # Uniform in the disc: half of them lie within half its area.
    assert abs(np.mean(moduli < gain / math.sqrt(2)) - 0.5) < 0.05


def test_gaussian_counts_the_rows_as_fan_in() -> None:
    matrix = np.asarray(Gaussian(2.0)(KEY, (50, 400)), np.float64)
    assert abs(matrix.var() * 50 / 4 - 1) < 5 * math.sqrt(2 / matrix.size)


def test_identity() -> None:
    np.testing.assert_array_equal(Identity(0.5)(KEY, (2, 2)), np.array([[0.5, 0], [0, 0.5]], np.float32))
    np.testing.assert_array_equal(Identity()(KEY, (2, 3)), np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    packed = jax.jit(lambda key: GRU(2, recurrent_init=Identity(2.0)).init(key, 1)["recurrent"])(KEY)
    np.testing.assert_array_equal(packed, np.array([[2, 0] * 3, [0, 2] * 3], np.float32))


@pytest.mark.parametrize("made", [Glorot(), Orthogonal(), Identity(), Gaussian()], ids=str)
def test_a_map_without_input(made: Initializer) -> None:
    """No rows: nothing to draw, and no division by nothing."""
    found = gate_blocks(made, KEY, 0, 3, gates=2)
    assert found.shape == (0, 6)
    assert found.dtype == jnp.float32


def test_equal_ones_are_one_to_jit() -> None:
    """`jax.nn.initializers` makes unequal closures; a cell that held one would be compiled anew for each."""
    assert Orthogonal(0.5) == Orthogonal(0.5)
    assert hash(Orthogonal(0.5)) == hash(Orthogonal(0.5))
    assert Orthogonal(0.5) != Orthogonal(0.6)
    assert Orthogonal(1.0) != Identity(1.0)
    cells = {LSTM(3, recurrent_init=Gaussian(0.9)) for _ in range(3)} | {
        LSTM(3, recurrent_init=Gaussian(0.8))
    }
    assert len(cells) == 2


@GIVEN
@pytest.mark.parametrize("size", [0, -3, True, 2.0, "4", None])
@pytest.mark.usefixtures("unchecked")
def test_sizes_that_are_none_are_refused(name: str, size: Any) -> None:
    make, _ = CELLS[name]
    with pytest.raises(
        ValueError, match=r"^hidden_size must be a whole number of at least 1, but is "
    ) as raised:
        make(size)
    assert str(raised.value).endswith(repr(size))


@GIVEN
@pytest.mark.parametrize("size", [-1, True, 2.0])
@pytest.mark.usefixtures("unchecked")
def test_input_sizes_that_are_none_are_refused(name: str, size: Any) -> None:
    make, _ = CELLS[name]
    with pytest.raises(ValueError, match=r"^input_size must be a whole number of at least 0, but is "):
        make(2).init(KEY, size)


@pytest.mark.usefixtures("unchecked")
def test_options_that_are_none_are_refused() -> None:
    options: dict[str, Any] = {"reset": "between", "activation": "tanhh"}
    with pytest.raises(ValueError, match=r"reset is 'before' or 'after' the product, but is 'between'"):
        GRU(2, reset=options["reset"])
    with pytest.raises(ValueError, match=r"unknown activation 'tanhh': choose one of tanh, relu"):
        Elman(2, activation=options["activation"])
