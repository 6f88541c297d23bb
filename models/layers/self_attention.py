"""Self-attention: a layer whose state is its key–value cache."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Output, Params, State, Weights, check_at_least
from models.checks import check_given
from models.initializers import Glorot, Initializer
from models.layers.attention import attend_in_blocks, attention_weights
from models.layers.dropout import check_no_dropout, check_rate, require_key
from models.layers.heads import check_heads, drop_weights, join_heads, packed, project, split_heads
from models.layers.layer import Layer, cells_inside, check_causal, check_whole
from models.layers.position import (
    Position,
    add_codes,
    check_length,
    check_position,
    count_valid,
    initial_codes,
    rotate,
)


class KeyValueCache(NamedTuple):
    """The keys and values of the last C valid steps, newest last, and how many steps were read.

    `keys` and `values` are `[*batch, heads, C, N/heads]`, zero where nothing has been read yet; `steps
    [*batch]` is an integer, which has no derivative."""

    keys: Array
    values: Array
    steps: Array


@dataclass(frozen=True)
class SelfAttention(Layer):
    """Attention of a sequence to itself, in several heads. With q, k, v of one head, each x_t W + b,

        α_ts = softmax_s(q_tᵀ k_s / √(N/heads))        y_t = [Σ_s α_ts v_s of every head] W_o + b_o

    over the steps s that t sees. Vaswani et al. 2017. `hidden_size` is N, the size of the output.

    - `causal=True`: step t sees itself and the `context` − 1 valid steps before it, those of an earlier segment
      that the state holds included (as in Transformer-XL, Dai et al. 2019, without its relative codes). The state
      is a `KeyValueCache` of C = `context` slots; when it is full, the oldest key is dropped. `step` reads one
      token, `unroll` all at once, with the same outputs, final states and gradients.
    - `causal=False`: t sees every valid step, before and after it, whatever the context. The state is empty,
      and the layer has no step.

    `position`: "none"; "rotary", which turns queries and keys; "sinusoidal" or "learned", which add a code to
    the inputs, and of which there are `context`: a longer sequence is refused, and a step beyond gives NaN.
    Positions count valid steps, in reverse from the end.

    In training, `dropout` falls on the weights α, in `unroll` only.

    Parameters: `input` with `kernel [D, 3N]`, `bias [3N]` (q, k, v side by side, each with its heads side by
    side); `output` with `kernel [N, N]`, `bias [N]`; for learned codes `position` with `codes [C, D]`.

    Raises ValueError if the heads don't divide the size, and for an odd N/heads with rotary positions.

    Examples:
        >>> layer = SelfAttention(8, heads=2, context=16)
        >>> params = layer.init(jax.random.key(0), input_size=8)
        >>> unroll(layer, params, jnp.ones((7, 8)))[1].shape
        (7, 8)
    """

    hidden_size: int
    heads: int = 1
    context: int = 64
    causal: bool = True  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    position: Position = "none"
    dropout: float = 0.0
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, context=self.context)
        check_position(self.position)
        check_heads(self.heads, self.hidden_size, rotary=self.position == "rotary")
        check_rate(self.dropout)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_input, key_output, key_codes = jax.random.split(key, 3)
        codes = initial_codes(self.position, key_codes, self.context, input_size)
        return {
            "input": packed(self.kernel_init, key_input, input_size, self.hidden_size, 3),
            "output": packed(self.kernel_init, key_output, self.hidden_size, self.hidden_size, 1),
        } | ({"position": codes} if codes else {})

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        """Returns an empty cache; the empty tuple if the layer isn't causal."""
        return self.empty_cache(params, batch_shape) if self.causal else ()

    def empty_cache(self, params: Params, batch_shape: BatchShape) -> KeyValueCache:
        """Returns a cache that has read nothing."""
        dtype = params["output"]["kernel"].dtype
        shape = (*batch_shape, self.heads, self.context, self.hidden_size // self.heads)
        # Two arrays: one would be donated twice.
        return KeyValueCache(
            jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.zeros(batch_shape, jnp.int32)
        )

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
    ) -> tuple[State, Output]:
        """Runs all steps at once. Raises ValueError for a method other than "auto", and for a sequence longer
        than the codes of its positions."""
        check_whole(self, method)
        check_given(self, params, xs, state)
        check_length(self.position, xs.shape[0], self.context, type(self).__name__)
        if reverse:
            turned = None if mask is None else mask[::-1]
            final, ys = self.forward(params, xs[::-1], state, turned, key, train)
            return final, ys[::-1]
        return self.forward(params, xs, state, mask, key, train)

    def forward(
        self, params: Params, xs: Array, state: State | None, mask: Array | None, key: Key | None, train: bool
    ) -> tuple[State, Output]:
        """Implements `unroll` from the first step to the last."""
        if mask is not None:
            xs = jnp.where(mask[..., None], xs, 0)
        cache = state if self.causal and state else None
        start = jnp.zeros(xs.shape[1:-1], jnp.int32) if cache is None else cache.steps
        positions = count_valid(xs.shape[0], start, mask)
        q, k, v = self.queries_keys_values(params, xs, positions)
        final = self.advanced(params, cache, k, v, mask) if self.causal else ()
        seen = self.visible(positions, None if cache is None else cache.steps, mask)
        if cache is not None:
            k, v = (jnp.concatenate(pair, axis=-2) for pair in ((cache.keys, k), (cache.values, v)))
        drop = self.dropper(require_key(key)) if train and self.dropout else None
        if self.causal:
            assert seen is not None
            window = self.context if mask is None else None  # masked steps lie between the valid ones
            context = attend_in_blocks(products, q, *finite_values(k, v), seen, window, drop)
        else:
            weights = attention_weights(products(q, k), seen)
            weights = weights if drop is None else drop(weights, 0)
            context = jnp.einsum("...ts,...sd->...td", weights.astype(v.dtype), v)
        ys = project(params["output"], join_heads(context))
        return final, ys if mask is None else jnp.where(mask[..., None], ys, 0)

    def dropper(self, key: Key) -> Callable[[Array, int], Array]:
        """Returns what drops the weights of a block of queries, given its number."""
        return lambda weights, number: drop_weights(weights, self.dropout, jax.random.fold_in(key, number))

    def queries_keys_values(self, params: Params, xs: Array, positions: Array) -> tuple[Array, Array, Array]:
        """Computes q / √(N/heads), k and v of a sequence `xs [T, *batch, D]` at `positions [T, *batch]`: each
        `[*batch, heads, T, N/heads]`."""
        coded = add_codes(self.position, params.get("position", {}), xs, positions, self.context)
        q, k, v = split_heads(project(params["input"], coded), self.heads, 3)
        if self.position == "rotary":
            places = jnp.moveaxis(positions, 0, -1)[..., None, :]
            q, k = rotate(q, places), rotate(k, places)
        return q * q.shape[-1] ** -0.5, k, v

    def visible(self, positions: Array, count: Array | None, mask: Array | None) -> Array | None:
        """Returns which keys, those of the cache first, each step may see, broadcasting to `[*batch, heads, T,
        S]`; None for all. `count [*batch]` is what the cache had read, None without a cache."""
        steps = positions.shape[0]
        if not self.causal:
            return None if mask is None else jnp.moveaxis(mask, 0, -1)[..., None, None, :]
        if count is None and mask is None:
            t = jnp.arange(steps)
            return within(t, t, self.context).reshape((1,) * (positions.ndim) + (steps, steps))
        own = jnp.moveaxis(positions, 0, -1)
        places, valid = own, jnp.ones(own.shape, bool) if mask is None else jnp.moveaxis(mask, 0, -1)
        if count is not None:
            cached = slots(count, self.context)
            places = jnp.concatenate([cached, own], axis=-1)
            valid = jnp.concatenate([cached >= 0, valid], axis=-1)
        return (within(own, places, self.context) & valid[..., None, :])[..., None, :, :]

    def advanced(
        self, params: Params, cache: KeyValueCache | None, k: Array, v: Array, mask: Array | None
    ) -> KeyValueCache:
        """Returns the cache after the keys and values `[*batch, heads, T, N/heads]` of all valid steps."""
        if cache is None:
            cache = self.empty_cache(params, k.shape[:-3])
        steps = k.shape[-2]
        read = jnp.full(cache.steps.shape, steps) if mask is None else jnp.sum(mask, axis=0)
        if mask is None:
            keep = slice(steps, steps + self.context)
            kept = [
                jnp.concatenate(pair, axis=-2)[..., keep, :] for pair in ((cache.keys, k), (cache.values, v))
            ]
        else:
            # The cache, then the valid steps in their order, then the others; of these the last C valid ones.
            order = jnp.argsort(~jnp.moveaxis(mask, 0, -1), axis=-1, stable=True)
            rows = read[..., None] + jnp.arange(self.context).reshape((1,) * read.ndim + (-1,))
            picked = jnp.where(
                rows < self.context,
                rows,
                self.context
                + jnp.take_along_axis(order, jnp.clip(rows - self.context, 0, steps - 1), axis=-1),
            )[..., None, :, None]
            kept = [
                jnp.take_along_axis(jnp.concatenate(pair, axis=-2), picked, axis=-2)
                for pair in ((cache.keys, k), (cache.values, v))
            ]
        return KeyValueCache(kept[0], kept[1], cache.steps + read.astype(cache.steps.dtype))

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Returns the parameters. Raises ValueError if the layer isn't causal, and in training with dropout."""
        check_causal(self)
        check_no_dropout(self, self.dropout, train)
        return params

    def step(self, weights: Weights, state: KeyValueCache, drive: Array) -> tuple[KeyValueCache, Output]:
        """Reads one token: the drive is the input `[*batch, D]` itself."""
        stepped, context, _ = self.look_back(weights, state, drive)
        return stepped, project(weights["output"], join_heads(context)[0])

    def observe(self, weights: Weights, state: KeyValueCache, drive: Array) -> dict[str, Array]:
        """Returns the weights `attention [*batch, heads, C]` of the newest C steps, this one last."""
        return {"attention": self.look_back(weights, state, drive)[2][..., 0, :]}

    def look_back(
        self, weights: Weights, state: KeyValueCache, x: Array
    ) -> tuple[KeyValueCache, Array, Array]:
        """Returns the cache after x, the context `[*batch, heads, 1, N/heads]` and the weights `[*batch, heads,
        1, C]`."""
        check_causal(self)
        q, k, v = self.queries_keys_values(weights, x[None], state.steps[None])
        stepped = self.advanced(weights, state, k, v, None)
        filled = slots(stepped.steps, self.context) >= 0
        weights = attention_weights(products(q, stepped.keys), filled[..., None, None, :])
        return stepped, jnp.einsum("...ts,...sd->...td", weights.astype(v.dtype), stepped.values), weights


def finite_values(k: Array, v: Array) -> tuple[Array, Array]:
    """Returns keys and values `[..., S, N/heads]` in which a value that isn't finite is zero, and NaN in its key.

    So the weights, and thereby the contexts, of the queries that see it are NaN, and no others: a weight of zero
    times NaN would be NaN in the outputs of earlier steps too."""
    finite = jnp.isfinite(v)
    return jnp.where(finite, k, jnp.nan), jnp.where(finite, v, 0)


def holds_cache(cell: Cell) -> bool:
    """Tells whether a cell's state is a key–value cache, or holds one."""
    if any(map(holds_cache, cells_inside(cell))):
        return True
    try:
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
    except (
        ValueError
    ):  # It takes inputs of its own size only, as a residual layer does: its parts have answered.
        return False
    state = jax.eval_shape(cell.initial_state, params)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, KeyValueCache))
    return any(isinstance(node, KeyValueCache) for node in nodes)


def products(q: Array, k: Array) -> Array:
    """Computes q_tᵀ k_s of `q [..., T, d]` and `k [..., S, d]`: `[..., T, S]`."""
    return jnp.einsum("...td,...sd->...ts", q, k)


def slots(count: Array, context: int) -> Array:
    """Returns the positions of the keys in a cache's slots, `[*batch, C]`, after `count [*batch]` steps;
    negative where a slot is still empty."""
    return count[..., None] + jnp.arange(-context, 0).reshape((1,) * count.ndim + (-1,))


def within(query: Array, key: Array, context: int) -> Array:
    """Tells which keys at positions `[..., S]` lie among the last `context` up to each query's, `[..., T]`."""
    back = query[..., :, None] - key[..., None, :]
    return (back >= 0) & (back < context)
