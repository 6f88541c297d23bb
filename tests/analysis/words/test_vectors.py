"""Neighbours, analogies and similarities of word vectors, beside loops and gensim."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis.words.vectors import (
    Section,
    Vectors,
    agreement,
    analogies,
    analogy,
    map_of_words,
    neighbours,
    similarity,
)
from data import format_vectors

WORDS = (*(f"w{i}" for i in range(30)), "King", "king", "Queen")
VECTORS = Vectors(WORDS, np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32))
QUESTIONS = [tuple(f"w{n}" for n in row) for row in np.random.default_rng(1).permuted(np.tile(np.arange(30), (60, 1)), axis=1)[:, :4]]  # fmt: skip # noqa: E501
PAIRS = [(f"w{i}", f"w{(7 * i + 1) % 30}", float(i % 11)) for i in range(30)]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neighbours_and_analogy(distance: str) -> None:
    """The best of a loop over all words but those asked for."""
    table = dict(zip(WORDS, VECTORS.matrix.astype(np.float64), strict=True))
    if distance == "cosine":
        table = {word: row / np.linalg.norm(row) for word, row in table.items()}
    goal = table["w1"] - table["w0"] + table["w2"]

    def best(goal: np.ndarray, without: set[str]) -> list[tuple[str, float]]:
        value = (
            (lambda row: cosine(goal, row))
            if distance == "cosine"
            else (lambda row: np.linalg.norm(row - goal))
        )
        found = [(word, float(value(row))) for word, row in table.items() if word not in without]
        return sorted(found, key=lambda one: one[1], reverse=distance == "cosine")[:5]

    for found, wanted in (
        (neighbours(VECTORS, "w3", 5, distance), best(table["w3"], {"w3"})),  # type: ignore[arg-type]
        (analogy(VECTORS, "w0", "w1", "w2", 5, distance), best(goal, {"w0", "w1", "w2"})),  # type: ignore[arg-type]
    ):
        assert [word for word, _ in found] == [word for word, _ in wanted]
        np.testing.assert_allclose([v for _, v in found], [v for _, v in wanted], rtol=1e-5)


def test_lookup() -> None:
    """As it is written, else the first that differs in case; unknown words are named."""
    assert VECTORS.row("king") == 31
    assert VECTORS.row("KING") == 30
    assert VECTORS.row("queen") == 32
    assert VECTORS.row("none") is None
    with pytest.raises(ValueError, match="there is no vector of 'none', 'neither'"):
        VECTORS.rows(["w1", "none", "neither"])


def test_analogies_and_similarity() -> None:
    """Covered questions alone count, whose first answer of `analogy` is right."""
    right = [(a, b, c, analogy(VECTORS, a, b, c, 1)[0][0]) for a, b, c, _ in QUESTIONS[:9]]
    sections = {
        "one": [*right, ("w0", "w1", "w2", "none")],
        "other": QUESTIONS,
        "empty": [("a", "b", "c", "d")],
    }
    found = analogies(VECTORS, sections)  # type: ignore[arg-type]
    wrong = sum(analogy(VECTORS, a, b, c, 1)[0][0] == d for a, b, c, d in QUESTIONS)
    assert found == {"one": Section(9, 9, 10), "other": Section(wrong, 60, 60), "empty": Section(0, 0, 1)}
    pairs = [*PAIRS, ("w0", "none", 3.0)]
    one = similarity(VECTORS, pairs)
    cosines = [cosine(VECTORS.matrix[WORDS.index(a)], VECTORS.matrix[WORDS.index(b)]) for a, b, _ in PAIRS]
    assert one.spearman == pytest.approx(spearmanr(cosines, [s for *_, s in PAIRS])[0], abs=1e-6)
    assert (one.covered, one.pairs) == (30, 31)
    assert np.isnan(similarity(VECTORS, pairs[-1:]).spearman)


def test_agreement_and_map() -> None:
    """The order of cosines is that of rotated and scaled vectors; a map keeps two clusters apart."""
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0]
    rows = np.arange(20)
    same = Vectors(WORDS, (3 * VECTORS.matrix @ turned).astype(np.float32))
    assert agreement(VECTORS, same, rows) == pytest.approx(1, abs=1e-4)
    assert agreement(VECTORS, Vectors(WORDS, VECTORS.matrix[::-1].copy()), rows) < 0.5
    noise = np.random.default_rng(3).normal(scale=0.05, size=(20, 4))
    centres = np.repeat([[1, 0, 0, 0], [0, 1, 0, 0]], 10, axis=0)
    two = Vectors(WORDS[:20], (centres + noise).astype(np.float32))
    places = map_of_words(two, rows)
    middle = [places[:10].mean(0), places[10:].mean(0)]
    spread = max(np.linalg.norm(places[:10] - middle[0], axis=1).max(), np.linalg.norm(places[10:] - middle[1], axis=1).max())  # fmt: skip # noqa: E501
    assert np.linalg.norm(middle[0] - middle[1]) > spread


@pytest.mark.peers
def test_gensim(tmp_path: Path) -> None:
    """Written as text, gensim's evaluation of the same questions gives the same numbers."""
    models = pytest.importorskip("gensim.models")
    path = tmp_path / "vectors.txt"
    path.write_bytes(format_vectors(WORDS, VECTORS.matrix))
    theirs = models.KeyedVectors.load_word2vec_format(path)
    right = [(a, b, c, analogy(VECTORS, a, b, c, 1)[0][0]) for a, b, c, _ in QUESTIONS[:9]]
    sections = {"one": [*right, ("w0", "w1", "w2", "none")], "other": QUESTIONS}
    lines = [line for name, rows in sections.items() for line in (f": {name}", *map(" ".join, rows))]
    (tmp_path / "questions.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "pairs.txt").write_text(
        "".join(f"{a}\t{b}\t{s}\n" for a, b, s in [*PAIRS, ("w0", "none", 3.0)])
    )
    _, found = theirs.evaluate_word_analogies(tmp_path / "questions.txt")
    ours = analogies(VECTORS, sections)  # type: ignore[arg-type]
    for section in found[:-1]:
        counts = len(section["correct"]), len(section["correct"]) + len(section["incorrect"])
        assert counts == ours[section["section"]][:2]
    _, spearman, unknown = theirs.evaluate_word_pairs(tmp_path / "pairs.txt")
    one = similarity(VECTORS, [*PAIRS, ("w0", "none", 3.0)])
    assert one.spearman == pytest.approx(spearman[0], abs=1e-6)
    assert unknown == pytest.approx(100 * (one.pairs - one.covered) / one.pairs)
    assert theirs.most_similar("w3", topn=5)[0][0] == neighbours(VECTORS, "w3", 1)[0][0]
