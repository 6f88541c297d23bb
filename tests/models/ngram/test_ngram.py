"""n-gram models against counts by hand, dictionaries written from the equations, NLTK, and a published figure."""

import gzip
import math
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.ngram import (
    FALLBACK,
    SMOOTHINGS,
    Smoothing,
    kneser_ney,
    modified_discounts,
    perplexity,
    smoothed,
)
from models.ngram.counts import NgramCounts

END, V = 0, 7
# Distributions over all types, whatever the context.
PROPER: tuple[Smoothing, ...] = ("add_k", "katz", "kneser_ney")


def text(seed: int, lines: int, boundary: bool = True) -> np.ndarray:
    """Lines of types 1 … 5 in which the next type leans on the last; 6 never stands there. END ends each."""
    generator = np.random.default_rng(seed)
    tokens: list[int] = []
    for _ in range(lines):
        last = int(generator.integers(1, 6))
        for _ in range(int(generator.integers(0, 8))):
            last = int(generator.choice([last, 1 + last % 5, int(generator.integers(1, 6))]))
            tokens.append(last)
        tokens += [END] if boundary else []
    return np.array(tokens)


def contexts_of(tokens: np.ndarray, order: int, boundary: bool) -> list[tuple[tuple[int, ...], int]]:
    """(what stands before it, back to the boundary, at most n − 1 tokens; the token) of each, by a plain loop."""
    found, before = [], [END] if boundary else []
    for token in tokens.tolist():
        found.append((tuple(before[-(order - 1) :]) if order > 1 else (), token))
        before = [END] if boundary and token == END else [*before, token]
    return found


class KneserNey:
    """Chen & Goodman's equations on dictionaries, one probability at a time."""

    def __init__(self, tokens: np.ndarray, order: int, boundary: bool) -> None:
        self.order = order
        raw: Counter[tuple[int, ...]] = Counter()
        for context, token in contexts_of(tokens, order, boundary):
            gram = (*context, token)
            for start in range(len(gram)):
                raw[gram[start:]] += 1
        before = defaultdict(set)
        for gram in raw:
            if len(gram) > 1:
                before[gram[1:]].add(gram[0])
        self.adjusted = {
            gram: count if len(gram) == order else len(before[gram]) or count for gram, count in raw.items()
        }
        self.discounts = {}
        for n in range(1, order + 1):
            counts = Counter(min(a, 5) for gram, a in self.adjusted.items() if len(gram) == n)
            try:
                y = counts[1] / (counts[1] + 2 * counts[2])
                d = [i - (i + 1) * y * counts[i + 1] / counts[i] for i in (1, 2, 3)]
            except ZeroDivisionError:
                d = [-1]
            usable = counts[4] and all(0 <= d[i - 1] <= i for i in range(1, len(d) + 1)) and len(d) == 3
            self.discounts[n] = (0.0, *(d if usable else FALLBACK))

    def p(self, context: tuple[int, ...], token: int) -> float:
        lower = self.p(context[1:], token) if context else 1 / V
        following = {gram[-1]: a for gram, a in self.adjusted.items() if gram[:-1] == context}
        if not following:
            return lower
        discounts, total = self.discounts[len(context) + 1], sum(following.values())
        taken = {w: discounts[min(a, 3)] for w, a in following.items()}
        own = following.get(token, 0) - taken.get(token, 0.0)
        return own / total + sum(taken.values()) / total * lower


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("boundary", [True, False])
def test_kneser_ney_is_its_equations(order: int, boundary: bool) -> None:
    train, other = text(0, 60, boundary), text(1, 12, boundary)
    reference = KneserNey(train, order, boundary)
    model = kneser_ney(NgramCounts.of(train, V, order, END if boundary else None))
    expected = [reference.p(context, token) for context, token in contexts_of(other, order, boundary)]
    np.testing.assert_allclose(model.probabilities(other), expected, rtol=1e-12)


def test_the_discounts_of_the_test_are_estimated() -> None:
    """Else the comparison above would only ever have met the fall-back."""
    reference = KneserNey(text(0, 60), 3, True)
    assert reference.discounts[3][1:] != FALLBACK


def test_counts_by_hand() -> None:
    """a b END a b b END: of the trigrams END a b stands there twice; none reaches over an END."""
    counts = NgramCounts.of(np.array([1, 2, 0, 1, 2, 2, 0]), 3, 3, boundary=0)
    grams = []
    for n, level in enumerate(counts.levels):
        prefix = [()] if n == 0 else grams[-1]
        grams.append([(*prefix[key // 3], int(key % 3)) for key in level.keys])
    assert dict(zip(grams[0], counts.levels[0].counts.tolist(), strict=True)) == {(0,): 2, (1,): 2, (2,): 3}
    assert dict(zip(grams[1], counts.levels[1].counts.tolist(), strict=True)) == {
        (0, 1): 2, (1, 2): 2, (2, 0): 2, (2, 2): 1
    }  # fmt: skip
    assert dict(zip(grams[2], counts.levels[2].counts.tolist(), strict=True)) == {
        (0, 1, 2): 2, (1, 2, 0): 1, (1, 2, 2): 1, (2, 2, 0): 1
    }  # fmt: skip
    assert [grams[1][i] for i in counts.levels[2].suffix] == [gram[1:] for gram in grams[2]]
    assert counts.sizes().tolist() == [3, 4, 4]


def test_maximum_likelihood_and_add_k_by_hand() -> None:
    counts = NgramCounts.of(np.array([1, 2, 0, 1, 2, 2, 0]), 3, 2, boundary=0)
    tokens = np.array([1, 2, 2, 0, 2])  # END→1, 1→2, 2→2, 2→END, END→2
    np.testing.assert_allclose(smoothed(counts, "mle").probabilities(tokens), [1, 1, 1 / 3, 2 / 3, 0])
    added = smoothed(counts, "add_k", k=0.5).probabilities(tokens)
    np.testing.assert_allclose(added, [2.5 / 3.5, 2.5 / 3.5, 1.5 / 4.5, 2.5 / 4.5, 0.5 / 3.5])
    backed = smoothed(counts, "stupid_backoff").probabilities(tokens)
    np.testing.assert_allclose(backed, [1, 1, 1 / 3, 2 / 3, 0.4 * 3 / 7])
    assert perplexity(np.array([0.5, 0.125])) == pytest.approx(4)
    assert perplexity(np.array([0.5, 0.0])) == math.inf


def test_katz_by_its_equations() -> None:
    """Katz gives what was seen d c / c(c); what wasn't shares the rest as the order below would."""
    train = text(2, 4000)
    counts = NgramCounts.of(train, V, 2, END)
    model = smoothed(counts, "katz")
    unigrams, bigrams = Counter(train.tolist()), Counter(pairwise([END, *train.tolist()]))
    p1 = smoothed(counts.truncated(1), "katz").distribution([])
    np.testing.assert_allclose(p1[:6], [unigrams[w] / len(train) * p1[:6].sum() for w in range(6)])
    assert p1[6] > 0
    for context in range(1, 6):
        p = model.distribution([context])
        total = sum(count for (c, _), count in bigrams.items() if c == context)
        for w in range(6):
            if bigrams[context, w] > 5:
                assert p[w] <= bigrams[context, w] / total
        unseen = [w for w in range(V) if not bigrams[context, w]]
        left = 1 - sum(p[w] for w in range(V) if bigrams[context, w])
        np.testing.assert_allclose(p[unseen], left * p1[unseen] / p1[unseen].sum())


@pytest.mark.parametrize("smoothing", PROPER)
@pytest.mark.parametrize("boundary", [True, False])
def test_sums_to_one_and_agrees_with_itself(smoothing: Smoothing, boundary: bool) -> None:
    """After any prompt, seen or not; `distribution` and `probabilities` are two ways to the same numbers."""
    train, other = text(3, 50, boundary), text(4, 6, boundary)
    model = smoothed(NgramCounts.of(train, V, 4, END if boundary else None), smoothing)
    p = model.probabilities(other)
    assert p.min() > 0
    for i in range(len(other)):
        distribution = model.distribution(other[:i].tolist())
        assert distribution.sum() == pytest.approx(1, abs=1e-12)
        assert distribution[other[i]] == pytest.approx(p[i], rel=1e-12)
    for prompt in ([6], [6, 6], [1, 6], [6, 1], [5, 4, 3, 2, 1, 1, 1]):
        assert model.distribution(prompt).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_distribution_is_that_of_the_probabilities(smoothing: Smoothing) -> None:
    train, other = text(3, 50), text(4, 6)
    model = smoothed(NgramCounts.of(train, V, 3, END), smoothing)
    p = [model.distribution(other[:i].tolist())[token] for i, token in enumerate(other)]
    np.testing.assert_allclose(model.probabilities(other), p, rtol=1e-12)


def test_unseen_share_by_a_loop() -> None:
    train, other = text(5, 20), text(6, 20)
    shares = NgramCounts.of(train, V, 4, END).unseen(other)
    for n in range(1, 5):
        grams = [(*c, w) for c, w in contexts_of(other, n, True) if len(c) == n - 1]
        known = {(*c, w) for c, w in contexts_of(train, n, True)}
        assert shares[n - 1] == pytest.approx(np.mean([gram not in known for gram in grams]))


def test_continuations_and_how_often_they_stand_there() -> None:
    counts = NgramCounts.of(np.array([1, 2, 0, 1, 2, 2, 0, 3, 0]), 5, 3, boundary=0)
    model = kneser_ney(counts)
    best = model.continuations([1, 2], 5)
    assert [(times, order) for token, _, times, order in best if token in (2, 0)] == [(1, 3), (1, 3)]
    assert [p for _, p, _, _ in best] == sorted((p for _, p, _, _ in best), reverse=True)
    assert {token: (times, order) for token, _, times, order in best}[1] == (2, 1)
    assert {token: (times, order) for token, _, times, order in best}[4] == (0, 0)
    assert sum(p for _, p, _, _ in best) == pytest.approx(1)


def test_samples_follow_the_distribution() -> None:
    model = kneser_ney(NgramCounts.of(text(7, 200), V, 2, END))
    generator = np.random.default_rng(0)
    drawn = Counter(model.sample(generator, 1, [3])[0] for _ in range(4000))
    p = model.distribution([3])
    for token in range(V):
        assert abs(drawn[token] - 4000 * p[token]) < 5 * math.sqrt(4000 * p[token]) + 1
    assert 1 not in model.sample(generator, 200, [3], never=[1])
    silent = smoothed(NgramCounts.of(np.array([1, 2]), 3, 2), "mle")
    assert silent.sample(generator, 10, [1]) == [2]  # nothing follows the 2


def test_discounts_of_too_small_a_text() -> None:
    assert modified_discounts(np.array([1, 1, 2])) == FALLBACK
    n1, n2, n3, n4 = 40, 15, 7, 4
    counts = np.repeat([1, 2, 3, 4, 9], [n1, n2, n3, n4, 5])
    y = n1 / (n1 + 2 * n2)
    assert modified_discounts(counts) == pytest.approx(
        (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    )


def test_mistakes() -> None:
    counts = NgramCounts.of(np.array([1, 2]), 3, 2)
    with pytest.raises(ValueError, match="order is 0"):
        NgramCounts.of(np.array([1, 2]), 3, 0)
    with pytest.raises(ValueError, match="a text without tokens"):
        NgramCounts.of(np.array([], int), 3, 2)
    with pytest.raises(ValueError, match=r"tokens lie in 1 … 3, but there are types 0 … 2 only"):
        NgramCounts.of(np.array([1, 3]), 3, 2)
    with pytest.raises(ValueError, match=r"tokens lie in 0 … 5; the model knows 0 … 2"):
        kneser_ney(counts).probabilities(np.array([0, 5]))
    with pytest.raises(ValueError, match="k of add-k must be above 0"):
        smoothed(counts, "add_k", k=0.0)


PLACES = [parent / "shared" / "data" / "ptb" for parent in Path(__file__).parents]
PTB = next((place for place in PLACES if place.is_dir()), None)


@pytest.mark.skipif(PTB is None, reason="the Penn Treebank text is not here")
@pytest.mark.parametrize(("order", "published"), [(3, 148.3), (5, 141.2)])
def test_ptb(order: int, published: float) -> None:
    """Interpolated modified Kneser–Ney as SRILM's on the same split (Mikolov 2012, table 4.1, KN3 and KN5)."""
    assert PTB is not None
    with gzip.open(PTB / "ptb.train.txt.gz", "rt", encoding="utf-8") as file:
        train = file.read()
    words = {w: i for i, w in enumerate(dict.fromkeys(["</s>", *train.split()]))}

    def encode(lines: str) -> np.ndarray:
        return np.array([words[w] for line in lines.splitlines() for w in (*line.split(), "</s>")])

    test = encode((PTB / "ptb.test.txt").read_text(encoding="utf-8"))
    assert (len(words), len(test)) == (10_000, 82_430)
    model = kneser_ney(NgramCounts.of(encode(train), len(words), order, 0))
    assert perplexity(model.probabilities(test)) == pytest.approx(published, abs=0.5)


@pytest.mark.peers
@pytest.mark.parametrize("order", [2, 3])
def test_nltk(order: int) -> None:
    """NLTK's interpolated Kneser–Ney has one discount in every order but the first, and none there."""
    lm = pytest.importorskip("nltk.lm", reason="NLTK is not installed")
    from nltk.util import ngrams  # pyright: ignore[reportMissingImports]

    train = text(8, 80, boundary=False).tolist()
    peer = lm.KneserNeyInterpolated(order, discount=0.75)
    grams = [gram for n in range(1, order + 1) for gram in ngrams(map(str, train), n)]
    peer.fit([grams], vocabulary_text=[str(w) for w in range(1, 6)])
    own = kneser_ney(NgramCounts.of(np.array(train), V, order), [(0.0,) * 3, *[(0.75,) * 3] * (order - 1)])
    for context in {tuple(train[i : i + order - 1]) for i in range(len(train) - order + 1)}:
        theirs = [peer.score(str(w), [str(c) for c in context]) for w in range(1, 6)]
        np.testing.assert_allclose(own.distribution(context)[1:6], theirs, rtol=1e-9)


def test_no_longer_ngrams_than_the_text_has() -> None:
    """One word a line, and so "boundary word boundary" is the longest n-gram, and all of it still works."""
    tokens = np.array([1, 0, 2, 0, 1, 0])
    counts = NgramCounts.of(tokens, 3, 5, boundary=0)
    assert counts.order == 3
    for smoothing in SMOOTHINGS:
        model = smoothed(counts, smoothing)
        assert np.all(model.probabilities(tokens) > 0)
    by_hand = smoothed(counts, "mle").probabilities(tokens)
    np.testing.assert_allclose(by_hand, [2 / 3, 1, 1 / 3, 1, 2 / 3, 1])
    assert NgramCounts.of(np.array([1]), 2, 4).order == 1


def test_a_long_prompt_costs_no_more_than_its_end() -> None:
    """Contexts of a prompt are those of its last tokens, back to the boundary or n − 1 of them."""
    counts = NgramCounts.of(np.array([1, 2, 3, 0, 2, 2, 3, 0, 1, 2, 2, 3, 0]), 4, 3, boundary=0)
    for prompt in ([], [1], [1, 2], [1, 2, 2], [2, 0, 1], [1, 2, 3, 0]):
        whole = [0, *prompt]
        since = whole[max(i for i, token in enumerate(whole) if token == 0) :]
        assert len(counts.contexts_of(prompt)) == min(3, len(since) + 1)
    assert (
        counts.contexts_of([3, 1, 2] * 9)
        == counts.contexts_of([0, 3, 1, 2] * 9)
        == counts.contexts_of([3, 1, 2])
    )
