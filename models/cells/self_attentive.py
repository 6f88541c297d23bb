"""A recurrent cell that attends to its own past outputs."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Output, Params, State, Weights, check_at_least
from models.layers.attention import General, Score, attend
from models.layers.layer import check_output
from models.layers.self_attention import KeyValueCache, slots
from models.memory import Memory, example_memory, memory_argument, memory_size


class PastOutputs(NamedTuple):
    """The past as attention sees it: the last context c_{t−1} `[*batch, N]`, and the last outputs of
    the inner cell with their keys, in a `KeyValueCache` without an axis of heads, newest last."""

    context: Array
    cache: KeyValueCache


class SelfAttentiveState(NamedTuple):
    """The state of the inner cell, and what is seen of the past by attention."""

    recurrence: State
    attention: PastOutputs


@dataclass(frozen=True)
class SelfAttentive(Cell):
    """A cell augmented with attention to the outputs h of the last `context` steps:

        s_t, h_t = cell.step(s_{t−1}, [x_t, c_{t−1}])
        α_t = softmax_i score(h_t, h_i)      c_t = Σ_i α_ti h_i      over i = t − context … t − 1
        y_t = h_t + c_t

    c is zero before there is a past. As in Kerg et al. 2020 ("Untangling tradeoffs between recurrence and
    self-attention in neural networks") and Ke et al. 2018 ("Sparse Attentive Backtracking"), the output is the sum
    of h and c, and the context takes part in the next step. They add it to the hidden state; here the inner cell
    reads it as a further input with weights of its own, so that any cell can be augmented. They select places by
    relevance among all of the past; here all of the last `context` are read.

    `cell` is any cell, one that reads a memory too, `score` any of `models.layers.attention`. Parameters: `cell`,
    `score`. State: `SelfAttentiveState`; a cache only copies, so `analysis.influence` tells what its Jacobian
    can't, and `analysis.influence_by_path` splits it between recurrence and attention.
    """

    cell: Cell
    context: int = 64
    score: Score = General()

    def __post_init__(self) -> None:
        check_at_least(1, context=self.context)
        if not isinstance(self.cell, Cell):
            raise ValueError(f"cell must be a cell, such as Elman(32), but is {self.cell!r}")
        if not isinstance(self.score, Score):
            raise ValueError(f"score must be a score, such as General(), but is {self.score!r}")
        if self.cell.couples_batch:
            raise ValueError(
                f"{type(self.cell).__name__} couples the examples of a batch and can't be augmented with "
                "attention: take another cell"
            )

    @property
    def reads_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the cell reads a memory."""
        return self.cell.reads_memory

    @property
    def memory_size(self) -> int | None:
        """The size of the memory that the cell reads."""
        return memory_size(self.cell)

    def init(self, key: Key, input_size: int) -> Params:
        key_cell, key_score = jax.random.split(key)
        size = self.output(input_size).shape[-1]
        if self.output(input_size + size).shape[-1] != size:
            raise ValueError(
                f"the output of {self.cell} grows with its input, which attention makes larger by that output: "
                "take another cell"
            )
        params = self.cell.init(key_cell, input_size + size)
        return {"cell": params, "score": self.score.init(key_score, size, size)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> SelfAttentiveState:
        h = self.output(1, jnp.result_type(*jax.tree.leaves(params)))
        keys = jax.eval_shape(self.score.keys, params["score"], h)
        cache = KeyValueCache(
            keys=jnp.zeros((*batch_shape, self.context, *keys.shape), keys.dtype),
            values=jnp.zeros((*batch_shape, self.context, *h.shape), h.dtype),
            steps=jnp.zeros(batch_shape, jnp.int32),
        )
        attention = PastOutputs(jnp.zeros((*batch_shape, *h.shape), h.dtype), cache)
        return SelfAttentiveState(self.cell.initial_state(params["cell"], batch_shape), attention)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> Weights:
        given = memory_argument(self.cell, memory)
        own = self.cell.prepare(params["cell"], key=key, train=train, batch_shape=batch_shape, **given)
        return params | {"cell": own}

    def step(
        self, weights: Weights, state: SelfAttentiveState, drive: Array
    ) -> tuple[SelfAttentiveState, Array]:
        """Steps the inner cell on the input and the last context, attends, then appends the output to the cache."""
        past, own = state.attention, weights["cell"]
        inner_drive = self.cell.drive(own, jnp.concatenate([drive, past.context], axis=-1))
        recurrence, h = self.cell.step(own, state.recurrence, inner_drive)
        context, _ = self.attend(weights, past.cache, h)
        cache = KeyValueCache(
            appended(past.cache.keys, self.score.keys(weights["score"], h)),
            appended(past.cache.values, h),
            past.cache.steps + 1,
        )
        return SelfAttentiveState(recurrence, PastOutputs(context, cache)), h + context

    def attend(self, weights: Weights, cache: KeyValueCache, h: Array) -> tuple[Array, Array]:
        """Computes the context `[*batch, N]` of the query h, and its weights `[*batch, context]`, newest last."""
        scores = self.score(weights["score"], h[..., None, :], cache.keys)
        filled = slots(cache.steps, self.context) >= 0
        context, weight = attend(scores, cache.values, filled[..., None, :])
        return context[..., 0, :], weight[..., 0, :]

    def coordinates(self, state: SelfAttentiveState) -> State:
        return state._replace(recurrence=self.cell.coordinates(state.recurrence))

    def from_coordinates(self, coordinates: State, like: SelfAttentiveState) -> SelfAttentiveState:
        recurrence = self.cell.from_coordinates(coordinates.recurrence, like.recurrence)
        return coordinates._replace(recurrence=recurrence)

    def has_coordinates(self, state: SelfAttentiveState) -> Array:
        """Returns True if the inner cell's state has coordinates."""
        return self.cell.has_coordinates(state.recurrence)

    def observe(self, weights: Weights, state: SelfAttentiveState, drive: Array) -> dict[str, Array]:
        """Returns the diagnostics of the inner cell, and `past_attention`, the weights of the last outputs, newest
        last."""
        past, own = state.attention, weights["cell"]
        inner_drive = self.cell.drive(own, jnp.concatenate([drive, past.context], axis=-1))
        _, h = self.cell.step(own, state.recurrence, inner_drive)
        seen = self.cell.observe(own, state.recurrence, inner_drive)
        seen = {f"cell.{name}" if name == "past_attention" else name: value for name, value in seen.items()}
        return seen | {"past_attention": self.attend(weights, past.cache, h)[1]}

    def output(self, input_size: int, dtype: Any = None) -> jax.ShapeDtypeStruct:
        """Returns the shape `[N]` and type of an output of the inner cell, for parameters and inputs of a type.

        Raises ValueError if the output is not a single array."""

        def step() -> Output:
            made = self.cell.init(jax.random.key(0), input_size)
            params = made if dtype is None else jax.tree.map(lambda leaf: leaf.astype(dtype), made)
            weights = self.cell.prepare(params, **memory_argument(self.cell, example_memory(self.cell)))
            drive = self.cell.drive(weights, jnp.zeros(input_size, dtype))
            return self.cell.step(weights, self.cell.initial_state(params), drive)[1]

        y = jax.eval_shape(step)
        check_output(self.cell, y, "the cell of a SelfAttentive")
        return y


def appended(cache: Array, new: Array) -> Array:
    """Appends `new [*batch, N]` to `cache [*batch, context, N]`, of which the oldest goes."""
    return jnp.concatenate([cache[..., 1:, :], new[..., None, :]], axis=-2)
