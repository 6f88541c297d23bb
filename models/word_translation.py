"""IBM model 1: which word translates which, learned from pairs of sentences."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

Pairs = Sequence[tuple[Sequence[str], Sequence[str]]]
EMPTY = ""  # the source word of target words that translate none


@dataclass(frozen=True, eq=False)
class WordTranslation:
    """The probability p(t | s) of a target word t for a source word s, of all P pairs of words that occur in one
    pair of sentences. Brown, Della Pietra, Della Pietra & Mercer 1993, model 1:

        p(t_1 … t_n | s_1 … s_m) ∝ Π_j Σ_{i=0…m} p(t_j | s_i)

    where s_0 is the empty word: every target word translates one source word, and all choices are equally likely.
    Expectation maximisation begins at equal probabilities; its optimum is unique.

    Attributes:
        sources, targets: the words, in the order of their ids.
        source, target: ids of the words of a pair, `[P]`.
        probability: p(t | s) `[P]`.
        log_likelihoods: Σ_j log (Σ_i p(t_j | s_i) / (m + 1)) over all sentences, before each iteration.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    source: Int[np.ndarray, "P"]
    target: Int[np.ndarray, "P"]
    probability: Float[np.ndarray, "P"]
    log_likelihoods: tuple[float, ...]

    @classmethod
    def learn(cls, pairs: Pairs, iterations: int = 5) -> "WordTranslation":
        """Learns the probabilities from pairs of sentences, each a sequence of words.

        Raises ValueError if no target sentence has a word, or for less than one iteration.
        """
        if iterations < 1:
            raise ValueError(f"iterations is {iterations}; it must be at least 1")
        sources, targets = ids([EMPTY], (s for s, _ in pairs)), ids([], (t for _, t in pairs))
        if not targets:
            raise ValueError("no target sentence has a word: there is nothing to learn translations from")
        # A row for every target word of every sentence beside every source word of it, the empty one first.
        numbered = [([0, *(sources[w] for w in s)], [targets[w] for w in t]) for s, t in pairs]
        lengths = np.concatenate([np.full(len(t), len(s)) for s, t in numbered])
        place = np.repeat(np.arange(len(lengths)), lengths)  # of the target word, over all sentences
        s_ids = np.concatenate([np.tile(s, len(t)) for s, t in numbered]).astype(np.int64)
        t_ids = np.concatenate([np.repeat(t, len(s)) for s, t in numbered]).astype(np.int64)
        found, pair = np.unique(s_ids * len(targets) + t_ids, return_inverse=True)
        source, target = np.divmod(found, len(targets))
        probability = np.full(len(found), 1 / len(targets))
        reached = []
        for _ in range(iterations):
            likely = probability[pair]
            total = np.bincount(place, likely)
            reached.append(math.fsum(np.log(total / lengths)))
            expected = np.bincount(pair, likely / total[place])
            probability = expected / np.bincount(source, expected)[source]
        return cls(tuple(sources), tuple(targets), source, target, probability, tuple(reached))

    @cached_property
    def likeliest(self) -> dict[str, str]:
        """Returns the likeliest translation of every source word; of equally likely ones that seen first."""
        order = np.lexsort((self.target, -self.probability, self.source))
        first = order[np.unique(self.source[order], return_index=True)[1]]
        return {
            self.sources[s]: self.targets[t]
            for s, t in zip(self.source[first], self.target[first], strict=True)
            if s
        }

    def translate(self, words: Iterable[str]) -> list[str]:
        """Translates word by word, in the order of the source; keeps words never seen."""
        return [self.likeliest.get(word, word) for word in words]


def ids(first: Iterable[str], sentences: Iterable[Sequence[str]]) -> dict[str, int]:
    """Numbers words in the order in which they occur, after some that come first."""
    words = dict.fromkeys(first) | dict.fromkeys(word for sentence in sentences for word in sentence)
    return {word: number for number, word in enumerate(words)}
