"""Held-out text: all of it as one batch, or in pieces that are read by themselves, and the losses of its tokens."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from data import Corpus, StreamBatches, collate, pairs
from experiments.language.batches import Reading, bounds_of, lines, stream
from models import LanguageModel, carried, initial_carry
from models.cell import Array, Params, State

TOKENS_AT_ONCE = 2048  # in windows: their logits are [2048, V]


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
        batches = jax.tree.map(jnp.asarray, self)
        if len(batches.mask) == 1:  # nothing is carried: a cache that is empty need not be read
            inputs, targets, mask = (leaf[0] for leaf in batches)
            result: Any = model.apply(params, inputs, targets, mask=mask, method="token_losses")
            return each(result[0])[None]

        def advance(state: State, batch: WholeText) -> tuple[State, Array]:
            result = model.apply(
                params, batch.inputs, batch.targets, state, mask=batch.mask, method="token_losses"
            )
            losses, state = result  # type: ignore
            return carried(state), each(losses)

        rows = (self.mask.shape[2],)
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
    """Rows that are read by themselves, each from a state of zero, as one text of one batch."""

    text: WholeText
    places: Int[np.ndarray, "T B"]  # of each token among the targets of its split; −1 where it isn't counted


def piece_of(
    inputs: Int[np.ndarray, "T B"],
    targets: Int[np.ndarray, "T B"],
    mask: np.ndarray,
    places: Int[np.ndarray, "T B"],
    rows: int,
) -> Piece:
    """Makes a piece, padded to so many rows."""
    text = WholeText(inputs[None], targets[None], mask[None]).pad_to(rows)
    padding = ((0, 0), (0, rows - places.shape[1]))
    return Piece(text, np.pad(np.where(mask, places, -1), padding, constant_values=-1))


def line_pieces(corpus: Corpus, split: str, rows: int) -> Iterator[Piece]:
    """Pads all lines of a split, the shortest first, `rows` at a time."""
    found = lines(corpus, split)
    sizes = np.array([len(line.inputs) for line in found])
    begin, bounds = np.cumsum(sizes) - sizes, np.array(bounds_of(found))
    order = np.argsort(sizes, kind="stable")
    for chosen in np.split(order, range(rows, len(order), rows)):
        length = int(bounds[np.searchsorted(bounds, sizes[chosen].max())])
        batch = collate([found[i] for i in chosen.tolist()], length)
        places = begin[chosen] + np.arange(length)[:, None]
        inputs, targets, mask = map(np.asarray, batch)
        yield piece_of(inputs, targets, mask, places, rows)


def window_pieces(corpus: Corpus, split: str, length: int, stride: int) -> Iterator[Piece]:
    """Cuts a split into windows of `length` tokens, one every `stride`, of which the last `stride` tokens count,
    and of the first window all.

    So every token counts once, and the input it is predicted from is preceded, within its window, by at least
    length − stride others, or by all there are. With a stride of `length` the windows are adjacent. The last one
    ends with the text.
    """
    inputs, targets = pairs(corpus.split(split), corpus.tokenizer.vocabulary.end_id)
    windows = 1 + max(0, -(-(len(targets) - length) // stride))
    rows = max(1, TOKENS_AT_ONCE // length)
    steps = np.arange(length)[:, None]
    for first in range(0, windows, rows):
        starts = stride * np.arange(first, min(first + rows, windows))
        places = starts + steps
        mask = places < len(targets)
        within = np.where(mask, places, 0)
        counted = (steps >= length - stride) | (starts == 0)
        yield piece_of(inputs[within], targets[within], mask, np.where(counted, places, -1), rows)


def held_out(corpus: Corpus, split: str, reading: Reading, rows: int, length: int) -> list[WholeText]:
    """Returns what to evaluate on: the whole split as rows of running text, its lines, or adjacent windows of
    `length` tokens, lines and windows each from a state of zero."""
    match reading:
        case "stream":
            return [whole_text(stream(corpus, split, rows, length))]
        case "lines":
            return [piece.text for piece in line_pieces(corpus, split, rows)]
        case "windows":
            return [piece.text for piece in window_pieces(corpus, split, length, length)]


def split_losses(
    model: LanguageModel, params: Params, corpus: Corpus, split: str, reading: Reading, rows: int, length: int
) -> Float[np.ndarray, " N"]:
    """Returns −ln p of every token of a split in its order, each once, in nats, read as `held_out` reads it."""
    match reading:
        case "stream":
            return token_losses(model, params, whole_text(stream(corpus, split, rows, length)))
        case "lines":
            return losses_of(model, params, line_pieces(corpus, split, rows))
        case "windows":
            return losses_of(model, params, window_pieces(corpus, split, length, length))


def losses_of(model: LanguageModel, params: Params, pieces: Iterable[Piece]) -> Float[np.ndarray, " N"]:
    """Returns −ln p of the tokens that are counted in pieces of a split, in the order of the split."""
    places, losses = [], []
    for piece in pieces:
        counted = piece.places >= 0
        places.append(piece.places[counted])
        losses.append(np.asarray(all_losses(model, params, piece.text))[0][counted])
    return np.concatenate(losses)[np.argsort(np.concatenate(places))].astype(np.float64)
