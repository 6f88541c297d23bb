"""The cost of spelling tokens that are not in a vocabulary."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

CODE_POINTS = 0x110000  # possible characters
_EDGE = ""  # before the first character of a spelling and after its last


@dataclass(frozen=True, eq=False)
class Speller:
    """A bigram model of the characters of words, and of their end:

        p(c | b) = (n(b c) + t(b) p(c)) / (n(b) + t(b)),   p(c) = (n(c) + t / 1,114,113) / (n + t)

    n are counts in the training words, t is the number of different characters that follow (Witten & Bell 1991),
    and the remaining probability is shared by all code points and the end, so that every word has a finite cost
    and all probabilities sum to 1.
    """

    pairs: Counter[tuple[str, str]]
    single: Counter[str]
    context_counts: Counter[str]  # n(b)
    followers: Counter[str]  # t(b)

    @classmethod
    def of(cls, words: Iterable[str]) -> "Speller":
        """Counts the characters of words, with multiplicity."""
        pairs = Counter(pair for word in words for pair in zip((_EDGE, *word), (*word, _EDGE), strict=True))
        single: Counter[str] = Counter()
        context_counts: Counter[str] = Counter()
        for (before, character), count in pairs.items():
            single[character] += count
            context_counts[before] += count
        return cls(pairs, single, context_counts, Counter(before for before, _ in pairs))

    def bits(self, word: str) -> float:
        """Computes −log₂ p of the word and its end."""
        return -sum(
            math.log2(self._probability(b, c)) for b, c in zip((_EDGE, *word), (*word, _EDGE), strict=True)
        )

    def total_bits(self, words: Iterable[str]) -> float:
        """Computes the bits of all words."""
        return math.fsum(count * self.bits(word) for word, count in Counter(words).items())

    def _probability(self, before: str, character: str) -> float:
        followers = max(len(self.single), 1)
        total = self.single.total() + followers
        alone = (self.single[character] + followers / (CODE_POINTS + 1)) / total
        follow = self.followers[before]
        if not follow:
            return alone
        return (self.pairs[before, character] + follow * alone) / (self.context_counts[before] + follow)
