"""Word vectors, beside loops over pairs in double precision, the closed form, enumeration, and dense gradients."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.words.vectors import (
    Architecture,
    Tables,
    Windows,
    WordLoss,
    WordModel,
    context_mask,
    descend,
    log_sigmoid,
    pairs_in,
    window_loss,
)

H, B, G, K, V, D, NEGATIVES = 2, 3, 2, 4, 6, 5, 3
ARCHITECTURES = get_args(Architecture)


def example(dtype: Any = np.float64) -> tuple[Tables, Windows, np.ndarray]:
    """Tables, two blocks of three centres of a text of six words (so that all occur several times), and log q."""
    rng = np.random.default_rng(0)
    tables = Tables(*(jnp.asarray(rng.normal(size=(V, D)), dtype) for _ in range(2)))
    windows = Windows(
        jnp.asarray(rng.integers(0, V, (G, B + 2 * H)), jnp.int32),
        jnp.array([[0, 1, 2], [2, 0, 1]], jnp.int8),
        jnp.array([[1, 1, 0], [2, 0, 2]], jnp.int8),  # the centre [1, 1] has no context
        jnp.asarray(rng.integers(0, V, (1, K)), jnp.int32),
    )
    q = rng.random(V)
    return tables, windows, np.log(q / q.sum()).astype(dtype)


def loop_loss(
    tables: Tables, windows: Windows, architecture: Architecture, kind: WordLoss, log_noise: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss by a loop over centres and pairs, and the gradients in closed form: with s = ⟨h, o⟩ and target 1 or
    0, ∂/∂o = (σ(s) − target) h and ∂/∂h = (σ(s) − target) o, weighted by k / K for noise."""
    inputs, outputs = (np.asarray(table) for table in tables)
    gradients, total = (np.zeros_like(inputs), np.zeros_like(outputs)), 0.0

    def score(h: np.ndarray, into: list[int], word: int, target: int, weight: float) -> float:
        shift = log_noise[word] + np.log(NEGATIVES) if kind == "nce" else 0
        p = 1 / (1 + np.exp(-(h @ outputs[word] - shift)))
        gradients[1][word] += weight * (p - target) * h
        for row in into:
            gradients[0][row] += weight * (p - target) * outputs[word]
        return -weight * np.log(p if target else 1 - p)

    def all_words(h: np.ndarray, into: list[int], word: int) -> float:
        p = np.exp(outputs @ h) / np.exp(outputs @ h).sum()
        error = p - np.eye(V)[word]
        gradients[1][:] += error[:, None] * h
        for row in into:
            gradients[0][row] += error @ outputs
        return -np.log(p[word])

    for block in range(G):
        words = np.asarray(windows.words[block]).tolist()
        for i in range(B):
            around = range(i + H - int(windows.left[block, i]), i + H + int(windows.right[block, i]) + 1)
            context = [words[j] for j in around if j != i + H]
            centre = words[i + H]
            if architecture == "skip_gram":
                pairs = [(inputs[centre], [centre], word) for word in context]
            else:
                pairs = [(inputs[context].mean(0), context, centre)] if context else []
            for h, into, word in pairs:
                if kind == "softmax":
                    total += all_words(h, into, word)
                    continue
                total += score(h, into, word, 1, 1.0)
                for noise in np.asarray(windows.noise[0]).tolist():
                    total += score(h, into, noise, 0, NEGATIVES / K)
    return total, *gradients


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", get_args(WordLoss))
def test_loss_gradient_and_descent(architecture: Architecture, kind: WordLoss, x64: None) -> None:
    """Every pair by itself, in closed form; the gradient of CBOW goes to each word of a context whole. A step
    changes rows that occur several times, as words, in contexts and as noise, by the sum."""
    tables, windows, log_noise = example()
    options = architecture, kind, NEGATIVES

    @jax.jit
    def both(tables: Tables, log_noise: Any) -> Any:
        rest = (*options, log_noise)
        return jax.value_and_grad(window_loss)(tables, windows, *rest), descend(
            tables, windows, jnp.asarray(0.1), *rest
        )

    (found, gradient), after = both(tables, jnp.asarray(log_noise))
    total, *slopes = loop_loss(tables, windows, *options[:2], log_noise)
    assert found == pytest.approx(total, rel=1e-12)
    for dense, changed, before, slope in zip(gradient, after, tables, slopes, strict=True):
        np.testing.assert_allclose(dense, slope, atol=1e-12)
        np.testing.assert_allclose(changed, before - 0.1 * slope, atol=1e-12)
    assert pairs_in(windows, architecture) == (12 if architecture == "skip_gram" else 5)


def test_nce_recovers_the_distribution(x64: None) -> None:
    """Unlike negative sampling: with every word as noise once (k = V, q uniform), the minimum over s is the
    log of the data's probabilities, found here by descent for one input."""
    data = np.array([0.5, 0.3, 0.15, 0.05])

    def loss(s: Any, shift: float) -> Any:
        return -jnp.sum(data * log_sigmoid(s - shift)) - 4 * jnp.mean(log_sigmoid(-(s - shift)))

    @jax.jit
    def minimum(shift: Any) -> Any:
        return jax.lax.fori_loop(0, 4000, lambda _, s: s - 0.5 * jax.grad(loss)(s, shift), jnp.zeros(4))

    for shift, wanted in ((float(np.log(4 * 0.25)), np.log(data)), (0.7, np.log(data) + 0.7)):
        s = minimum(shift)
        np.testing.assert_allclose(s, wanted, atol=1e-6)


def test_log_sigmoid() -> None:
    """Finite at both ends, in value and gradient."""
    x = jnp.array([-200.0, -1.0, 0.0, 1.0, 200.0])
    np.testing.assert_allclose(log_sigmoid(x), [-200, -1.3132617, -0.6931472, -0.3132617, 0], atol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(log_sigmoid))(x), jax.nn.sigmoid(-x), atol=1e-7)


def test_context_mask() -> None:
    _, windows, _ = example(np.float32)
    mask = np.asarray(context_mask(windows))
    assert mask[0].astype(int).tolist() == [
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 1, 0, 1, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
    ]
    assert mask[1, 1].sum() == 0


def test_model_begins_as_word2vec() -> None:
    tables: Any = WordModel(50, 8).init(jax.random.key(0))["params"]
    assert np.abs(tables["inputs"]).max() <= 1 / 16
    assert np.abs(tables["inputs"]).max() > 0.9 / 16
    assert not np.asarray(tables["outputs"]).any()
