"""Held-out text: all of it as one batch, and the losses of its tokens."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from data import Corpus, StreamBatches, collate
from experiments.language.batches import Reading, bounds_of, lines, stream
from models import LanguageModel, carried, initial_carry
from models.cell import Array, Params, State


class WholeText(NamedTuple):
    """A text as n batches of T steps in B rows, the state being carried through all of them; one batch to
    `train.evaluate`."""

    inputs: Any  # [n, T, B] int32
    targets: Any  # [n, T, B] int32
    mask: Any  # [n, T, B] bool

    def batch_axes(self) -> Any:
        """Returns the axis of each leaf that is B."""
        return WholeText(*(2,) * len(self))

    def pad_to(self, size: int) -> "WholeText":
        """Pads to `size` rows, those added being masked."""
        xp = jnp if isinstance(self.mask, jax.Array) else np
        missing = size - self.mask.shape[2]
        return WholeText(*(xp.pad(leaf, ((0, 0), (0, 0), (0, missing))) for leaf in self))

    def scan(self, model: LanguageModel, params: Params, each: Callable[[Array], Array]) -> Array:
        """Applies `each` to the losses `[T, B]` of every batch, stacked `[n, …]`: no more than one batch of logits
        at a time."""

        def advance(state: State, batch: WholeText) -> tuple[State, Array]:
            result = model.apply(
                params, batch.inputs, batch.targets, state, mask=batch.mask, method="token_losses"
            )
            losses, state = result  # type: ignore
            return carried(state), each(losses)

        rows = (self.mask.shape[2],)
        batches = jax.tree.map(jnp.asarray, self)
        return jax.lax.scan(advance, initial_carry(model, params, rows), batches)[1]


def whole_text(batches: StreamBatches) -> WholeText:
    """Reads one pass through a text."""
    inputs, targets, mask, _ = batches.take(batches.batches_per_epoch)
    return WholeText(inputs, targets, mask)


def token_losses(model: LanguageModel, params: Params, text: WholeText) -> Float[np.ndarray, " N"]:
    """Returns −ln p of every token of a text in its order, each once, in nats."""
    losses = np.asarray(all_losses(model, params, text))
    rows = losses.reshape(-1, losses.shape[2]).T
    return rows[np.asarray(text.mask).reshape(rows.T.shape).T].astype(np.float64)


@partial(jax.jit, static_argnums=0)
def all_losses(model: LanguageModel, params: Params, text: WholeText) -> Array:
    """Returns −ln p of every place of a text, masked ones too: `[n, T, B]`."""
    return text.scan(model, params, lambda losses: losses)


class Piece(NamedTuple):
    """Lines of about one length as one text, and where in the split each begins `[B]`."""

    text: WholeText
    starts: Int[np.ndarray, " B"]


def line_pieces(corpus: Corpus, split: str, rows: int) -> list[Piece]:
    """Pads all lines of a split, the shortest first, `rows` at a time (the last ones maybe fewer)."""
    found = lines(corpus, split)
    sizes = np.array([len(line.inputs) for line in found])
    begin, bounds = np.cumsum(sizes) - sizes, np.array(bounds_of(found))
    order, pieces = np.argsort(sizes, kind="stable"), []
    for chosen in np.split(order, range(rows, len(order), rows)):
        length = int(bounds[np.searchsorted(bounds, sizes[chosen].max())])
        batch = collate([found[i] for i in chosen.tolist()], length)
        text = WholeText(batch.inputs[None], batch.targets[None], batch.mask[None]).pad_to(rows)
        pieces.append(Piece(text, begin[chosen]))
    return pieces


def held_out(corpus: Corpus, split: str, reading: Reading, rows: int, length: int) -> list[WholeText]:
    """Returns what to evaluate on: the whole split as rows of running text, or its lines from states of zero."""
    if reading == "stream":
        return [whole_text(stream(corpus, split, rows, length))]
    return [piece.text for piece in line_pieces(corpus, split, rows)]


def split_losses(
    model: LanguageModel, params: Params, corpus: Corpus, split: str, reading: Reading, rows: int, length: int
) -> Float[np.ndarray, " N"]:
    """Returns −ln p of every token of a split in its order, each once, in nats."""
    if reading == "stream":
        return token_losses(model, params, whole_text(stream(corpus, split, rows, length)))
    losses = np.full(len(corpus.split(split)), np.nan)
    for text, starts in line_pieces(corpus, split, rows):
        own = token_losses(model, params, text)
        sizes = text.mask[0].sum(axis=0)[: len(starts)]
        places = np.concatenate([start + np.arange(size) for start, size in zip(starts, sizes, strict=True)])
        losses[places] = own
    return losses
