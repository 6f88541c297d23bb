"""Pairs of sentences made from a seed: numbers and dates in two languages, reversed and copied symbols.

The same seed gives the same pairs on every machine. All sources of a list differ, so that its parts may be for
training and for testing.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

from data.position import random_words
from data.synthetic.number_words import (
    YEARS,
    Date,
    Language,
    date_in_words,
    german_number_parts,
    number_in_words,
)
from data.text.pair_files import Pair

T = TypeVar("T", bound=Hashable)
SYMBOLS = "abcdefghijklmnopqrstuvwxyz"
DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MOST_DIGITS = 6
_BLOCK = 4096  # random words drawn at once


def number_pairs(
    seed: int, count: int, *, source: Language = "de", target: Language = "en", digits: int = 4
) -> list[Pair]:
    """Makes numbers and dates in words, half of each: "einundzwanzig" and "twenty-one".

    Units and tens change places between the languages, and what is one word in German is several in English. A
    number has 1 to `digits` digits, each as likely, as far as there are so many different ones; a date is a day
    from 1100 to 2099, but for 29 February.

    Raises ValueError for `digits` outside 1 … 6, for one language on both sides, and for a `count` of more than
    half of the different sources.
    """
    check_numbers(source, target, digits)
    years = YEARS[1] - YEARS[0] + 1

    def make(words: list[int]) -> Pair:
        kind, length, value, month = words
        if kind % 2:
            number = drawn_number(digits, length, value)
            return Pair(number_in_words(number, source), number_in_words(number, target))
        date = Date(1 + value % DAYS[month % 12], 1 + month % 12, YEARS[0] + length % years)
        return Pair(date_in_words(date, source), date_in_words(date, target))

    return distinct(seed, count, 4, make, 10**digits + years * sum(DAYS))


def part_pairs(
    seed: int, count: int, *, source: Language = "de", target: Language = "en", digits: int = 5
) -> list[Pair]:
    """Makes numbers in words, with blanks between the parts of words: "ein und zwanzig" and "twenty one".

    So every word has its translation, but units and tens change places. Numbers are drawn, and errors raised, as by
    `number_pairs`, without dates.
    """
    check_numbers(source, target, digits)

    def make(words: list[int]) -> Pair:
        number = drawn_number(digits, *words)
        return Pair(*(" ".join(number_parts(number, language)) for language in (source, target)))

    return distinct(seed, count, 2, make, 10**digits)


def number_parts(number: int, language: Language) -> list[str]:
    """Returns the parts of the words of a number."""
    if language == "de":
        return german_number_parts(number)
    return number_in_words(number, language).replace("-", " ").split()


def part_dictionary(source: Language, target: Language) -> dict[str, str]:
    """Returns the translation of every part that `part_pairs` makes words of, each by one word; "eins" and "ein"
    are both "one"."""
    known = {"de": ["und", "hundert", "tausend", "eins"], "en": ["and", "hundred", "thousand", "one"]}
    parts = {language: list(words) for language, words in known.items()}
    for number in (*range(20), *range(20, 100, 10)):
        parts["de"].append("ein" if number == 1 else number_in_words(number, "de"))
        parts["en"].append(number_in_words(number, "en"))
    return dict(zip(parts[source], parts[target], strict=True))


def drawn_number(digits: int, length: int, value: int) -> int:
    """Returns a number of 1 to `digits` digits, from two random words."""
    size = 1 + length % digits
    low = 10 ** (size - 1) if size > 1 else 0
    return low + value % (10**size - low)


def check_numbers(source: Language, target: Language, digits: int) -> None:
    """Raises ValueError for numbers that can't be put into words, and for one language on both sides."""
    if not 1 <= digits <= MOST_DIGITS:
        raise ValueError(f"digits is {digits}: numbers of 1 to {MOST_DIGITS} digits can be put into words.")
    if source == target:
        raise ValueError(f"source and target are both {source}: give two languages.")


def reversal_pairs(seed: int, count: int, *, length: int = 10, symbols: int = len(SYMBOLS)) -> list[Pair]:
    """Makes sequences of 1 to `length` letters and the same ones reversed: "a d b" and "b d a".

    Each length is as likely, as far as there are so many different ones. Raises ValueError for a length below 1,
    for fewer than 2 or more than 26 symbols, and for a `count` of more than half of the different sources.
    """
    return [Pair(source, source[::-1]) for source in _sequences(seed, count, length, symbols)]


def copy_pairs(seed: int, count: int, *, length: int = 10, symbols: int = len(SYMBOLS)) -> list[Pair]:
    """Makes sequences of letters, as `reversal_pairs` does, each of them its own target."""
    return [Pair(source, source) for source in _sequences(seed, count, length, symbols)]


def _sequences(seed: int, count: int, length: int, symbols: int) -> list[str]:
    if length < 1:
        raise ValueError(f"length is {length}: a sequence has at least 1 symbol.")
    if not 2 <= symbols <= len(SYMBOLS):
        raise ValueError(f"symbols is {symbols}: there are 2 to {len(SYMBOLS)}.")

    def make(words: list[int]) -> str:
        size = 1 + words[0] % length
        return " ".join(SYMBOLS[word % symbols] for word in words[1 : size + 1])

    return distinct(seed, count, 1 + length, make, sum(symbols**size for size in range(1, length + 1)))


def distinct(seed: int, count: int, words: int, make: Callable[[list[int]], T], existing: int) -> list[T]:
    """Returns the first `count` different results of `make`, which is given so many random words each time; no more
    than half of all existing ones, since the last would take long to find."""
    if not 1 <= count <= existing // 2:
        raise ValueError(
            f"count is {count:,}: 1 to {existing // 2:,} different pairs are made, half of all; ask for fewer, "
            "or for longer ones."
        )
    found: dict[T, None] = {}
    block = 0
    while len(found) < count:
        for drawn in random_words(_BLOCK * words, seed, stream=block).reshape(_BLOCK, words).tolist():
            found[make(drawn)] = None
        block += 1
    return list(found)[:count]
