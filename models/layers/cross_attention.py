"""Attention of a sequence to a memory: a decoder attends to the outputs of an encoder."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Key, Output, Params, State, check_at_least
from models.checks import check_given
from models.initializers import Glorot, Initializer
from models.layers.attention import attention_weights
from models.layers.dropout import check_no_dropout, check_rate, require_key
from models.layers.heads import check_heads, drop_weights, join_heads, packed, project, split_heads
from models.layers.layer import Layer, check_whole
from models.memory import Memory, check_memory, without_masked


class MemoryWeights(NamedTuple):
    """The parameters, and what is projected of the memory once: `keys` and `values [*batch, heads, L,
    N/heads]`, and its mask `[*batch, L]`."""

    params: Params
    keys: Array
    values: Array
    mask: Array


@dataclass(frozen=True)
class CrossAttention(Layer):
    """Attention of each step to all valid places m_s of a memory, in several heads:

        α_ts = softmax_s(q_tᵀ k_s / √(N/heads))        y_t = [Σ_s α_ts v_s of every head] W_o + b_o

    with q from the inputs and k, v from the memory, each x W + b. Vaswani et al. 2017. `hidden_size` is N, the
    size of the output, `memory_size` is M, that of the memory's values, by default N. Keys and values are projected
    once a sequence, in `prepare`. Where the memory has no valid place the context is zero and y_t = b_o.

    In training, `dropout` falls on the weights α, in `unroll` only. The state is empty.

    Parameters: `query` with `kernel [D, N]`, `bias [N]`; `memory` with `kernel [M, 2N]`, `bias [2N]` (k and v
    side by side); `output` with `kernel [N, N]`, `bias [N]`."""

    reads_memory: ClassVar[bool] = True
    hidden_size: int
    heads: int = 1
    memory_size: int | None = None
    dropout: float = 0.0
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        if self.memory_size is None:
            object.__setattr__(self, "memory_size", self.hidden_size)
        check_at_least(1, memory_size=self.memory_size)
        check_heads(self.heads, self.hidden_size)
        check_rate(self.dropout)

    @property
    def causal(self) -> bool:
        """True: the memory is there before the first step."""
        return True

    def init(self, key: Key, input_size: int) -> Params:
        keys, size = jax.random.split(key, 3), self.hidden_size
        return {
            "query": packed(self.kernel_init, keys[0], input_size, size, 1),
            "memory": packed(self.kernel_init, keys[1], self.memory_size or size, size, 2),
            "output": packed(self.kernel_init, keys[2], size, size, 1),
        }

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
        weights = self.project_memory(params, memory, xs.shape[1:-1])
        drawn = require_key(key) if train and self.dropout else None
        ys = self.look(weights, xs, drawn)[0]
        return (), ys if mask is None else jnp.where(mask[..., None], ys, 0)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> MemoryWeights:
        """Projects the memory's keys and values. Raises ValueError if there is no memory or it doesn't fit, and
        in training with dropout."""
        check_no_dropout(self, self.dropout, train)
        return self.project_memory(params, memory, batch_shape)

    def step(self, weights: MemoryWeights, state: State, drive: Array) -> tuple[State, Output]:
        """Attends with one query; the drive is the input itself."""
        return (), self.look(weights, drive[None])[0][0]

    def observe(self, weights: MemoryWeights, state: State, drive: Array) -> dict[str, Array]:
        """Returns the weights `memory_attention [*batch, heads, L]`."""
        return {"memory_attention": self.look(weights, drive[None])[1][..., 0, :]}

    def project_memory(self, params: Params, memory: Memory | None, batch_shape: BatchShape) -> MemoryWeights:
        """Returns the parameters with the memory's keys and values, in the type of the parameters."""
        check_memory(self, memory, batch_shape)
        assert memory is not None
        values = without_masked(memory).astype(params["memory"]["kernel"].dtype)
        k, v = split_heads(project(params["memory"], values), self.heads, 2)
        return MemoryWeights(params, k, v, jnp.moveaxis(memory.mask, 0, -1))

    def look(self, weights: MemoryWeights, xs: Array, key: Key | None = None) -> tuple[Array, Array]:
        """Computes outputs `[T, *batch, N]` and weights `[*batch, heads, T, L]` of all queries."""
        (q,) = split_heads(project(weights.params["query"], xs), self.heads)
        scores = jnp.einsum("...td,...sd->...ts", q * q.shape[-1] ** -0.5, weights.keys)
        alphas = attention_weights(scores, weights.mask[..., None, None, :])
        dropped = drop_weights(alphas, self.dropout, key)
        context = jnp.einsum("...ts,...sd->...td", dropped.astype(weights.values.dtype), weights.values)
        return project(weights.params["output"], join_heads(context)), alphas
