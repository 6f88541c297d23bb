"""`unroll` and the cells against NumPy loops written from the equations (loops.py), masks and directions too."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import GRU, LSTM, BasicGRU, Cell, Elman, LSTMState, unroll
from models.cell import Array
from tests.models import loops

D = 2
CELLS: dict[str, tuple[Cell, loops.Step]] = {
    "elman": (Elman(3), loops.elman()),
    "elman-relu": (Elman(3, activation="relu"), loops.elman(lambda a: np.maximum(a, 0))),
    "elman-sigmoid": (Elman(3, activation="sigmoid"), loops.elman(loops.sigmoid)),
    "elman-function": (Elman(2, activation=jnp.sin), loops.elman(np.sin)),
    "basic_gru": (BasicGRU(3), loops.basic_gru),
    "gru-before": (GRU(3, reset="before"), loops.gru_before),
    "gru-after": (GRU(3), loops.gru_after),
    "lstm": (LSTM(3), loops.lstm),
}
run = jax.jit(unroll, static_argnums=0, static_argnames="reverse")


class Example(NamedTuple):
    p: loops.Arrays
    xs: np.ndarray
    state: loops.State


def example(cell: Cell, length: int = 4, batch: tuple[int, ...] = (), seed: int = 0) -> Example:
    """Every parameter random, biases too; a state that is not zero."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: cell.init(key, D), jax.random.key(0))
    p = {name: rng.normal(size=leaf.shape) for name, leaf in shapes.items()}
    size = p["recurrent"].shape[0]
    state = tuple(rng.normal(size=(*batch, size)) for _ in range(2 if isinstance(cell, LSTM) else 1))
    return Example(p, rng.normal(size=(length, *batch, D)), state)


def ours(cell: Cell, given: Example) -> tuple[Any, Array, Any]:
    """The same as JAX takes it."""
    p, xs, state = jax.tree.map(jnp.asarray, tuple(given))
    return p, xs, LSTMState(*state) if isinstance(cell, LSTM) else state[0]


def assert_same(found: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.usefixtures("x64")
def test_equations(name: str) -> None:
    """Outputs, final state and the gradient in everything, by central differences of the NumPy loop."""
    cell, step = CELLS[name]
    given = example(cell)

    def scalar(state: Any, ys: Any, xp: Any) -> Any:
        weighted = [xp.sum(leaf * np.cos(np.arange(leaf.size)).reshape(leaf.shape)) for leaf in (ys, *state)]
        return sum(weighted)

    def loss(p: Any, xs: Array, state: Any) -> tuple[Array, Any]:
        final, ys = unroll(cell, p, xs, state)
        return scalar(jax.tree.leaves(final), ys, jnp), (final, ys)

    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    gradients, out = differentiate(*ours(cell, given))
    assert_same(out, loops.run(step, *given))
    leaves = jax.tree.leaves(tuple(given))
    differences = loops.central_differences(lambda: float(scalar(*loops.run(step, *given), np)), *leaves)
    for found, expected in zip(jax.tree.leaves(gradients), differences, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8)


@given(
    length=st.integers(0, 5),
    batch=st.sampled_from([(), (2,), (1, 3)]),
    name=st.sampled_from(["elman", "gru-after", "lstm"]),
    seed=st.integers(0, 2**16),
    reverse=st.booleans(),
)
@settings(max_examples=12)  # each is compiled anew
def test_shapes(length: int, batch: tuple[int, ...], name: str, seed: int, reverse: bool) -> None:
    """Any length, none included, and any number of batch axes; with a random mask and without."""
    cell, step = CELLS[name]
    given = example(cell, length, batch, seed)
    mask = np.random.default_rng(seed).random((length, *batch)) < 0.6
    with jax.enable_x64(True):
        both = jax.jit(
            lambda *given: [unroll(cell, *given, mask=m, reverse=reverse) for m in (None, jnp.asarray(mask))]
        )
        found = both(*ours(cell, given))
    assert_same(found, [loops.run(step, *given, mask=m, reverse=reverse) for m in (None, mask)])


@pytest.mark.parametrize("name", ["basic_gru", "gru-before", "lstm"])
@given(data=st.data(), reverse=st.booleans())
def test_masks(name: str, data: st.DataObject, reverse: bool) -> None:
    """A sequence with holes, filled with NaN, is the sequence without them: values and gradients."""
    cell, step = CELLS[name]
    length, batch = 5, 2
    bits = data.draw(st.lists(st.booleans(), min_size=length * batch, max_size=length * batch))
    mask = np.array(bits).reshape(length, batch)
    p, xs, state = given = example(cell, length, (batch,))
    holes = Example(p, np.where(mask[..., None], xs, np.nan), state)
    with jax.enable_x64(True):
        final, ys, gradients = masked(cell, *ours(cell, holes), jnp.asarray(mask), reverse=reverse)
    assert_same((final, ys), loops.run(step, *given, mask=mask, reverse=reverse))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    of_inputs = np.asarray(gradients[1])
    assert not np.any(of_inputs[~mask])
    # Only what is valid counts: the gradient in the inputs, by one directional difference of the NumPy loop.
    change = 1e-6 * np.cos(np.arange(xs.size)).reshape(xs.shape)
    ends = [loops.run(step, p, xs + sign * change, state, mask, reverse)[1].sum() for sign in (1, -1)]
    np.testing.assert_allclose(np.sum(of_inputs * change), (ends[0] - ends[1]) / 2, rtol=1e-6, atol=1e-13)


@partial(jax.jit, static_argnums=0, static_argnames="reverse")
def masked(
    cell: Cell, p: Any, xs: Array, state: Any, mask: Array, *, reverse: bool
) -> tuple[Any, Array, Any]:
    def loss(p: Any, xs: Array, state: Any) -> tuple[Array, Any]:
        final, ys = unroll(cell, p, xs, state, mask=mask, reverse=reverse)
        return jnp.sum(ys), (final, ys)

    gradients, (final, ys) = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(p, xs, state)
    return final, ys, gradients


@dataclass(frozen=True)
class Spiral(Cell):
    """z_t = a z_{t−1} + x_t for a complex a; a counter of the steps beside it; y_t = (Re z_t, n_t Im z_t)."""

    a: complex = 0.8 + 0.5j

    def init(self, key: Array, input_size: int) -> Any:
        return {"scale": jnp.ones(input_size)}

    def initial_state(self, params: Any, batch_shape: tuple[int, ...] = ()) -> Any:
        return {"z": jnp.zeros((*batch_shape, D), complex), "n": jnp.zeros(batch_shape, int)}

    def step(self, weights: Any, state: Any, drive: Array) -> tuple[Any, Array]:
        z = self.a * state["z"] + drive * jnp.broadcast_to(weights["scale"], drive.shape)
        n = state["n"] + 1
        return {"z": z, "n": n}, jnp.concatenate([z.real, n[..., None] * z.imag], axis=-1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.usefixtures("x64")
def test_complex_and_integer_leaves(reverse: bool) -> None:
    """They go through masks and directions: padding doesn't count, and every leaf keeps its type."""
    cell, batch = Spiral(), 3
    xs = np.random.default_rng(1).normal(size=(6, batch, D))
    mask = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], bool)
    params = cell.init(jax.random.key(0), D)
    padded = jnp.where(jnp.asarray(mask)[..., None], jnp.asarray(xs), jnp.nan)
    final, ys = run(cell, params, padded, mask=jnp.asarray(mask), reverse=reverse)
    assert final["z"].dtype == np.complex128
    assert final["n"].dtype == np.int64
    for b in range(batch):
        z, n, expected = np.zeros(D, complex), 0, np.zeros((6, 2 * D))
        steps = np.flatnonzero(mask[:, b])
        for t in steps[::-1] if reverse else steps:
            z, n = cell.a * z + xs[t, b], n + 1
            expected[t] = [*z.real, *(n * z.imag)]
        assert_same((final["n"][b], final["z"][b], ys[:, b]), (n, z, expected))
    gradient = jax.jit(
        jax.grad(lambda xs: jnp.sum(unroll(cell, params, xs, mask=jnp.asarray(mask), reverse=reverse)[1]))
    )(padded)
    assert np.isfinite(gradient).all()
    assert not np.any(np.asarray(gradient)[~mask])


@dataclass(frozen=True)
class Prepared(Elman):
    """Notes what it is prepared with in its bias."""

    def prepare(self, params: Any, *, key: Any = None, train: bool = False, batch_shape: Any = ()) -> Any:
        noise = jax.random.normal(key, (self.hidden_size,)) if key is not None else 0.0
        return params | {
            "bias": noise + 10.0 * train + 100.0 * len(batch_shape) + jnp.zeros(self.hidden_size)
        }


def test_prepare_is_given_key_train_and_batch() -> None:
    cell = Prepared(3, activation="identity")
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), D))
    key, xs = jax.random.key(4), jnp.zeros((1, D))
    noise = np.asarray(jax.random.normal(key, (3,)))

    @jax.jit
    def run_all(params: Any, xs: Array, key: Array) -> list[Array]:
        given: list[dict[str, Any]] = [{}, {"key": key}, {"key": key, "train": True}]
        return [unroll(cell, params, xs, **more)[1] for more in given] + [
            unroll(cell, params, xs[:, None])[1]
        ]

    for found, expected in zip(run_all(params, xs, key), (0, noise, noise + 10, 100), strict=True):
        np.testing.assert_allclose(found.reshape(-1), np.broadcast_to(expected, (3,)), rtol=1e-6)
