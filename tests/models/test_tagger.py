"""Taggers: losses by the definition, padding changes nothing, a chain's tags are its likeliest sequence."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import Bidirectional, CharacterConvolution, Elman, Tagged, Tagger, TokenReader, WordReader

pytestmark = pytest.mark.usefixtures("quick_compilation")
T, B, K, L = 4, 3, 3, 2
MASK: Any = jnp.arange(T)[:, None] < jnp.array([4, 2, 0])[None]
READER = WordReader(TokenReader(9, 4), CharacterConvolution(TokenReader(5, 3), 4), word_dropout=0.3)


def model_and_batch(**options: Any) -> tuple[Tagger, Any, Any, Any, Any]:
    rng = np.random.default_rng(0)
    words, letters = rng.integers(9, size=(T, B, 1)), rng.integers(1, 5, size=(T, B, 2))
    inputs = jnp.asarray(np.concatenate([words, letters], axis=-1), jnp.int32)
    model = Tagger(READER, Bidirectional(Elman(5)), K, L, **options)
    params = jax.jit(model.init)(jax.random.key(0), inputs, mask=MASK)
    tags, labels = jnp.asarray(rng.integers(K, size=(T, B))), jnp.asarray(rng.integers(L, size=B))
    return model, params, inputs, tags, labels


@pytest.mark.parametrize("chain", [False, True])
def test_loss_and_tags_by_the_definition(chain: bool) -> None:
    model, params, inputs, tags, labels = model_and_batch(chain=chain)

    @jax.jit
    def compute(inputs: Any, tags: Any) -> Any:
        return (
            model.apply(params, inputs, mask=MASK),
            model.apply(params, inputs, tags, labels, mask=MASK, train=False, method="loss"),
            model.apply(params, inputs, mask=MASK, method="predict"),
            model.apply(params, inputs, mask=MASK, method="probabilities"),
        )

    logits, (total, count), (found, found_labels), probabilities = compute(inputs, tags)
    emissions, sentence = np.asarray(logits.tags, float), np.asarray(logits.labels, float)
    links = {n: np.asarray(v, float) for n, v in params["params"].get("chain", {}).items()}
    start, joined, end = (
        links.get(n, np.zeros(s)) for n, s in (("start", K), ("transitions", (K, K)), ("end", K))
    )
    expected = 0.0
    for b, steps in enumerate((4, 2)):
        ways = list(itertools.product(range(K), repeat=steps))
        scores = np.array(
            [
                start[way[0]]
                + end[way[-1]]
                + sum(emissions[t, b, k] for t, k in enumerate(way))
                + sum(joined[pair] for pair in itertools.pairwise(way))
                for way in ways
            ]
        )
        gold = tuple(int(k) for k in tags[:steps, b])
        expected += np.log(np.exp(scores).sum()) - scores[ways.index(gold)]
        shares = np.exp(scores) / np.exp(scores).sum()
        for t, k in itertools.product(range(T), range(K)):
            of_tag = sum(p for p, way in zip(shares, ways, strict=True) if t < steps and way[t] == k)
            assert float(probabilities[t, b, k]) == pytest.approx(of_tag, abs=1e-5)
        expected += np.log(np.exp(sentence[b]).sum()) - sentence[b, int(labels[b])]
        assert tuple(found[:steps, b].tolist()) == ways[scores.argmax()]
        assert int(found_labels[b]) == sentence[b].argmax()
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert float(count) == 6
    assert not found[~MASK].any()
    spoilt = compute(jnp.where(MASK[..., None], inputs, 99), jnp.where(MASK, tags, 99))
    np.testing.assert_array_equal(spoilt[1][0], total)


def test_training_drops_words_and_units() -> None:
    """With dropout losses change with the key; the gradient reaches every parameter."""
    model, params, inputs, tags, labels = model_and_batch(chain=True, dropout=0.2)

    @jax.jit
    def value_and_grad(key: Any) -> Any:
        def loss(params: Any) -> Any:
            rngs = {"dropout": key, "recurrent": key}
            return model.apply(params, inputs, tags, labels, mask=MASK, rngs=rngs, method="loss")[0]

        return jax.value_and_grad(loss)(params)

    (one, gradient), (other, _) = (value_and_grad(jax.random.key(seed)) for seed in (1, 2))
    assert one != other
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_without_labels() -> None:
    model = Tagger(WordReader(TokenReader(9, 4)), Elman(5), K)
    inputs = jnp.ones((T, B, 1), jnp.int32)
    found = model.apply(model.init(jax.random.key(0), inputs), inputs)
    assert isinstance(found, Tagged)
    assert found.labels is None
    assert found.tags.shape == (T, B, K)
    with pytest.raises(ValueError, match="tags must be"):
        Tagger(WordReader(TokenReader(9, 4)), Elman(5), 0).init(jax.random.key(0), inputs)
