"""The chain against enumeration of all sequences of tags; padding, anywhere, changes nothing."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.crf import (
    ChainWeights,
    chain_losses,
    chain_scores,
    log_partition,
    tag_probabilities,
    viterbi,
)

T, B, K = 5, 4, 3
# Full, ragged, with a hole, and empty.
MASK: Any = jnp.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [1, 0, 1, 0]], bool)


@pytest.fixture(scope="module")
def given() -> tuple[ChainWeights, Any, Any]:
    """Weights, emissions and tags, in double precision's rounding of single."""
    rng = np.random.default_rng(0)
    weights = ChainWeights(*(jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((K,), (K, K), (K,))))
    return (
        weights,
        jnp.asarray(rng.normal(size=(T, B, K)), jnp.float32),
        jnp.asarray(rng.integers(K, size=(T, B))),
    )


def score(weights: ChainWeights, emissions: np.ndarray, tags: tuple[int, ...]) -> float:
    """By the definition, of one sequence."""
    start, transitions, end = (np.asarray(part, float) for part in weights)
    if not tags:
        return 0.0
    total = start[tags[0]] + end[tags[-1]] + sum(emissions[t, tag] for t, tag in enumerate(tags))
    return float(total + sum(transitions[i, j] for i, j in itertools.pairwise(tags)))


def test_equal_to_enumeration(given: Any) -> None:
    """Partition, scores, losses, the likeliest tags, and the probability of each."""
    weights, emissions, tags = given

    @jax.jit
    def compute(weights: ChainWeights, emissions: Any, tags: Any, mask: Any) -> Any:
        return (
            log_partition(weights, emissions, mask),
            chain_scores(weights, emissions, tags, mask),
            chain_losses(weights, emissions, tags, mask),
            viterbi(weights, emissions, mask),
            tag_probabilities(weights, emissions, mask),
        )

    found = compute(weights, emissions, tags, MASK)
    partition, scores, losses, (best, best_score), marginals = jax.tree.map(np.asarray, found)
    for b in range(B):
        valid = np.flatnonzero(MASK[:, b])
        own = np.asarray(emissions, float)[valid, b]
        ways = list(itertools.product(range(K), repeat=len(valid)))
        values = np.array([score(weights, own, way) for way in ways])
        expected = np.log(np.exp(values).sum()) if len(valid) else 0.0
        assert partition[b] == pytest.approx(expected, abs=1e-5)
        gold = tuple(int(tags[t, b]) for t in valid)
        assert scores[b] == pytest.approx(score(weights, own, gold), abs=1e-5)
        assert losses[b] == pytest.approx(expected - score(weights, own, gold), abs=1e-5)
        assert tuple(best[valid, b]) == ways[values.argmax()]
        assert best_score[b] == pytest.approx(values.max(), abs=1e-5)
        for t, place in enumerate(valid):
            shares = np.exp(values - expected)
            at = [sum(p for p, way in zip(shares, ways, strict=True) if way[t] == k) for k in range(K)]
            np.testing.assert_allclose(marginals[place, b], at, atol=1e-5)
        assert not marginals[~np.asarray(MASK[:, b]), b].any()
        assert not best[~np.asarray(MASK[:, b]), b].any()


def test_nothing_of_masked_steps_leaks(given: Any) -> None:
    weights, emissions, tags = given
    spoilt = jnp.where(MASK[..., None], emissions, jnp.nan), jnp.where(MASK, tags, K + 3)

    @jax.jit
    def gradient(emissions: Any, tags: Any) -> Any:
        return jax.grad(lambda w, e: jnp.sum(chain_losses(w, e, tags, MASK)), argnums=(0, 1))(
            weights, emissions
        )

    clean, dirty = (jax.tree.leaves(gradient(*pair)) for pair in ((emissions, tags), spoilt))
    for one, other in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(viterbi(weights, spoilt[0], MASK)[0], viterbi(weights, emissions, MASK)[0])


def test_impossible_transitions_stay_finite(given: Any) -> None:
    """Scores of −10⁴ forbid a transition; losses and gradients of allowed sequences are exact and finite."""
    weights, emissions, _ = given
    forbidden = weights._replace(transitions=jnp.where(jnp.eye(K, dtype=bool), 0.0, -1e4))
    tags = jnp.broadcast_to(jnp.arange(B) % K, (T, B))
    value, gradient = jax.jit(jax.value_and_grad(lambda w: jnp.sum(chain_losses(w, emissions, tags))))(
        forbidden
    )
    stays = jnp.sum(emissions, axis=0) + (weights.start + weights.end)[None]
    expected = jax.nn.logsumexp(stays, axis=-1) - stays[jnp.arange(B), tags[0]]
    assert float(value) == pytest.approx(float(jnp.sum(expected)), rel=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
