"""The tasks of the Neural Turing machine, solved again from their inputs by plain loops."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.synthetic import turing_tasks as tasks

B = 6


def drawn(task: Any, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets of each example, without padding."""
    batch = jax.tree.map(np.asarray, jax.jit(task, static_argnums=1)(jax.random.key(seed), B))
    lengths = batch.mask.sum(axis=0)
    assert all(batch.mask[:n, b].all() for b, n in enumerate(lengths))
    assert (batch.targets[~batch.mask] == tasks.NOT_ASKED).all()
    assert not batch.inputs[~batch.mask].any()
    return [(batch.inputs[:n, b], batch.targets[:n, b]) for b, n in enumerate(lengths)]


def asked(targets: np.ndarray) -> np.ndarray:
    """The rows that are asked for: all of a row or nothing."""
    some = (targets != tasks.NOT_ASKED).any(axis=-1)
    assert ((targets != tasks.NOT_ASKED).all(axis=-1) == some).all()
    assert some[-1]
    return targets[some]


def test_copy() -> None:
    seen = set()
    for xs, ys in drawn(partial(tasks.copy, longest=5, shortest=2)):
        (end,) = np.flatnonzero(xs[:, -1])
        seen.add(int(end))
        assert len(xs) == 2 * end + 1
        np.testing.assert_array_equal(asked(ys), xs[:end, :-1])
        assert not xs[end:, :-1].any()
    assert seen <= {2, 3, 4, 5}
    assert len(seen) > 1


def test_repeat_copy() -> None:
    found = set()
    for xs, ys in drawn(partial(tasks.repeat_copy, longest=3, repeats=4)):
        (end,) = np.flatnonzero(xs[:, -2])
        times = round(float(xs[end, -1] * np.sqrt(15 / 12) + 2.5))
        found.add(times)
        wanted = np.concatenate([np.tile(xs[:end, :-2], (times, 1)), np.zeros((1, 8))])
        marks = np.eye(int(times * end) + 1)[-1:].T
        np.testing.assert_array_equal(asked(ys), np.concatenate([wanted, marks], axis=1))
    assert len(found) > 1


def test_associative_recall() -> None:
    for xs, ys in drawn(partial(tasks.associative_recall, most=4)):
        starts = np.flatnonzero(xs[:, 6])
        items = [xs[s + 1 : s + 4, :6] for s in starts]
        first, last = np.flatnonzero(xs[:, 7])
        assert (starts == 4 * np.arange(len(items))).all()
        assert first == 4 * len(items)
        query = xs[first + 1 : last, :6]
        places = [k for k, item in enumerate(items[:-1]) if (item == query).all()]
        assert any((asked(ys) == items[k + 1]).all() for k in places)
        assert len(xs) == last + 4


def test_dynamic_ngrams() -> None:
    """Counts after a context approach the source, and the estimator's cost is that of a plain count."""
    task = partial(tasks.dynamic_ngrams, length=40, context=2)
    batch = jax.tree.map(np.asarray, task(jax.random.key(0), B))
    bits = np.where(batch.targets[..., 0] == tasks.NOT_ASKED, 0, batch.targets[..., 0])
    bits[:2] = batch.inputs[1:3, :, 0]
    np.testing.assert_array_equal(batch.inputs[1:, :, 0], bits[:-1])
    costs = np.asarray(tasks.bayes_ngrams(jnp.asarray(bits), context=2))
    for b in range(B):
        counts = np.zeros((2, 2, 2))
        for t in range(2, 40):
            seen = counts[bits[t - 2, b], bits[t - 1, b]]
            p = (seen[bits[t, b]] + 0.5) / (seen.sum() + 1)
            np.testing.assert_allclose(costs[t, b], -np.log2(p), rtol=1e-5)
            seen[bits[t, b]] += 1
    task = jax.jit(partial(tasks.dynamic_ngrams, length=2000, context=1), static_argnums=1)
    long = jax.tree.map(np.asarray, task(jax.random.key(1), 400))
    after_zero = [long.targets[1:, b, 0][long.inputs[1:, b, 0] == 0] for b in range(400)]
    ones = [bits.mean() for bits in after_zero if bits.size]  # one that is stuck at 1 has none
    # Beta(½, ½) has mean ½ and variance ⅛; a third of it lies below ¼.
    assert abs(np.mean(ones) - 0.5) < 0.06
    assert abs(np.var(ones) - 0.125) < 0.02
    assert abs(np.mean(np.array(ones) < 0.25) - 1 / 3) < 0.08


def test_priority_sort() -> None:
    for xs, ys in drawn(partial(tasks.priority_sort, count=6, asked=4)):
        order = sorted(range(6), key=lambda i: -xs[i, 8])[:4]
        np.testing.assert_array_equal(asked(ys), xs[order, :8])
        assert np.flatnonzero(xs[:, 9]).tolist() == [6]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (partial(tasks.copy, longest=1, shortest=2), "no shorter than the shortest"),
        (partial(tasks.copy, longest=3, shortest=0), "something to copy"),
        (partial(tasks.associative_recall, most=3, fewest=1), "the item after another one"),
        (partial(tasks.dynamic_ngrams, length=5), "not asked for"),
        (partial(tasks.priority_sort, count=3, asked=4), "ask for no more"),
    ],
)
def test_refusals(task: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        task(jax.random.key(0), B)
