"""Number words: those of num2words 0.5.14, without its commas, and a reader that gives the numbers back."""

import pytest

from data.synthetic.number_words import MONTHS, YEARS, Date, date_in_words, number_in_words

NUMBERS = [
    (0, "zero", "null"),
    (1, "one", "eins"),
    (7, "seven", "sieben"),
    (12, "twelve", "zwölf"),
    (16, "sixteen", "sechzehn"),
    (17, "seventeen", "siebzehn"),
    (20, "twenty", "zwanzig"),
    (21, "twenty-one", "einundzwanzig"),
    (30, "thirty", "dreißig"),
    (61, "sixty-one", "einundsechzig"),
    (70, "seventy", "siebzig"),
    (100, "one hundred", "einhundert"),
    (101, "one hundred and one", "einhunderteins"),
    (117, "one hundred and seventeen", "einhundertsiebzehn"),
    (121, "one hundred and twenty-one", "einhunderteinundzwanzig"),
    (1000, "one thousand", "eintausend"),
    (1001, "one thousand and one", "eintausendeins"),
    (1021, "one thousand and twenty-one", "eintausendeinundzwanzig"),
    (1100, "one thousand one hundred", "eintausendeinhundert"),
    (7676, "seven thousand six hundred and seventy-six", "siebentausendsechshundertsechsundsiebzig"),
    (21000, "twenty-one thousand", "einundzwanzigtausend"),
    (21101, "twenty-one thousand one hundred and one", "einundzwanzigtausendeinhunderteins"),
    (100000, "one hundred thousand", "einhunderttausend"),
    (
        316716,
        "three hundred and sixteen thousand seven hundred and sixteen",
        "dreihundertsechzehntausendsiebenhundertsechzehn",
    ),
    # Not as num2words, whose "einhunderteinstausend" keeps the s before another part.
    (101001, "one hundred and one thousand and one", "einhunderteintausendeins"),
]
DATES = [
    (1, 1100, "first", "eleven hundred", "erste", "elfhundert"),
    (2, 1101, "second", "eleven oh-one", "zweite", "elfhunderteins"),
    (3, 1316, "third", "thirteen sixteen", "dritte", "dreizehnhundertsechzehn"),
    (5, 1717, "fifth", "seventeen seventeen", "fünfte", "siebzehnhundertsiebzehn"),
    (7, 1800, "seventh", "eighteen hundred", "siebte", "achtzehnhundert"),
    (8, 1906, "eighth", "nineteen oh-six", "achte", "neunzehnhundertsechs"),
    (9, 1961, "ninth", "nineteen sixty-one", "neunte", "neunzehnhunderteinundsechzig"),
    (12, 1984, "twelfth", "nineteen eighty-four", "zwölfte", "neunzehnhundertvierundachtzig"),
    (20, 2000, "twentieth", "two thousand", "zwanzigste", "zweitausend"),
    (21, 2001, "twenty-first", "two thousand and one", "einundzwanzigste", "zweitausendeins"),
    (30, 2012, "thirtieth", "twenty twelve", "dreißigste", "zweitausendzwölf"),
    (31, 2099, "thirty-first", "twenty ninety-nine", "einunddreißigste", "zweitausendneunundneunzig"),
]

ENGLISH = {word: number for number, word, _ in NUMBERS if number <= 20 or number in (30, 70)} | {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "thirteen": 13, "fourteen": 14, "fifteen": 15, "eighteen": 18, "nineteen": 19,
    "forty": 40, "fifty": 50, "sixty": 60, "eighty": 80, "ninety": 90,
}  # fmt: skip
GERMAN = {word: number for number, _, word in NUMBERS if number <= 20 or number in (30, 70)} | {
    "ein": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "acht": 8, "neun": 9, "zehn": 10, "elf": 11,
    "dreizehn": 13, "vierzehn": 14, "fünfzehn": 15, "achtzehn": 18, "neunzehn": 19,
    "vierzig": 40, "fünfzig": 50, "sechzig": 60, "achtzig": 80, "neunzig": 90,
}  # fmt: skip


def read_english(text: str) -> int:
    total = current = 0
    for word in text.replace("-", " ").split():
        if word == "thousand":
            total, current = 1000 * current, 0
        elif word == "hundred":
            current *= 100
        elif word != "and":
            current += ENGLISH[word]
    return total + current


def read_german(word: str) -> int:
    for mark, value in (("tausend", 1000), ("hundert", 100)):
        before, found, after = word.partition(mark)
        if found:
            return value * read_german(before) + (read_german(after) if after else 0)
    units, found, tens = word.partition("und")
    return GERMAN[units] + GERMAN[tens] if found else GERMAN[word]


@pytest.mark.parametrize(("number", "english", "german"), NUMBERS)
def test_numbers(number: int, english: str, german: str) -> None:
    assert number_in_words(number, "en") == english
    assert number_in_words(number, "de") == german


def test_words_give_the_numbers_back() -> None:
    for number in [*range(3000), *range(3000, 1_000_000, 397), 999_999]:
        assert read_english(number_in_words(number, "en")) == number
        assert read_german(number_in_words(number, "de")) == number


@pytest.mark.parametrize(("day", "year", "of_day", "of_year", "tag", "jahr"), DATES)
def test_dates(day: int, year: int, of_day: str, of_year: str, tag: str, jahr: str) -> None:
    assert date_in_words(Date(day, 3, year), "en") == f"the {of_day} of March {of_year}"
    assert date_in_words(Date(day, 3, year), "de") == f"der {tag} März {jahr}"


@pytest.mark.parametrize("language", ["de", "en"])
def test_no_two_dates_have_one_name(language) -> None:
    years = range(YEARS[0], YEARS[1] + 1)
    days = {date_in_words(Date(day, 1, 1100), language) for day in range(1, 32)}
    months = {date_in_words(Date(1, month, 1100), language) for month in range(1, 13)}
    named = {date_in_words(Date(1, 1, year), language) for year in years}
    assert (len(days), len(months), len(named)) == (31, 12, len(years))
    assert len(set(MONTHS[language])) == 12


def test_mistakes() -> None:
    for number in (-1, 1_000_000):
        with pytest.raises(ValueError, match=f"number is {number}: only 0 … 999,999"):
            number_in_words(number, "en")
    for date in (Date(0, 1, 1900), Date(32, 1, 1900), Date(1, 13, 1900), Date(1, 1, 1099), Date(1, 1, 2100)):
        with pytest.raises(ValueError, match="is no day of the years 1100 … 2099"):
            date_in_words(date, "de")
