"""Measures of vectors of sentences by their neighbours: the next sentence among others, and a probe of opinions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from data import PairBatch, PairExample, collate_pairs
from data.running_text import RunningText
from data.text.classified import FOLDS, ClassifiedConfig, load_classified
from experiments.autoencoders.vectors import encode_sentences, nearest
from models import EncoderDecoder
from models.cell import Array, Params
from models.decoding.steps import encode
from models.encoder_decoder import Encoded
from models.memory import Memory
from models.sentences.skip_thought import sides, split_targets
from train import SumCount

AMONG = 100  # candidates, the right one included
SHOWN, NEIGHBOURS = 4, 3  # sentences in the table, and the nearest ones of each
Vectors = Callable[[Sequence[str]], Float[np.ndarray, "N S"]]


@dataclass(frozen=True)
class NeighbourLoss:
    """The cross entropy of the sentences on both sides of a batch's, in nats, as a loss and as an evaluation.

    Attributes:
        pair: the encoder with one of the decoders.
        most: the most pieces of a sentence.
    """

    pair: EncoderDecoder
    most: int

    def __call__(
        self, params: Params, carry: Any, batch: PairBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 1)}
        return self.of(params, batch, rngs), (carry, {})

    def of(self, params: Params, batch: PairBatch, rngs: Any = None) -> SumCount:
        """Sums over both sides; with RNG streams as in training."""
        inputs, mask, targets, target_mask = map(jnp.asarray, batch)
        options: Any = {"train": rngs is not None, "rngs": rngs}
        before, after = sides(params)
        encoded = self.pair.apply(after, inputs, mask=mask, method="encode", **options)
        parts = split_targets(targets, target_mask, self.pair.writer.end, self.most)
        losses: Any = [
            self.pair.apply(own, encoded, ids, target_mask=valid, method="loss_of", **options)
            for own, (ids, valid) in zip((before, after), parts, strict=True)
        ]
        return losses[0][0] + losses[1][0], losses[0][1] + losses[1][1]


@dataclass(frozen=True)
class NeighbourEvaluation:
    """The same of a held-out batch, without dropout."""

    loss: NeighbourLoss

    def __call__(self, params: Params, batch: PairBatch) -> dict[str, SumCount]:
        return {"cross_entropy": self.loss.of(params, batch)}


@partial(jax.jit, static_argnames="model")
def next_scores(model: EncoderDecoder, params: Params, batch: PairBatch) -> Float[Array, "B B"]:
    """Computes log p(target j | source i) of every i and j of a batch."""
    encoded = encode(model, params, jnp.asarray(batch.inputs), jnp.asarray(batch.mask))
    count = batch.targets.shape[1]

    def one(place: Array) -> Array:
        state = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf[place], (count, *leaf.shape[1:])), encoded.state
        )
        memory = Memory(*(jnp.take(leaf, jnp.full(count, place), axis=1) for leaf in encoded.memory))
        losses: Any = model.apply(
            params, Encoded(memory, state), batch.targets, target_mask=batch.target_mask, method="losses_of"
        )
        return -jnp.sum(losses, axis=0)

    return jax.lax.map(one, jnp.arange(count))


def first_share(scores: Float[np.ndarray, "B B"]) -> float:
    """Returns the share of rows whose own column, the diagonal, has the greatest score; of equals none is first."""
    others = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)
    return float(np.mean(np.diag(scores) > others.max(axis=1)))


def groups_of(text: RunningText, split: str, most: int) -> list[list[tuple[str, str]]]:
    """Draws at most `most` groups of `AMONG` sentences with their next ones; of a short text one smaller group."""
    pairs = [two for chain in text.chains[split] for two in pairwise(chain)]
    order = np.random.default_rng(0).permutation(len(pairs))
    together = min(AMONG, len(pairs))
    starts = range(0, min(len(pairs) - together, (most - 1) * together) + 1, together)
    return [[pairs[place] for place in order[start : start + together]] for start in starts]


def rank(
    model: EncoderDecoder, params: Params, groups: Sequence[Sequence[PairExample]], *, decoded: bool
) -> dict[str, float]:
    """Returns how often the next sentence is first: by the cosine of vectors and, with `decoded`, by the decoder.

    The decoder's score, which takes longer, is log p(c | s) less its mean over the group's sentences s, so that a
    sentence that is likely after any gains nothing."""
    _, after = sides(params)
    rows = [row for group in groups for pair in group for row in pair]
    vectors = unit(encode_sentences(model, after, rows))  # source, target, source, …
    ends = np.cumsum([2 * len(group) for group in groups])[:-1]
    parts = np.split(vectors, ends)
    found = {"next_cosine": float(np.mean([first_share(part[::2] @ part[1::2].T) for part in parts]))}
    if decoded:
        longest = max(map(len, rows))
        shares = []
        for group in groups:
            scores = np.asarray(next_scores(model, after, collate_pairs(group, (longest, longest))))
            shares.append(first_share(scores - scores.mean(axis=0)))
        found["next"] = float(np.mean(shares))
    return found


def shared_words(text: RunningText, groups: Sequence[Sequence[tuple[str, str]]]) -> float:
    """Returns how often the next sentence is first by the cosine of `word_counts`."""
    return next_first(word_counts(text), groups)


def word_counts(text: RunningText) -> Vectors:
    """Returns counts of words weighted by inverse document frequency in the training sentences, as vectors."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts: Any = TfidfVectorizer().fit(text.splits["train"])

    def vectors(sentences: Sequence[str]) -> np.ndarray:
        rows: np.ndarray = counts.transform(sentences).toarray()
        return rows

    return vectors


def next_first(vectors: Vectors, groups: Sequence[Sequence[tuple[str, str]]]) -> float:
    """Returns how often the next sentence has the greatest cosine, among those of its group."""
    shares = []
    for group in groups:
        one, other = (unit(vectors([pair[side] for pair in group])) for side in (0, 1))
        shares.append(first_share(one @ other.T))
    return float(np.mean(shares))


def unit(vectors: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N S"]:
    """Scales vectors to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def neighbour_table(text: RunningText, vectors: Vectors) -> str:
    """Formats the nearest test sentences of some, by the cosine of their vectors."""
    sentences = list(dict.fromkeys(text.splits["test"]))
    found = vectors(sentences)
    lines = ["the nearest test sentences by the cosine of their vectors"]
    for place in np.unique(np.linspace(0, len(sentences) - 1, SHOWN).round().astype(int)).tolist():
        lines += ["", f"  {sentences[place]}"]
        lines += [
            f"    {cosine:.2f}  {sentences[other]}" for other, cosine in nearest(found, place, NEIGHBOURS)
        ]
    return "\n".join(lines)


def probe(location: Path, features: Mapping[str, Vectors]) -> str:
    """Tells classes of sentences by a logistic regression on vectors, over ten folds where the files have no
    splits; returns a table of accuracies. Raises ValueError as `load_classified`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    first = load_classified(ClassifiedConfig(dir=location))
    texts = [first]
    if first.folded:
        texts += [load_classified(ClassifiedConfig(dir=location, fold=fold)) for fold in range(2, FOLDS + 1)]
    sentences = sorted({" ".join(one.words) for found in first.splits.values() for one in found})
    places = {sentence: place for place, sentence in enumerate(sentences)}
    lines = [f"classes of {location.name} by logistic regression, accuracy over {len(texts)} tests"]
    for name, vectors in features.items():
        found, shares = vectors(sentences), []
        for text in texts:
            rows = {
                split: found[[places[" ".join(one.words)] for one in text.splits[split]]]
                for split in ("train", "test")
            }
            labels = {split: [one.label for one in text.splits[split]] for split in rows}
            classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
            classifier.fit(rows["train"], labels["train"])
            shares.append(classifier.score(rows["test"], labels["test"]))
        lines.append(f"  {name:<24}{np.mean(shares):>8.1%}")
    return "\n".join(lines)
