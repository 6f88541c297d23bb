"""Text drawn from a language model, a token at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from models.cell import Array, Key, Params, State, check_at_least
from models.decoding.scheduled import sampled, scheduled_sampling
from models.language_model import LanguageModel
from models.recurrence.streaming import advance, stream
from models.token_ids import check_ids, embedded


@dataclass(frozen=True)
class Sampling:
    """The rule by which a token is drawn from logits z: from softmax(z / τ) over those that are left.

    `temperature` τ; 0 takes the likeliest. `top_k` leaves the k likeliest (Fan, Lewis & Dauphin 2018), and of these
    `top_p` the fewest, likeliest first, whose probabilities sum to p or more (Holtzman et al. 2020). Of equally
    likely ones the first go first. `never` are tokens that are not drawn at all.

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
        """A token for each. Raises ValueError where it is to be drawn and there is no key."""
        left = self.weighed(logits)
        if self.temperature == 0:
            return jnp.argmax(left, axis=-1)
        if key is None:
            raise ValueError("drawing tokens needs a key: give one, or temperature=0 for the likeliest")
        return jax.random.categorical(key, left)

    def weighed(self, logits: Float[Array, "*batch V"]) -> Float[Array, "*batch V"]:
        """z / τ, −∞ for tokens that are not to be drawn.

        Raises ValueError where `never` names a token that there isn't, or leaves none.
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
            before = jnp.cumsum(falling, axis=-1) - falling  # what the likelier ones make up
            keep &= jnp.take_along_axis(before < self.top_p, rank, axis=-1)
        return jnp.where(keep, z, -jnp.inf)

    def check_never(self, size: int) -> None:
        """Raises ValueError where `never` names a token outside 0 … V−1, V = `size`, or all of them."""
        check_ids(np.array(self.never, int), size, "tokens of never")
        if len(set(self.never)) == size:
            raise ValueError(f"never holds all {size} tokens and leaves none to draw: leave one out")


def generate(
    model: LanguageModel, params: Params, prompt: Sequence[int], sampling: Sampling, key: Key
) -> Iterator[int]:
    """Reads a prompt and goes on with it, without end: each token drawn is read as the next input.

    One step at a time through `stream`, so that a token can be shown as soon as there is one. Token i is drawn
    with `fold_in(key, i)`.

    Raises ValueError for an empty prompt: the first token is drawn from what follows some other; and for a token of
    the prompt outside 0 … V−1.
    """
    if not len(prompt):
        raise ValueError(
            "an empty prompt leaves nothing to go on from: give a token, the end mark of a line say"
        )
    check_ids(np.asarray(prompt), model.vocabulary_size, "tokens of the prompt")
    own = params["params"]["recurrent"]["cell"]
    online = stream(model.cell, own)
    state = online.initial_state
    for token in prompt[:-1]:
        state, _ = online.step(state, _embedded(params, int(token)))
    token, drawn = int(prompt[-1]), 0
    while True:
        state, y = online.step(state, _embedded(params, token))
        token = int(_draw(model, sampling, params, y, jax.random.fold_in(key, drawn)))
        drawn += 1
        yield token


def scheduled_inputs(
    model: LanguageModel,
    params: Params,
    tokens: Int[Array, "T *batch"],
    state: State,
    key: Key,
    probability: float | Float[Array, "*batch"],
) -> Int[Array, "T *batch"]:
    """The inputs of scheduled sampling: after the first, each is with the given probability no longer the right
    one but drawn from what the model predicts there, having read what was put in before it.

    Given to `model.loss` they make the training of Bengio et al. 2015, for no gradient passes through what is fed
    (`scheduled_sampling`): the draws, by the model as it is in evaluation, may all be made first, and what is
    differentiated is the model's usual way through time.
    """
    check_ids(tokens, model.vocabulary_size, "tokens")
    params, state = jax.lax.stop_gradient((params, state))
    cell, own = model.cell, params["params"]["recurrent"]["cell"]
    weights = cell.prepare(own, batch_shape=tokens.shape[1:])

    def step(state: State, token: Array) -> tuple[State, tuple[Array, Array]]:
        state, y = advance(cell, weights, state, _embedded(params, token))
        return state, (token, y)

    def drawn(output: tuple[Array, Array], key: Key | None) -> Array:
        return sampled(jnp.asarray(model.apply(params, output[1], method="logits")), key)

    _, (fed, _) = scheduled_sampling(step, state, tokens, key, probability, drawn)
    return fed


@jax.jit
def _embedded(params: Params, token: Array | int) -> Array:
    return embedded(params["params"]["embedding"]["embedding"], jnp.asarray(token))


@partial(jax.jit, static_argnums=(0, 1))
def _draw(model: LanguageModel, sampling: Sampling, params: Params, y: Array, key: Key) -> Array:
    return sampling(jnp.asarray(model.apply(params, y, method="logits")), key)
