"""Constituency trees: what they are, and reading them from bracketed text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

ROOTS = ("", "ROOT", "TOP", "S1")  # labels of a bracket around the whole tree, which says nothing
TRACE = "-NONE-"  # the tag of what isn't a word
_TOKEN = re.compile(r"\n|[()]|[^\s()]+")
_LABEL = re.compile(r"-[^-]+-$|[^-=|]+")  # "-LRB-", or what stands before "-SBJ", "=2" and "|ADVP"


class Constituent(NamedTuple):
    """Words `start` to `end` − 1, under a label."""

    label: str
    start: int
    end: int


class Tree(NamedTuple):
    """A tree over a sentence of N words.

    Attributes:
        words: `[N]`.
        tags: the part of speech of each, `[N]`.
        constituents: in the order of their opening brackets, so that of two with the same words the outer one
            stands first. A root without a label of its own isn't among them, so that a sentence may be several
            trees side by side, nor is a tag.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    constituents: tuple[Constituent, ...]


def read_trees(text: str, name: str) -> list[Tree]:
    """Reads trees in brackets, as the Penn Treebank writes them: "(ROOT (S (NP-SBJ (PRP I)) (VP (VBD saw) …)))".

    A bracket without a label or with one of `ROOTS` around a whole tree is left out, and of labels what says the
    function ("NP-SBJ", "NP=2"); so are traces, words under -NONE-, and the phrases that hold nothing else.

    Args:
        text: the trees, with white space between and within them as it may be.
        name: of the file, for errors.

    Raises ValueError, naming the line, for brackets that don't match, a word outside brackets or without a tag, an
    empty bracket, and a tree without a word.
    """
    return [_tree(brackets, name) for brackets in _split(text, name)]


def format_tree(tree: Tree) -> str:
    """Writes a tree in brackets on one line, under ROOT, as `read_trees` reads it."""
    parts = [f"{before}({tag} {word}){')' * closed}" for before, tag, word, closed in _pieces(tree)]
    return f"(ROOT {' '.join(parts)})"


def opening_and_closing(tree: Tree) -> tuple[list[list[str]], list[int]]:
    """Returns for each word the labels of the constituents that begin with it, outermost first, and how many end
    with it."""
    opened: list[list[str]] = [[] for _ in tree.words]
    closed = [0] * len(tree.words)
    for label, start, end in tree.constituents:
        opened[start].append(label)
        closed[end - 1] += 1
    return opened, closed


def _pieces(tree: Tree) -> Iterator[tuple[str, str, str, int]]:
    opened, closed = opening_and_closing(tree)
    for labels, tag, word, ends in zip(opened, tree.tags, tree.words, closed, strict=True):
        yield "".join(f"({label} " for label in labels), tag, word, ends


Token = tuple[str, int]  # with its line


def _split(text: str, name: str) -> Iterator[list[Token]]:
    """Yields the tokens of each tree."""
    line, opened, tokens = 1, list[int](), list[Token]()
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
            continue
        if token == ")" and not opened:
            raise ValueError(f"line {line} of {name} closes a bracket that was not opened: take it out")
        if not opened and token != "(":
            raise ValueError(f"line {line} of {name} has {token!r} outside brackets: give trees in brackets")
        tokens.append((token, line))
        if token == "(":
            opened.append(line)
        elif token == ")":
            opened.pop()
            if not opened:
                yield tokens
                tokens = []
    if opened:
        raise ValueError(
            f"{name} ends within a tree: the bracket opened in line {opened[0]} is never closed, nor are "
            f"{len(opened) - 1} within it"
        )


@dataclass
class _Open:
    """A bracket that isn't closed yet."""

    place: int  # of its constituent
    start: int
    label: str | None = None
    word: str | None = None
    children: int = 0


def _tree(tokens: Sequence[Token], name: str) -> Tree:
    words, tags, found = list[str](), list[str](), list[Constituent | None]()
    stack: list[_Open] = []
    before = ""
    for token, line in tokens:
        where = f"line {line} of {name}"
        if token == "(":
            if stack and stack[-1].word is not None:
                raise ValueError(f"{where} has a bracket beside the word {stack[-1].word!r}: give it its own")
            stack.append(_Open(len(found), len(words)))
            found.append(None)
        elif token != ")":
            top = stack[-1]
            if before == "(":
                top.label = token
            elif top.label is None or top.word is not None or top.children:
                raise ValueError(f"{where} has the word {token!r} without a tag: write (TAG {token})")
            else:
                top.word = token
        else:
            top = stack.pop()
            if top.word is not None and top.label is not None:
                if top.label != TRACE:
                    words.append(top.word)
                    tags.append(top.label)
            elif not top.children:
                raise ValueError(f"{where} closes a bracket that holds no word: take it out")
            elif len(words) > top.start and (stack or top.label not in (None, *ROOTS)):
                found[top.place] = Constituent(_label(top.label, where), top.start, len(words))
            if stack:
                stack[-1].children += 1
        before = token
    if not words:
        raise ValueError(f"line {tokens[0][1]} of {name} begins a tree without a word: take it out")
    return Tree(tuple(words), tuple(tags), tuple(one for one in found if one is not None))


def _label(label: str | None, where: str) -> str:
    """Returns a label without the function. Raises ValueError for a bracket without one inside a tree."""
    match = _LABEL.match(label or "")
    if match is None:
        raise ValueError(f"{where} closes a bracket with the label {label or ''!r}: give it one of a phrase")
    return match[0]
