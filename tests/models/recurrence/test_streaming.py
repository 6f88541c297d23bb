"""One step at a time gives the numbers of the whole sequence."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, Cell, Elman, unroll
from models.layers.stacked import Stacked
from models.recurrence.streaming import stream
from tests.models import drawn

pytestmark = pytest.mark.slow

T, D = 6, 3
STREAMED = [LSTM(4), GRU(4, reset="before"), Stacked((Elman(3), LSTM(3)), "residual")]


@pytest.mark.parametrize("cell", STREAMED, ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize("batch_shape", [pytest.param((), marks=pytest.mark.full), (2,)])
@pytest.mark.usefixtures("x64")
def test_same_numbers(cell: Cell, batch_shape: tuple[int, ...]) -> None:
    params = drawn.parameters(cell, D)
    xs = jax.random.normal(jax.random.key(1), (T, *batch_shape, D))
    final, ys = jax.jit(unroll, static_argnums=0)(cell, params, xs)
    online = stream(cell, params, batch_shape)
    state, kept = online.initial_state, None
    for t, x in enumerate(xs):
        kept = state if t == 3 else kept
        state, y = online.step(state, x)
        np.testing.assert_allclose(y, ys[t], rtol=1e-12, atol=1e-14)
    for found, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    # A state that was kept is a place to go back to.
    np.testing.assert_allclose(online.step(kept, xs[3])[1], ys[3], rtol=1e-12, atol=1e-14)


@dataclass(frozen=True)
class Counts(Elman):
    """Counts how often it is prepared, and how often its step is traced."""

    def prepare(self, params: Any, **options: Any) -> Any:
        COUNTED.append("prepare")
        return super().prepare(params, **options)

    def pointwise(self, weights: Any, state: Any, drive: Any, r: Any) -> Any:
        COUNTED.append("trace")
        return super().pointwise(weights, state, drive, r)


COUNTED: list[str] = []


def test_prepared_once_and_compiled_once() -> None:
    """Of two streams of equal cells: each prepares for itself, both share one compilation."""
    COUNTED.clear()
    for _ in range(2):
        cell = Counts(2)
        online = stream(cell, drawn.parameters(cell, D))
        state = online.initial_state
        for _ in range(3):
            state, _ = online.step(state, jnp.ones(D))
    assert COUNTED == ["prepare", "trace", "prepare"]


def test_steps_inside_other_transformations() -> None:
    """It is a pure function: a scan over it is the sequence."""
    cell = LSTM(2)
    online = stream(cell, drawn.parameters(cell, D))
    xs = jax.random.normal(jax.random.key(1), (T, D))
    _, ys = jax.lax.scan(online.step, online.initial_state, xs)
    np.testing.assert_allclose(ys, unroll(cell, online.weights, xs)[1], rtol=1e-5, atol=1e-6)


def test_errors() -> None:
    cell = Elman(2)
    online = stream(cell, drawn.parameters(cell, D), (2,))
    with pytest.raises(ValueError, match=r"batch of \[2\], but is \[3, 3\]"):
        online.step(online.initial_state, jnp.ones((3, D)))
    with pytest.raises(ValueError, match="D is 1 in the inputs"):
        online.step(online.initial_state, jnp.ones((2, 1)))
