"""Scores of trees, and the trees of methods without a net."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis import BracketF1, Bracketing, CompleteMatch, Statistics, corpus_score, sentence_counts
from analysis.scores.spans import Span
from data import Tree
from data.trees.rules import commonest_labels, count_rules, right_branching, tree_of_parse
from experiments.task import Metric
from models import Pcfg

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a label or bracket)"),
    "f1": Metric("bracket F1", ".1%", "higher"),
    "unlabelled": Metric("bracket F1, unlabelled", ".1%", "higher"),
    "complete": Metric("complete match", ".1%", "higher"),
}
STATISTICS: Mapping[str, Statistics[Bracketing]] = {
    "f1": BracketF1(),
    "unlabelled": BracketF1(labelled=False),
    "complete": CompleteMatch(),
}
LENGTHS = (1, 6, 11, 16, 21, 26, 31, 36, 41)  # words, from each to the next
RIGHT_BRANCHING, PCFG = "right-branching", "PCFG"


def bracketing(tree: Tree) -> Bracketing:
    """Returns a tree as it is scored."""
    return Bracketing(tuple(Span(*one) for one in tree.constituents), tree.tags)


def score_trees(found: Sequence[Tree], gold: Sequence[Tree]) -> dict[str, float]:
    """Computes corpus scores by their names in METRICS."""
    sides = [bracketing(tree) for tree in found], [bracketing(tree) for tree in gold]
    return {name: corpus_score(statistics, *sides) for name, statistics in STATISTICS.items()}


def f1_by_length(found: Sequence[Tree], gold: Sequence[Tree]) -> np.ndarray:
    """Computes F1 of the sentences of each range of `LENGTHS`, NaN where there is none."""
    score = BracketF1()
    counts = sentence_counts(score, [bracketing(tree) for tree in found], [bracketing(tree) for tree in gold])
    ranges = np.searchsorted(LENGTHS, [len(tree.words) for tree in gold], side="right") - 1
    sums = [counts[ranges == place].sum(axis=0) for place in range(len(LENGTHS) - 1)]
    return np.array([score.value(total) if total.any() else np.nan for total in sums])


def trees_without_a_net(train: Sequence[Tree], gold: Sequence[Tree]) -> tuple[dict[str, list[Tree]], int]:
    """Parses sentences by right-branching trees under the commonest labels, and by a grammar counted in training,
    whose tags are given too. Also returns of how many the grammar has no parse; those are right-branching."""
    labels = commonest_labels(train)
    branching = [right_branching(tree.words, tree.tags, *labels) for tree in gold]
    counts = count_rules(train)
    grammar = Pcfg.learn(*counts)
    parsed = [grammar.parse(tree.tags) for tree in gold]
    trees = [
        instead if parse is None else tree_of_parse(parse[0], tree.words, tree.tags)
        for parse, tree, instead in zip(parsed, gold, branching, strict=True)
    ]
    return {RIGHT_BRANCHING: branching, PCFG: trees}, sum(parse is None for parse in parsed)
