"""Attention on the outputs of a decoder: all steps look at the memory in one product."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from models.cell import Array, BatchShape, Key, Output, Params, State, check_at_least
from models.checks import check_given
from models.layers.attention import General, Score, attend
from models.layers.layer import Layer, check_whole
from models.memory import Memory, check_memory, without_masked


class ReadoutWeights(NamedTuple):
    """The score's parameters, and what is computed of the memory once: its `keys [*batch, L, A]`, `values
    [*batch, L, M]` and `mask [*batch, L]`."""

    score: Params
    keys: Array
    values: Array
    mask: Array


@dataclass(frozen=True)
class AttentionReadout(Layer):
    """Attention of each step to the L places m_l of a memory, beside the step itself:

        α_t = softmax_l score(x_t, m_l)        c_t = Σ_l α_tl m_l        y_t = [x_t, c_t]

    over the valid places; c is zero where there are none. As nothing of it enters a recurrence, all steps look
    in one product, which makes it far cheaper than an `AttentionCell`. Above a recurrent layer, and followed by
    a tanh layer, it is the attention of Luong, Pham & Manning 2015 without their input feeding:

        Stacked((LSTM(256), AttentionReadout(512), Dense(256)))

    `memory_size` is M, the size of the memory's values; `score` is one of `models.layers.attention`. The state is
    empty. Parameters: `score`.
    """

    reads_memory: ClassVar[bool] = True
    memory_size: int
    score: Score = General()

    def __post_init__(self) -> None:
        check_at_least(1, memory_size=self.memory_size)
        if not isinstance(self.score, Score):
            raise ValueError(f"score must be a score, such as General(), but is {self.score!r}")

    @property
    def causal(self) -> bool:
        """True: the memory is there before the first step."""
        return True

    def init(self, key: Key, input_size: int) -> Params:
        return {"score": self.score.init(key, input_size, self.memory_size)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return ()

    def unroll(
        self,
        params: Params,
        xs: Array,
        state: State | None = None,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        method: Any = "auto",
        key: Key | None = None,
        train: bool = False,
        memory: Memory | None = None,
    ) -> tuple[State, Output]:
        """Runs all steps at once, in either direction. Raises ValueError for a method other than "auto"."""
        check_whole(self, method)
        check_given(self, params, xs, state)
        if mask is not None:
            xs = jnp.where(mask[..., None], xs, 0)
        weights = self.prepare(params, batch_shape=xs.shape[1:-1], memory=memory)
        context = jnp.moveaxis(self.look_back(weights, jnp.moveaxis(xs, 0, -2))[0], -2, 0)
        ys = jnp.concatenate([xs, context], axis=-1)
        return (), ys if mask is None else jnp.where(mask[..., None], ys, 0)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> ReadoutWeights:
        """Computes the keys of the memory. Raises ValueError if there is no memory, or it doesn't fit."""
        check_memory(self, memory, batch_shape)
        assert memory is not None
        values = jnp.moveaxis(without_masked(memory), 0, -2)
        keys = self.score.keys(params["score"], values)
        return ReadoutWeights(params["score"], keys, values, jnp.moveaxis(memory.mask, 0, -1))

    def step(self, weights: ReadoutWeights, state: State, drive: Array) -> tuple[State, Output]:
        """Looks once; the drive is the input itself."""
        context = self.look_back(weights, drive[..., None, :])[0][..., 0, :]
        return (), jnp.concatenate([drive, context], axis=-1)

    def observe(self, weights: ReadoutWeights, state: State, drive: Array) -> dict[str, Array]:
        """Returns the weights `memory_attention [*batch, L]`."""
        return {"memory_attention": self.look_back(weights, drive[..., None, :])[1][..., 0, :]}

    def look_back(self, weights: ReadoutWeights, queries: Array) -> tuple[Array, Array]:
        """Computes the contexts `[*batch, T, M]` and the weights `[*batch, T, L]` of queries `[*batch, T, D]`."""
        scores = self.score(weights.score, queries, weights.keys)
        return attend(scores, weights.values, weights.mask[..., None, :])
