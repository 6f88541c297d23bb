"""A text that comes with every Python: the English prose of its language reference."""

import re

from data.text.files import SPLITS

_LIST_MARKS = re.compile(r"^(\*|\d+\.|[a-z]\.|\[\d+\]) ")  # of lists and footnotes
_WORD = re.compile(r"[(“\"'*]*[A-Za-z][A-Za-z’'-]*[)”\"'*]*[,.;:?!]?[)”\"'*]*")
_NOT_PROSE = ("::=", ">>>", "***", "===", "---", "~~~")
_PUNCTUATION = re.compile(r"([^\w\s])")
_WORD_FRACTION, _LEAST_WORDS = 0.75, 6
_BLOCK = 20  # consecutive paragraphs in the same split
_HELD_OUT = {8: "valid", 9: "test"}  # of every ten blocks


def builtin_text(*, words: bool = False) -> dict[str, str]:
    """Returns `{"train": …, "valid": …, "test": …}`, 80, 10 and 10 % of about 260,000 characters, a paragraph per
    line.

    The source is `pydoc_data.topics`, in the order of topic names: paragraphs of English sentences (three words of
    four consist of letters), without duplicates, code, grammar, headings and lists of names. Of ten blocks of 20
    paragraphs the ninth is for validation and the tenth for test. The text depends on the Python release, so its
    hash is recorded with everything made from it. `words` separates punctuation by spaces, for units that end at
    white space.
    """
    parts: dict[str, list[str]] = {split: [] for split in SPLITS}
    for place, paragraph in enumerate(_paragraphs()):
        parts[_HELD_OUT.get(place // _BLOCK % 10, "train")].append(
            _space_punctuation(paragraph) if words else paragraph
        )
    return {split: "\n".join(lines) + "\n" for split, lines in parts.items()}


def _paragraphs() -> list[str]:
    from pydoc_data.topics import topics

    found = (piece for name in sorted(topics) for piece in re.split(r"\n[ ]*\n", topics[name]))
    joined = (_LIST_MARKS.sub("", " ".join(piece.split())) for piece in found)
    return list(dict.fromkeys(text for text in joined if _is_prose(text)))


def _is_prose(text: str) -> bool:
    words = text.split()
    return (
        len(words) >= _LEAST_WORDS
        and text[-1] in ".:?!)"
        and not any(mark in text for mark in _NOT_PROSE)
        and sum(bool(_WORD.fullmatch(word)) for word in words) >= _WORD_FRACTION * len(words)
    )


def _space_punctuation(text: str) -> str:
    return " ".join(_PUNCTUATION.sub(r" \1 ", text).split())
