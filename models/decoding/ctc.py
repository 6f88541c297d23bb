"""Connectionist temporal classification (CTC): labels of a sequence without their places in it. Graves et al. 2006.

A path says at each frame one of K classes: a label, or blank. Collapsed, it loses equal neighbours first and then
the blanks, so "aa_ab" is "aab". The probability of labels is that of all paths that collapse to them.

Axes: T frames, N labels, K classes.
"""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Int

from models.cell import Array


def ctc_loss(
    logits: Float[Array, "T *batch K"],
    labels: Int[Array, "N *batch"],
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    label_mask: Bool[Array, "N *batch"] | None = None,
    blank: int = 0,
) -> Float[Array, "*batch"]:
    """Computes −ln p(labels), in nats:

        p(y) = Σ over the paths π that collapse to y of Π_t softmax(z_t)[π_t]

    The loss is Optax's, behind a guard: a masked frame or label, wherever it stands, NaN included, reaches no value
    and no gradient; labels that no path has (`ctc_possible`) cost infinity, and have no gradient.
    """
    batch = logits.shape[1:-1]
    mask, label_mask = filled(mask, logits.shape[:-1]), filled(label_mask, labels.shape)
    possible = ctc_possible(labels, jnp.sum(mask, axis=0), label_mask=label_mask)
    labels, label_mask = valid_first(labels, label_mask)
    scores = jnp.where(mask[..., None], logits, 0)
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))

    def rows(array: Array, *last: int) -> Array:
        """Returns `[B, steps, *last]`, as Optax takes it."""
        return jnp.moveaxis(array.reshape(array.shape[0], -1, *last), 0, 1)

    frames, ends = (1.0 - rows(kept.astype(scores.dtype)) for kept in (mask, label_mask))
    found: Any = optax.ctc_loss(
        rows(scores, scores.shape[-1]), frames, rows(jnp.where(label_mask, labels, 0)), ends, blank_id=blank
    )
    return jnp.where(possible, found.reshape(batch), jnp.inf)


def ctc_possible(
    labels: Int[Array, "N *batch"],
    frames: Int[Array, "*batch"],
    *,
    label_mask: Bool[Array, "N *batch"] | None = None,
) -> Bool[Array, "*batch"]:
    """Tells whether so many frames are enough: one for each label, and one more, a blank, between equal ones."""
    labels, valid = valid_first(labels, filled(label_mask, labels.shape))
    repeats = (labels[1:] == labels[:-1]) & valid[1:]
    return jnp.sum(valid, axis=0) + jnp.sum(repeats, axis=0) <= frames


def ctc_greedy(
    logits: Float[Array, "T *batch K"], *, mask: Bool[Array, "T *batch"] | None = None, blank: int = 0
) -> tuple[Int[Array, "T *batch"], Int[Array, "*batch"]]:
    """Collapses the likeliest path: labels, those beyond their number 0, and the number of each example's."""
    return collapse(jnp.argmax(logits, axis=-1), filled(mask, logits.shape[:-1]), blank)


def trim_repeats(
    path: Int[Array, "T *batch"], *, mask: Bool[Array, "T *batch"] | None = None
) -> tuple[Int[Array, "T *batch"], Int[Array, "*batch"]]:
    """Drops equal neighbours, and nothing else: what CTC replaces, as it can't spell a doubled letter."""
    return collapse(path, filled(mask, path.shape), None)


def collapse(path: Array, mask: Array, blank: int | None) -> tuple[Array, Array]:
    """Returns what remains of the classes of valid frames without equal neighbours and without blanks, first in
    their order, then zeros; and how many remain."""
    path, valid = valid_first(path, mask)
    first = jnp.ones(path.shape[1:], bool)[None]
    kept = valid & jnp.concatenate([first, path[1:] != path[:-1]])
    if blank is not None:
        kept &= path != blank
    labels, _ = valid_first(path, kept)
    count = jnp.sum(kept, axis=0)
    place = jnp.arange(len(path)).reshape((-1,) + (1,) * count.ndim)
    return jnp.where(place < count[None], labels, 0), count


def valid_first(values: Array, mask: Array) -> tuple[Array, Array]:
    """Moves what is valid to the front of the first axis, in its order; the rest after it."""
    order = jnp.argsort(~mask, axis=0, stable=True)
    return jnp.take_along_axis(values, order, axis=0), jnp.take_along_axis(mask, order, axis=0)


def filled(mask: Array | None, shape: tuple[int, ...]) -> Array:
    """Returns the mask, or one in which everything is valid."""
    return jnp.ones(shape, bool) if mask is None else jnp.asarray(mask, bool)
