"""Called without `jit` around them, the doors compile once; and cells may be arguments of JAX's functions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import gradient_by_lag, parameter_gradient_by_lag
from models import (
    LSTM,
    Bidirectional,
    Cell,
    Elman,
    LanguageModel,
    Stacked,
    truncated_value_and_gradient,
    unroll,
)
from models.cell import Array, Params
from models.recurrence.unroll import last_output
from tests.compilation import compilations

pytestmark = pytest.mark.usefixtures("quick_compilation")
XS = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3, 2)), jnp.float32)


def total(state: Any, ys: Array) -> Array:
    return jnp.sum(ys)


def segment_loss(params: Params, state: Any, xs: Array) -> tuple[Array, Any]:
    state, ys = unroll(LSTM(4), params, xs, state)
    return jnp.sum(ys), state


@pytest.mark.slow
def test_equal_calls_compile_nothing() -> None:
    """A cell made anew is the same cell; the first call shows that compilations are counted."""
    params = LSTM(4).init(jax.random.key(0), 2)
    layers = Stacked((LSTM(4), Bidirectional(Elman(4))))
    of_layers = layers.init(jax.random.key(0), 2)
    state = LSTM(4).initial_state(params, (3,))
    tokens = jnp.ones((6, 3), jnp.int32)
    model = LanguageModel(LSTM(4), 5, 2)
    variables = jax.jit(model.init)(jax.random.key(0), tokens)
    calls: dict[str, Callable[[], Any]] = {
        "unroll": lambda: unroll(LSTM(4), params, XS),
        "scan, masked": lambda: unroll(LSTM(4), params, XS, mask=jnp.ones((6, 3), bool), method="scan"),
        "a layer": lambda: last_output(layers, of_layers, XS),
        "loss": lambda: model.apply(variables, tokens, tokens, method="loss"),
        "gradient": lambda: jax.grad(lambda p: jnp.sum(unroll(LSTM(4), p, XS)[1]))(params),
        "by lag": lambda: gradient_by_lag(LSTM(4), params, XS, total),
        "parameters by lag": lambda: parameter_gradient_by_lag(LSTM(4), params, XS, total),
        "truncated": lambda: truncated_value_and_gradient(segment_loss, params, state, XS, every=4),
    }
    for name, call in calls.items():
        assert compilations(call) > 0, name
        assert compilations(call) == 0, name


def test_a_cell_among_the_arguments() -> None:
    params = Elman(4).init(jax.random.key(0), 2)
    _, expected = unroll(Elman(4), params, XS)
    for function in (jax.jit(unroll), jax.checkpoint(unroll)):
        np.testing.assert_allclose(function(Elman(4), params, XS)[1], expected, rtol=1e-6)

    def loss(given: tuple[Cell, Params]) -> Array:
        return jnp.sum(unroll(*given, XS)[1])

    cell, gradient = jax.grad(loss)((Elman(4), params))
    assert cell == Elman(4)
    wanted = jax.grad(lambda p: loss((Elman(4), p)))(params)
    jax.tree.map(np.testing.assert_array_equal, gradient, wanted)


@dataclass(frozen=True)
class Listed(Elman):
    taps: list[int] = field(default_factory=list)


def test_a_cell_without_a_hash_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"Listed can't be hashed, since its field 'taps' holds a list: .*tuples"
    ):
        Listed(4)


@pytest.mark.parametrize("method", ["scan", "fused", "associative", "newton"])
def test_no_steps_and_no_examples(method: Any) -> None:
    """T = 0 gives the state and `[0, …]`, B = 0 empty arrays, by every method and in both directions."""
    cell = Elman(4, activation="identity")
    params = cell.init(jax.random.key(0), 2)
    state = jnp.full((3, 4), 0.5)
    for reverse in (False, True):
        final, ys = unroll(cell, params, XS[:0], state, method=method, reverse=reverse)
        np.testing.assert_array_equal(final, state)
        assert ys.shape == (0, 3, 4)
        final, ys = unroll(cell, params, XS[:, :0], method=method, reverse=reverse)
        assert (final.shape, ys.shape) == ((0, 4), (6, 0, 4))
