"""Documents by way of their sentences: losses against a loop over single sentences, and free writing."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.documents import collate_documents, document_example
from models import GRU, Dense, EncoderDecoder, Stacked, TokenReader, TokenWriter, unroll
from models.encoder_decoder import Encoded
from models.sentences.hierarchical import Hierarchical

pytestmark = pytest.mark.usefixtures("quick_compilation")
END = 1
WORDS = EncoderDecoder(
    GRU(4),
    Stacked((GRU(4), Dense(3))),
    TokenReader(7, 3),
    TokenWriter(7, 3, end=END, tied=True),
    shared=True,
)
MODEL = Hierarchical(WORDS, GRU(5))
READ = jax.jit(MODEL.apply)
LOSSES = jax.jit(partial(MODEL.apply, method="losses_of"))
DOCUMENTS = ([[2, 3, 1], [4, 1], [5, 6, 2, 1]], [[3, 1], [6, 5, 1]])


@pytest.mark.slow
def test_against_a_loop_over_sentences() -> None:
    """No padding, no batch: words, sentences and document one after the other; nothing of padding gets in."""
    examples = [document_example([np.array(row, np.int32) for row in rows], END) for rows in DOCUMENTS]
    batch = collate_documents(examples, (5, 4))
    params: Any = jax.jit(MODEL.init)(jax.random.key(0), batch.inputs, mask=batch.mask)
    own = params["params"]
    losses_of = jax.jit(partial(WORDS.apply, method="losses_of"))
    spoilt = np.where(batch.mask, batch.inputs, 9)  # no id of the vocabulary
    document: Any = READ(params, spoilt, mask=batch.mask)
    found: Any = LOSSES(params, document, spoilt, mask=batch.mask)
    for place, rows in enumerate(DOCUMENTS):
        sentences = [jnp.array(row) for row in [*rows, [END]]]
        encoded: list[Any] = [
            jax.jit(partial(WORDS.apply, method="encode"))({"params": own["sentence"]}, row)
            for row in sentences
        ]
        vectors = [one.state[0] for one in encoded]  # of the GRU; the tanh layer has no state
        state, _ = unroll(MODEL.cell, own["encoder"], jnp.stack(vectors))
        np.testing.assert_allclose(document[place], state, rtol=1e-5)
        weights, before = MODEL.cell.prepare(own["decoder"]), jnp.zeros(4)
        for i, (row, vector) in enumerate(zip(sentences, vectors, strict=True)):
            state, y = MODEL.cell.step(weights, state, MODEL.cell.drive(weights, before))
            first = jnp.tanh(y @ own["bridge"][0]["kernel"] + own["bridge"][0]["bias"])
            given = Encoded(encoded[i].memory, (first, *encoded[i].state[1:]))
            losses: Any = losses_of({"params": own["sentence"]}, given, row)
            np.testing.assert_allclose(found[i, place], losses.sum(), rtol=1e-4)
            before = vector
        np.testing.assert_array_equal(found[len(sentences) :, place], 0)

    written: Any = jax.jit(partial(MODEL.apply, sentences=2, length=6, method="write"))(params, document)
    tokens, going = map(np.asarray, written)
    assert tokens.shape == (2, 2, 6)
    np.testing.assert_array_equal(going[0], tokens[0, :, 0] != END)
    # The second sentence begins with the likeliest piece given the first one.
    ends = np.where((tokens[0] == END).any(axis=-1), (tokens[0] == END).argmax(axis=-1) + 1, 6)
    ids, mask = np.zeros((6, 2, 2), np.int32), np.zeros((6, 2, 2), bool)
    ids[:, 0], mask[:, 0] = tokens[0].T, np.arange(6)[:, None] < ends[None]
    mask[0, 1] = True
    losses = []
    for piece in range(7):
        ids[0, 1] = piece
        of_piece: Any = LOSSES(params, document, ids, mask=mask)
        losses.append(of_piece[1])
    np.testing.assert_array_equal(np.argmin(losses, axis=0), tokens[1, :, 0])
