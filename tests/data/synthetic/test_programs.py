"""Arithmetic in English beside its Python expression."""

from collections.abc import Callable, Mapping
from operator import add, mul, sub

import pytest

from analysis.scores.expressions import expression_value
from data import ParallelConfig
from data.synthetic.number_words import number_in_words
from data.synthetic.programs import program_pairs
from data.text.parallel_config import read_parallel

NUMBERS = {number_in_words(number, "en"): number for number in range(100)}
INFIX: Mapping[str, Callable[[int, int], int]] = {"plus": add, "minus": sub, "times": mul}
PREFIX: Mapping[str, Callable[[int, int], int]] = {"sum": add, "difference": sub, "product": mul}


def read(words: list[str]) -> int:
    """Computes a sentence by descent, and takes its words."""
    if words[0] != "the":
        first = NUMBERS[words.pop(0)]
        return INFIX[words.pop(0)](first, NUMBERS[words.pop(0)]) if words and words[0] in INFIX else first
    _, noun, _ = (words.pop(0) for _ in range(3))
    first = read(words)
    assert words.pop(0) == "and"
    return PREFIX[noun](first, read(words))


@pytest.mark.parametrize("operators", [1, 4])
def test_a_sentence_and_its_expression_have_one_value(operators: int) -> None:
    pairs = program_pairs(3, 300, operators=operators)
    assert pairs == program_pairs(3, 300, operators=operators)
    for source, target in pairs:
        words = source.split()
        assert read(words) == expression_value(target), source
        assert not words


def test_no_held_out_expression_is_trained_on() -> None:
    splits = read_parallel(ParallelConfig(kind="programs", count=2000, held_out=200)).splits
    seen = {pair.target for pair in splits["train"]}
    assert len(seen) == 2000
    assert not seen & {pair.target for split in ("valid", "test") for pair in splits[split]}


@pytest.mark.parametrize("operators", [0, 5])
def test_operators_outside_their_range_are_refused(operators: int) -> None:
    with pytest.raises(ValueError, match="operators is"):
        program_pairs(0, 10, operators=operators)
