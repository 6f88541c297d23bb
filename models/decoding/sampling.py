"""Sampling text from a language model, one token at a time."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from models.cell import Array, Key, Params, State, check_at_least
from models.decoding.scheduled import sampled, scheduled_sampling
from models.language_model import LanguageModel
from models.layers.position_code import max_steps
from models.recurrence.streaming import advance, stream
from models.token_ids import check_ids, embed


@dataclass(frozen=True)
class Sampling:
    """Draws tokens from logits z: from softmax(z / τ) over the candidates that remain.

    `temperature` is τ; 0 takes the most likely token. `top_k` keeps the k most likely (Fan, Lewis & Dauphin 2018),
    and of these `top_p` keeps the fewest, most likely first, whose probabilities sum to p or more (Holtzman et al.
    2020). Ties keep the first. Tokens in `never` are never drawn.

    It is a `Feed` of `free_running`. Raises ValueError for numbers outside their ranges.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    never: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 or more and finite, but is {self.temperature}")
        if self.top_k is not None:
            check_at_least(1, top_k=self.top_k)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, but is {self.top_p}")

    def __call__(self, logits: Float[Array, "*batch V"], key: Key | None = None) -> Int[Array, "*batch"]:
        """Draws a token for each example. Raises ValueError if a key is needed and missing."""
        filtered = self.filter_logits(logits)
        if self.temperature == 0:
            return jnp.argmax(filtered, axis=-1)
        if key is None:
            raise ValueError(
                "drawing tokens needs a key: give one, or temperature=0 for the most likely token"
            )
        return jax.random.categorical(key, filtered)

    def filter_logits(self, logits: Float[Array, "*batch V"]) -> Float[Array, "*batch V"]:
        """Computes z / τ, −∞ for excluded tokens.

        Raises ValueError if `never` names a token outside the vocabulary, or leaves none.
        """
        self.check_never(logits.shape[-1])
        z = logits / (self.temperature or 1)
        if self.never:
            z = z.at[..., jnp.array(self.never)].set(-jnp.inf)
        if self.top_k is None and self.top_p is None:
            return z
        order = jnp.argsort(-z, axis=-1, stable=True)
        rank = jnp.argsort(order, axis=-1)
        keep = jnp.ones(z.shape, bool)
        if self.top_k is not None:
            keep = rank < self.top_k
            z = jnp.where(keep, z, -jnp.inf)
        if self.top_p is not None:
            falling = jnp.take_along_axis(jax.nn.softmax(z, axis=-1), order, axis=-1)
            before = jnp.cumsum(falling, axis=-1) - falling  # total probability of more likely tokens
            keep &= jnp.take_along_axis(before < self.top_p, rank, axis=-1)
        return jnp.where(keep, z, -jnp.inf)

    def check_never(self, size: int) -> None:
        """Raises ValueError if `never` names a token outside 0 … V−1, V = `size`, or all of them."""
        check_ids(np.array(self.never, int), size, "tokens of never")
        if len(set(self.never)) == size:
            raise ValueError(f"never holds all {size} tokens and leaves none to draw: leave one out")


def generate(
    model: LanguageModel, params: Params, prompt: Sequence[int], sampling: Sampling, key: Key
) -> Iterator[int]:
    """Reads a prompt and yields tokens without end: each token drawn is the next input.

    Uses `stream` one step at a time, so that each token can be shown at once. Token i is drawn with
    `fold_in(key, i)`.

    A recurrent cell carries its state all the way, and a cache without codes of its positions, or with rotary ones,
    drops its oldest key when it is full. A cell that can't read more than C tokens (`max_steps`) steps through the
    first C; from then on the last C are read anew, from the initial state, for each token, as nanoGPT does.

    Raises ValueError for an empty prompt, and for a token of the prompt outside 0 … V−1.

    Examples:
        >>> model = LanguageModel(GRU(8), vocabulary_size=50, embedding_size=8)
        >>> params = model.init(jax.random.key(0), jnp.zeros((7, 2), jnp.int32))
        >>> tokens = generate(model, params, [1, 2, 3], Sampling(top_k=5), jax.random.key(1))
        >>> 0 <= next(tokens) < 50
        True
    """
    if not len(prompt):
        raise ValueError(
            "an empty prompt leaves nothing to continue: give at least one token, for example the end of a line"
        )
    check_ids(np.asarray(prompt), model.vocabulary_size, "tokens of the prompt")
    read = reader(model, params)
    *before, token = map(int, list(prompt)[-(max_steps(model.cell) or 0) :])
    for earlier in before:
        read(earlier)
    for drawn in itertools.count():
        y = read(token)
        token = int(_sample_token(model, sampling, params, y, jax.random.fold_in(key, drawn)))
        yield token


def reader(model: LanguageModel, params: Params) -> Callable[[int], Array]:
    """Returns a function that reads one more token, and returns the cell's output after it: see `generate`."""
    online, most = stream(model.cell, params["params"]["recurrent"]["cell"]), max_steps(model.cell)
    state, last = online.initial_state, deque[int](maxlen=most or 0)

    def read(token: int) -> Array:
        nonlocal state
        full = len(last) == most
        last.append(token)
        if full:
            return _read_window(model, params, np.array(last, np.int32))
        state, y = online.step(state, _embed_token(params, token))
        return y

    return read


def scheduled_inputs(
    model: LanguageModel,
    params: Params,
    tokens: Int[Array, "T *batch"],
    state: State,
    key: Key,
    probability: float | Float[Array, "*batch"],
) -> Int[Array, "T *batch"]:
    """Draws the inputs of scheduled sampling: after the first, each is replaced, with the given probability, by a
    sample from the model's prediction given the inputs so far.

    Training on them by `model.loss` is the method of Bengio et al. 2015: as no gradient passes through the sampled
    inputs (`scheduled_sampling`), they can all be drawn first, by the model in evaluation mode, and the loss is
    then differentiated as usual.
    """
    check_ids(tokens, model.vocabulary_size, "tokens")
    params, state = jax.lax.stop_gradient((params, state))
    cell, cell_params = model.cell, params["params"]["recurrent"]["cell"]
    weights = cell.prepare(cell_params, batch_shape=tokens.shape[1:])

    def step(state: State, token: Array) -> tuple[State, tuple[Array, Array]]:
        state, y = advance(cell, weights, state, _embed_token(params, token))
        return state, (token, y)

    def drawn(output: tuple[Array, Array], key: Key | None) -> Array:
        return sampled(jnp.asarray(model.apply(params, output[1], method="logits")), key)

    _, (fed, _) = scheduled_sampling(step, state, tokens, key, probability, drawn)
    return fed


@jax.jit
def _embed_token(params: Params, token: Array | int) -> Array:
    return embed(params["params"]["embedding"]["embedding"], jnp.asarray(token))


@partial(jax.jit, static_argnums=(0, 1))
def _sample_token(model: LanguageModel, sampling: Sampling, params: Params, y: Array, key: Key) -> Array:
    return sampling(jnp.asarray(model.apply(params, y, method="logits")), key)


@partial(jax.jit, static_argnums=0)
def _read_window(model: LanguageModel, params: Params, tokens: Int[Array, " C"]) -> Array:
    result: Any = model.apply(params, tokens)
    return result[1][-1]
