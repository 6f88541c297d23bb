"""The self-attentive cell: the contract, a NumPy loop from its equations, and a cache that forgets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import influence, influence_by_path
from experiments.contract import checks as contract
from models import (
    GRU,
    LSTM,
    BatchNormLSTM,
    Cell,
    Elman,
    FixedWindow,
    SelfAttentive,
    Stacked,
    holds_cache,
    unroll,
)
from models.layers.attention import SCORES, Additive
from tests.contract import each_check

T, D, H = 7, 2, 3
CELLS: dict[str, Cell] = {
    "elman": SelfAttentive(Elman(3), context=8),
    "lstm": SelfAttentive(LSTM(3), context=3, score=Additive(size=2)),
}


@pytest.mark.usefixtures("quick_compilation")
@each_check(CELLS)
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


def score(name: str, p: dict[str, np.ndarray], query: np.ndarray, value: np.ndarray) -> float:
    match name:
        case "dot":
            return float(query @ value)
        case "scaled_dot":
            return float(query @ value) / H**0.5
        case "general":
            return float(query @ (value @ p["kernel"]))
        case _:
            return float(np.tanh(query @ p["query"] + value @ p["kernel"] + p["bias"]) @ p["readout"])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["dot", "scaled_dot", "general", "additive"])
def test_numpy_loop(name: str) -> None:
    """An Elman net that reads its last context, over more steps than it has places."""
    cell = SelfAttentive(Elman(H), context=4, score=SCORES[name]())
    params = cell.init(jax.random.key(1), D)
    xs = np.random.default_rng(0).normal(size=(T, D))
    p = jax.tree.map(np.asarray, params)
    h, context, past = np.zeros(H), np.zeros(H), []
    expected = []
    for x in xs:
        inner = p["cell"]
        joined = np.concatenate([x, context])
        h = np.tanh(joined @ inner["kernel"] + h @ inner["recurrent"] + inner["bias"])
        if past:
            e = np.array([score(name, p["score"], h, value) for value in past])
            weights = np.exp(e) / np.exp(e).sum()
            context = weights @ np.array(past)
        expected.append(h + context)
        past = [*past, h][-4:]
    final, ys = unroll(cell, params, jnp.asarray(xs))
    np.testing.assert_allclose(ys, expected, rtol=1e-10)
    np.testing.assert_allclose(final.attention.cache.values, past, rtol=1e-10)
    np.testing.assert_allclose(final.attention.context, context, rtol=1e-10)
    weights = cell.prepare(params)
    seen = cell.observe(weights, cell.initial_state(params), cell.drive(weights, jnp.asarray(xs[0])))
    assert not np.any(seen["past_attention"])
    assert int(final.attention.cache.steps) == T
    seen = cell.observe(weights, final, cell.drive(weights, jnp.asarray(xs[0])))
    np.testing.assert_allclose(seen["past_attention"].sum(), 1, rtol=1e-12)


def test_attention_reaches_where_recurrence_cannot() -> None:
    """Without recurrent weights a step is forgotten at once: what comes from further back comes by attention, and
    directly from no further than the cache reaches."""
    cell = SelfAttentive(Elman(H), context=3)
    params = cell.init(jax.random.key(1), D)
    inner = params["cell"] | {"recurrent": jnp.zeros((H, H))}
    # Nor does the context take part in the next step.
    inner = inner | {"kernel": inner["kernel"].at[D:].set(0)}
    params, xs = params | {"cell": inner}, jax.random.normal(jax.random.key(2), (T, D))
    found = influence_by_path(cell, params, xs, T - 1)
    reached = np.arange(T) >= T - 1 - 3
    np.testing.assert_array_equal(np.asarray(found["total"]) > 0, reached)
    np.testing.assert_array_equal(found["recurrence"][:-1], 0)
    np.testing.assert_allclose(found["attention"], influence(cell, params, xs, T - 1), rtol=1e-6)


def test_types_are_those_of_the_parameters() -> None:
    cell = SelfAttentive(Stacked((GRU(3), Elman(2))), context=2)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell.init(jax.random.key(0), D))
    state, ys = unroll(cell, params, jnp.ones((T, 2, D), jnp.bfloat16))
    assert ys.dtype == state.attention.cache.keys.dtype == jnp.bfloat16
    assert ys.shape == (T, 2, 2)
    assert holds_cache(cell)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="context must be a whole number of at least 1, but is 0"):
        SelfAttentive(Elman(3), context=0)
    with pytest.raises(ValueError, match="BatchNormLSTM couples the examples of a batch"):
        SelfAttentive(BatchNormLSTM(3))
    with pytest.raises(ValueError, match="grows with its input"):
        SelfAttentive(FixedWindow(3, direct=True)).init(jax.random.key(0), D)
