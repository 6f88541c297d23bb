"""Numbers and dates in English and German words.

English follows the verbose spell-out rules of Unicode's CLDR, without commas: "two hundred and thirty-four". German
writes a number below a million as one word, units before tens: "zweihundertvierunddreißig" (Duden).
"""

import re
from typing import Literal, NamedTuple

Language = Literal["de", "en"]
LARGEST = 999_999
YEARS = (1100, 2099)  # within which both languages name a year in one way
MONTHS: dict[Language, list[str]] = {
    "en": ["January", "February", "March", "April", "May", "June",
           "July", "August", "September", "October", "November", "December"],
    "de": ["Januar", "Februar", "März", "April", "Mai", "Juni",
           "Juli", "August", "September", "Oktober", "November", "Dezember"],
}  # fmt: skip

_EN_SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
             "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
             "nineteen"]  # fmt: skip
_EN_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_EN_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth",
                "eight": "eighth", "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
_DE_SMALL = ["null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun",
             "zehn", "elf", "zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn",
             "neunzehn"]  # fmt: skip
_DE_TENS = ["zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]
_DE_PARTS = re.compile(
    "|".join(sorted([*_DE_SMALL, "eins", *_DE_TENS, "und", "hundert", "tausend"], key=len, reverse=True))
)
_DE_ORDINALS = {1: "erste", 3: "dritte", 7: "siebte", 8: "achte"}


class Date(NamedTuple):
    """A day of a year, the month from 1."""

    day: int
    month: int
    year: int


def number_in_words(number: int, language: Language) -> str:
    """Returns a number in words: 121 is "one hundred and twenty-one", "einhunderteinundzwanzig".

    Raises ValueError for one outside 0 … 999,999.
    """
    if not 0 <= number <= LARGEST:
        raise ValueError(f"number is {number}: only 0 … {LARGEST:,} can be put into words.")
    if language == "en":
        return _english(number)
    return _german(number) + ("s" if number % 100 == 1 else "")  # what ends in one ends in "eins"


def german_number_parts(number: int) -> list[str]:
    """Returns the parts that a number's German word is made of: 121 is ein, hundert, ein, und, zwanzig.

    Raises ValueError as `number_in_words`.
    """
    return _DE_PARTS.findall(number_in_words(number, "de"))


def date_in_words(date: Date, language: Language) -> str:
    """Returns a date in words: "the first of May nineteen sixty", "der erste Mai neunzehnhundertsechzig".

    Raises ValueError for a day outside 1 … 31, a month outside 1 … 12, and a year outside 1100 … 2099.
    """
    day, month, year = date
    if not (1 <= day <= 31 and 1 <= month <= 12 and YEARS[0] <= year <= YEARS[1]):
        raise ValueError(f"{date} is no day of the years {YEARS[0]} … {YEARS[1]}.")
    named = MONTHS[language][month - 1]
    if language == "en":
        return f"the {_english_ordinal(day)} of {named} {_english_year(year)}"
    return f"der {_german_ordinal(day)} {named} {_german_year(year)}"


def _english(number: int) -> str:
    thousands, rest = divmod(number, 1000)
    if thousands:
        joint = " and " if 0 < rest < 100 else " "
        return f"{_english(thousands)} thousand" + (joint + _english(rest) if rest else "")
    hundreds, rest = divmod(number, 100)
    if hundreds:
        return f"{_EN_SMALL[hundreds]} hundred" + (f" and {_english(rest)}" if rest else "")
    if number < 20:
        return _EN_SMALL[number]
    tens, units = divmod(number, 10)
    return _EN_TENS[tens - 2] + (f"-{_EN_SMALL[units]}" if units else "")


def _english_ordinal(day: int) -> str:
    before, hyphen, last = _english(day).rpartition("-")
    if last in _EN_ORDINALS:
        return before + hyphen + _EN_ORDINALS[last]
    return before + hyphen + (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")


def _english_year(year: int) -> str:
    century, rest = divmod(year, 100)
    if 2000 <= year < 2010:
        return _english(year)
    if rest == 0:
        return f"{_english(century)} hundred"
    return f"{_english(century)} {'oh-' if rest < 10 else ''}{_english(rest)}"


def _german(number: int) -> str:
    """Returns a number as it stands before another part of the word: "ein", not "eins"."""
    thousands, rest = divmod(number, 1000)
    if thousands:
        return f"{_german(thousands)}tausend" + (_german(rest) if rest else "")
    hundreds, rest = divmod(number, 100)
    if hundreds:
        return f"{_DE_SMALL[hundreds]}hundert" + (_german(rest) if rest else "")
    if number < 20:
        return _DE_SMALL[number]
    tens, units = divmod(number, 10)
    return (f"{_DE_SMALL[units]}und" if units else "") + _DE_TENS[tens - 2]


def _german_ordinal(day: int) -> str:
    return _DE_ORDINALS.get(day) or f"{_german(day)}{'te' if day < 20 else 'ste'}"


def _german_year(year: int) -> str:
    century, rest = divmod(year, 100)
    if year >= 2000:
        return number_in_words(year, "de")
    return f"{_german(century)}hundert" + (number_in_words(rest, "de") if rest else "")
