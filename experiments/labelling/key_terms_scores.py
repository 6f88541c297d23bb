"""From the tags of a document to a ranking of terms; its scores beside TF-IDF and the terms in the text."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from analysis.scores.key_terms import RankedTerms
from analysis.scores.statistics import corpus_score
from data import Document, DocumentText
from data.text.key_terms import BEGIN, INSIDE, OUTSIDE, occurrences, spans, spelt, stem, stem_term, tokens_of
from experiments.task import Metric

CUTS = (5, 10, 15)
LONGEST = 6  # tokens of a ranked span
SHOWN = 10  # documents whose ranking is shown, and whose words are coloured
SELECTED = "f1_10_stemmed_macro"
STATISTICS: Mapping[str, RankedTerms] = {
    f"{measure}_{k}_{average}": RankedTerms(k, measure, average)  # type: ignore[arg-type]
    for average in ("macro", "micro")
    for measure in ("precision", "recall", "f1")
    for k in CUTS
}
METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a word)"),
} | {
    f"{measure}_{k}_{form}_{average}": Metric(f"{name} at {k}, {form}, {average}", ".3f", "higher")
    for form in ("stemmed", "exact")
    for average in ("macro", "micro")
    for measure, name in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    for k in CUTS
}


def going_on(probabilities: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T+1"]:
    """Returns the probability that a key term with token t − 1 goes on at token t, 0 at both ends:

        q_t = p_t(inside) / (1 − p_{t−1}(outside))

    since an inside follows nothing but a begin or an inside.
    """
    p = probabilities.astype(np.float64)
    before = np.maximum(1 - p[:-1, OUTSIDE], np.finfo(np.float64).tiny)
    return np.pad(np.minimum(p[1:, INSIDE] / before, 1), 1)


def rank_terms(tokens: Sequence[str], probabilities: Float[np.ndarray, "T 3"]) -> list[str]:
    """Ranks the spans of a document by n p(term), the words of key terms that one may expect in a span of n, where
    a term is one if any of its occurrences is, which agree by their stems:

        p(s, e) = p_s(begin) Π_{s<t<e} q_t (1 − q_e)        p(term) = 1 − Π over occurrences (1 − p(s, e))

    with q of `going_on`, over spans of up to six words. A term is spelt as in its likeliest occurrence.
    """
    begins, on = probabilities[:, BEGIN].astype(np.float64), going_on(probabilities)
    stems = [stem(token.lower()) for token in tokens]
    missed: dict[tuple[str, ...], float] = {}
    best: dict[tuple[str, ...], tuple[float, str]] = {}
    for start, end in spans(tokens, LONGEST):
        p = begins[start] * float(np.prod(on[start + 1 : end])) * (1 - on[end])
        if p < 1e-6:
            continue
        term = tuple(stems[start:end])
        missed[term] = missed.get(term, 1.0) * (1 - p)
        if p > best.get(term, (0.0, ""))[0]:
            best[term] = p, spelt(tokens[start:end])
    return [best[term][1] for term in sorted(missed, key=lambda t: (-len(t) * (1 - missed[t]), t))]


class Forms(NamedTuple):
    """Terms as they are compared: spelt alike, and stemmed."""

    exact: list[str]
    stemmed: list[str]


def forms(terms: Sequence[str]) -> Forms:
    """Returns both forms of terms, each once."""
    exact = [spelt(tokens_of(term)) for term in terms]
    return Forms(list(dict.fromkeys(exact)), list(dict.fromkeys(map(stem_term, exact))))


def score_terms(ranked: Sequence[Sequence[str]], documents: Sequence[Document]) -> dict[str, float]:
    """Scores the rankings of documents, exact and stemmed."""
    guesses, gold = [forms(terms) for terms in ranked], [forms(document.terms) for document in documents]
    scores = {}
    for form in Forms._fields:
        sides = [[getattr(found, form) for found in side] for side in (guesses, gold)]
        for name, statistic in STATISTICS.items():
            measure, k, average = name.split("_")
            scores[f"{measure}_{k}_{form}_{average}"] = corpus_score(statistic, *sides)
    return scores


def measure_baselines(text: DocumentText) -> dict[str, dict[str, float]]:
    """Scores TF-IDF on the test documents, and the ranking of those key terms alone that stand in the text, which
    is the most that marking spans can reach."""
    test = text.splits["test"]
    standing = [standing_terms(document) for document in test]
    return {
        "TF-IDF": score_terms(tf_idf([*text.splits["train"], *text.splits["valid"]], test), test),
        "terms in the text": score_terms(standing, test),
    }


def standing_terms(document: Document) -> list[str]:
    """Returns the key terms of a document that stand in its text, by their stems; those as they are first."""
    stems, exact = [stem(token.lower()) for token in document.tokens], [t.lower() for t in document.tokens]
    as_is = [t for t in document.terms if stands(tokens_of(t.lower()), exact)]
    return [*as_is, *(t for t in document.terms if t not in as_is and stands(stem_term(t).split(), stems))]


def stands(term: Sequence[str], tokens: Sequence[str]) -> bool:
    """Tells whether a term stands among tokens."""
    return bool(occurrences(tokens, [" ".join(term)]))


def ceiling(documents: Sequence[Document]) -> tuple[float, float]:
    """Returns the shares of key terms that stand in the text as they are, and by their stems: the most recall."""
    total = sum(len(document.terms) for document in documents)
    exact = sum(
        stands(tokens_of(t.lower()), [token.lower() for token in d.tokens])
        for d in documents
        for t in d.terms
    )
    return exact / total, sum(len(standing_terms(document)) for document in documents) / total


def candidates(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the stem and the spelling of every span of up to three words that holds no stop word and no sign but
    hyphens."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    low = [token.lower() for token in tokens]
    breaks = [token in ENGLISH_STOP_WORDS or not re.search(r"[^\W\d]|-", token) for token in low]
    for start, end in spans(tokens, 5):
        if not any(breaks[start:end]) and sum(token != "-" for token in low[start:end]) <= 3:
            yield " ".join(map(stem, low[start:end])), spelt(tokens[start:end])


def tf_idf(known: Sequence[Document], documents: Sequence[Document]) -> list[list[str]]:
    """Ranks the `candidates` of documents by TF-IDF, with document frequencies from those known."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    split: Any = lambda tokens: [stemmed for stemmed, _ in candidates(tokens)]  # noqa: E731
    weigh = TfidfVectorizer(analyzer=split)
    weigh.fit([document.tokens for document in known])
    names, idf = weigh.vocabulary_, weigh.idf_
    unseen = np.log(1 + len(known)) + 1  # of a candidate in no known document
    ranked = []
    for document in documents:
        count: dict[str, float] = {}
        form: dict[str, str] = {}
        for stemmed, written in candidates(document.tokens):
            count[stemmed] = count.get(stemmed, 0) + 1
            form.setdefault(stemmed, written)
        weights = {s: n * (idf[names[s]] if s in names else unseen) for s, n in count.items()}
        ranked.append([form[s] for s in sorted(weights, key=lambda s: (-weights[s], s))])
    return ranked


def shown_places(documents: Sequence[Document]) -> list[int]:
    """Returns the places of the documents shown, evenly spaced."""
    return np.unique(np.linspace(0, len(documents) - 1, SHOWN).round().astype(int)).tolist()


def shown_terms(documents: Sequence[Document], ranked: Sequence[Sequence[str]]) -> str:
    """Formats the first ten terms of some documents, a star before those that are key terms by their stems."""
    blocks = []
    for place in shown_places(documents):
        gold = set(forms(documents[place].terms).stemmed)
        marked = [f"{'*' if stem_term(term) in gold else ''}{term}" for term in ranked[place][:10]]
        blocks.append(f"document {documents[place].name}: {' | '.join(marked)}")
    return "\n".join(["The ten terms ranked first, a star before key terms:", "", *blocks])
