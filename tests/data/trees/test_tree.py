"""Reading trees in brackets: by hand, through NLTK, mistakes with their lines; corpora of trees."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given

from data import Constituent, Tree, TreesConfig, format_tree, load_trees, read_trees
from tests.data.trees.trees import random_trees

SENTENCE = """
( (S
    (NP-SBJ-1 (PRP I))
    (VP (VBD saw)
      (NP (NP (DT a) (NN saw)) (SBAR (WHNP-2 (-NONE- 0)) (S=3 (VP (VBD fell)))))
      (PRT|ADVP (RP off)))
    (. .) ))
"""


def test_reads_the_penn_treebank() -> None:
    """Functions, traces and the outermost bracket go; the order is that of the opening brackets."""
    (tree,) = read_trees(SENTENCE, "a file")
    assert tree.words == ("I", "saw", "a", "saw", "fell", "off", ".")
    assert tree.tags == ("PRP", "VBD", "DT", "NN", "VBD", "RP", ".")
    named = [("S", 0, 7), ("NP", 0, 1), ("VP", 1, 6), ("NP", 2, 5), ("NP", 2, 4), ("SBAR", 4, 5), ("S", 4, 5)]
    assert tree.constituents == tuple(Constituent(*one) for one in [*named, ("VP", 4, 5), ("PRT", 5, 6)])
    both = read_trees(f"(ROOT (NN yes))(TOP (S (X a) (-LRB- -LRB-)))\n{SENTENCE}", "a file")
    assert [one.constituents for one in both[:2]] == [(), (Constituent("S", 0, 2),)]
    assert both[1].tags == ("X", "-LRB-")
    assert both[2] == tree
    (several,) = read_trees("(ROOT (NP (NN a)) (NP (NN b)))", "a file")
    assert several.constituents == (Constituent("NP", 0, 1), Constituent("NP", 1, 2))


@given(tree=random_trees())
def test_format_and_read_are_the_identity(tree: Tree) -> None:
    assert read_trees(format_tree(tree), "") == [tree]


@pytest.mark.peers
def test_reads_as_nltk_does() -> None:
    nltk = pytest.importorskip("nltk")
    config = TreesConfig(sentences=100, held_out=1)
    for tree in load_trees(config).splits["train"]:
        theirs = nltk.Tree.fromstring(format_tree(tree))
        assert tuple(theirs.pos()) == tuple(zip(tree.words, tree.tags, strict=True))
        labels = [part.label() for part in theirs.subtrees() if part.height() > 2]
        assert labels == ["ROOT", *(one.label for one in tree.constituents)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "(S (NN a))\n(S (NN b)",
            "ends within a tree: the bracket opened in line 2 is never closed, nor are 0",
        ),
        ("(S (NN a)))", "line 1 of f closes a bracket that was not opened"),
        ("(S (NN a))\n\nb", "line 3 of f has 'b' outside brackets"),
        ("(S (NN a)\nb)", "line 2 of f has the word 'b' without a tag: write (TAG b)"),
        ("(S (NN a b))", "line 1 of f has the word 'b' without a tag"),
        ("(S\n(NP))", "line 2 of f closes a bracket that holds no word"),
        ("(S (NN a (X b)))", "line 1 of f has a bracket beside the word 'a'"),
        ("(S ((NN a)))", "line 1 of f closes a bracket with the label ''"),
        ("\n(S (-NONE- a))", "line 2 of f begins a tree without a word"),
    ],
)
def test_mistakes_name_the_line(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="f") as caught:
        read_trees(text, "f")
    assert sentence in str(caught.value)


def test_files(tmp_path: Path) -> None:
    """Splits by the names; without a test file that of dev; too long sentences are left out and counted."""
    lines = [f"(S {'(NN a) ' * (n % 5 + 1)})" for n in range(20)]
    (tmp_path / "train.ptb.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    (tmp_path / "dev.mrg").write_text(lines[2])
    text = load_trees(TreesConfig(dir=tmp_path, valid_share=0.25, longest=4))
    assert {split: len(trees) for split, trees in text.splits.items()} == {"train": 12, "valid": 4, "test": 1}
    assert text.left_out == {"train": 3, "valid": 1, "test": 0}
    assert text.splits["test"] == read_trees(lines[2], "")
    assert "3 longer than --data.longest left out" in text.summary()
    (tmp_path / "test.ptb").write_text(lines[4])
    assert load_trees(TreesConfig(dir=tmp_path)).splits["valid"] == read_trees(lines[2], "")
    with pytest.raises(ValueError, match="no valid sentence has at most 2 words"):
        load_trees(TreesConfig(dir=tmp_path, longest=2))
    (tmp_path / "dev.mrg").unlink()
    with pytest.raises(ValueError, match="has no trees of train and dev"):
        load_trees(TreesConfig(dir=tmp_path))
    with pytest.raises(ValueError, match=r"--data.valid-share must lie between 0 and 1, but is 1.0"):
        load_trees(TreesConfig(valid_share=1.0))
