"""Truncated backpropagation: the value is that of the whole sequence, the gradient ends at the cuts."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import LSTM, Elman, unroll
from models.cell import Array
from models.recurrence.truncated import carried, truncated_value_and_gradient
from tests.models import drawn, loops
from train.losses import squared_error
from train.optimizer import OptimizerConfig
from train.state import create_state
from train.step import train_step

pytestmark = pytest.mark.slow

T, B, D, H = 7, 2, 2, 3


def loss(params: Any, state: Any, part: Any) -> tuple[Array, Any]:
    """A sum over steps."""
    xs, targets = part
    final, ys = unroll(LSTM(H), params, xs, state)
    return jnp.sum((ys - targets) ** 2), final


def example(seed: int = 0) -> tuple[Any, Any, tuple[Array, Array]]:
    cell, rng = LSTM(H), np.random.default_rng(seed)
    params = drawn.parameters(cell, D)
    state = drawn.states(cell, params, (B,))
    return params, state, (jnp.asarray(rng.normal(size=(T, B, D))), jnp.asarray(rng.normal(size=(T, B, H))))


def close(found: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def truncated(every: int) -> Any:
    return jax.jit(lambda *given: truncated_value_and_gradient(loss, *given, every=every))


@pytest.mark.parametrize("every", [7, 8])
@pytest.mark.usefixtures("x64")
def test_one_segment_is_full_backpropagation(every: int) -> None:
    params, state, sequence = example()
    (value, final), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, state, sequence)
    close(truncated(every)(params, state, sequence), (value, gradient, final))


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.usefixtures("x64")
def test_gradient_of_a_numpy_loop_with_constants_at_the_cuts(every: int) -> None:
    """Central differences of each segment of a NumPy loop, the state at its start held where it was; T = 7 isn't
    a multiple of 3."""
    params, state, sequence = example()
    value, gradient, final = truncated(every)(params, state, sequence)
    p = jax.tree.map(np.array, params)
    xs, targets = map(np.asarray, sequence)
    carry, total, summed = tuple(map(np.asarray, state)), 0.0, [np.zeros_like(leaf) for leaf in p.values()]
    for start in range(0, T, every):
        part = slice(start, start + every)

        def segment(carry: Any = carry, part: slice = part) -> tuple[float, Any]:
            ended, ys = loops.run(loops.lstm, p, xs[part], carry)
            return float(np.sum((ys - targets[part]) ** 2)), ended

        differences = loops.central_differences(lambda segment=segment: segment()[0], *p.values())
        summed = [a + b for a, b in zip(summed, differences, strict=True)]
        own, carry = segment()
        total += own
    np.testing.assert_allclose(value, total, rtol=1e-12)
    close(final, carry)
    for found, expected in zip((gradient[name] for name in p), summed, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    full = jax.jit(jax.grad(lambda *given: loss(*given)[0]))(params, state, sequence)
    assert np.max(np.abs(full["recurrent"] - gradient["recurrent"])) > 1e-2


@pytest.mark.usefixtures("x64")
def test_carried() -> None:
    """The numbers go on, the gradient doesn't; a reset puts the initial state back, which may be learned."""
    state = {"h": jnp.arange(6.0).reshape(3, 2) + 1, "n": jnp.array([4, 5, 6])}
    initial = {"h": jnp.full((3, 2), -1.0), "n": jnp.zeros(3, int)}
    reset = jnp.array([False, True, False])
    close(carried(state), state)
    found = carried(state, reset, initial)
    np.testing.assert_array_equal(found["h"], [[1, 2], [-1, -1], [5, 6]])
    np.testing.assert_array_equal(found["n"], [4, 0, 6])

    def total(h: Array, start: Array) -> Array:
        return jnp.sum(carried(state | {"h": h}, reset, initial | {"h": start})["h"] ** 2)

    of_state, of_initial = jax.grad(total, argnums=(0, 1))(state["h"], initial["h"])
    assert not np.any(of_state)
    np.testing.assert_array_equal(of_initial, [[0, 0], [-2, -2], [0, 0]])


@dataclass(frozen=True)
class NextStep:
    """A `LossFn` of `train` with the state for its carry: how the two are put together."""

    cell: Elman

    def __call__(self, params: Any, carry: Any, batch: Any, key: Array) -> tuple[Any, Any]:
        state = carried(carry, batch["begins"], self.cell.initial_state(params, batch["begins"].shape))
        final, ys = unroll(self.cell, params, batch["xs"], state)
        return squared_error(ys, jnp.zeros_like(ys)), (final, {})


def test_in_training() -> None:
    """Train steps with the state as carry: the second begins where the first ended, but for a new document."""
    cell, rng = Elman(H), np.random.default_rng(0)
    params = cell.init(jax.random.key(0), D)
    xs = jnp.asarray(rng.normal(size=(2, 4, B, D)), jnp.float32)
    config = OptimizerConfig(learning_rate=1e-9)  # the parameters stay what they are
    state = create_state(params, config, jax.random.key(1), cell.initial_state(params, (B,)))
    step = jax.jit(train_step, static_argnames=("loss_fn", "optimizer"))
    for part, begins in zip(xs, ([True, True], [False, True]), strict=True):
        batch = {"xs": part, "begins": jnp.array(begins)}
        state, _ = step(state, batch, loss_fn=NextStep(cell), optimizer=config)
    whole, _ = unroll(cell, params, xs.reshape(8, B, D))
    second, _ = unroll(cell, params, xs[1])
    np.testing.assert_allclose(state.carry, jnp.stack([whole[0], second[1]]), rtol=1e-5, atol=1e-6)
    assert np.any(np.abs(whole[1] - second[1]) > 1e-3)


def test_errors() -> None:
    params, state, (xs, targets) = example()
    with pytest.raises(ValueError, match="every must be a whole number of at least 1, but is 0"):
        truncated_value_and_gradient(loss, params, state, (xs, targets), every=0)
    with pytest.raises(ValueError, match=r"must have one length T, but have \[6, 7\]"):
        truncated_value_and_gradient(loss, params, state, (xs, targets[:-1]), every=2)
    with pytest.raises(ValueError, match="a reset needs the initial state"):
        carried(state, jnp.array([True, False]))
    with pytest.raises(ValueError, match=r"is \[3\], and a leaf is \[2, 3\]"):
        carried(state, jnp.ones(3, bool), state)
