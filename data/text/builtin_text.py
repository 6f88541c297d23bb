"""The text that every installation holds: the English prose of Python's own language reference."""

import re

from data.text.files import SPLITS

_MARKS = re.compile(r"^(\*|\d+\.|[a-z]\.|\[\d+\]) ")  # of lists and footnotes
_WORD = re.compile(r"[(“\"'*]*[A-Za-z][A-Za-z’'-]*[)”\"'*]*[,.;:?!]?[)”\"'*]*")
_NO_PROSE = ("::=", ">>>", "***", "===", "---", "~~~")
_PUNCTUATION = re.compile(r"([^\w\s])")
_SHARE_OF_WORDS, _LEAST_WORDS = 0.75, 6
_BLOCK, _CYCLE = (
    20,
    {8: "valid", 9: "test"},
)  # paragraphs that stay together; of ten blocks one each is held out


def embedded_text(*, words: bool = False) -> dict[str, str]:
    """`{"train": …, "valid": …, "test": …}`, 80, 10 and 10 % of it, a paragraph a line, about 260,000 characters.

    From `pydoc_data.topics`, the topics in the order of their names: paragraphs of English sentences (three
    words of four are made of letters), each once, for topics repeat one another; no code, grammar, headings or
    lists of names. Of ten blocks of 20 paragraphs the ninth is to validate and the tenth to test. The text
    differs by release of Python, hence its hash is recorded beside what is made of it. `words` sets punctuation
    apart by spaces, for units that end at white space.
    """
    parts: dict[str, list[str]] = {split: [] for split in SPLITS}
    for place, paragraph in enumerate(_paragraphs()):
        parts[_CYCLE.get(place // _BLOCK % 10, "train")].append(_spaced(paragraph) if words else paragraph)
    return {split: "\n".join(lines) + "\n" for split, lines in parts.items()}


def _paragraphs() -> list[str]:
    from pydoc_data.topics import topics

    found = (piece for name in sorted(topics) for piece in re.split(r"\n[ ]*\n", topics[name]))
    joined = (_MARKS.sub("", " ".join(piece.split())) for piece in found)
    return list(dict.fromkeys(text for text in joined if _is_prose(text)))


def _is_prose(text: str) -> bool:
    words = text.split()
    return (
        len(words) >= _LEAST_WORDS
        and text[-1] in ".:?!)"
        and not any(mark in text for mark in _NO_PROSE)
        and sum(bool(_WORD.fullmatch(word)) for word in words) >= _SHARE_OF_WORDS * len(words)
    )


def _spaced(text: str) -> str:
    return " ".join(_PUNCTUATION.sub(r" \1 ", text).split())
