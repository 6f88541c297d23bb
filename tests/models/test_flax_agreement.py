"""Weights taken from Flax Linen give Flax's outputs, final states and gradients; weights in PyTorch's layout give
those of JAX's own reference of cuDNN's LSTM."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.experimental.rnn import lstm_ref

from models import GRU, LSTM, BasicGRU, Cell, Elman, LSTMState, unroll
from models.cell import Array
from models.weights.linen import from_linen, to_linen
from models.weights.torch import from_torch

PAIRS = {
    "SimpleCell": (nn.SimpleCell, {}, Elman, {}),
    "SimpleCell-relu": (nn.SimpleCell, {"activation_fn": nn.relu}, Elman, {"activation": "relu"}),
    "MGUCell": (nn.MGUCell, {"reset_gate": False}, BasicGRU, {}),
    "GRUCell": (nn.GRUCell, {}, GRU, {}),
    "LSTMCell": (nn.LSTMCell, {}, LSTM, {}),
    "OptimizedLSTMCell": (nn.OptimizedLSTMCell, {}, LSTM, {}),
}
SHAPES = {"small": (1, 1, 2, 1), "narrow": (7, 3, 1, 4), "wide": (4, 2, 6, 3)}  # T, B, D, H


def weigh(*trees: Any) -> Array:
    """A scalar to which every entry contributes with its own weight."""
    leaves = jax.tree.leaves(trees)
    return sum((jnp.vdot(jnp.cos(jnp.arange(v.size, dtype=v.dtype)), v) for v in leaves), jnp.zeros(()))


def normal(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    return jnp.asarray(rng.normal(size=shape), dtype)


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Every leaf to `tolerance` of its largest entry (or of one, where that is less)."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        scale = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=jax.tree_util.keystr(path))


class Example:
    """One Linen cell and ours with its weights; biases and states are random, so that none can be lost unseen."""

    def __init__(self, pair: str, shape: str, dtype: Any) -> None:
        linen_class, linen_options, ours, options = PAIRS[pair]
        length, batch, inputs, hidden = SHAPES[shape]
        rng = np.random.default_rng(3)
        self.linen: nn.RNNCellBase = linen_class(hidden, **linen_options)
        self.cell: Cell = ours(hidden, **options)
        self.xs = normal(rng, dtype, length, batch, inputs)
        h, c = (normal(rng, dtype, batch, hidden) for _ in "hc")
        self.state = LSTMState(h, c) if ours is LSTM else h
        self.carry = (c, h) if ours is LSTM else h
        shapes = jax.eval_shape(self.linen.init, jax.random.key(0), self.carry, self.xs[0])["params"]
        self.params = jax.tree.map(lambda leaf: normal(rng, dtype, *leaf.shape), shapes)

    def of_flax(self, params: Any, xs: Array, carry: Any, **options: Any) -> tuple[Any, Array]:
        reverse = options.pop("reverse", False)
        rnn = nn.RNN(self.linen, time_major=True, return_carry=True, reverse=reverse, keep_order=reverse)
        returned: Any = rnn.apply({"params": {"cell": params}}, xs, initial_carry=carry, **options)
        return returned

    def ours(self, params: Any, xs: Array, carry: Any, **options: Any) -> tuple[Any, Array]:
        """The same function of the same arguments: Linen's weights and Linen's order (c, h) of the state."""
        state = LSTMState(h=carry[1], c=carry[0]) if isinstance(self.cell, LSTM) else carry
        final, ys = unroll(self.cell, from_linen(self.cell, params), xs, state, **options)
        return (final.c, final.h) if isinstance(self.cell, LSTM) else final, ys

    def compare(self, tolerance: float, **options: Any) -> None:
        """Outputs, final states, and the gradients in Flax's own parameters, the inputs and the first state."""

        def scalar(run: Any, *given: Any) -> tuple[Array, Any]:
            out = run(*given, **options)
            return weigh(out), out

        @jax.jit
        def both(*given: Any) -> list[Any]:
            runs = partial(scalar, self.ours), partial(scalar, self.of_flax)
            return [jax.grad(run, argnums=(0, 1, 2), has_aux=True)(*given) for run in runs]

        found, expected = both(self.params, self.xs, self.carry)
        assert expected[1][1].dtype == self.xs.dtype
        assert_close(found, expected, tolerance)


@pytest.mark.parametrize("pair", PAIRS)
def test_agrees_with_linen(pair: str) -> None:
    Example(pair, "wide", jnp.float32).compare(5e-6)  # where XLA rounds depends on its optimizations


@pytest.mark.parametrize(
    ("pair", "shape", "reverse"),
    [
        ("SimpleCell", "narrow", True),
        ("SimpleCell-relu", "narrow", False),
        ("MGUCell", "narrow", False),
        ("GRUCell", "narrow", False),
        ("GRUCell", "small", True),
        ("LSTMCell", "small", False),
        ("OptimizedLSTMCell", "narrow", True),
    ],
)
@pytest.mark.usefixtures("x64")
def test_agrees_with_linen_in_double(pair: str, shape: str, reverse: bool) -> None:
    Example(pair, shape, jnp.float64).compare(1e-12, reverse=reverse)


@pytest.mark.parametrize("pair", PAIRS)
def test_back_to_linen(pair: str) -> None:
    """Linen's own names and shapes, from which the same weights come back."""
    example = Example(pair, "wide", jnp.float32)
    params = from_linen(example.cell, example.params)
    theirs = to_linen(example.cell, params)
    assert jax.tree.map(jnp.shape, theirs) == jax.tree.map(jnp.shape, dict(example.params))
    assert_close(from_linen(example.cell, theirs), params, 0)


@pytest.mark.parametrize(("pair", "reverse"), [("GRUCell", True), ("LSTMCell", False)])
@pytest.mark.usefixtures("x64")
def test_mask_agrees_with_lengths_of_linen(pair: str, reverse: bool) -> None:
    """Flax's `seq_lengths`: the same final state, and the same outputs where a step is valid."""
    example = Example(pair, "narrow", jnp.float64)
    lengths = np.array([7, 1, 4])
    mask = jnp.asarray(np.arange(7)[:, None] < lengths)

    @jax.jit
    def both(*given: Any) -> tuple[Any, Any]:
        final, ys = example.of_flax(*given, seq_lengths=jnp.asarray(lengths), reverse=reverse)
        expected = final, jnp.where(mask[..., None], ys, 0)
        return example.ours(*given, mask=mask, reverse=reverse), expected

    found, expected = both(example.params, example.xs, example.carry)
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_reference_of_cudnn(ragged: bool) -> None:
    """`jax.experimental.rnn.lstm_ref`: PyTorch's layout, two biases; gradients of all of it."""
    length, batch, inputs, hidden = 6, 3, 4, 5
    rng = np.random.default_rng(5)
    xs = normal(rng, float, length, batch, inputs)
    h, c = (normal(rng, float, batch, hidden) for _ in "hc")
    w, r = normal(rng, float, 4 * hidden, inputs), normal(rng, float, 4 * hidden, hidden)
    b_input, b_recurrent = (normal(rng, float, 4 * hidden) for _ in range(2))
    lengths = jnp.array([6, 2, 4] if ragged else [6, 6, 6], jnp.int32)
    mask = jnp.arange(length)[:, None] < lengths[None, :]
    sizes = {"input_size": inputs, "hidden_size": hidden, "num_layers": 1}

    def reference(w: Array, r: Array, b: Array, xs: Array, h: Array, c: Array) -> tuple[Array, Any]:
        ys, h, c = lstm_ref(
            xs.swapaxes(0, 1),
            h[None],
            c[None],
            {0: w},
            {0: r},
            {0: b},
            {0: b_recurrent},
            lengths,
            **sizes,
            dropout=0.0,
            bidirectional=False,
        )
        out = LSTMState(h[0], c[0]), jnp.where(mask[..., None], ys.swapaxes(0, 1), 0)
        return weigh(out), out

    def ours(params: Any, xs: Array, h: Array, c: Array) -> tuple[Array, Any]:
        out = unroll(LSTM(hidden), params, xs, LSTMState(h, c), mask=mask if ragged else None)
        return weigh(out), out

    names = {"weight_ih_l0": w, "weight_hh_l0": r, "bias_ih_l0": b_input, "bias_hh_l0": b_recurrent}
    params = from_torch(LSTM(hidden), names)

    @jax.jit
    def both(params: Any, *leaves: Array) -> tuple[Any, Any]:
        found = jax.grad(ours, argnums=range(4), has_aux=True)(params, *leaves[3:])
        return found, jax.grad(reference, argnums=range(6), has_aux=True)(*leaves)

    (found, found_out), (expected, expected_out) = both(params, w, r, b_input, xs, h, c)
    assert_close(found_out, expected_out, 1e-12)
    in_torch_order = (found[0]["kernel"].T, found[0]["recurrent"].T, found[0]["bias"], *found[1:])
    assert_close(in_torch_order, expected, 1e-12)


def test_missing_linen_weights_are_named() -> None:
    example = Example("LSTMCell", "small", jnp.float32)
    with pytest.raises(ValueError, match="no hf, ho"):
        from_linen(LSTM(1), {name: v for name, v in example.params.items() if name not in ("hf", "ho")})
    with pytest.raises(ValueError, match=r"no counterpart of GRU\(.*before"):
        from_linen(GRU(1, reset="before"), example.params)


def test_an_lstm_without_tanh_has_no_counterpart() -> None:
    with pytest.raises(ValueError, match="needs output_tanh=True"):
        from_linen(LSTM(2, output_tanh=False), {})
