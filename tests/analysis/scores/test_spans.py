"""Spans and their F1 against conlleval's own rules, transcribed, and against seqeval."""

import numpy as np
import pytest

from analysis import SpanF1, corpus_score, iob_spans, sentence_counts
from analysis.scores.spans import Span

TYPES = ("a", "b")


def random_tags(seed: int, sentences: int) -> list[list[str]]:
    """Tags that needn't fit one another, in sentences of 1 to 9 words."""
    rng = np.random.default_rng(seed)
    names = ["O", *(f"{mark}-{kind}" for mark in "BI" for kind in TYPES)]
    return [[names[i] for i in rng.integers(len(names), size=rng.integers(1, 10))] for _ in range(sentences)]


def conlleval(gold: list[list[str]], guessed: list[list[str]]) -> tuple[int, int, int]:
    """Hits, guesses and golds, word by word, with the conditions of the Perl program (its two functions endOfChunk
    and startOfChunk, and its loop): a chunk is correct if both start together and end together with one type."""

    def parts(tag: str) -> tuple[str, str]:
        return ("O", "") if tag == "O" else (tag[0], tag[2:])

    def ends(prev: str, tag: str, prev_type: str, kind: str) -> bool:
        found = (prev, tag) in {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
        return found or (prev != "O" and prev_type != kind)

    def starts(prev: str, tag: str, prev_type: str, kind: str) -> bool:
        found = (prev, tag) in {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}
        return found or (tag != "O" and prev_type != kind)

    hits = guesses = golds = 0
    for true, found in zip(gold, guessed, strict=True):
        inside, last_true, last_found = False, ("O", ""), ("O", "")
        for one, other in zip([*true, "O"], [*found, "O"], strict=True):  # a boundary ends every chunk
            (t, t_type), (f, f_type) = parts(one), parts(other)
            true_ends = ends(last_true[0], t, last_true[1], t_type)
            found_ends = ends(last_found[0], f, last_found[1], f_type)
            if inside:
                if true_ends and found_ends and last_true[1] == last_found[1]:
                    inside, hits = False, hits + 1
                elif true_ends != found_ends or t_type != f_type:
                    inside = False
            true_starts = starts(last_true[0], t, last_true[1], t_type)
            found_starts = starts(last_found[0], f, last_found[1], f_type)
            inside = inside or (true_starts and found_starts and t_type == f_type)
            golds, guesses = golds + true_starts, guesses + found_starts
            last_true, last_found = (t, t_type), (f, f_type)
    return hits, guesses, golds


def joined(sentences: list[list[str]]) -> list[str]:
    return [" ".join(tags) for tags in sentences]


def pairs(seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Gold tags, and guesses that agree with them in four of five words."""
    gold, rng = random_tags(seed, 300), np.random.default_rng(seed)
    other = random_tags(seed, 1)[0] + ["O", "B-a", "I-b"]
    return gold, [[t if rng.random() < 0.8 else other[rng.integers(len(other))] for t in s] for s in gold]


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_the_rules_of_conlleval(seed: int) -> None:
    gold, guessed = pairs(seed)
    counts = sentence_counts(SpanF1(), joined(guessed), joined(gold)).sum(axis=0)
    assert tuple(counts) == conlleval(gold, guessed)
    assert counts[0] > 100


@pytest.mark.peers
def test_equal_to_seqeval() -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="needs seqeval: make test-peers")
    for seed in range(4):
        gold, guessed = pairs(seed)
        ours = corpus_score(SpanF1(), joined(guessed), joined(gold))
        assert ours == pytest.approx(metrics.f1_score(gold, guessed), abs=1e-12)


def test_repair_is_the_one_said() -> None:
    assert iob_spans(["I-a", "I-a", "I-b", "O", "I-b", "B-b", "I-a"]) == [
        Span("a", 0, 2), Span("b", 2, 3), Span("b", 4, 5), Span("b", 5, 6), Span("a", 6, 7),
    ]  # fmt: skip
    assert iob_spans([]) == []


def test_values_and_mistakes() -> None:
    score = SpanF1()
    assert score.of("B-a I-a O", "B-a O B-b").tolist() == [0, 1, 2]
    assert score.value(np.array([3, 4, 8])) == pytest.approx(0.5)
    assert score.value(np.array([0, 0, 0])) == 0
    with pytest.raises(ValueError, match="2 tags are predicted for 1 words"):
        score.of("O O", "O")
    for wrong in ("X-a", "B", "I-", "o"):
        with pytest.raises(ValueError, match=f"'{wrong}' is no IOB tag"):
            iob_spans(["O", wrong])
