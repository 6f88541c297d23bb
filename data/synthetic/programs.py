"""Arithmetic in English and the Python expression that computes it, made from a seed."""

from collections.abc import Iterator

from data.synthetic.number_words import number_in_words
from data.synthetic.pairs import distinct
from data.text.pair_files import Pair

OPERATORS = (("+", "sum", "plus"), ("-", "difference", "minus"), ("*", "product", "times"))
NUMBERS, MOST_OPERATORS = 100, 4


def program_pairs(seed: int, count: int, *, operators: int = 2) -> list[Pair]:
    """Makes pairs such as "the product of two plus three and four" and "(2+3)*4".

    An expression has 1 to `operators` operators, each number as likely, and numbers from 0 to 99. Two numbers are
    joined as "two plus three" or "the sum of two and three", by the parity of their sum, so that an expression has
    one sentence, and, as longer parts come first in words, a sentence one expression. All expressions differ.

    Raises ValueError for `operators` outside 1 … 4, and for a `count` of more than half of the expressions.
    """
    if not 1 <= operators <= MOST_OPERATORS:
        raise ValueError(f"operators is {operators}: an expression has 1 to {MOST_OPERATORS}.")

    def make(words: list[int]) -> Pair:
        return expression(1 + words[0] % operators, iter(words[1:]))

    existing = len(OPERATORS) * NUMBERS**2  # those of one operator
    if operators > 1:  # and those of two, with the longer part on either side
        existing += 2 * len(OPERATORS) ** 2 * NUMBERS**3
    return distinct(seed, count, 2 + 4 * operators, make, existing)


def expression(operators: int, words: Iterator[int]) -> Pair:
    """Returns an expression of so many operators, in English and in Python."""
    if not operators:
        number = next(words) % NUMBERS
        return Pair(number_in_words(number, "en"), str(number))
    sign, noun, verb = OPERATORS[next(words) % len(OPERATORS)]
    left = next(words) % operators
    parts = [expression(left, words), expression(operators - 1 - left, words)]
    code = sign.join(part.target if part.target.isdigit() else f"({part.target})" for part in parts)
    first, second = (part.source for part in parts)
    if operators == 1 and sum(int(part.target) for part in parts) % 2:
        return Pair(f"{first} {verb} {second}", code)
    return Pair(f"the {noun} of {first} and {second}", code)
