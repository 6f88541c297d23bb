"""Key terms of documents as a `Task`: a tag for every word, spans ranked by their probability, TF-IDF beside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from data import (
    Batch,
    Batches,
    Document,
    Example,
    KeyTermsConfig,
    SentenceEncoder,
    SortedBatches,
    WordEncoder,
    bucket_batches,
    load_documents,
    sorted_batches,
)
from data.text.key_terms import iob_of
from experiments.harness.checks import check_at_least
from experiments.harness.processes import process_shard
from experiments.labelling.config import LabellingConfig, batch_shapes, digest_of
from experiments.labelling.key_terms_scores import (
    METRICS,
    SELECTED,
    measure_baselines,
    rank_terms,
    score_terms,
    shown_places,
    shown_terms,
)
from experiments.labelling.tagging import TaggingEvaluation, TaggingLoss
from experiments.labelling.words import WordsConfig
from experiments.objective import Objective
from experiments.task import Data, Scores, Task
from experiments.training import Flat
from models import Tagger
from models.cell import Params
from train import LoopConfig, OptimizerConfig

TOGETHER = 50  # documents of a held-out batch


@dataclass(frozen=True)
class KeyTermsOptions(LabellingConfig):
    """The options of an experiment that marks the key terms of documents."""

    data: KeyTermsConfig = field(default_factory=KeyTermsConfig)
    model: Annotated[WordsConfig, Flat] = field(default_factory=lambda: WordsConfig(embedding_size=50))
    chain: bool = False
    """A linear-chain conditional random field over the tags."""
    min_count: int = 2
    """Words seen fewer times in training are unknown."""
    batch_size: int = 16
    """Documents per step, B."""
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
def encoder_of(config: KeyTermsOptions) -> SentenceEncoder:
    """Returns the encoder of the words of the training documents, or that of the run of --from."""
    given = config.one_row_a_word()
    if given is not None:
        return given
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


def model_of(config: KeyTermsOptions) -> Tagger:
    """Builds the tagger."""
    return Tagger(
        config.model.reader(encoder_of(config)),
        config.layer(),
        tags=3,
        chain=config.chain,
        dropout=config.model.vector_dropout,
        method=config.network.way,
    )


def key_terms_task(config: KeyTermsOptions) -> Task:
    """Builds the task of tagging the key terms of documents, scored by the terms ranked first."""
    text, encoder, bounds = documents_of(config.data), encoder_of(config), bounds_of(config)
    model = model_of(config)

    def examples(split: str) -> list[Example]:
        return [Example(encoder.encode(document.tokens), iob_of(document)) for document in text.splits[split]]

    def train(seed: int, rows: int) -> Batches:
        return bucket_batches(examples("train"), batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def held_out(split: str) -> HeldOut:
        batches = sorted_batches(examples(split), batch_size=TOGETHER, bounds=bounds)
        return HeldOut(text.splits[split], batches)

    probabilities = jax.jit(
        lambda params, inputs, mask: model.apply(params, inputs, mask=mask, method="probabilities")
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
            shapes=lambda rows: batch_shapes(encoder, bounds[-1], rows, (bounds[-1], rows)),
            held_out=len(text.splits["valid"]),
        ),
        objective=Objective(TaggingLoss(model), TaggingEvaluation(model)),
        metrics=METRICS,
        select=SELECTED,
        baselines=measure_baselines(text),
        score=score,
        score_from=1,
        measure=measure,
        initial=lambda seed: config.initial(model, encoder, seed),
        fingerprint=digest_of(encoder),
    )


def rows_of(batch: Batch, values: np.ndarray) -> list[np.ndarray]:
    """Returns the values `[T, ...]` of each document of a batch, without padding."""
    lengths = np.asarray(batch.mask).sum(axis=0).tolist()
    return [values[:length, row] for row, length in enumerate(lengths) if length]
