"""A classifier of sentences: its parts, pooling, masks, and what each word says."""

from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import LSTM, Bidirectional, Cell, SequenceClassifier, TokenReader, WordReader, unroll
from models.text_classifier import TextClassifier, TextPool

T, B, V = 4, 2, 7
IDS = np.array([[1, 2], [3, 6], [5, 0], [4, 0]])
MASK = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], bool)


def built(pool: TextPool, cell: Cell, **options: Any) -> tuple[TextClassifier, Any, Any]:
    """Returns the model, its parameters, and a function that applies a method to word ids under jit."""
    reader = WordReader(TokenReader(V, 5), word_dropout=options.pop("word_dropout", 0.0))
    model = TextClassifier(reader, cell, 3, pool, attention_size=4, **options)
    params = jax.jit(model.init)(jax.random.key(0), jnp.asarray(IDS)[..., None], mask=jnp.asarray(MASK))

    @partial(jax.jit, static_argnames="method")
    def apply(ids: Any, mask: Any, method: str) -> Any:
        return model.apply(params, ids[..., None], mask=mask, method=method)

    return model, params, lambda ids, mask, method="__call__": np.asarray(apply(ids, mask, method))


@pytest.mark.parametrize("pool", get_args(TextPool))
def test_pooling(pool: TextPool) -> None:
    """Last and mean are those of `SequenceClassifier`; maximum and attention NumPy's of the outputs."""
    cell = Bidirectional(LSTM(3))
    model, params, apply = built(pool, cell)
    logits, words = apply(IDS, MASK), apply(IDS, MASK, "word_logits")
    assert words.shape == (T, B, 3)
    inner = params["params"]
    match pool:
        case "last" | "mean":
            plain = SequenceClassifier(cell, 3, V, 5, pool)
            same = {
                "embedding": inner["reader"]["words"],
                "recurrent": inner["recurrent"],
                "readout": inner["readout"],
            }
            found = jax.jit(plain.apply)({"params": same}, jnp.asarray(IDS), mask=jnp.asarray(MASK))
            np.testing.assert_allclose(logits, found, rtol=2e-5, atol=1e-6)
        case "max":
            largest = words_largest(model, params)
            np.testing.assert_allclose(logits, largest, rtol=2e-5, atol=1e-6)
        case "attention":
            weights = apply(IDS, MASK, "attention_weights")
            np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
            assert not weights[~MASK].any()
            np.testing.assert_allclose(logits, (weights[..., None] * words).sum(axis=0), rtol=2e-5, atol=1e-6)
            other = np.where(MASK, IDS, V - 1)
            np.testing.assert_array_equal(apply(other, MASK), logits)


def words_largest(model: TextClassifier, params: Any) -> np.ndarray:
    """The readout of the largest output of each unit over the valid words, in NumPy."""
    xs = np.asarray(params["params"]["reader"]["words"]["embedding"])[IDS]
    _, ys = unroll(model.cell, params["params"]["recurrent"]["cell"], jnp.asarray(xs), mask=jnp.asarray(MASK))
    dense = {name: np.asarray(part) for name, part in params["params"]["readout"].items()}
    largest = np.array([np.asarray(ys)[MASK[:, b], b].max(axis=0) for b in range(B)])
    return largest @ dense["kernel"] + dense["bias"]


def test_a_forward_layer_knows_nothing_of_later_words() -> None:
    """Another last word changes the word logits before it in the net that reads both ways, and only there."""
    other = IDS.copy()
    other[3, 0] = 6
    for cell, changes in ((LSTM(6), False), (Bidirectional(LSTM(3)), True)):
        _, _, apply = built("attention", cell)
        first, second = (apply(ids, MASK, "word_logits") for ids in (IDS, other))
        assert (np.abs(first[:3, 0] - second[:3, 0]).max() > 1e-6) == changes
        np.testing.assert_array_equal(first[:, 1], second[:, 1])


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"word_dropout": 0.5}], ids=["units", "words"])
def test_dropout_in_training_only(options: dict[str, float]) -> None:
    model, params, apply = built("attention", LSTM(6), **options)
    ids, mask = jnp.asarray(IDS)[..., None], jnp.asarray(MASK)
    train = jax.jit(lambda key: model.apply(params, ids, mask=mask, train=True, rngs={"recurrent": key}))
    draws = np.array([train(jax.random.key(i)) for i in (1, 1, 2, 3, 4)])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[2:] - draws[0]).max() > 1e-3
    assert np.abs(draws - apply(IDS, MASK)).max() > 1e-3


def test_mistakes() -> None:
    model, params, _ = built("max", LSTM(6))
    ids, mask = jnp.asarray(IDS)[..., None], jnp.asarray(MASK)
    with pytest.raises(ValueError, match="the pooling is 'max', which has no weights: give pool='attention'"):
        model.apply(params, ids, mask=mask, method="attention_weights")
    with pytest.raises(ValueError, match="classes must be a whole number of at least 1"):
        model.clone(classes=0).init(jax.random.key(0), ids, mask=mask)
