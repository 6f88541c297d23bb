"""Trees as sequences of brackets and tags, and back."""

from collections.abc import Sequence

from data.trees.tree import Constituent, Tree, opening_and_closing

CLOSE, OPEN = ")", "("


def linearise(tree: Tree) -> list[str]:
    """Writes a tree as a sequence: "(NP" opens a constituent, ")" closes the last one that is open, and a tag
    stands for a word (Vinyals, Kaiser et al. 2015, whose closing brackets have labels):

        (S (NP (PRON i)) (VP (VERB saw) …))   →   (S (NP PRON ) (VP VERB … ) )
    """
    tokens = []
    for labels, tag, ends in zip(*_per_word(tree), strict=True):
        tokens += [*(OPEN + label for label in labels), tag, *[CLOSE] * ends]
    return tokens


def _per_word(tree: Tree) -> tuple[list[list[str]], tuple[str, ...], list[int]]:
    opened, closed = opening_and_closing(tree)
    return opened, tree.tags, closed


def tree_of_sequence(tokens: Sequence[str], words: Sequence[str], tags: Sequence[str]) -> Tree:
    """Reads a tree from what `linearise` writes of it, its words and their tags.

    Raises ValueError for a sequence that is no tree over exactly these words: a bracket that isn't opened, isn't
    closed or is empty, or another number of words.
    """
    found: list[Constituent | None] = []
    stack: list[tuple[str, int, int]] = []  # label, first word, place
    place = 0
    for number, token in enumerate(tokens, 1):
        if token.startswith(OPEN):
            stack.append((token[len(OPEN) :], place, len(found)))
            found.append(None)
        elif token != CLOSE:
            place += 1
        elif not stack:
            raise ValueError(f"token {number} closes a bracket that was not opened: {' '.join(tokens)}")
        else:
            label, start, at = stack.pop()
            if start == place:
                raise ValueError(f"token {number} closes an empty bracket: {' '.join(tokens)}")
            found[at] = Constituent(label, start, place)
    if stack:
        raise ValueError(f"{len(stack)} brackets are not closed: {' '.join(tokens)}")
    if place != len(words):
        raise ValueError(f"the sequence has {place} words, but the sentence {len(words)}: {' '.join(tokens)}")
    return Tree(tuple(words), tuple(tags), tuple(one for one in found if one is not None))
