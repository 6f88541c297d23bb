"""Key terms of documents as a `Task`: a tag for every word, spans ranked by their probability, TF-IDF beside."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from analysis.scores.key_terms import RankedTerms
from analysis.scores.statistics import corpus_score
from data import (
    Batch,
    Batches,
    Document,
    DocumentText,
    Example,
    KeyTermsConfig,
    SortedBatches,
    WordEncoder,
    bucket_batches,
    load_documents,
    sorted_batches,
)
from data.text.key_terms import BEGIN, INSIDE, iob_of, occurrences, spans, spelt, stem, stem_term, tokens_of
from experiments.embedding import EmbeddingFile, read_embedding, with_embedding
from experiments.harness.checks import check_at_least
from experiments.harness.processes import process_shard
from experiments.labelling.tagging import TaggingEvaluation, TaggingLoss
from experiments.labelling.words import WordsConfig
from experiments.network import NetworkConfig
from experiments.objective import Objective
from experiments.task import Data, Metric, Scores, Task
from experiments.training import Flat, TrainingConfig
from models import Tagger
from models.cell import Params
from train import LoopConfig, OptimizerConfig

CUTS = (5, 10, 15)
LONGEST = 6  # tokens of a ranked span
TOGETHER = 50  # documents of a held-out batch
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


@dataclass(frozen=True)
class KeyTermsOptions(TrainingConfig):
    """The options of an experiment that marks the key terms of documents."""

    preset: str | None = None
    """Options of a setting on real data; options given explicitly override it."""
    data: KeyTermsConfig = field(default_factory=KeyTermsConfig)
    model: Annotated[WordsConfig, Flat] = field(default_factory=lambda: WordsConfig(embedding_size=50))
    embedding: EmbeddingFile = None
    chain: bool = False
    """A linear-chain conditional random field over the tags in training; spans are ranked by its emissions."""
    min_count: int = 2
    """Words seen fewer times in training are unknown."""
    batch_size: int = 16
    """Documents per step, B."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=lambda: NetworkConfig(direction="both"))
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=200, eval_every=50, save_every=100)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=30)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, min_count=self.min_count)


documents_of = lru_cache(maxsize=1)(load_documents)


@lru_cache(maxsize=1)
def encoder_of(config: KeyTermsOptions) -> WordEncoder:
    """Returns the encoder of the words of the training documents."""
    words = [document.tokens for document in documents_of(config.data).splits["train"]]
    return WordEncoder.build(words, characters=config.model.characters != "none", min_count=config.min_count)


class HeldOut(list[Batch]):
    """Held-out batches, which know the documents in them."""

    def __init__(self, documents: Sequence[Document], batches: SortedBatches) -> None:
        super().__init__(batches.batches)
        self.documents, self.sorted = documents, batches


def bounds_of(config: KeyTermsOptions) -> list[int]:
    """Returns the lengths of the buckets: documents that are made are of similar length, and have one."""
    text = documents_of(config.data)
    longest = max(len(document.tokens) for found in text.splits.values() for document in found)
    return (
        [longest]
        if config.data.dir is None
        else [*(n for n in (64, 128, 192, 256, 384) if n < longest), longest]
    )


def key_terms_task(config: KeyTermsOptions) -> Task:
    """Builds the task of tagging the key terms of documents, scored by the terms ranked first."""
    text, encoder, bounds = documents_of(config.data), encoder_of(config), bounds_of(config)
    model = Tagger(
        config.model.reader(encoder),
        config.layer(),
        tags=3,
        chain=config.chain,
        dropout=config.model.vector_dropout,
        method=config.network.way,
    )

    def examples(split: str) -> list[Example]:
        return [Example(encoder.encode(document.tokens), iob_of(document)) for document in text.splits[split]]

    def train(seed: int, rows: int) -> Batches:
        return bucket_batches(examples("train"), batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def held_out(split: str) -> HeldOut:
        batches = sorted_batches(examples(split), batch_size=TOGETHER, bounds=bounds)
        return HeldOut(text.splits[split], batches)

    def shapes(rows: int) -> Batch:
        steps = (bounds[-1], rows)
        return jax.eval_shape(
            lambda: Batch(
                jnp.zeros((*steps, encoder.columns), int), jnp.zeros(steps, int), jnp.ones(steps, bool)
            )
        )

    def initial(seed: int) -> Params:
        rows = jnp.zeros((1, 1, encoder.columns), jnp.int32)
        params = jax.jit(model.init)(jax.random.fold_in(jax.random.key(seed), 1), rows)
        if config.embedding is None:
            return params
        found = read_embedding(config.embedding, encoder.vocabulary, config.model.embedding_size, seed=seed)
        print(found.text, flush=True)
        return with_embedding(params, found.matrix, ("reader", "words", "embedding"))

    probabilities = jax.jit(
        lambda params, inputs, mask: jax.nn.softmax(model.apply(params, inputs, mask=mask).tags)  # type: ignore
    )

    def tagged(params: Params, held: HeldOut) -> list[Float[np.ndarray, "T 3"]]:
        """Returns the probabilities of the tags of every document."""
        by_batch = [probabilities(params, jnp.asarray(b.inputs), jnp.asarray(b.mask)) for b in held]
        rows = [row for b, p in zip(held, by_batch, strict=True) for row in rows_of(b, np.asarray(p))]
        return held.sorted.restore_order(rows)

    def score(params: Params, batches: Sequence[Batch]) -> Scores:
        assert isinstance(batches, HeldOut)
        found = tagged(params, batches)
        ranked = [rank_terms(d.tokens, p) for d, p in zip(batches.documents, found, strict=True)]
        scores = score_terms(ranked, batches.documents)
        if batches.documents is text.splits["valid"]:  # during training the selected one is enough
            scores = {SELECTED: scores[SELECTED]}
        return Scores(scores, shown_terms(batches.documents, ranked))

    def measure(params: Params, batches: Sequence[Batch]) -> dict[str, np.ndarray]:
        assert isinstance(batches, HeldOut)
        found, arrays = tagged(params, batches), {}
        for place in shown_places(batches.documents):
            document = batches.documents[place]
            arrays[f"words|{place}"] = np.array(document.tokens)
            arrays[f"inside|{place}"] = 1 - found[place][:, 0]
            arrays[f"gold|{place}"] = iob_of(document) > 0
        return arrays

    return Task(
        title="key terms",
        model=model,
        data=Data(
            train,
            lambda: held_out("valid"),
            lambda: held_out("test"),
            f"{len(text.splits['test']):,} test documents",
            shapes=shapes,
            held_out=len(text.splits["valid"]),
        ),
        objective=Objective(TaggingLoss(model), TaggingEvaluation(model)),
        metrics=METRICS,
        select=SELECTED,
        baselines=measure_baselines(text),
        score=score,
        score_from=1,
        measure=measure,
        initial=initial,
        fingerprint={"the words": hashlib.sha256(encoder.to_json()).hexdigest()[:16]},
    )


def rows_of(batch: Batch, values: np.ndarray) -> list[np.ndarray]:
    """Returns the values `[T, ...]` of each document of a batch, without padding."""
    lengths = np.asarray(batch.mask).sum(axis=0).tolist()
    return [values[:length, row] for row, length in enumerate(lengths) if length]


# --- from tags to terms, and their scores


def rank_terms(tokens: Sequence[str], probabilities: Float[np.ndarray, "T 3"]) -> list[str]:
    """Ranks the spans of a document by the probability that one of their occurrences is a key term:

        p(s, e) = p_s(begin) Π_{s<t<e} p_t(inside) (1 − p_e(inside))        p(term) = 1 − Π (1 − p(s, e))

    over the occurrences, which agree by their stems, of spans of up to six words. A term is spelt as in its
    likeliest occurrence.
    """
    begins = probabilities[:, BEGIN].astype(np.float64)
    inside = np.append(probabilities[:, INSIDE], 0).astype(np.float64)
    stems = [stem(token.lower()) for token in tokens]
    missed: dict[tuple[str, ...], float] = {}
    best: dict[tuple[str, ...], tuple[float, str]] = {}
    for start, end in spans(tokens, LONGEST):
        p = begins[start] * float(np.prod(inside[start + 1 : end])) * (1 - inside[end])
        if p < 1e-6:
            continue
        term = tuple(stems[start:end])
        missed[term] = missed.get(term, 1.0) * (1 - p)
        if p > best.get(term, (0.0, ""))[0]:
            best[term] = p, spelt(tokens[start:end])
    return [best[term][1] for term in sorted(missed, key=lambda term: (missed[term], term))]


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


# --- examples


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
