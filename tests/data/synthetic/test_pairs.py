"""Pairs made from a seed: what they are, the same everywhere, no source twice."""

import re

import pytest

from data import copy_pairs, number_pairs, reversal_pairs
from data.synthetic.number_words import MONTHS
from tests.data.synthetic.test_number_words import read_english, read_german


def test_numbers_and_dates_mean_the_same_on_both_sides() -> None:
    pairs = number_pairs(0, 1500, digits=6)
    dates = [pair for pair in pairs if pair.source.startswith("der ")]
    assert 0.4 < len(dates) / len(pairs) < 0.6
    months = dict(zip(MONTHS["de"], MONTHS["en"], strict=True))
    for german, english in pairs:
        if german.startswith("der "):
            _, _, month, year = german.split()
            assert f" of {months[month]} " in english
            century = read_german(year) // 100
            assert read_english(english.split(months[month])[1].split()[0]) in (century, 2)
        else:
            assert read_german(german) == read_english(english)
    crossing = [pair for pair in pairs if re.fullmatch("[a-zäöüß]+und[a-zß]+ig", pair.source)]
    assert any("-" in pair.target for pair in crossing)


def test_directions_are_mirrors() -> None:
    there = number_pairs(5, 300, source="de", target="en")
    back = number_pairs(5, 300, source="en", target="de")
    assert there == [(pair.target, pair.source) for pair in back]


def test_numbers_have_at_most_so_many_digits() -> None:
    pairs = number_pairs(1, 100, digits=2)
    numbers = {read_german(source) for source, _ in pairs if not source.startswith("der ")}
    assert 9 < max(numbers) <= 99
    assert min(numbers) < 10


def test_letters_reversed_and_copied() -> None:
    reversed_ones, copied = reversal_pairs(2, 400), copy_pairs(2, 400)
    assert [pair.source for pair in reversed_ones] == [pair.source for pair in copied]
    assert all(pair.target.split() == pair.source.split()[::-1] for pair in reversed_ones)
    assert all(pair.target == pair.source for pair in copied)
    lengths = [len(pair.source.split()) for pair in copied]
    assert (min(lengths), max(lengths)) == (1, 10)
    assert {letter for pair in copied for letter in pair.source.split()} == set("abcdefghijklmnopqrstuvwxyz")
    few = copy_pairs(2, 7, length=3, symbols=2)
    assert {letter for pair in few for letter in pair.source.split()} == set("ab")


@pytest.mark.parametrize("make", [number_pairs, reversal_pairs, copy_pairs])
def test_sources_differ_and_depend_on_the_seed_alone(make) -> None:
    pairs = make(3, 500)
    assert len({pair.source for pair in pairs}) == len(pairs) == 500
    assert make(3, 200) == pairs[:200]
    assert make(4, 500) != pairs


def test_pairs_are_the_same_everywhere() -> None:
    """Fixed for good: what was trained on pairs can only be read with the same pairs."""
    assert number_pairs(0, 2)[0] == ("sechshundertneunundvierzig", "six hundred and forty-nine")
    assert reversal_pairs(0, 1)[0] == ("o d q d d h o n y q", "q y n o h d d q d o")


def test_mistakes() -> None:
    for digits in (0, 7):
        with pytest.raises(ValueError, match=f"digits is {digits}: numbers of 1 to 6 digits"):
            number_pairs(0, 1, digits=digits)
    with pytest.raises(ValueError, match="source and target are both en"):
        number_pairs(0, 1, source="en", target="en")
    with pytest.raises(ValueError, match="length is 0"):
        reversal_pairs(0, 1, length=0)
    for symbols in (1, 27):
        with pytest.raises(ValueError, match=f"symbols is {symbols}: there are 2 to 26"):
            copy_pairs(0, 1, symbols=symbols)
    for count in (0, 8):
        with pytest.raises(
            ValueError, match=rf"count is {count}: 1 to 7 different pairs are made, half of all"
        ):
            copy_pairs(0, count, length=3, symbols=2)
