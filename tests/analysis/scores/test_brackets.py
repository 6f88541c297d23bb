"""Bracket F1 by the rules of EVALB: by hand, and as PYEVALB counts where the two agree."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from analysis import BracketF1, Bracketing, CompleteMatch, corpus_score
from analysis.scores.spans import Span
from data import Tree, format_tree
from tests.data.trees.trees import random_trees


def bracketing(tags: str, *spans: tuple[str, int, int]) -> Bracketing:
    return Bracketing(tuple(Span(*span) for span in spans), tuple(tags.split()))


GOLD = bracketing("PRP VBD , DT NN .", ("S", 0, 6), ("NP", 0, 1), ("VP", 1, 5), ("NP", 3, 5), ("PRN", 2, 3))


def test_by_hand() -> None:
    """Punctuation goes by the tags of the reference, and a bracket around it alone; ends beside it agree."""
    score = BracketF1()
    assert score.of(GOLD, GOLD).tolist() == [4, 4, 4]
    found = bracketing(
        "PRP VBD X DT NN X", ("S", 0, 5), ("NP", 0, 1), ("VP", 1, 3), ("VP", 2, 5), ("X", 5, 6)
    )
    # S ends before the full stop; "VBD ," is a VP of one word; ", DT NN" is a VP where the reference has an NP.
    assert score.of(found, GOLD).tolist() == [2, 4, 4]
    assert BracketF1(labelled=False).of(found, GOLD).tolist() == [3, 4, 4]
    assert corpus_score(score, [found, GOLD], [GOLD, GOLD]) == pytest.approx(6 / 8)
    assert corpus_score(CompleteMatch(), [found, GOLD], [GOLD, GOLD]) == 0.5
    assert score.value(np.zeros(3)) == 0


def test_multisets_and_equal_labels() -> None:
    """Of equal brackets as many match as both have; PRT counts as ADVP."""
    twice = bracketing("A B", ("NP", 0, 2), ("NP", 0, 2), ("PRT", 1, 2))
    once = bracketing("A B", ("NP", 0, 2), ("ADVP", 1, 2))
    assert BracketF1().of(twice, once).tolist() == [2, 3, 2]
    assert CompleteMatch().of(twice, once).tolist() == [0, 1]


def test_refuses_other_words() -> None:
    with pytest.raises(ValueError, match="2 words are parsed of a sentence of 1"):
        BracketF1().of(bracketing("A B"), bracketing("A"))


def as_scored(tree: Tree) -> Bracketing:
    return Bracketing(tuple(Span(*one) for one in tree.constituents), tree.tags)


@given(found=random_trees(), gold=random_trees())
def test_loops_agree(found: Tree, gold: Tree) -> None:
    """Brackets matched off one by one, after the words are numbered without punctuation."""
    count = min(len(found.words), len(gold.words))
    sides = []
    for tree in (found, gold):
        spans = [one for one in tree.constituents if one.end <= count]
        sides.append(Bracketing(tuple(Span(*one) for one in spans), tree.tags[:count]))
    kept = [place for place in range(count) if gold.tags[place] not in (",", ".")]
    lists = [
        [
            ("ADVP" if label == "PRT" else label, tuple(place for place in kept if start <= place < end))
            for label, start, end in side.spans
        ]
        for side in sides
    ]
    left, right = ([one for one in side if one[1]] for side in lists)
    guesses, golds, hits = len(left), len(right), 0
    for one in left:
        if one in right:
            right.remove(one)
            hits += 1
    assert BracketF1().of(*sides).tolist() == [hits, guesses, golds]


@pytest.mark.peers
@given(found=random_trees(), gold=random_trees())
def test_counts_as_pyevalb_does(found: Tree, gold: Tree) -> None:
    """PYEVALB keeps punctuation, the root and PRT, counts tags as brackets of their own nowhere, and counts equal
    brackets once in the hits: compared without punctuation, on trees without equal brackets, less the root."""
    parser = pytest.importorskip("PYEVALB.parser")
    scorer = pytest.importorskip("PYEVALB.scorer")
    if len(found.words) != len(gold.words):
        found = gold._replace(constituents=gold.constituents[::2])
    for tree in (found, gold):
        if max(Counter(tree.constituents).values(), default=1) > 1 or "PRT" in str(tree.constituents):
            return
    lines = [format_tree(tree._replace(tags=gold.tags)) for tree in (gold, found)]
    theirs = scorer.Scorer().score_trees(*(parser.create_from_bracket_string(line) for line in lines))
    counts = [theirs.matched_brackets, theirs.test_brackets, theirs.gold_brackets]
    ours = BracketF1(punctuation=frozenset()).of(as_scored(found), as_scored(gold))
    assert ours.tolist() == [count - 1 for count in counts]  # theirs have the root
