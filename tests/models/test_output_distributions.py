"""Distributions of outputs beside enumeration, SciPy and loops; sequences continued beside steps by hand."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from models import GRU, BitByBit, Bits, GaussianMixture, Mixture, SequenceDensity, free_run, mixture_quantiles
from models import stream as streamed

N, H = 4, 3
EVERY = np.array(list(itertools.product([0.0, 1.0], repeat=N)), np.float32)


def drawn(module: Any, ys: jax.Array) -> Any:
    """Parameters whose biases aren't zero."""
    params = module.init(jax.random.key(0), ys)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        tree, [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )


@pytest.mark.parametrize("module", [Bits(N), BitByBit(N, hidden_size=5)])
def test_bits_sum_to_one_and_are_sampled_so(module: Bits | BitByBit) -> None:
    """Over all vectors of bits the probabilities sum to 1; samples are as frequent as their probability."""
    ys = jax.random.normal(jax.random.key(2), (H,))
    params = drawn(module, ys)

    def log_prob(params: Any, x: Any) -> Any:
        given = module.apply(params, jnp.broadcast_to(ys, (len(x), H)))
        return module.apply(params, given, x, method="log_prob")

    p = np.exp(log_prob(params, jnp.asarray(EVERY)))
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    count = 20_000
    given = module.apply(params, jnp.broadcast_to(ys, (count, H)))
    samples = np.asarray(module.apply(params, given, jax.random.key(3), method="sample"))
    frequency = np.bincount(samples.astype(int) @ (8, 4, 2, 1), minlength=16) / count
    assert np.abs(frequency - p).max() < 4 * np.sqrt(p.max() / count)
    assert p.max() > 3 * p.mean()  # not all alike


def test_bit_by_bit_is_the_formula() -> None:
    """In a loop over the bits, in double precision by NumPy."""
    module, y = BitByBit(N, hidden_size=5), jax.random.normal(jax.random.key(2), (H,))
    params = drawn(module, y)
    own = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    x = np.array([1.0, 0.0, 1.0, 1.0])
    a = np.asarray(y) @ own["to_hidden"]["kernel"] + own["to_hidden"]["bias"]
    bias, total = np.asarray(y) @ own["to_bits"]["kernel"] + own["to_bits"]["bias"], 0.0
    for i in range(N):
        p = expit(bias[i] + own["read"][i] @ expit(a))
        total += np.log(p if x[i] else 1 - p)
        a = a + x[i] * own["write"][i]
    given = module.apply(params, y)
    found: Any = module.apply(params, given, jnp.asarray(x, jnp.float32), method="log_prob")
    np.testing.assert_allclose(found, total, rtol=1e-5)


def test_mixtures() -> None:
    """Densities and means beside SciPy; a quantile is where SciPy's distribution function has its level."""
    module, ys = GaussianMixture(2, components=3), jax.random.normal(jax.random.key(2), (5, H))
    params = drawn(module, ys)
    given: Any = module.apply(params, ys)
    pi, mean, scale = np.exp(given.log_weights), np.asarray(given.means), np.asarray(given.scales)
    np.testing.assert_allclose(pi.sum(-1), 1, rtol=1e-5)
    x = jax.random.normal(jax.random.key(4), (5, 2))
    density = (pi * norm.pdf(np.asarray(x)[..., None], mean, scale)).sum(-1)
    log_prob: Any = module.apply(params, given, x, method="log_prob")
    np.testing.assert_allclose(log_prob, np.log(density).sum(-1), rtol=1e-4)
    means: Any = module.apply(params, given, method="mean")
    np.testing.assert_allclose(means, (pi * mean).sum(-1), rtol=1e-4, atol=1e-6)
    levels = np.array([0.05, 0.5, 0.95], np.float32)
    found = np.asarray(mixture_quantiles(given, jnp.asarray(levels)))
    below = (pi * norm.cdf(found[..., None], mean, scale)).sum(-1)
    np.testing.assert_allclose(below, np.broadcast_to(levels[:, None, None], below.shape), atol=1e-4)
    one = Mixture(*(jnp.broadcast_to(leaf[0, 0], (40_000, 1, 3)) for leaf in given))
    samples = np.asarray(module.apply(params, one, jax.random.key(5), method="sample"))[:, 0]
    np.testing.assert_allclose(np.quantile(samples, levels), found[:, 0, 0], atol=0.15)


def test_sequences_and_their_continuation() -> None:
    """The loss of a sequence is that of its steps, targets that aren't counted may be NaN; a continuation by means
    is what a stream of the cell gives."""
    model = SequenceDensity(GRU(5), GaussianMixture(1))
    xs = jax.random.normal(jax.random.key(0), (6, 2, 1))
    params = model.init(jax.random.key(1), xs)
    counted = jnp.arange(6)[:, None] < jnp.array([6, 4])[None]
    targets = jnp.where(counted[..., None], jnp.roll(xs, -1, axis=0), jnp.nan)
    found: Any = model.apply(params, xs, targets, counted=counted, method="log_prob")
    given: Any = model.apply(params, xs)
    mean, scale = (np.asarray(leaf)[..., 0, 0] for leaf in given[1:])
    expected = norm.logpdf(np.asarray(targets)[..., 0], mean, scale)
    np.testing.assert_allclose(found, np.where(counted, expected, 0), rtol=1e-4, atol=1e-5)
    mask = jnp.ones((6, 2), bool).at[4:, 1].set(False)
    continued = free_run(model, params, xs, 3, jax.random.key(0), mask=mask, choice="mean")
    for row, length in enumerate((6, 4)):
        online = streamed(model.cell, params["params"]["recurrent"]["cell"])
        state, y = online.initial_state, None
        for x in xs[:length, row]:
            state, y = online.step(state, x)
        for step in range(3):
            value: Any = model.apply(params, y, None, "mean", method="next")
            np.testing.assert_allclose(continued[step, row], value, rtol=1e-4, atol=1e-6)
            state, y = online.step(state, continued[step, row])
