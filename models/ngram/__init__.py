"""n-gram language models: the next token's probability from the tokens before it, smoothed.

With c the context, c' the context without its first token, and p₀ = 1/V, a model is a number `direct` for every
n-gram and a number `backoff` for every context. They are combined order by order, from the shortest context on:

    interpolated   p(w | c) = direct(c w) + backoff(c) p(w | c')
    backed off     p(w | c) = direct(c w) if the text contains c w, else backoff(c) p(w | c')

and p(w | c) = p(w | c') if the text doesn't contain c. So all smoothings share one evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from models.ngram.counts import ABSENT, NgramCounts

Smoothing = Literal["mle", "add_k", "stupid_backoff", "katz", "kneser_ney"]
SMOOTHINGS: tuple[Smoothing, ...] = get_args(Smoothing)
KATZ_K = 5  # counts above it are not discounted
FALLBACK = (0.5, 1.0, 1.5)  # discounts if a text is too small to estimate them, as in KenLM

Ids = Int[np.ndarray, "T"]
Numbers = Float[np.ndarray, "_"]
Weights = tuple[list[np.ndarray], list[np.ndarray]]  # direct and rest of each order


@dataclass(frozen=True, eq=False)
class NgramModel:
    """Probabilities from counts. A `longest_only` model doesn't mix orders: the longest context alone decides."""

    counts: NgramCounts
    direct: Sequence[Numbers]  # of each order, [M]
    backoff: Sequence[Numbers]  # of each order's contexts, [M']
    base: float  # p₀ of every type
    interpolated: bool = True
    longest_only: bool = False

    def probabilities(self, tokens: Ids) -> Float[np.ndarray, "T"]:
        """Computes p(token | context) for each token of a text; the first follows a boundary if there is one.

        Raises ValueError for a token outside 0 … V − 1.
        """
        if len(tokens) and (tokens.min() < 0 or tokens.max() >= self.counts.size):
            raise ValueError(
                f"tokens lie in {tokens.min()} … {tokens.max()}; the model knows 0 … {self.counts.size - 1}"
            )
        found, contexts = self.counts.ngram_ids(tokens)
        p = np.full(len(tokens), self.base)
        lengths = self.counts.context_lengths(tokens)
        for n, (direct, backoff) in enumerate(zip(self.direct, self.backoff, strict=True)):
            here = contexts[n] != ABSENT
            if self.longest_only:
                here &= lengths == n
            seen = here & (found[n] != ABSENT)
            share = (
                np.where(seen, direct[np.where(seen, found[n], 0)], 0.0) if len(direct) else np.zeros(len(p))
            )
            lower = np.where(here, backoff[np.where(here, contexts[n], 0)], 1.0) * p
            p = share + lower if self.interpolated else np.where(seen & (share > 0), share, lower)
        return p

    def distribution(self, prompt: Sequence[int]) -> Float[np.ndarray, "V"]:
        """Computes p(w | prompt) for all V types; with a boundary the prompt starts a line."""
        p = np.full(self.counts.size, self.base)
        contexts = self.counts.contexts_of(prompt)
        for n, context in enumerate(contexts):
            if context == ABSENT or (self.longest_only and n + 1 < len(contexts)):
                continue
            tokens, places = self.counts.continuations(n + 1, context)
            direct = self.direct[n][places]
            p *= self.backoff[n][context]
            if self.interpolated:
                p[tokens] += direct
            else:
                p[tokens[direct > 0]] = direct[direct > 0]
        return p

    def continuations(self, prompt: Sequence[int], count: int) -> list[tuple[int, float, int, int]]:
        """Returns the `count` most probable next tokens: `(token, probability, times, order)`, most probable first.

        `times` is the count of the longest n-gram in the training text that ends with the token, and `order` its n.
        """
        p = self.distribution(prompt)
        contexts = self.counts.contexts_of(prompt)
        best = np.argsort(-p, kind="stable")[:count]
        return [(int(token), float(p[token]), *self._count_and_order(contexts, int(token))) for token in best]

    def _count_and_order(self, contexts: Sequence[int], token: int) -> tuple[int, int]:
        for n in reversed(range(len(contexts))):
            if contexts[n] == ABSENT:
                continue
            tokens, places = self.counts.continuations(n + 1, contexts[n])
            count_seen = self.counts.levels[n].counts[places][tokens == token]
            if count_seen.size and count_seen[0]:
                return int(count_seen[0]), n + 1
        return 0, 0

    def sample(
        self,
        generator: np.random.Generator,
        length: int,
        prompt: Sequence[int] = (),
        *,
        never: Sequence[int] = (),
    ) -> list[int]:
        """Draws `length` tokens one after another to continue a prompt, none of those in `never`.

        Stops early if all probabilities are zero (maximum likelihood after an unseen context).
        """
        text = list(prompt)
        for _ in range(length):
            p = self.distribution(text)
            p[list(never)] = 0
            total = np.cumsum(p)
            if not total[-1] > 0:
                break
            text.append(int(np.searchsorted(total, generator.random() * total[-1], side="right")))
        return text[len(prompt) :]


def perplexity(probabilities: Float[np.ndarray, "T"]) -> float:
    """Computes exp(−mean ln p), infinite if a probability is 0."""
    with np.errstate(divide="ignore"):
        return float(np.exp(-np.mean(np.log(probabilities))))


def smoothed(counts: NgramCounts, smoothing: Smoothing, *, k: float = 0.01) -> NgramModel:
    """Returns the model of a smoothing, by name; `k` is that of add-k. Raises ValueError for another name, or k ≤
    0.

    With N the counts:

        mle             N(c w) / N(c): zero for unseen n-grams
        add_k           (N(c w) + k) / (N(c) + k V), Lidstone
        stupid_backoff  N(c w) / N(c), or 0.4 times that of the shorter context: scores, not probabilities (Brants
                        et al. 2007)
        katz            Good–Turing discounts, backed off so that probabilities sum to one (Katz 1987)
        kneser_ney      interpolated, three discounts per order (Chen & Goodman 1999): see `kneser_ney`
    """
    uniform = 1 / counts.size
    match smoothing:
        case "mle":
            return NgramModel(counts, *_relative(counts, 0.0), base=0.0, longest_only=True)
        case "add_k":
            if not k > 0:
                raise ValueError(f"k of add-k must be above 0, but is {k}")
            return NgramModel(counts, *_relative(counts, k), base=uniform, longest_only=True)
        case "stupid_backoff":
            direct, backoff = _relative(counts, 0.0)
            backoff = [np.full_like(weights, 0.4) for weights in backoff]
            return NgramModel(counts, direct, backoff, base=uniform, interpolated=False)
        case "katz":
            return NgramModel(counts, *_katz(counts), base=uniform, interpolated=False)
        case "kneser_ney":
            return kneser_ney(counts)
    raise ValueError(f"there is no smoothing {smoothing!r}: choose one of {', '.join(SMOOTHINGS)}")


def kneser_ney(counts: NgramCounts, discounts: Sequence[Sequence[float]] | None = None) -> NgramModel:
    """Returns the interpolated modified Kneser–Ney model:

        p(w | c) = (a(c w) − D(a(c w))) / Σ_v a(c v) + γ(c) p(w | c'),   γ(c) = Σ_v D(a(c v)) / Σ_v a(c v)

    a is the count in the highest order, and in lower orders the number of different tokens before the n-gram
    (n-grams that no token precedes, as at the start of a line, keep their count). D₁, D₂ and D₃₊, for a = 1, 2
    and more, are estimated from each order's numbers of n-grams with a = 1 … 4, or given as `discounts`, three
    per order. Below the unigrams p is 1/V.

    Chen & Goodman 1999, equations 26 and 27; Heafield et al. 2013 for the beginnings.
    """
    direct, backoff = [], []
    for n, level in enumerate(counts.levels):
        adjusted = level.counts
        if n + 1 < counts.order:
            different = np.bincount(counts.levels[n + 1].suffix, minlength=len(level))
            adjusted = np.where(different == 0, level.counts, different)
        own = modified_discounts(adjusted) if discounts is None else discounts[n]
        by_count = np.array([0.0, *own])
        taken = by_count[np.minimum(adjusted, 3)]
        total = level.total(adjusted)
        direct.append((adjusted - taken) / _at_least_one(total)[level.contexts])
        backoff.append(np.where(total > 0, level.total(taken) / _at_least_one(total), 1.0))
    return NgramModel(counts, direct, backoff, base=1 / counts.size)


def modified_discounts(counts: Int[np.ndarray, "M"]) -> tuple[float, float, float]:
    """Computes D_i = i − (i + 1) Y n_{i+1} / n_i with Y = n₁ / (n₁ + 2 n₂); ½, 1, 1½ if they can't be estimated."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)
    if not n[1:5].all():
        return FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    found = tuple(float(i - (i + 1) * y * n[i + 1] / n[i]) for i in (1, 2, 3))
    return found if all(0 <= d <= i for i, d in enumerate(found, 1)) else FALLBACK  # type: ignore[return-value]


def _relative(counts: NgramCounts, k: float) -> Weights:
    """Computes direct = N(c w) / (N(c) + k V) and backoff = k V / (N(c) + k V), with counts N."""
    direct, backoff = [], []
    for level in counts.levels:
        total = level.total(level.counts) + k * counts.size
        direct.append(
            level.counts / _at_least_one(total)[level.contexts]
            if not k
            else level.counts / total[level.contexts]
        )
        backoff.append(np.where(total > 0, k * counts.size / np.where(total > 0, total, 1), 1.0))
    return direct, backoff


def _katz(counts: NgramCounts) -> Weights:
    """Computes direct = d(r) r / N(c) with Good–Turing's d, and backoff, the mass left over it divided by that left
    in the order below.

    If all counts after a context are too large to be discounted, no mass would be left for unseen tokens, so N(c)
    is increased by one there, as in SRILM.
    """
    direct, backoff = [], []
    for n, level in enumerate(counts.levels):
        total = level.total(level.counts)
        discounted = _good_turing(level.counts)[np.minimum(level.counts, KATZ_K + 1)] * level.counts
        undiscounted = total - level.total(discounted) < 1e-9 * total
        discounted = discounted / _at_least_one(total + undiscounted)[level.contexts]
        below = direct[n - 1][level.suffix] if n else np.where(level.counts > 0, 1 / counts.size, 0.0)
        left, unseen = 1 - level.total(discounted), 1 - level.total(below)
        # If every type was seen, the seen types share all the mass.
        full = (total > 0) & (unseen < 1e-9)
        direct.append(discounted / np.where(full, 1 - left, 1.0)[level.contexts])
        backoff.append(
            np.where(full, 0.0, np.where(total > 0, left / np.where(unseen < 1e-9, 1.0, unseen), 1.0))
        )
    return direct, backoff


def _good_turing(counts: Int[np.ndarray, "M"]) -> Float[np.ndarray, "_"]:
    """Computes the discount factors of counts r = 0 … k and above: d_r = (r*/r − μ) / (1 − μ), r* = (r + 1)
    n_{r+1} / n_r, μ = (k + 1) n_{k+1} / n₁; (r − ½) / r if the text is too small to estimate them."""
    n = np.bincount(np.minimum(counts, KATZ_K + 2), minlength=KATZ_K + 3).astype(float)
    r = np.arange(1, KATZ_K + 1)
    d = np.ones(KATZ_K + 2)
    d[r] = (r - 0.5) / r
    if n[1 : KATZ_K + 2].all() and (mu := (KATZ_K + 1) * n[KATZ_K + 1] / n[1]) < 1:
        found = ((r + 1) * n[r + 1] / (r * n[r]) - mu) / (1 - mu)
        if np.all((found > 0) & (found <= 1)):
            d[r] = found
    return d


def _at_least_one(total: np.ndarray) -> np.ndarray:
    """Replaces totals of 0, of contexts that nothing follows, by 1, so that they can divide."""
    return np.maximum(total, 1)
