"""Weights go to each library and come back bit for bit; what one of them lacks is refused."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    GRU,
    LSTM,
    BasicGRU,
    Bidirectional,
    Cell,
    Elman,
    LayerNormLSTM,
    from_equinox,
    from_keras,
    from_linen,
    from_nnx,
    from_torch,
    to_equinox,
    to_keras,
    to_linen,
    to_nnx,
    to_torch,
)
from tests.models import drawn

D, H = 3, 4
PAIRS: dict[str, tuple[Any, Any, tuple[Cell, ...]]] = {
    "PyTorch": (to_torch, from_torch, (Elman(H), GRU(H), LSTM(H))),
    "PyTorch inside": (
        partial(to_torch, layer=2, reverse=True, prefix="a.rnn"),
        partial(from_torch, layer=2, reverse=True, prefix="a.rnn."),
        (LSTM(H),),
    ),
    "PyTorch's cells": (partial(to_torch, layer=None), from_torch, (GRU(H),)),
    "Linen": (to_linen, from_linen, (Elman(H, "relu"), BasicGRU(H), GRU(H), LSTM(H))),
    "NNX": (to_nnx, from_nnx, (Elman(H), LSTM(H))),
    "NNX optimized": (partial(to_nnx, optimized=True), from_nnx, (LSTM(H),)),
    "Equinox": (to_equinox, from_equinox, (GRU(H), LSTM(H))),
    "Keras": (
        to_keras,
        from_keras,
        (Elman(H), GRU(H), GRU(H, reset="before"), LSTM(H), Bidirectional(GRU(H))),
    ),
}
GIVEN = [(name, cell) for name, (_, _, cells) in PAIRS.items() for cell in cells]


def same(found: Any, expected: Any) -> None:
    """Structure, types and bits."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize(("name", "cell"), GIVEN, ids=[f"{n}-{type(c).__name__}" for n, c in GIVEN])
def test_there_and_back(name: str, cell: Cell) -> None:
    there, back, _ = PAIRS[name]
    params = drawn.parameters(cell, D)
    same(back(cell, there(cell, params)), params)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    same(back(cell, there(cell, half)), half)


@pytest.mark.parametrize("name", ["PyTorch", "Equinox", "Keras"])
@pytest.mark.parametrize("cell", [GRU(H), LSTM(H)], ids=["GRU", "LSTM"])
def test_without_biases(name: str, cell: Cell) -> None:
    """Left out only where they are zero; absent ones are zeros."""
    there, back, _ = PAIRS[name]
    params = drawn.parameters(cell, D)
    with pytest.raises(
        ValueError, match=r"bias=False leaves out the biases, but those of this .* are not zero"
    ):
        there(cell, params, bias=False)
    params |= {key: jnp.zeros_like(leaf) for key, leaf in params.items() if "bias" in key}
    arrays = there(cell, params, bias=False)
    assert len(arrays) == 2
    same(back(cell, arrays), params)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: from_torch(BasicGRU(H), {}), r"PyTorch has no counterpart of BasicGRU\(.*: it has Elman, GRU"),
        (lambda: from_linen(GRU(H, reset="before"), {}), r"Flax has no counterpart of GRU\(.*before"),
        (lambda: from_nnx(BasicGRU(H), {}), "Flax NNX has no counterpart of BasicGRU"),
        (lambda: from_equinox(Elman(H), {}), r"Equinox has no counterpart of Elman\(.* GRU\(reset='after'\) and"),
        (lambda: from_keras(LayerNormLSTM(H), []), "Keras has no counterpart of LayerNormLSTM"),
        (lambda: from_keras(LSTM(H, output_tanh=False), []), "Keras's LSTM outputs .* needs output_tanh=True"),
        (lambda: to_nnx(GRU(H), drawn.parameters(GRU(H), D)), "the recurrent_bias of this GRU isn't zero"),
        (lambda: to_keras(LSTM(H), drawn.parameters(LSTM(5), D)), "doesn't fit LSTM"),
        (lambda: from_keras(LSTM(H), [np.zeros((D, 4 * H))]), "1 arrays are given"),
        (
            lambda: from_keras(GRU(H), to_keras(GRU(H, reset="before"), drawn.parameters(GRU(H, "before"), D))),
            r"bias is \[12\], but GRU\(.* takes \[2, 12\]",
        ),
        (lambda: from_equinox(LSTM(H), {"weight_ih": np.zeros((3, D))}), r"weight_ih is \[3, 3\].*\[16, D\]"),
        (lambda: from_nnx(GRU(H), {"dense_i": {}}), "the state of NNX has no dense_i/kernel"),
        (
            lambda: from_torch(LSTM(H), {"weight_ih_l0": np.zeros(1), "weight_hr_l0": np.zeros(1)}),
            "proj_size has no counterpart",
        ),
        (lambda: from_torch(LSTM(H), {"a.rnn.weight_ih_l0": np.zeros(1)}), r"give prefix='a\.rnn'"),
        (
            lambda: from_linen(BasicGRU(H), to_linen(BasicGRU(H), drawn.parameters(BasicGRU(H), D))
            | {"hn": {"kernel": np.zeros((H, H)), "bias": np.zeros(H)}}),
            "reset_gate=True has no counterpart",
        ),
    ],
)  # fmt: skip
def test_refused(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()
