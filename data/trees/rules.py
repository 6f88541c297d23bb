"""Trees as rules of two symbols, for a probabilistic grammar, and the parses of such a grammar as trees."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data.trees.tree import Constituent, Tree
from data.trees.word_labels import merged, split_merged

TAG = "/"  # in front of a tag as a symbol
PARTIAL = "|"  # in the symbol of a constituent's rest
SEVERAL = "ROOT"  # the symbol of several trees side by side


class RuleCounts(NamedTuple):
    """Rules of trees, counted: "A → B C", "A → tag", and the symbol at the top."""

    binary: Counter[tuple[str, str, str]]
    lexical: Counter[tuple[str, str]]
    starts: Counter[str]


def count_rules(trees: Iterable[Tree], *, memory: int = 2) -> RuleCounts:
    """Counts the rules of trees, binarised from the left: A → B C D becomes

        A → B A|B        A|B → C D

    where the symbol of the rest knows A and the last `memory` children before it. Unary chains are one symbol,
    "S+VP", so that no rule is unary but those of tags.
    """
    counts = RuleCounts(Counter(), Counter(), Counter())
    for tree in trees:
        top = _children(tree)
        _add(SEVERAL, top, counts, memory)
        if len(top) == 1:
            counts.starts[top[0].symbol] += 1
        else:
            counts.starts[SEVERAL] += 1
    return counts


class _Node(NamedTuple):
    symbol: str
    start: int
    end: int
    children: list["_Node"]
    tag: str = ""


def _children(tree: Tree) -> list[_Node]:
    """Returns the symbols at the top of a tree, with those below them."""
    top: list[_Node] = []
    stack: list[_Node] = []
    waiting = merged(tree)[::-1]
    for place, tag in enumerate(tree.tags):
        while stack and stack[-1].end <= place:
            stack.pop()
        leaf = _Node(TAG + tag, place, place + 1, [], tag)
        while waiting and waiting[-1].start == place:
            label, start, end = waiting.pop()
            if end == place + 1:
                leaf = leaf._replace(symbol=label)
                continue
            node = _Node(label, start, end, [])
            (stack[-1].children if stack else top).append(node)
            stack.append(node)
        (stack[-1].children if stack else top).append(leaf)
    return top


def _add(symbol: str, children: Sequence[_Node], counts: RuleCounts, memory: int) -> None:
    """Counts the rules of a constituent and below it."""
    for child in children:
        if child.children:
            _add(child.symbol, child.children, counts, memory)
        else:
            counts.lexical[child.symbol, child.tag] += 1
    left = symbol
    for place in range(len(children) - 1):
        done = [child.symbol for child in children[max(place + 1 - memory, 0) : place + 1]]
        last = place == len(children) - 2
        right = children[-1].symbol if last else PARTIAL.join((symbol, *done))
        counts.binary[left, children[place].symbol, right] += 1
        left = right


def tree_of_parse(symbols: Sequence[tuple[str, int, int]], words: Sequence[str], tags: Sequence[str]) -> Tree:
    """Makes a tree of the symbols of a parse and their words, in the order of their opening brackets: without tags,
    without the rests of binarised constituents, unary chains split."""
    kept = [
        Constituent(*one)
        for one in symbols
        if one[0] != SEVERAL and PARTIAL not in one[0] and not one[0].startswith(TAG)
    ]
    return Tree(tuple(words), tuple(tags), split_merged(kept))


def right_branching(words: Sequence[str], tags: Sequence[str], label: str, inner: str) -> Tree:
    """Makes the tree in which each constituent is a word and the rest of the sentence: the whole under `label`, the
    others under `inner`."""
    found = [Constituent(inner if start else label, start, len(words)) for start in range(len(words) - 1)]
    return Tree(tuple(words), tuple(tags), tuple(found) or (Constituent(label, 0, len(words)),))


def commonest_labels(trees: Sequence[Tree]) -> tuple[str, str]:
    """Returns the commonest label of whole sentences, and of constituents that end with the sentence but don't
    begin with it; the first in place of the second if there is none."""
    whole: Counter[str] = Counter()
    ending: Counter[str] = Counter()
    for tree in trees:
        for label, start, end in tree.constituents:
            if end == len(tree.words):
                (ending if start else whole)[label] += 1
    top = whole.most_common(1) or ending.most_common(1) or [("S", 1)]
    return top[0][0], (ending.most_common(1) or top)[0][0]
