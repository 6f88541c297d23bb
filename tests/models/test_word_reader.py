"""Readers of words against loops over words and characters; padding changes nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    GRU,
    Bidirectional,
    CharacterConvolution,
    CharacterRecurrence,
    TokenReader,
    WordReader,
    unroll,
)

V, A, E, C = 7, 6, 3, 5
# Words of 0, 1, 3 and 5 characters in two sentences of two words.
WORDS: Any = jnp.array(
    [[[4, 0, 0, 0, 0, 0], [6, 2, 0, 0, 0, 0]], [[1, 3, 5, 1, 0, 0], [0, 2, 2, 4, 5, 1]]], jnp.int32
)


def test_convolution_is_the_largest_value_of_each_filter() -> None:
    for width in (2, 3):
        net = CharacterConvolution(TokenReader(A, E), size=4, width=width)
        params = net.init(jax.random.key(width)) | {"bias": jnp.arange(4) / 4}
        table, kernel = np.asarray(params["characters"]["embedding"]), np.asarray(params["kernel"])
        found = np.asarray(jax.jit(net)(params, WORDS[..., 1:]))
        for place in np.ndindex(2, 2):
            ids = [i for i in np.asarray(WORDS)[place][1:] if i]
            vectors = [np.zeros(E)] * ((width - 1) // 2) + [table[i] for i in ids] + [np.zeros(E)] * width
            values = [np.concatenate(vectors[i : i + width]) @ kernel for i in range(len(ids))]
            expected = np.tanh(np.max(values, axis=0) + params["bias"]) if ids else np.zeros(4)
            np.testing.assert_allclose(found[place], expected, atol=1e-6)


def test_recurrence_reads_each_word_alone() -> None:
    net = CharacterRecurrence(TokenReader(A, E), Bidirectional(GRU(2)))
    params = net.init(jax.random.key(0))
    found = np.asarray(jax.jit(net)(params, WORDS[..., 1:]))
    assert net.size == found.shape[-1] == 4
    assert not found[0, 0].any()
    xs = np.asarray(params["characters"]["embedding"])[[3, 5, 1]]
    _, ys = unroll(net.cell, params["cell"], jnp.asarray(xs))
    np.testing.assert_allclose(found[1, 0], [*ys[-1, :2], *ys[0, 2:]], atol=1e-6)


@pytest.mark.parametrize(
    "net", [None, CharacterConvolution(TokenReader(A, E), 4), CharacterRecurrence(TokenReader(A, E), GRU(2))]
)
def test_reader_puts_both_side_by_side_and_differentiates(net: Any) -> None:
    reader = WordReader(TokenReader(V, E), net)
    params = reader.init(jax.random.key(1))
    found = jax.jit(reader)(params, WORDS)
    assert found.shape == (2, 2, reader.size)
    np.testing.assert_array_equal(found[..., :E], params["words"]["embedding"][WORDS[..., 0]])
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(reader(p, WORDS)))))(params)
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in jax.tree.leaves(gradient))


def test_word_dropout_makes_words_unknown_and_leaves_characters() -> None:
    reader = WordReader(TokenReader(V, E), word_dropout=0.25)
    words = jnp.full((400, 10, 3), 5)
    dropped = np.asarray(reader.drop_words(words, jax.random.key(0)))
    assert abs(np.mean(dropped[..., 0] == 0) - 0.25) < 0.03
    assert (dropped[..., 1:] == 5).all()
    assert set(np.unique(dropped)) == {0, 5}


def test_wrong_arguments() -> None:
    reader = WordReader(TokenReader(V, E), CharacterConvolution(TokenReader(A, E)))
    with pytest.raises(ValueError, match="encode them with an alphabet"):
        reader(reader.init(jax.random.key(0)), WORDS[..., :1])
    with pytest.raises(ValueError, match="dropout rate"):
        WordReader(TokenReader(V, E), word_dropout=1.0)
    with pytest.raises(ValueError, match="width"):
        CharacterConvolution(TokenReader(A, E), width=0)
