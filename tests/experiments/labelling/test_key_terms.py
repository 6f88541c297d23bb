"""Key terms from the command line; the ranking against enumeration; TF-IDF against a loop; the ceiling."""

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import Document, KeyTermsConfig, load_documents
from data.text.key_terms import stem_term, tokens_of
from experiments.harness.files import read_arrays
from experiments.labelling.key_terms_scores import (
    candidates,
    ceiling,
    forms,
    going_on,
    measure_baselines,
    rank_terms,
    score_terms,
    tf_idf,
)
from tests.experiments.command import command
from tests.experiments.conftest import alone

INSPEC = Path(__file__).parents[4] / "shared" / "data" / "inspec"
SMALL = (
    *(
        "--characters",
        "none",
        "--data.documents",
        20,
        "--hidden-size",
        4,
        "--embedding-size",
        6,
        "--batch-size",
        4,
        "--devices",
        1,
    ),
    *("--steps", 20, "--eval-every", 10, "--save-every", 10, "--optimizer.warmup-steps", 2),
)
DOCUMENT = Document(
    "1",
    tokens_of("Fuzzy logic controllers use fuzzy logic. Genetic algorithms"),
    ("fuzzy logics", "controller"),
)


@pytest.fixture(scope="session")
def run(shared: Path) -> Path:
    """A finished run; to be read only."""
    with alone(shared, "key_terms") as folder:
        if not (folder / "results.json").exists():
            assert command("key_terms", *SMALL, "--run-dir", folder) == 0
    return folder


def test_what_a_run_leaves(run: Path) -> None:
    """36 scores of the net, TF-IDF and the terms in the text; rankings; words with their probabilities."""
    results = json.loads((run / "results.json").read_text())
    names = {
        f"{measure}_{k}_{form}_{average}"
        for measure, k, form, average in itertools.product(
            ("precision", "recall", "f1"), (5, 10, 15), ("exact", "stemmed"), ("macro", "micro")
        )
    }
    assert names <= set(results["test"])
    assert set(results["baselines"]) == {"TF-IDF", "terms in the text"}
    assert all(set(scores) == names for scores in results["baselines"].values())
    assert results["baselines"]["terms in the text"]["precision_15_stemmed_micro"] == 1
    found = read_arrays(run, "measured")
    documents = load_documents(KeyTermsConfig(documents=20)).splits["test"]
    assert found["words|0"].tolist() == list(documents[0].tokens)
    assert ((found["inside|0"] >= 0) & (found["inside|0"] <= 1)).all()
    assert "The ten terms ranked first" in (run / "table.txt").read_text()
    assert {path.name for path in (run / "figures").glob("*.png")} == {"training.png", "documents.png"}


@pytest.mark.full
def test_a_neural_turing_machine_marks_terms_too(tmp_path: Path) -> None:
    machine = ("--cell", "ntm(slots=4, width=3)", "--direction", "forward", "--steps", 10)
    assert command("key_terms", *SMALL, *machine, "--run-dir", tmp_path / "run") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert 0 <= results["test"]["f1_10_stemmed_macro"] <= 1
    assert "ntm slots=4, width=3" in (tmp_path / "run" / "table.txt").read_text()


@pytest.mark.parametrize("seed", range(5))
def test_ranking_is_by_the_words_to_be_expected(seed: int) -> None:
    """The ranking is that by length times probability of each span, found by enumeration of all tags. The tags are
    drawn one after another, and only their marginals are given."""
    tokens, steps = ("Data", "mine", "theory"), 3
    random = np.random.default_rng(seed)
    on, begin_within, begin_outside = random.uniform(0.1, 0.9, (3, steps))
    marginals, chance = np.zeros((steps, 3)), dict[str, float]()
    for tags in itertools.product(range(3), repeat=steps):
        p, before = 1.0, 0
        for t, tag in enumerate(tags):
            go_on = on[t] if before else 0.0
            begin = begin_within[t] if before else begin_outside[t]
            p *= ((1 - go_on) * (1 - begin), (1 - go_on) * begin, go_on)[tag]
            before = tag
        marginals[np.arange(steps), tags] += p
        for s, e in itertools.combinations(range(steps + 1), 2):
            if tags[s] == 1 and set(tags[s + 1 : e]) <= {2} and (e == steps or tags[e] != 2):
                term = " ".join(tokens[s:e]).lower()
                chance[term] = chance.get(term, 0.0) + (e - s) * p
    np.testing.assert_allclose(marginals.sum(axis=1), 1)
    np.testing.assert_allclose(going_on(marginals), [0, *on[1:], 0])
    assert rank_terms(tokens, marginals) == sorted(chance, key=lambda term: -chance[term])


def test_ranked_terms_are_spelt_as_in_their_likeliest_occurrence() -> None:
    tokens = tokens_of("Systems of SYSTEM theory")
    probabilities = np.full((4, 3), 1e-9)
    probabilities[:, 1] = [0.2, 0, 0.6, 0]
    assert rank_terms(tokens, probabilities) == ["system"]
    probabilities[3, 2] = 0.9
    assert rank_terms(tokens, probabilities)[:2] == ["system theory", "systems"]


def test_exact_and_stemmed_scores() -> None:
    """ "fuzzy logics" is in the text by its stem only, and so is "controller"."""
    scores = score_terms([["fuzzy logic", "controller", "use"]], [DOCUMENT])
    assert scores["recall_5_exact_macro"] == 1 / 2
    assert scores["recall_5_stemmed_macro"] == 1
    assert scores["precision_5_stemmed_micro"] == 2 / 3
    assert forms(["Fuzzy logic", "fuzzy logics"]).stemmed == ["fuzzi logic"]
    assert ceiling([DOCUMENT]) == (0, 1)


def test_tf_idf() -> None:
    """Counts times ln((1 + N) / (1 + n)) + 1, in a loop over the documents of the grammar."""
    text = load_documents(KeyTermsConfig(documents=12))
    train, test = text.splits["train"], text.splits["test"]
    every = [[stemmed for stemmed, _ in candidates(document.tokens)] for document in train]
    for document, ranked in zip(test, tf_idf(train, test), strict=True):
        counts = Counter(stemmed for stemmed, _ in candidates(document.tokens))
        weight = {
            term: n * (np.log((1 + len(train)) / (1 + sum(term in own for own in every))) + 1)
            for term, n in counts.items()
        }
        found = [weight[stem_term(term)] for term in ranked]
        assert len(found) == len(weight)
        assert all(a >= b - 1e-9 for a, b in itertools.pairwise(found))
    assert [written for _, written in candidates(DOCUMENT.tokens)][:3] == [
        "fuzzy",
        "fuzzy logic",
        "fuzzy logic controllers",
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--preset", "inspec"), "--data.dir is missing: --preset inspec is for real text in a folder"),
        (("--word-dropout", -1), "--word-dropout must be at least 0 and below 1, but is -1.0"),
        (("--data.documents", 0), "--data.documents must be 1 or more, but is 0"),
        (("--data.documents", 5), "--batch-size 16 is more than the 5 training examples: take less"),
    ],
)
def test_mistakes(refused: Callable[..., None], options: tuple[Any, ...], sentence: str) -> None:
    refused(sentence, "key_terms", *options)


def test_a_document_without_key_terms(tmp_path: Path, mistake: Callable[..., str]) -> None:
    for name in ("1.txt", "1.key", "2.txt"):
        (tmp_path / name).write_text("a term\n")
    said = mistake("key_terms", "--data.dir", tmp_path)
    assert "the document 2.txt of" in said
    assert "has no key terms: list them in 2.key, one a line, or take it out" in said


@pytest.mark.full
@pytest.mark.skipif(not INSPEC.is_dir(), reason="Inspec isn't there")
def test_baselines_on_inspec(tmp_path: Path) -> None:
    """The last 500 documents: 61 % of their terms stand in them by their stems; TF-IDF ranks some of them."""
    text = load_documents(KeyTermsConfig(dir=INSPEC, cache=tmp_path / "cache"))
    exact, stemmed = ceiling(text.splits["test"])
    assert exact == pytest.approx(0.58, abs=0.02)
    assert stemmed == pytest.approx(0.61, abs=0.02)
    scores = measure_baselines(text)
    assert scores["TF-IDF"]["f1_10_stemmed_macro"] == pytest.approx(0.154, abs=0.01)
    assert 0.65 < scores["terms in the text"]["f1_10_stemmed_macro"] < 0.8
    assert scores["terms in the text"]["precision_10_stemmed_macro"] > 0.98


@pytest.mark.full
@pytest.mark.peers
@pytest.mark.skipif(not INSPEC.is_dir(), reason="Inspec isn't there")
def test_yake_on_the_same_split(tmp_path: Path) -> None:
    """yake (Campos et al. 2020) on the last 500 documents: F1 at 10 of about .17, like TF-IDF; its page gives .316
    of all 2,000, by a matching of its own."""
    yake: Any = pytest.importorskip("yake")
    text = load_documents(KeyTermsConfig(dir=INSPEC, cache=tmp_path / "cache"))
    test = text.splits["test"]
    extract = yake.KeywordExtractor(lan="en", n=3, top=15).extract_keywords
    ranked = [[term for term, _ in extract(" ".join(document.tokens))] for document in test]
    scores = score_terms(ranked, test)
    print(f"yake: {scores}")
    assert 0.12 < scores["f1_10_stemmed_macro"] < 0.22
