"""A recurrent cell that attends to a memory: the decoder of attention models of translation."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Drive, Key, Output, Params, State, Weights, check_at_least
from models.layers.attention import Additive, Score, attend
from models.layers.layer import check_output
from models.memory import (
    Memory,
    check_memory,
    example_memory,
    memory_argument,
    set_memory_size,
    without_masked,
)


class AttentionState(NamedTuple):
    """The state of the cell inside, and the last context c `[*batch, M]`; None if it isn't fed."""

    inner: State
    context: Array | None


class AttentionWeights(NamedTuple):
    """The weights of the cell inside and the score's parameters, and what is computed of the memory once: its
    `keys [*batch, L, A]`, `values [*batch, L, M]` and `mask [*batch, L]`."""

    cell: Weights
    score: Params
    keys: Array
    values: Array
    mask: Array


@dataclass(frozen=True)
class AttentionCell(Cell):
    """A cell that looks back at the L places m_l of a memory after each of its steps:

        s_t, y_t = cell.step(s_{t−1}, [x_t, c_{t−1}])        without `feed`  cell.step(s_{t−1}, x_t)
        α_t = softmax_l score(y_t, m_l)        c_t = Σ_l α_tl m_l        output [y_t, c_t]

    over the valid places; c_0 is zero, and so is c_t where a memory has none.

    Feeding c_{t−1} as an input is the input feeding of Luong, Pham & Manning 2015. They feed tanh([c_t, y_t] W);
    here the cell's own input matrix reads c, and y is in its state.

    In Bahdanau, Cho & Bengio 2015 a step begins with its context, scored by s_{t−1}. Of a cell whose output is its
    state (a GRU), their context of step t is c_{t−1} here, so that the recurrence is the same. Two things differ:
    their first step reads a context scored by s_0, this one zeros; and they read out s_t beside the context that
    entered it, c_{t−1} here, this one beside c_t, which s_t asks for.

    `score` is one of `models.layers.attention`: its queries are y_t, its keys are projected once a sequence.
    `memory_size` is M, the size of the memory's values, by default the cell's `hidden_size`. The cell may be a
    causal layer, a stack say, and may read the memory itself.

    Parameters: `cell`, for inputs of size D + M (without feeding D), and `score`. State: `AttentionState`.

        decoder = AttentionCell(GRU(32), memory_size=64)
        params = decoder.init(key, input_size=16)
        state, ys = unroll(decoder, params, xs, memory=Memory(encoded, mask))

    Raises ValueError for a cell that couples the examples of a batch.
    """

    reads_memory: ClassVar[bool] = True
    cell: Cell
    score: Score = Additive()
    feed: bool = True
    memory_size: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cell, Cell):
            raise ValueError(f"cell must be a cell, such as GRU(32), but is {self.cell!r}")
        if not isinstance(self.score, Score):
            raise ValueError(f"score must be a score, such as Additive(), but is {self.score!r}")
        if self.cell.couples_batch:
            raise ValueError(
                f"a {type(self.cell).__name__} couples the examples of a batch, and can't attend to a memory: take "
                "another cell"
            )
        set_memory_size(self, self.cell)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_cell, key_score = jax.random.split(key)
        own = self.cell.init(key_cell, input_size + self.fed_size)
        memory = example_memory(self.cell)

        def one_step(params: Params) -> Output:
            weights = self.cell.prepare(params, **memory_argument(self.cell, memory))
            drive = self.cell.drive(weights, jnp.zeros(input_size + self.fed_size))
            return self.cell.step(weights, self.cell.initial_state(params), drive)[1]

        size = check_output(self.cell, jax.eval_shape(one_step, own), "the cell of an AttentionCell")
        return {"cell": own, "score": self.score.init(key_score, size, self.value_size)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> AttentionState:
        """Returns the state of the cell inside, and a context of zeros."""
        context = jnp.zeros((*batch_shape, self.value_size), param_dtype(params)) if self.feed else None
        return AttentionState(self.cell.initial_state(params["cell"], batch_shape), context)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> AttentionWeights:
        """Computes the keys of the memory, whose values take the type of the parameters. Raises ValueError if
        there is no memory, or it doesn't fit."""
        check_memory(self, memory, batch_shape)
        assert memory is not None
        given: Any = memory_argument(self.cell, memory)
        own = self.cell.prepare(params["cell"], key=key, train=train, batch_shape=batch_shape, **given)
        values = jnp.moveaxis(without_masked(memory), 0, -2).astype(param_dtype(params))
        keys = self.score.keys(params["score"], values)
        return AttentionWeights(own, params["score"], keys, values, jnp.moveaxis(memory.mask, 0, -1))

    def drive(self, weights: AttentionWeights, x: Array) -> Drive:
        """Returns the input itself where the context joins it, else the drive of the cell inside."""
        return x if self.feed else self.cell.drive(weights.cell, x)

    def step(
        self, weights: AttentionWeights, state: AttentionState, drive: Drive
    ) -> tuple[AttentionState, Output]:
        inner, y = self.cell.step(weights.cell, state.inner, self.inner_drive(weights, state, drive))
        context = self.look_back(weights, y)[0]
        return AttentionState(inner, context if self.feed else None), jnp.concatenate([y, context], axis=-1)

    def inner_drive(self, weights: AttentionWeights, state: AttentionState, drive: Drive) -> Drive:
        """Returns the drive of the cell inside, with the last context in its input if that is fed."""
        if state.context is None:
            return drive
        return self.cell.drive(weights.cell, jnp.concatenate([drive, state.context], axis=-1))

    def look_back(self, weights: AttentionWeights, y: Array) -> tuple[Array, Array]:
        """Computes the context `[*batch, M]` and the weights α `[*batch, L]` of the query `y [*batch, N]`."""
        scores = self.score(weights.score, y[..., None, :], weights.keys)
        context, alphas = attend(scores, weights.values, weights.mask[..., None, :])
        return context[..., 0, :], alphas[..., 0, :]

    def coordinates(self, state: AttentionState) -> State:
        """Returns the coordinates of the cell inside, and the context."""
        return AttentionState(self.cell.coordinates(state.inner), state.context)

    def from_coordinates(self, coordinates: State, like: AttentionState) -> AttentionState:
        return AttentionState(self.cell.from_coordinates(coordinates.inner, like.inner), coordinates.context)

    def has_coordinates(self, state: AttentionState) -> Array:
        return self.cell.has_coordinates(state.inner)

    def observe(self, weights: AttentionWeights, state: AttentionState, drive: Drive) -> dict[str, Array]:
        """Returns the diagnostics of the cell inside, and the weights `memory_attention [*batch, L]` of this
        step."""
        own = self.inner_drive(weights, state, drive)
        seen = self.cell.observe(weights.cell, state.inner, own)
        y = self.cell.step(weights.cell, state.inner, own)[1]
        seen = {f"cell.{name}" if name == "memory_attention" else name: value for name, value in seen.items()}
        return seen | {"memory_attention": self.look_back(weights, y)[1]}

    @property
    def value_size(self) -> int:
        """M, the size of the memory's values and of a context."""
        assert self.memory_size is not None
        return self.memory_size

    @property
    def fed_size(self) -> int:
        """The size of what is fed beside the input: M or 0."""
        return self.value_size if self.feed else 0


def param_dtype(params: Params) -> Any:
    """Returns the common type of the parameters."""
    return jnp.result_type(*jax.tree.leaves(params))
