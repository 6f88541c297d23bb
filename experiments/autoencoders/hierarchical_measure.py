"""Measures of autoencoders of documents: scores of what they write, and the gradient by a document's vector."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import PairExample, collate_pairs
from data.documents import DocumentExample, collate_documents
from experiments.autoencoders.documents import (
    DocumentText,
    FlatLosses,
    HierarchicalLosses,
    gradient_by_sentence,
)
from experiments.autoencoders.scores import score
from experiments.corpus_score import CorpusScore, Decoded, format_examples
from experiments.run_task import Trained
from experiments.task import Task
from models.cell import Params
from models.decoding.steps import encode
from models.sentences.hierarchical import Hierarchical
from train import evaluate

MEASURED = 64  # test documents of most sentences along which gradients are measured
SHOWN = 3  # documents in the table


def parameters_of(model: Any) -> int:
    """Counts the parameters of a model that reads ids; of one that reads documents they have one more axis."""
    ids = jnp.zeros((1, 1, 1) if isinstance(model, Hierarchical) else (1, 1), jnp.int32)
    shapes: Any = jax.eval_shape(lambda: model.init(jax.random.key(0), ids))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def of_net(task: Task, text: DocumentText, trained: Trained) -> dict[str, Any]:
    """Measures a net on the test documents, and adds some of them as it writes them."""
    assert isinstance(task.score, CorpusScore)
    batches = task.data.test()
    decoded = [one for batch in batches for one in task.score.decode(trained.after, batch)]
    found: dict[str, Any] = {
        "parameters": parameters_of(task.model),
        **evaluate(task.objective.evaluate, trained.after, batches),
        **score([one.prediction for one in decoded], [one.reference for one in decoded]),
        "examples": np.array(format_examples(decoded, SHOWN)),
    }
    found["sentences"], found["by_sentences"] = by_sentences(text, decoded)
    for moment, params in (("before", trained.before), ("after", trained.after)):
        found[f"{moment}|gradient"] = gradients(task.model, text, params)
    return found


def by_sentences(text: DocumentText, decoded: Sequence[Decoded]) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers of sentences, and the share of words in place of the documents of as many."""
    counts = {" ".join(one): len(one) for one in text.documents["test"]}
    groups: dict[int, list[Decoded]] = {}
    for one in sorted((one for one in decoded if one.reference in counts), key=lambda o: counts[o.reference]):
        groups.setdefault(counts[one.reference], []).append(one)
    shares = [
        score([o.prediction for o in own], [o.reference for o in own])["words"] for own in groups.values()
    ]
    return np.array(list(groups)), np.array(shares)


def gradients(model: Any, text: DocumentText, params: Params) -> np.ndarray:
    """Returns ‖∂ℓ_i/∂d‖ `[S, N]` of N test documents of the most sentences there are, S of them."""
    documents = text.documents["test"]
    most = max(map(len, documents))
    chosen = [text.example(one) for one in documents if len(one) == most][:MEASURED]
    if isinstance(model, Hierarchical):
        longest = max(int(one.lengths.max()) for one in chosen)
        batch: Any = jax.tree.map(jnp.asarray, collate_documents(chosen, (longest, most + 1)))
        document: Any = jax.jit(model.apply)(params, batch.inputs, mask=batch.mask)
        losses: Any = HierarchicalLosses(model)
    else:
        batch = in_rows(chosen)
        document = jax.jit(encode, static_argnums=0)(model, params, batch[0].inputs, batch[0].mask).state
        losses = FlatLosses(model, most)
    return np.asarray(gradient_by_sentence(losses, params, document, batch))[:most]


def in_rows(examples: Sequence[DocumentExample]) -> tuple[Any, Any]:
    """Returns documents as a batch of rows without the end marks of sentences, and the sentence of each piece; the
    last end mark, of the document, is of none."""
    rows, places = [], []
    for ids, lengths in examples:
        ends = np.cumsum(lengths)[:-1] - 1
        rows.append(np.delete(ids, ends).astype(np.int32))
        places.append(np.delete(np.repeat(np.arange(len(lengths)), lengths), ends))
    longest = max(map(len, rows))
    batch = collate_pairs([PairExample(row, row) for row in rows], (longest, longest))
    padded = np.stack([np.pad(row, (0, longest - len(row)), constant_values=-1) for row in places], axis=1)
    return jax.tree.map(jnp.asarray, batch), jnp.asarray(padded)
