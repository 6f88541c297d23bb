"""Prefix beam search of CTC: the likeliest labels, where greedy search finds the likeliest path."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from models.cell import Array, State, check_at_least
from models.decoding.beam_search import Beams
from models.decoding.ctc import filled
from models.decoding.scheduled import Step


@dataclass(frozen=True)
class Fusion:
    """A language model beside CTC: labels y are ranked by

        ln p(y) + weight · ln p_LM(y) + bonus · |y|

    (Maas et al. 2015; shallow fusion). `step` and `state` are the model's (`[*batch, ...]`), which reads `first`
    before the first label; `tokens [K]` are its ids of the K classes, that of blank of no account."""

    step: Step
    state: State
    first: Int[Array, "*batch"]
    tokens: Int[Array, " K"]
    weight: float = 0.5
    bonus: float = 0.0


class Prefixes(NamedTuple):
    """The W likeliest prefixes of one example, with the log-probabilities of the paths so far that collapse to them
    and end in blank, or not; `tokens [W, T]` are −1 after the last. `spoken [W]` is what the language model adds,
    `following [W, V]` its log-probabilities of the next token, `state` its state."""

    tokens: Array
    lengths: Array
    blank: Array
    label: Array
    spoken: Array
    following: Array
    state: Any

    @property
    def last(self) -> Array:
        """The last label of each, −1 of the empty one."""
        return jnp.take_along_axis(self.tokens, jnp.maximum(self.lengths - 1, 0)[:, None], axis=1)[:, 0]


def ctc_prefix_beam(
    logits: Float[Array, "T *batch K"],
    *,
    width: int,
    mask: Bool[Array, "T *batch"] | None = None,
    blank: int = 0,
    n_best: int = 1,
    fusion: Fusion | None = None,
) -> Beams:
    """Searches for the likeliest labels y, keeping the W = `width` best prefixes after every frame:

        p(y) = Σ over the paths that collapse to y of Π_t softmax(z_t)[π_t]

    The probability of a prefix is that of all its paths which the search has met: exact if W holds every prefix
    there is, else at most the true one. Graves & Jaitly 2014; Hannun et al. 2014.

    Returns `Beams`: `scores` are ln p(y), `normalised` what `fusion` ranks by; `tokens [*batch, n, T]` are 0 from
    `lengths` on. Raises ValueError for a width or an `n_best` below 1, and for more than W best.
    """
    check_at_least(1, width=width, n_best=n_best)
    if n_best > width:
        raise ValueError(f"n_best is {n_best}, but a beam of width {width} holds {width}: give a wider one")
    batch = logits.shape[1:-1]
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    mask = filled(mask, logits.shape[:-1])
    logp = jax.nn.log_softmax(jnp.where(mask[..., None], wide, 0), axis=-1)

    def search(logp: Array, mask: Array, first: Array | None, state: State) -> Beams:
        return search_one(logp, mask, first, state, width=width, blank=blank, n_best=n_best, fusion=fusion)

    given = (None, None) if fusion is None else (fusion.first, fusion.state)
    axes = (1, 1, *(None if part is None else 0 for part in given))
    for _ in batch:
        search = jax.vmap(search, axes)
    # The axes of a batch lie behind T in frames, and in front in a language model's state.
    return search(logp, mask, *given)


def search_one(
    logp: Float[Array, "T K"],
    mask: Bool[Array, " T"],
    first: Array | None,
    state: State,
    *,
    width: int,
    blank: int,
    n_best: int,
    fusion: Fusion | None,
) -> Beams:
    """Searches one example, whose first prefix is empty."""
    steps, classes = logp.shape
    empty = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf).astype(logp.dtype)
    following = jnp.zeros((width, classes), logp.dtype)
    if fusion is not None:
        assert first is not None
        state, z = fusion.step(state, first)
        state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (width, *leaf.shape)), state)
        following = jnp.broadcast_to(classes_of(fusion, z), following.shape)
    prefixes = Prefixes(
        tokens=jnp.full((width, steps), -1),
        lengths=jnp.zeros(width, jnp.int32),
        blank=empty,
        label=jnp.full_like(empty, -jnp.inf),
        spoken=jnp.zeros_like(empty),
        following=following,
        state=state,
    )

    def frame(prefixes: Prefixes, given: tuple[Array, Array]) -> tuple[Prefixes, None]:
        logp, valid = given
        after = extended(prefixes, logp, blank, fusion)
        return jax.tree.map(lambda new, old: jnp.where(valid, new, old), after, prefixes), None

    prefixes, _ = jax.lax.scan(frame, prefixes, (logp, mask))
    scores = jnp.logaddexp(prefixes.blank, prefixes.label)
    ranked, best = jax.lax.top_k(scores + prefixes.spoken, n_best)
    return Beams(jnp.maximum(prefixes.tokens, 0)[best], prefixes.lengths[best], scores[best], ranked)


def extended(prefixes: Prefixes, logp: Float[Array, " K"], blank: int, fusion: Fusion | None) -> Prefixes:
    """Returns the W best prefixes after one more frame: each as it is, or with one more label."""
    width, classes = len(prefixes.lengths), len(logp)
    last, every = prefixes.last, jnp.arange(classes)
    both = jnp.logaddexp(prefixes.blank, prefixes.label)
    ends_in_blank = both + logp[blank]
    repeated = jnp.where(last < 0, -jnp.inf, prefixes.label + logp[last])
    # The last label again is one more only after a blank.
    again = every[None] == last[:, None]
    more = jnp.where(again, prefixes.blank[:, None], both[:, None]) + logp[None]
    more = jnp.where(every[None] == blank, -jnp.inf, more)
    # Prefix i and one more label may be prefix j, which the beam holds: their paths are added.
    places = jnp.arange(prefixes.tokens.shape[1])
    shorter = jnp.where(places[None] == prefixes.lengths[:, None] - 1, -1, prefixes.tokens)
    child = (
        jnp.all(prefixes.tokens[:, None] == shorter[None], axis=-1) & (prefixes.lengths > 0)[None]
    )  # [i, j]
    to_child = jnp.where(child, more[:, last], -jnp.inf)
    repeated = jnp.logaddexp(repeated, jax.nn.logsumexp(to_child, axis=0))
    held = jnp.any(child[:, :, None] & (last[:, None] == every[None])[None], axis=1)
    more = jnp.where(held, -jnp.inf, more)

    spoken = prefixes.spoken[:, None] + prefixes.following
    ranks = jnp.concatenate(
        [jnp.logaddexp(ends_in_blank, repeated) + prefixes.spoken, (more + spoken).ravel()]
    )
    best = jax.lax.top_k(ranks, width)[1]
    grown, parent = best >= width, jnp.where(best < width, best, (best - width) // classes)
    label = jnp.where(grown, (best - width) % classes, blank)
    tokens, lengths = prefixes.tokens[parent], prefixes.lengths[parent]
    new_place = grown[:, None] & (places[None] == lengths[:, None])
    chosen = Prefixes(
        tokens=jnp.where(new_place, label[:, None], tokens),
        lengths=lengths + grown,
        blank=jnp.where(grown, -jnp.inf, ends_in_blank[parent]),
        label=jnp.where(grown, more[parent, label], repeated[parent]),
        spoken=jnp.where(grown, spoken[parent, label], prefixes.spoken[parent]),
        following=prefixes.following[parent],
        state=jax.tree.map(lambda leaf: leaf[parent], prefixes.state),
    )
    if fusion is None:
        return chosen
    state, z = jax.vmap(fusion.step)(chosen.state, fusion.tokens[label])
    following = classes_of(fusion, z)

    def where_grown(new: Array, old: Array) -> Array:
        return jnp.where(grown.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    return chosen._replace(
        following=where_grown(following, chosen.following),
        state=jax.tree.map(where_grown, state, chosen.state),
    )


def classes_of(fusion: Fusion, z: Float[Array, "*W V"]) -> Float[Array, "*W K"]:
    """Returns what the model adds to the rank for each class as the next label."""
    logp = jax.nn.log_softmax(z.astype(jnp.promote_types(z.dtype, jnp.float32)), axis=-1)
    return fusion.weight * logp[..., fusion.tokens] + fusion.bonus
