"""A small random net, and beam search of it by a plain loop over hypotheses in double precision."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from models import (
    Average,
    Beams,
    WuPenalty,
    beam_search,
)
from models.cell import Array, State

V, H, LENGTH, END = 3, 4, 4, 0
NORMALISE: dict[str, Any] = {"none": None, "wu": WuPenalty(0.7), "average": Average()}


class Net(NamedTuple):
    """A small recurrent net: h_t = tanh(E[y_{t−1}] + h_{t−1} R), z_t = h_t O."""

    embedding: Any
    recurrent: Any
    output: Any

    def step(self, state: State, token: Array) -> tuple[State, Array]:
        state = jnp.tanh(jnp.asarray(self.embedding)[token] + state @ self.recurrent)
        return state, state @ self.output


def net(seed: int, size: int = V) -> Net:
    draw = np.random.default_rng(seed).normal
    shapes = (size, H), (H, H), (H, size)
    return Net(*(draw(size=shape).astype(np.float32) * 1.5 for shape in shapes))


class Hypothesis(NamedTuple):
    tokens: tuple[int, ...]
    score: float
    state: np.ndarray
    rank: float


PENALTY: dict[str, Callable[[int], float]] = {
    "none": lambda length: 1.0,
    "wu": lambda length: ((5 + length) / 6) ** 0.7,
    "average": float,
}


def by_hand(
    net: Net,
    state: np.ndarray,
    first: int,
    width: int,
    length: int,
    end: int | None,
    penalty: Callable[[int], float] = PENALTY["none"],
    permits: Callable[[tuple[int, ...]], bool] = lambda tokens: True,
) -> list[Hypothesis]:
    """Searches for one example, a list of hypotheses in double precision; with a great width, enumerates."""
    beam = [Hypothesis((), 0.0, state.astype(float), 0.0)]
    for _ in range(length):
        grown = []
        for old in beam:
            if old.tokens and old.tokens[-1] == end:
                grown.append(old)
                continue
            last = old.tokens[-1] if old.tokens else first
            h = np.tanh(net.embedding[last].astype(float) + old.state @ net.recurrent)
            z = h @ net.output
            for token, gain in enumerate(z - np.log(np.exp(z).sum())):
                tokens, score = (*old.tokens, token), old.score + gain
                if permits(tokens):
                    grown.append(Hypothesis(tokens, score, h, score / penalty(len(tokens))))
        beam = sorted(grown, key=lambda one: -one.rank)[:width]
    return beam


def check(found: Beams, wanted: list[list[Hypothesis]], pad: int) -> None:
    """The same hypotheses in the same order; the rest of a row holds none."""
    for example, beam in enumerate(wanted):
        for slot in range(found.scores.shape[1]):
            tokens, count, score, normalised = (np.asarray(leaf[example, slot]) for leaf in found)
            if slot >= len(beam):
                assert (score, normalised, count) == (-np.inf, -np.inf, 0)
                assert (tokens == pad).all()
                continue
            assert tuple(tokens[:count]) == beam[slot].tokens
            assert (tokens[count:] == pad).all()
            np.testing.assert_allclose(score, beam[slot].score, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(normalised, beam[slot].rank, rtol=1e-5, atol=1e-6)


@partial(jax.jit, static_argnames=("width", "length", "end", "name", "n_best"))
def search(net: Net, state: Array, first: Array, *, name: str = "none", **options: Any) -> Beams:
    return beam_search(net.step, state, first, normalise=NORMALISE[name], **options)


def compiled(step: Any, state: Any, first: Any, **options: Any) -> Beams:
    """One search, compiled as a whole."""
    return jax.jit(lambda state, first: beam_search(step, state, first, **options))(state, first)


def starts(seed: int, batch: int, size: int = V) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, H)).astype(np.float32), rng.integers(0, size, batch).astype(np.int32)
