"""Phrases: pairs of words that occur together more often than their parts suggest, joined into one word."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise


def join_phrases(sentences: Sequence[Sequence[str]], min_count: int, threshold: float) -> list[list[str]]:
    """Joins neighbouring words a b into a_b, from left to right, where

        (n(a b) − δ) N / (n(a) n(b)) > threshold,

    with counts n, N words in all, and δ = `min_count` as discount, so that rare pairs are no phrases. Mikolov et
    al. 2013b, as in word2phrase.c; repeated passes join longer phrases.
    """
    single = Counter(word for sentence in sentences for word in sentence)
    double = Counter(pair for sentence in sentences for pair in pairwise(sentence))
    total = sum(single.values())
    phrases = {
        (a, b)
        for (a, b), count in double.items()
        if min(single[a], single[b]) >= min_count
        and (count - min_count) * total > threshold * single[a] * single[b]
    }
    return [_joined(sentence, phrases) for sentence in sentences] if phrases else [list(s) for s in sentences]


def _joined(sentence: Sequence[str], phrases: set[tuple[str, str]]) -> list[str]:
    words, place = [], 0
    while place < len(sentence):
        pair = tuple(sentence[place : place + 2])
        words.append("_".join(pair) if pair in phrases else sentence[place])
        place += 2 if pair in phrases else 1
    return words
