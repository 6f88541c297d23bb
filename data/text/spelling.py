"""Prices the spelling of tokens that a vocabulary does not hold."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

CODE_POINTS = 0x110000  # characters that there can be
_EDGE = ""  # before the first character of a spelling and behind its last


@dataclass(frozen=True, eq=False)
class Speller:
    """A code for words, character by character and then their end, by pairs of characters:

        p(c | b) = (n(b c) + t(b) p(c)) / (n(b) + t(b)),   p(c) = (n(c) + t / 1,114,113) / (n + t)

    n counts in the words it was made from, t is how many different characters follow (Witten & Bell 1991), and the
    rest is shared by all code points and the end, so that every word has a finite cost and all their
    probabilities sum to 1.
    """

    pairs: Counter[tuple[str, str]]
    single: Counter[str]
    after: Counter[str]  # n(b)
    kinds: Counter[str]  # t(b)

    @classmethod
    def of(cls, words: Iterable[str]) -> "Speller":
        """Counts words, each as often as it is given."""
        pairs = Counter(pair for word in words for pair in zip((_EDGE, *word), (*word, _EDGE), strict=True))
        single: Counter[str] = Counter()
        after: Counter[str] = Counter()
        for (before, character), times in pairs.items():
            single[character] += times
            after[before] += times
        return cls(pairs, single, after, Counter(before for before, _ in pairs))

    def bits(self, word: str) -> float:
        """−log₂ p of the word and its end."""
        return -sum(
            math.log2(self._probability(b, c)) for b, c in zip((_EDGE, *word), (*word, _EDGE), strict=True)
        )

    def total_bits(self, words: Iterable[str]) -> float:
        """The bits of all of them."""
        return math.fsum(times * self.bits(word) for word, times in Counter(words).items())

    def _probability(self, before: str, character: str) -> float:
        kinds = max(len(self.single), 1)
        seen = self.single.total() + kinds
        alone = (self.single[character] + kinds / (CODE_POINTS + 1)) / seen
        follow = self.kinds[before]
        if not follow:
            return alone
        return (self.pairs[before, character] + follow * alone) / (self.after[before] + follow)
