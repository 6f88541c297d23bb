"""Documents of sentences as texts, their loss, their decoding, and the gradient by their vector."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from data import PairBatch
from data.documents import DocumentBatch, DocumentExample, cut_documents, document_example
from data.running_text import RunningText
from data.sentence_text import SentenceText
from experiments.corpus_score import Decoded
from models import EncoderDecoder
from models.cell import Array, Params, State
from models.decoding.steps import encode
from models.encoder_decoder import Encoded
from models.sentences.hierarchical import Hierarchical
from train import SumCount

Document = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DocumentText(SentenceText):
    """Tokenised documents: as `splits` each in one line, as `documents` in sentences."""

    documents: Mapping[str, Sequence[Document]]

    def examples(self, split: str) -> list[DocumentExample]:
        """Returns the documents of a split in sentences of ids."""
        return [self.example(document) for document in self.documents[split]]

    def example(self, document: Document) -> DocumentExample:
        """Returns a document in sentences of ids."""
        end = self.tokenizer.vocabulary.end_id
        assert end is not None
        return document_example(self.encode(document), end)


def document_text(text: RunningText, least: int, most: int) -> DocumentText:
    """Cuts a text into documents of `least` to `most` sentences. Raises ValueError for a split without any."""
    documents = {split: cut_documents(chains, least, most) for split, chains in text.chains.items()}
    for split, found in documents.items():
        if not found:
            raise ValueError(
                f"no {least} {split} sentences follow one another: give a smaller --fewest, a larger "
                "--data.longest or a longer text"
            )
    splits = {split: [" ".join(one) for one in found] for split, found in documents.items()}
    return DocumentText(splits, text.tokenizer, text.left_out, text.origin, documents)


@dataclass(frozen=True)
class DocumentLoss:
    """−ln p of documents, in nats, over their pieces without the end marks of sentences: the count of a net that
    writes a document in one row."""

    model: Hierarchical

    def __call__(
        self, params: Params, carry: Any, batch: DocumentBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 1)}
        return self.of(params, batch, rngs), (carry, {})

    def of(self, params: Params, batch: DocumentBatch, rngs: Any = None) -> SumCount:
        """Sums over a batch; with RNG streams as in training."""
        inputs, mask = jnp.asarray(batch.inputs), jnp.asarray(batch.mask)
        options: Any = {"mask": mask, "train": rngs is not None, "rngs": rngs}
        document = self.model.apply(params, inputs, **options)
        losses: Any = self.model.apply(params, document, inputs, method="losses_of", **options)
        ends = jnp.sum(jnp.any(mask, axis=0)) - jnp.sum(jnp.any(mask, axis=(0, 1)))
        return jnp.sum(losses), (jnp.sum(mask) - ends).astype(losses.dtype)


@dataclass(frozen=True)
class DocumentEvaluation:
    """The same of a held-out batch, without dropout."""

    loss: DocumentLoss

    def __call__(self, params: Params, batch: DocumentBatch) -> dict[str, SumCount]:
        return {"cross_entropy": self.loss.of(params, batch)}


# --- decoding


@partial(jax.jit, static_argnames=("model", "sentences", "length", "width"))
def write_documents(
    model: Hierarchical, params: Params, batch: DocumentBatch, sentences: int, length: int, width: int
) -> tuple[Int[Array, "S B W"], Bool[Array, "S B"]]:
    """Reads documents and writes them again."""
    document: Any = model.apply(params, batch.inputs, mask=batch.mask)
    options: Any = {"sentences": sentences, "length": length, "width": width, "method": "write"}
    written: Any = model.apply(params, document, **options)
    return written


def decoded_documents(
    model: Hierarchical, text: DocumentText, limits: tuple[int, int], width: int, params: Params, batch: Any
) -> Iterator[Decoded]:
    """Yields the documents of a batch written again, of at most `limits` sentences and pieces of a sentence."""
    end = text.tokenizer.vocabulary.end_id
    tokens, going = jax.device_get(write_documents(model, params, batch, *limits, width))
    inputs, mask = np.asarray(batch.inputs), np.asarray(batch.mask)
    for place in np.flatnonzero(mask.any(axis=(0, 1))).tolist():
        rows = [row for row, there in zip(tokens[:, place], going[:, place], strict=True) if there]
        count = int(mask[:, :, place].any(axis=0).sum()) - 1
        true = [inputs[:, sentence, place] for sentence in range(count)]
        yield Decoded(joined(text, rows, end), joined(text, true, end))


def joined(text: DocumentText, rows: Sequence[np.ndarray], end: int | None) -> str:
    """Returns sentences of ids as one line, each up to its end mark."""
    return " ".join(text.tokenizer.decode(up_to(row.tolist(), end)).strip() for row in rows)


def up_to(ids: list[int], end: int | None) -> list[int]:
    """Returns the ids before the end mark."""
    return ids[: ids.index(end)] if end in ids else ids


# --- gradients


@partial(jax.jit, static_argnames="losses")
def gradient_by_sentence(
    losses: Callable[[Params, State, Any], Array], params: Params, document: State, batch: Any
) -> Float[Array, "S B"]:
    """Computes ‖∂ℓ_i/∂d‖ for the loss ℓ_i of each sentence and the vector d of its document: `losses(params, d,
    batch)` are `[S, B]`."""
    found, pull = jax.vjp(lambda state: losses(params, state, batch), document)

    def norm(sentence: Array) -> Array:
        (gradient,) = pull(jnp.zeros_like(found).at[sentence].set(1))
        parts = [jnp.sum(leaf.reshape(leaf.shape[0], -1) ** 2, axis=-1) for leaf in jax.tree.leaves(gradient)]
        return jnp.sqrt(sum(parts))

    return jax.lax.map(norm, jnp.arange(len(found)))


@dataclass(frozen=True)
class HierarchicalLosses:
    """−ln p of each sentence of documents given their vectors."""

    model: Hierarchical

    def __call__(self, params: Params, document: State, batch: DocumentBatch) -> Float[Array, "S B"]:
        losses: Any = self.model.apply(params, document, batch.inputs, mask=batch.mask, method="losses_of")
        return losses


@dataclass(frozen=True)
class FlatLosses:
    """The same of a net that writes a document in one row. A batch is a `PairBatch`, with the sentence of each
    piece, `[T, B]`; `sentences` is S."""

    pair: EncoderDecoder
    sentences: int

    def __call__(
        self, params: Params, document: State, batch: tuple[PairBatch, Array]
    ) -> Float[Array, "S B"]:
        pairs, places = batch
        inputs, mask = jnp.asarray(pairs.inputs), jnp.asarray(pairs.mask)
        memory = encode(self.pair, params, inputs, mask).memory
        options: Any = {"target_mask": pairs.target_mask, "method": "losses_of"}
        losses: Any = self.pair.apply(params, Encoded(memory, document), pairs.targets, **options)
        own = places[None] == jnp.arange(self.sentences)[:, None, None]
        return jnp.sum(jnp.where(own, losses[None], 0), axis=1)
