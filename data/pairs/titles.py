"""Titles and the texts under them as pairs: abstracts from files, or headings of Python's language reference."""

import re
from collections.abc import Mapping
from pathlib import Path

from data.text.key_terms import archive_of, decoded, read_archive, read_folder
from data.text.pair_files import Pair, split_pairs

MOST_WORDS = 60  # of a text that are read
HEADING = re.compile(r"^(.+)\n([*=\-~^\"]{3,})\n\n((?:.+\n)+(?:\n(?: *\w.+\n)+)?)", re.MULTILINE)


def title_pairs(location: Path) -> list[Pair]:
    """Reads abstracts with titles from a folder or a zip archive of texts NAME.txt, as Inspec has them: the first
    line is the title, and a line that begins with a tab continues the one before it. Pairs are in the order of the
    names.

    Raises ValueError for a text without a title and an abstract, and if there is no text.
    """
    found = archive_of(location)
    files = read_archive(found) if found.is_file() else read_folder(found)
    texts = {name: content for name, content in sorted(files.items()) if name.endswith(".txt")}
    if not texts:
        raise ValueError(f"{found} holds no texts: put abstracts NAME.txt there, the title in the first line")
    return [title_pair(decoded(content, name, found), name) for name, content in texts.items()]


def title_pair(text: str, name: str) -> Pair:
    """Returns the first words of a text's abstract, and its title."""
    joined = re.sub(r"\r?\n\s*\t\s*", " ", text).strip()
    title, _, abstract = joined.partition("\n")
    if not title.strip() or not abstract.strip():
        raise ValueError(
            f"the text {name} has no title and abstract: put the title in the first line, the abstract below it"
        )
    return Pair(first_words(abstract), " ".join(title.split()))


def first_words(text: str) -> str:
    """Returns the first words of a text, in one line."""
    return " ".join(text.split()[:MOST_WORDS])


def heading_pairs() -> list[Pair]:
    """Returns the beginnings of the passages of Python's language reference, each with its heading, none twice."""
    from pydoc_data.topics import topics

    found: Mapping[Pair, None] = {
        Pair(first_words(match[3]), " ".join(match[1].split())): None
        for name in sorted(topics)
        for match in HEADING.finditer(topics[name])
        if len(match[1]) == len(match[2])
    }
    return list(found)


def split_titles(pairs: list[Pair], seed: int) -> dict[str, list[Pair]]:
    """Splits pairs at random: a tenth for validation, a fifth for test."""
    return split_pairs(pairs, 0.1, 0.2, seed)
