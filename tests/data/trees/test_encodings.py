"""Trees as sequences, as labels of words and as rules: each makes the tree again."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import Tree, TreesConfig, load_trees, read_trees
from data.trees.rules import commonest_labels, count_rules, right_branching, tree_of_parse
from data.trees.sequences import linearise, tree_of_sequence
from data.trees.word_labels import tree_of_labels, word_labels
from tests.data.trees.trees import random_trees

(SAW,) = read_trees("(S (NP (PRP I)) (VP (VBD saw) (NP (DT a) (NN saw))))", "")
(CHAIN,) = read_trees("(S (VP (VB go) (ADVP (RB far))))", "")


@given(tree=random_trees())
def test_sequences_and_labels_are_inverted(tree: Tree) -> None:
    assert tree_of_sequence(linearise(tree), tree.words, tree.tags) == tree
    labels = word_labels(tree)
    assert len(labels) == len(tree.words)
    assert tree_of_labels(labels, tree.words, tree.tags) == tree


def test_all_generated_trees() -> None:
    for tree in itertools.chain(*load_trees(TreesConfig(sentences=500, held_out=100)).splits.values()):
        assert tree_of_sequence(linearise(tree), tree.words, tree.tags) == tree
        assert tree_of_labels(word_labels(tree), tree.words, tree.tags) == tree


def test_by_hand() -> None:
    assert linearise(SAW) == ["(S", "(NP", "PRP", ")", "(VP", "VBD", "(NP", "DT", "NN", ")", ")", ")"]
    assert word_labels(SAW) == ["1|S|NP", "1|VP|", "1|NP|", "||"]
    assert word_labels(CHAIN) == ["1|S+VP|", "||ADVP"]


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        ("(S A B", "1 brackets are not closed"),
        ("A B )", "token 3 closes a bracket that was not opened"),
        ("A (S ) B", "token 3 closes an empty bracket"),
        ("A B A", "the sequence has 3 words, but the sentence 2"),
    ],
)
def test_sequences_that_are_no_trees(tokens: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"bracket|words") as caught:
        tree_of_sequence(tokens.split(), ("a", "b"), ("A", "B"))
    assert sentence in str(caught.value)


LABEL = st.builds(
    "{}|{}|{}".format,
    st.sampled_from(["", "-3", "-1", "0", "1", "4"]),
    st.sampled_from(["", "S", "S+VP"]),
    st.sampled_from(["", "NP", "S+NP"]),
)


@given(labels=st.lists(LABEL, min_size=1, max_size=7))
def test_any_labels_give_a_tree(labels: list[str]) -> None:
    """Whatever is predicted is a tree over the words, whose constituents nest and stand in order."""
    words = tuple(f"w{i}" for i in range(len(labels)))
    tree = tree_of_labels(labels, words, words)
    assert read_again(tree) == tree
    for own in labels:
        chain = own.split("|")[2]
        assert not chain or any(one.label == chain.split("+")[-1] for one in tree.constituents)


def read_again(tree: Tree) -> Tree:
    return tree_of_sequence(linearise(tree), tree.words, tree.tags)


def test_rules_by_hand() -> None:
    counts = count_rules([SAW, CHAIN])
    assert counts.starts == Counter({"S": 1, "S+VP": 1})
    assert counts.lexical == Counter(
        {
            ("NP", "PRP"): 1,
            ("/VBD", "VBD"): 1,
            ("/DT", "DT"): 1,
            ("/NN", "NN"): 1,
            ("/VB", "VB"): 1,
            ("ADVP", "RB"): 1,
        }
    )
    rules = [("S", "NP", "VP"), ("VP", "/VBD", "NP"), ("NP", "/DT", "/NN"), ("S+VP", "/VB", "ADVP")]
    assert counts.binary == Counter(rules)
    assert list(count_rules(read_trees("(NP (DT a) (JJ b) (JJ c) (JJ d) (NN e))", "")).binary) == [
        ("NP", "/DT", "NP|/DT"),
        ("NP|/DT", "/JJ", "NP|/DT|/JJ"),
        ("NP|/DT|/JJ", "/JJ", "NP|/JJ|/JJ"),  # two children are remembered
        ("NP|/JJ|/JJ", "/JJ", "/NN"),
    ]


def test_trees_of_parses() -> None:
    symbols = [("S+VP", 0, 2), ("/VB", 0, 1), ("ADVP", 1, 2)]
    assert tree_of_parse(symbols, CHAIN.words, CHAIN.tags) == CHAIN
    assert tree_of_parse([("ROOT", 0, 2), ("ROOT|NP", 0, 2)], ("a", "b"), ("A", "B")).constituents == ()


def test_right_branching() -> None:
    labels = commonest_labels([SAW, CHAIN])
    assert labels == ("S", "VP")
    tree = right_branching(("a", "b", "c"), ("A", "B", "C"), *labels)
    assert tree.constituents == (("S", 0, 3), ("VP", 1, 3))
    assert right_branching(("a",), ("A",), *labels).constituents == (("S", 0, 1),)
