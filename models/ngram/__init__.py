"""n-gram language models: the next token's probability from the tokens before it, smoothed.

With c the context, c' the context without its first token, and p₀ = 1/V, a model is two numbers: `direct` of every
n-gram and `rest` of every context. Order by order, from the shortest context on, it puts them together as

    interpolated   p(w | c) = direct(c w) + rest(c) p(w | c')
    backed off     p(w | c) = direct(c w) where the text holds c w, else rest(c) p(w | c')

and where the text doesn't hold c, p(w | c) = p(w | c'). So all smoothings share one evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from models.ngram.counts import ABSENT, NgramCounts

Smoothing = Literal["mle", "add_k", "stupid_backoff", "katz", "kneser_ney"]
SMOOTHINGS: tuple[Smoothing, ...] = get_args(Smoothing)
KATZ_K = 5  # counts above it are taken as they are
FALLBACK = (0.5, 1.0, 1.5)  # discounts where a text is too small to estimate them, as KenLM's

Ids = Int[np.ndarray, "T"]
Numbers = Float[np.ndarray, "_"]
Weights = tuple[list[np.ndarray], list[np.ndarray]]  # direct and rest of each order


@dataclass(frozen=True, eq=False)
class NgramModel:
    """Probabilities from counts. `longest_only` models don't mix: the longest context decides alone."""

    counts: NgramCounts
    direct: Sequence[Numbers]  # of each order, [M]
    rest: Sequence[Numbers]  # of each order's contexts, [M']
    base: float  # p₀ of every type
    interpolated: bool = True
    longest_only: bool = False

    def probabilities(self, tokens: Ids) -> Float[np.ndarray, "T"]:
        """p(token | what stands before it) for each token of a text; the first follows a boundary if there is one.

        Raises ValueError for a token that isn't among the types.
        """
        if len(tokens) and (tokens.min() < 0 or tokens.max() >= self.counts.size):
            raise ValueError(
                f"tokens lie in {tokens.min()} … {tokens.max()}; the model knows 0 … {self.counts.size - 1}"
            )
        found, contexts = self.counts.numbers(tokens)
        p = np.full(len(tokens), self.base)
        reach = self.counts.reach(tokens)
        for n, (direct, rest) in enumerate(zip(self.direct, self.rest, strict=True)):
            here = contexts[n] != ABSENT
            if self.longest_only:
                here &= reach == n
            seen = here & (found[n] != ABSENT)
            share = (
                np.where(seen, direct[np.where(seen, found[n], 0)], 0.0) if len(direct) else np.zeros(len(p))
            )
            lower = np.where(here, rest[np.where(here, contexts[n], 0)], 1.0) * p
            p = share + lower if self.interpolated else np.where(seen & (share > 0), share, lower)
        return p

    def distribution(self, prompt: Sequence[int]) -> Float[np.ndarray, "V"]:
        """p(w | prompt) of all V types; the prompt begins a line where there is a boundary."""
        p = np.full(self.counts.size, self.base)
        contexts = self.counts.contexts_of(prompt)
        for n, context in enumerate(contexts):
            if context == ABSENT or (self.longest_only and n + 1 < len(contexts)):
                continue
            tokens, places = self.counts.continuations(n + 1, context)
            direct = self.direct[n][places]
            p *= self.rest[n][context]
            if self.interpolated:
                p[tokens] += direct
            else:
                p[tokens[direct > 0]] = direct[direct > 0]
        return p

    def continuations(self, prompt: Sequence[int], count: int) -> list[tuple[int, float, int, int]]:
        """The `count` most probable next tokens: `(token, probability, times, order)`, most probable first.

        `times` is how often the training text holds it after the longest end of the prompt after which it stands
        there at all, and `order` the n of that n-gram.
        """
        p = self.distribution(prompt)
        contexts = self.counts.contexts_of(prompt)
        best = np.argsort(-p, kind="stable")[:count]
        return [(int(token), float(p[token]), *self._times(contexts, int(token))) for token in best]

    def _times(self, contexts: Sequence[int], token: int) -> tuple[int, int]:
        for n in reversed(range(len(contexts))):
            if contexts[n] == ABSENT:
                continue
            tokens, places = self.counts.continuations(n + 1, contexts[n])
            times = self.counts.levels[n].counts[places][tokens == token]
            if times.size and times[0]:
                return int(times[0]), n + 1
        return 0, 0

    def sample(
        self,
        generator: np.random.Generator,
        length: int,
        prompt: Sequence[int] = (),
        *,
        never: Sequence[int] = (),
    ) -> list[int]:
        """`length` tokens drawn one after another behind a prompt, none of those in `never`.

        Ends earlier where the model gives nothing a probability (maximum likelihood after an unseen context).
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
    """exp(−mean ln p), infinite where a probability is 0."""
    with np.errstate(divide="ignore"):
        return float(np.exp(-np.mean(np.log(probabilities))))


def smoothed(counts: NgramCounts, smoothing: Smoothing, *, k: float = 0.01) -> NgramModel:
    """The model of a smoothing, by name; `k` is that of add-k. Raises ValueError for another name, or k ≤ 0.

    mle             c(c w) / c(c): nothing for what wasn't seen
    add_k           (c(c w) + k) / (c(c) + k V), Lidstone
    stupid_backoff  c(c w) / c(c), or 0.4 times that of the shorter context: scores, no probabilities (Brants et
    al. 2007) katz            Good–Turing discounts, backed off so that it sums to one (Katz 1987)
    kneser_ney      interpolated, three discounts each order (Chen & Goodman 1999): see `kneser_ney`
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
            direct, rest = _relative(counts, 0.0)
            rest = [np.full_like(weights, 0.4) for weights in rest]
            return NgramModel(counts, direct, rest, base=uniform, interpolated=False)
        case "katz":
            return NgramModel(counts, *_katz(counts), base=uniform, interpolated=False)
        case "kneser_ney":
            return kneser_ney(counts)
    raise ValueError(f"there is no smoothing {smoothing!r}: choose one of {', '.join(SMOOTHINGS)}")


def kneser_ney(counts: NgramCounts, discounts: Sequence[Sequence[float]] | None = None) -> NgramModel:
    """Interpolated modified Kneser–Ney:

        p(w | c) = (a(c w) − D(a(c w))) / Σ_v a(c v) + γ(c) p(w | c'),   γ(c) = Σ_v D(a(c v)) / Σ_v a(c v)

    a is the count in the highest order and below it the number of different tokens before the n-gram (n-grams that
    nothing stands before, as at the beginning of a line, keep their count). D₁, D₂ and D₃₊, for a = 1, 2 and more,
    are estimated from each order's numbers of n-grams with a = 1 … 4, or given, three numbers
    an order. p of no context is 1/V.

    Chen & Goodman 1999, equations 26 and 27; Heafield et al. 2013 for the beginnings.
    """
    direct, rest = [], []
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
        rest.append(np.where(total > 0, level.total(taken) / _at_least_one(total), 1.0))
    return NgramModel(counts, direct, rest, base=1 / counts.size)


def modified_discounts(counts: Int[np.ndarray, "M"]) -> tuple[float, float, float]:
    """D_i = i − (i + 1) Y n_{i+1} / n_i with Y = n₁ / (n₁ + 2 n₂); ½, 1, 1½ where they can't be estimated."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)
    if not n[1:5].all():
        return FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    found = tuple(float(i - (i + 1) * y * n[i + 1] / n[i]) for i in (1, 2, 3))
    return found if all(0 <= d <= i for i, d in enumerate(found, 1)) else FALLBACK  # type: ignore[return-value]


def _relative(counts: NgramCounts, k: float) -> Weights:
    """direct = c(c w) / (c(c) + k V), rest = k V / (c(c) + k V)."""
    direct, rest = [], []
    for level in counts.levels:
        total = level.total(level.counts) + k * counts.size
        direct.append(
            level.counts / _at_least_one(total)[level.contexts]
            if not k
            else level.counts / total[level.contexts]
        )
        rest.append(np.where(total > 0, k * counts.size / np.where(total > 0, total, 1), 1.0))
    return direct, rest


def _katz(counts: NgramCounts) -> Weights:
    """direct = d(r) r / c(c) with Good–Turing's d; rest, what that leaves, over what it leaves in the order below.

    Where all counts after a context are too large to be discounted nothing would be left for what is unseen, so
    c(c) counts one more there, as in SRILM.
    """
    direct, rest = [], []
    for n, level in enumerate(counts.levels):
        total = level.total(level.counts)
        mine = _good_turing(level.counts)[np.minimum(level.counts, KATZ_K + 1)] * level.counts
        undiscounted = total - level.total(mine) < 1e-9 * total
        mine = mine / _at_least_one(total + undiscounted)[level.contexts]
        below = direct[n - 1][level.suffix] if n else np.where(level.counts > 0, 1 / counts.size, 0.0)
        left, unseen = 1 - level.total(mine), 1 - level.total(below)
        # Where every type was seen nothing is left for the others: what was seen takes all.
        full = (total > 0) & (unseen < 1e-9)
        direct.append(mine / np.where(full, 1 - left, 1.0)[level.contexts])
        rest.append(
            np.where(full, 0.0, np.where(total > 0, left / np.where(unseen < 1e-9, 1.0, unseen), 1.0))
        )
    return direct, rest


def _good_turing(counts: Int[np.ndarray, "M"]) -> Float[np.ndarray, "_"]:
    """Returns what a count r is multiplied by, for r = 0 … k and above: d_r = (r*/r − μ) / (1 − μ), r* = (r + 1)
    n_{r+1} / n_r, μ = (k + 1) n_{k+1} / n₁; where those can't be had (a small text), (r − ½) / r."""
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
    """Totals to divide by: of a context that nothing follows, 1."""
    return np.maximum(total, 1)
