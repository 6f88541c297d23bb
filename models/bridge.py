"""From the end of an encoder to the start of a decoder: what the decoder's first state is made of."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Key, Params, State
from models.cells.attention_cell import AttentionState
from models.initializers import Glorot
from models.layers.bidirectional import Directions
from models.layers.heads import packed, project
from models.layers.self_attention import KeyValueCache
from models.memory import memory_size

Bridge = Literal["state", "mean", "none"]
SPECIAL = (KeyValueCache, AttentionState, Directions)


def check_fit(encoder: Cell, decoder: Cell, value_size: int, bridge: str) -> None:
    """Raises ValueError for an unknown bridge, if the encoder reads a memory itself, if the decoder's is of
    another size than the encoder's outputs, and if nothing of the source reaches the decoder."""
    if bridge not in get_args(Bridge):
        raise ValueError(f"unknown bridge {bridge!r}: there are {', '.join(get_args(Bridge))}")
    if encoder.reads_memory:
        raise ValueError(
            f"an encoder has no memory to read, but a {type(encoder).__name__} wants one: take one without"
        )
    wanted = memory_size(decoder)
    if wanted not in (None, value_size):
        raise ValueError(
            f"the decoder reads a memory of size {wanted}, but the outputs of the encoder have {value_size}: give "
            f"the decoder's layers that read it memory_size={value_size}"
        )
    if wanted is None and bridge == "none":
        raise ValueError(
            "nothing of the source reaches the decoder: take bridge='state' or 'mean', or a decoder that reads a "
            "memory, such as AttentionCell(GRU(256))"
        )


def init_bridge(key: Key, bridge: Bridge, given: list[int], wanted: list[int]) -> Params:
    """Returns the parameters: for each vector of the decoder's first state a map, `kernel [N, M]` and `bias
    [M]`, or none where it is copied. `given` and `wanted` are the sizes of the vectors to make it of, and of
    its own.

    Raises ValueError if there are none.
    """
    if not wanted:
        raise ValueError(
            f"the bridge {bridge!r} sets the decoder's first state, but this decoder carries none but caches: take "
            "bridge='none'"
        )
    if not given:
        raise ValueError(
            "the bridge 'state' passes on the encoder's last state, but this encoder carries none: take "
            "bridge='mean'"
        )
    keys, sizes = jax.random.split(key, len(wanted)), given
    if len(given) != len(wanted):
        sizes = [sum(given)] * len(wanted)
    return tuple(
        {} if bridge == "state" and len(given) == len(wanted) and n == m else packed(Glorot(), key, n, m, 1)
        for key, n, m in zip(keys, sizes, wanted, strict=True)
    )


def cross(params: Params, given: list[Array], start: State, batch_axes: int) -> State:
    """Returns the decoder's first state: each of its vectors is

        s = tanh(g W + b)        or g itself where the sizes are equal

    with g the vector of `given` at the same place if there are as many, else all of them side by side. Sutskever,
    Vinyals & Le 2014 copy; Cho et al. 2014 and Bahdanau, Cho & Bengio 2015 map."""
    wanted = carried(start, batch_axes)
    read = given if len(given) == len(wanted) else [jnp.concatenate(given, axis=-1)] * len(wanted)
    made = [jnp.tanh(project(own, g)) if own else g for own, g in zip(params, read, strict=True)]
    return placed(start, made)


def carried_sizes(cell: Cell, params: Params) -> list[int]:
    """Returns the sizes of the vectors that `carried` lists of a cell's state."""
    shapes = jax.eval_shape(lambda params: carried(cell.initial_state(params), 0), params)
    return [leaf.size for leaf in shapes]


def carried(state: State, batch_axes: int) -> list[Array]:
    """Lists what a state carries from step to step, as real vectors `[*batch, N]`: every leaf but caches,
    contexts and integers. Of two directions each vector is both of theirs side by side."""
    found: list[Array] = []
    for node in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, SPECIAL)):
        if isinstance(node, AttentionState):
            found += carried(node.inner, batch_axes)
        elif isinstance(node, Directions):
            pair = carried(node.forward, batch_axes), carried(node.backward, batch_axes)
            equal = len(pair[0]) == len(pair[1])
            found += (
                [jnp.concatenate(both, axis=-1) for both in zip(*pair, strict=True)]
                if equal
                else pair[0] + pair[1]
            )
        elif not isinstance(node, KeyValueCache) and jnp.issubdtype(node.dtype, jnp.inexact):
            flat = node.reshape(*node.shape[:batch_axes], -1)
            parts = [flat.real, flat.imag] if jnp.iscomplexobj(flat) else [flat]
            found.append(jnp.concatenate(parts, axis=-1))
    return found


def placed(state: State, vectors: list[Array]) -> State:
    """Returns a state with these vectors in place of what `carried` lists."""
    left = iter(vectors)

    def place(node: Any) -> Any:
        if isinstance(node, AttentionState):
            return node._replace(inner=walk(node.inner))
        if isinstance(node, KeyValueCache) or not jnp.issubdtype(node.dtype, jnp.inexact):
            return node
        vector = next(left)
        if jnp.iscomplexobj(node):
            vector = jax.lax.complex(*jnp.split(vector, 2, axis=-1))
        return vector.reshape(node.shape).astype(node.dtype)

    def walk(state: State) -> State:
        return jax.tree.map(place, state, is_leaf=lambda node: isinstance(node, SPECIAL))

    return walk(state)
