"""CTC against the enumeration of all paths, and against PyTorch."""

import itertools
from collections import defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.decoding.ctc import ctc_greedy, ctc_loss, ctc_possible, trim_repeats
from models.decoding.prefix_beam import Fusion, ctc_prefix_beam

T, K = 5, 3  # frames; blank and two labels


def probabilities(logits: np.ndarray) -> dict[tuple[int, ...], float]:
    """Adds the probabilities of all paths by the labels that they collapse to."""
    p = np.exp(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(K), repeat=len(logits)):
        kept = [c for i, c in enumerate(path) if c and (i == 0 or c != path[i - 1])]
        found[tuple(kept)] += float(np.prod(p[np.arange(len(path)), path]))
    return found


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(T, 2, K)).astype(np.float32)


def test_every_labelling(logits: np.ndarray) -> None:
    """All labels of up to three, padded to three: their probabilities are sums over paths."""
    wanted = [probabilities(logits[:, b].astype(np.float64)) for b in range(2)]
    loss = jax.jit(lambda labels, mask: ctc_loss(jnp.asarray(logits), labels, label_mask=mask))
    for length in range(4):
        for labels in itertools.product((1, 2), repeat=length):
            padded = np.zeros((3, 2), np.int32)
            padded[3 - length :] = np.array(labels, np.int32)[:, None]  # padded in front
            mask = np.broadcast_to(np.arange(3)[:, None] >= 3 - length, (3, 2))
            found = np.exp(-np.asarray(loss(padded, mask)))
            np.testing.assert_allclose(found, [p.get(labels, 0.0) for p in wanted], rtol=1e-5, atol=1e-7)


def test_masked_frames(logits: np.ndarray) -> None:
    """NaN in masked frames, in front, between and behind, reaches neither loss nor gradient."""
    labels = jnp.array([[1, 2], [1, 1]])
    seen = np.array([0, 1, 1, 0, 1, 1, 1, 0], bool)
    padded = np.full((8, 2, K), np.nan, np.float32)
    padded[seen] = logits
    mask = np.broadcast_to(seen[:, None], (8, 2))

    def total(z: Any, mask: Any) -> Any:
        return jnp.sum(ctc_loss(z, labels, mask=mask))

    value, gradient = jax.jit(jax.value_and_grad(total))(padded, mask)
    wanted, clean = jax.jit(jax.value_and_grad(total))(logits, None)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(gradient[seen], clean, atol=1e-6)
    assert not np.any(gradient[~seen])


def test_impossible_labels(logits: np.ndarray) -> None:
    """ "1 1 1" needs five frames, where they have one path; in four they have none."""
    labels = jnp.ones((3, 2), jnp.int32)
    mask = jnp.ones((T, 2), bool).at[0, 1].set(False)
    assert ctc_possible(labels, mask.sum(axis=0)).tolist() == [True, False]

    def losses(z: Any) -> Any:
        found = ctc_loss(z, labels, mask=mask)
        return jnp.sum(jnp.where(jnp.isfinite(found), found, 0)), found

    gradient, found = jax.jit(jax.grad(losses, has_aux=True))(logits)
    assert np.isfinite(found[0])
    assert found[1] == np.inf
    assert np.any(gradient[:, 0])
    assert not np.any(gradient[:, 1])


def test_greedy_and_trimmed() -> None:
    path = jnp.array([1, 1, 0, 1, 2, 2, 0, 0])
    logits = jnp.eye(K)[path][:, None]
    labels, count = ctc_greedy(logits)
    assert labels[: int(count[0]), 0].tolist() == [1, 1, 2]
    assert not np.any(labels[int(count[0]) :])
    labels, count = ctc_greedy(logits, mask=(jnp.arange(8) != 2)[:, None])  # without the blank between them
    assert labels[: int(count[0]), 0].tolist() == [1, 2]
    labels, count = trim_repeats(path[:, None])
    assert labels[: int(count[0]), 0].tolist() == [1, 0, 1, 2, 0]


def test_a_beam_that_holds_every_prefix_is_exact(logits: np.ndarray) -> None:
    seen = np.ones((T + 1, 2), bool)
    seen[2] = False
    padded = np.insert(logits, 2, np.nan, axis=0)
    beams = jax.jit(lambda z: ctc_prefix_beam(z, mask=jnp.asarray(seen), width=64, n_best=10))(padded)
    for b in range(2):
        wanted = sorted(probabilities(logits[:, b].astype(np.float64)).items(), key=lambda item: -item[1])[
            :10
        ]
        tokens, lengths = np.asarray(beams.tokens[b]), np.asarray(beams.lengths[b])
        assert [tuple(row[:n].tolist()) for row, n in zip(tokens, lengths, strict=True)] == [
            y for y, _ in wanted
        ]
        np.testing.assert_allclose(np.exp(beams.scores[b]), [p for _, p in wanted], rtol=1e-5)


def test_fusion(logits: np.ndarray) -> None:
    """A bigram model beside: the rank is the sum that the docstring gives, the best is that of enumeration."""
    bigram = np.random.default_rng(1).normal(size=(K, K)).astype(np.float32) * 2
    model = np.asarray(jax.nn.log_softmax(bigram, axis=-1), np.float64)

    def step(state: Any, token: Any) -> tuple[Any, Any]:
        return token, jnp.asarray(bigram)[token]

    start = jnp.zeros(2, jnp.int32)
    fusion = Fusion(step, start, start, jnp.arange(K), weight=0.7, bonus=0.3)
    beams = jax.jit(lambda z: ctc_prefix_beam(z, width=64, n_best=5, fusion=fusion))(logits)
    for b in range(2):
        ranks = {
            y: np.log(p) + sum(0.7 * model[before, c] + 0.3 for before, c in itertools.pairwise((0, *y)))
            for y, p in probabilities(logits[:, b].astype(np.float64)).items()
        }
        best = sorted(ranks, key=lambda y: -ranks[y])[:5]
        found = [
            tuple(row[:n].tolist())
            for row, n in zip(np.asarray(beams.tokens[b]), beams.lengths[b], strict=True)
        ]
        assert found == best
        np.testing.assert_allclose(beams.normalised[b], [ranks[y] for y in best], rtol=1e-5)


def test_a_narrow_beam_may_miss_what_it_dropped() -> None:
    """Scores of a narrow beam are at most those of all paths."""
    logits = np.random.default_rng(3).normal(size=(12, 4, K)).astype(np.float32)
    wide, narrow = (jax.jit(lambda z, w=w: ctc_prefix_beam(z, width=w))(logits) for w in (200, 3))
    assert np.all(np.asarray(narrow.scores) <= np.asarray(wide.scores) + 1e-5)
    with pytest.raises(ValueError, match="give a wider one"):
        ctc_prefix_beam(jnp.asarray(logits), width=2, n_best=3)


@pytest.mark.peers
def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(2)
    logits = random.normal(size=(30, 4, 7)).astype(np.float64)
    labels = random.integers(1, 7, (6, 4))
    frames, counts = np.array([30, 25, 18, 9]), np.array([6, 3, 0, 4])
    theirs = torch.tensor(logits, requires_grad=True)
    wanted = torch.nn.functional.ctc_loss(
        torch.log_softmax(theirs, -1),
        torch.tensor(labels.T),
        torch.tensor(frames),
        torch.tensor(counts),
        reduction="none",
    )
    wanted.sum().backward()
    with jax.enable_x64(True):
        mask, label_mask = (np.arange(n)[:, None] < many for n, many in ((30, frames), (6, counts)))

        def total(z: Any) -> Any:
            found = ctc_loss(
                z, jnp.asarray(labels), mask=jnp.asarray(mask), label_mask=jnp.asarray(label_mask)
            )
            return jnp.sum(found), found

        gradient, found = jax.grad(total, has_aux=True)(jnp.asarray(logits))
    np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-9)
