"""Both directions: the equations, padding, and what can't be done without a step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from analysis import state_gradients, step_jacobians
from models import GRU, LSTM, Cell, Elman, LSTMState, unroll
from models.cell import Array
from models.layers.bidirectional import Backward, Bidirectional, Directions
from models.layers.layer import check_causal, is_causal
from models.layers.stacked import Stacked
from models.recurrence.streaming import stream
from tests.models import drawn, loops

pytestmark = pytest.mark.slow

T, B, D = 5, 3, 2
LENGTHS = np.array([2, 5, 2])
MASK = np.arange(T)[:, None] < LENGTHS
run = jax.jit(unroll, static_argnums=0, static_argnames="reverse")
MIXED: dict[str, Bidirectional] = {
    "concatenate": Bidirectional(LSTM(2), GRU(3)),
    "sum": Bidirectional(LSTM(3), GRU(3), "sum"),
    "mean": Bidirectional(LSTM(3), GRU(3), "mean"),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "merge", [pytest.param(merge, marks=[pytest.mark.full] if merge == "sum" else []) for merge in MIXED]
)
@pytest.mark.usefixtures("x64")
def test_equations(merge: str, reverse: bool) -> None:
    """Two NumPy loops over the valid steps, one from each end; then merged."""
    layer = MIXED[merge]
    rng, in_jax = np.random.default_rng(1), drawn.parameters(layer, D)
    params = jax.tree.map(np.array, in_jax)
    size = layer.forward.hidden_size  # pyright: ignore[reportAttributeAccessIssue]
    xs, h, c, g = rng.normal(size=(T, B, D)), *rng.normal(size=(2, B, size)), rng.normal(size=(B, 3))
    forward, f = loops.run(loops.lstm, params["forward"], xs, (h, c), MASK, reverse)
    backward, b = loops.run(loops.gru_after, params["backward"], xs, (g,), MASK, not reverse)
    merged = {"concatenate": np.concatenate([f, b], axis=-1), "sum": 0, "mean": 0}[merge]
    if merge != "concatenate":
        merged = f + b if merge == "sum" else (f + b) / 2
    padded = jnp.where(jnp.asarray(MASK)[..., None], jnp.asarray(xs), jnp.nan)
    state = Directions(LSTMState(jnp.asarray(h), jnp.asarray(c)), jnp.asarray(g))
    final, ys = run(layer, in_jax, padded, state, mask=jnp.asarray(MASK), reverse=reverse)
    for found, wanted in zip(jax.tree.leaves((final, ys)), [*forward, *backward, merged], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    assert not np.any(np.asarray(ys)[~MASK])


@pytest.mark.usefixtures("x64")
def test_backward_alone_is_the_backward_half() -> None:
    """Outputs, final state and gradients, under a mask; turned round it reads forward."""
    cell, rng = GRU(3), np.random.default_rng(1)
    params = drawn.parameters(cell, D)
    xs, mask = jnp.asarray(rng.normal(size=(T, B, D))), jnp.asarray(MASK)
    both = Bidirectional(cell)
    ends, ys = run(both, {"forward": params, "backward": params}, xs, mask=mask)
    for reverse, half, final in ((False, ys[..., 3:], ends.backward), (True, ys[..., :3], ends.forward)):
        found, alone = run(Backward(cell), params, xs, mask=mask, reverse=reverse)
        np.testing.assert_allclose(alone, half, rtol=1e-12)
        np.testing.assert_allclose(found, final, rtol=1e-12)
    state = jnp.asarray(rng.normal(size=(B, 3)))
    found, _ = run(Backward(cell), params, xs, state, mask=mask)
    np.testing.assert_allclose(found, run(cell, params, xs, state, mask=mask, reverse=True)[0], rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_a_padded_batch_is_each_sequence_alone() -> None:
    """Values, final states and gradients, of directions in a stack too, with NaN for padding."""
    layer = Stacked((Bidirectional(LSTM(2)), Bidirectional(GRU(2), merge="sum")), "dense")
    params = drawn.parameters(layer, D)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    mask = jnp.asarray(MASK)

    def loss(params: Any, xs: Array, mask: Array | None) -> tuple[Array, Any]:
        final, ys = unroll(layer, params, xs, mask=mask)
        weight = jnp.cos(jnp.arange(xs.shape[0]))
        leaves = [jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(final)]
        return jnp.sum(weight.reshape(-1, *(1,) * (ys.ndim - 1)) * ys) + sum(leaves), (final, ys)

    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (of_params, of_xs), (final, ys) = differentiate(params, jnp.where(mask[..., None], xs, jnp.nan), mask)
    summed = jax.tree.map(jnp.zeros_like, params)
    for b, length in enumerate(LENGTHS):
        (own_params, own_xs), (own_final, own_ys) = differentiate(params, xs[:length, b], None)
        np.testing.assert_allclose(ys[:length, b], own_ys, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(of_xs[:length, b], own_xs, rtol=1e-10, atol=1e-12)
        for found, wanted in zip(jax.tree.leaves(final), jax.tree.leaves(own_final), strict=True):
            np.testing.assert_allclose(found[b], wanted, rtol=1e-12, atol=1e-14)
        summed = jax.tree.map(jnp.add, summed, own_params)
    for found, wanted in zip(jax.tree.leaves(of_params), jax.tree.leaves(summed), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    assert not np.any(np.asarray(of_xs)[~MASK])
    assert not np.any(np.asarray(ys)[~MASK])


def test_same_kind_of_cell_by_default_with_other_parameters() -> None:
    layer = Bidirectional(LSTM(3))
    params = layer.init(jax.random.key(0), D)
    assert params.keys() == {"forward", "backward"}
    assert np.any(params["forward"]["kernel"] != params["backward"]["kernel"])
    assert layer == Bidirectional(LSTM(3))
    assert hash(layer) == hash(Bidirectional(LSTM(3)))
    state = layer.initial_state(params, (B,))
    assert isinstance(state, Directions)
    assert all(isinstance(side, LSTMState) for side in state)
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [(B, 3)] * 4


def test_causality() -> None:
    both = Bidirectional(Elman(2))
    assert [is_causal(cell) for cell in (LSTM(2), Stacked((LSTM(2), GRU(2))))] == [True, True]
    assert [is_causal(cell) for cell in (both, Stacked((LSTM(2), both)))] == [False, False]
    check_causal(Stacked((LSTM(2),)))


def loss_of_output(final: Any, ys: Array) -> Array:
    return jnp.sum(ys)


XS = jnp.ones((T, D))
NEEDS_A_STEP: dict[str, Callable[[Cell, Any], Any]] = {
    "stream": lambda layer, params: stream(layer, params),
    "jacobians": lambda layer, params: step_jacobians(layer, params, XS),
    "gradients": lambda layer, params: state_gradients(layer, params, XS, loss_of_output),
    "prepare": lambda layer, params: layer.prepare(params),
    "step": lambda layer, params: layer.step(params, layer.initial_state(params), XS[0]),
}


@pytest.mark.parametrize("name", NEEDS_A_STEP)
def test_what_needs_a_step_refuses(name: str) -> None:
    for layer in (Bidirectional(Elman(2)), Stacked((Bidirectional(Elman(2)),)), Backward(Elman(2))):
        params = drawn.parameters(layer, D)
        with pytest.raises(
            ValueError, match=f"a {type(layer).__name__} that reads from the end .* has no step"
        ):
            NEEDS_A_STEP[name](layer, params)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"sum of two directions .* forward cell has 2 .* backward cell 3"):
        Bidirectional(LSTM(2), GRU(3), "sum").init(jax.random.key(0), D)
    layer = Bidirectional(Elman(2))
    params = drawn.parameters(layer, D)
    with pytest.raises(ValueError, match=r"2 parts must be a tuple .*\(forward, backward\), but is"):
        unroll(layer, params, XS, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"mask must be an array \[T, \*batch\] = \[5\]"):
        unroll(layer, params, XS, mask=jnp.ones((4,), bool))
    with pytest.raises(ValueError, match="D is 1 in the inputs"):
        unroll(layer, params, XS[:, :1])


def test_unknown_merge() -> None:
    merge: Any = "product"
    jaxtyping.config.update("jaxtyping_disable", True)  # else the suite's own check speaks first
    try:
        with pytest.raises(ValueError, match=r"unknown merge 'product' .* concatenate, sum, mean"):
            Bidirectional(Elman(2), merge=merge)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
