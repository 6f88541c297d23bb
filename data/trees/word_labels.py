"""Trees as one label a word, and back: parsing as tagging."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from data.trees.tree import Constituent, Tree

JOIN, PART = "+", "|"  # between the labels of a unary chain; between the parts of a word's label


def merged(tree: Tree) -> list[Constituent]:
    """Returns the constituents with those of the same words joined to one, "S+VP", outer label first."""
    found: list[Constituent] = []
    for label, start, end in tree.constituents:
        if found and found[-1][1:] == (start, end):
            found[-1] = Constituent(f"{found[-1].label}{JOIN}{label}", start, end)
        else:
            found.append(Constituent(label, start, end))
    return found


def split_merged(constituents: Sequence[Constituent]) -> tuple[Constituent, ...]:
    """Splits labels that `merged` has joined."""
    return tuple(
        Constituent(label, start, end) for joined, start, end in constituents for label in joined.split(JOIN)
    )


def word_labels(tree: Tree) -> list[str]:
    """Returns a label for each word, from which `tree_of_labels` makes the tree again:

        n_i − n_{i−1} | c_i | u_i

    n_i is the number of constituents that words i and i + 1 share, c_i the label of the lowest of them, empty if
    there is none, and u_i the labels of the phrases of word i alone; unary chains count once, "S+VP". The last word
    has u_i only (Gómez-Rodríguez & Vilares 2018, with relative levels).
    """
    whole = merged(tree)
    alone = {start: label for label, start, end in whole if end == start + 1}
    labels, before = [], 0
    for place in range(len(tree.words)):
        shared = [label for label, start, end in whole if start <= place and end >= place + 2]
        own = alone.get(place, "")
        if place == len(tree.words) - 1:
            labels.append(PART.join(("", "", own)))
        else:
            labels.append(PART.join((str(len(shared) - before), shared[-1] if shared else "", own)))
        before = len(shared)
    return labels


@dataclass
class _Node:
    label: str
    start: int
    end: int = 0
    children: list["_Node"] = field(default_factory=list)


def tree_of_labels(labels: Sequence[str], words: Sequence[str], tags: Sequence[str]) -> Tree:
    """Makes a tree of any labels of its words.

    Labels that no tree has are repaired as far as need be: a level below 0 counts as 0; of two labels for one
    constituent the first counts; constituents without a label vanish, and their children stay.
    """
    root = _Node("", 0)
    stack, level = [root], 0
    for place, label in enumerate(labels):
        step, shared, own = label.split(PART)
        last = place == len(labels) - 1
        following = 0 if last else max(level + int(step or 0), 0)
        for _ in range(len(stack), max(level, following) + 1):
            node = _Node("", place)
            stack[-1].children.append(node)
            stack.append(node)
        if own:
            stack[-1].children.append(_Node(own, place, place + 1))
        while len(stack) > following + 1:
            stack.pop().end = place + 1
        if following and not stack[-1].label:
            stack[-1].label = shared
        level = following
    found = [node for child in root.children for node in _preorder(child)]
    return Tree(tuple(words), tuple(tags), split_merged(found))


def _preorder(node: _Node) -> Iterator[Constituent]:
    if node.label:
        yield Constituent(node.label, node.start, node.end)
    for child in node.children:
        yield from _preorder(child)
