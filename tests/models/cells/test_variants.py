"""Jordan, peepholes, layer norm, IndRNN, the LSTM without its output tanh, and the named beginnings of Elman, LSTM
and GRU: the contract, loops in NumPy from the papers, and what sets each apart."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.contract import checks as contract
from models import GRU, LSTM, Cell, Elman, Glorot, LSTMState, unroll
from models.cells.elman import irnn
from models.cells.gru import chrono_gru
from models.cells.independent import IndRNN
from models.cells.jordan import Jordan
from models.cells.layer_norm import LayerNormGRU, LayerNormLSTM, layer_norm
from models.cells.lstm import chrono_lstm
from models.cells.peephole import PeepholeLSTM
from tests.contract import each_check
from tests.models import loops
from tests.models.cells.agreement import Leaves, Loop, compare, random_params, sigmoid

H = 3
pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(3)
CELLS: dict[str, Cell] = {
    "jordan": Jordan(3, output_size=2, decay=0.5, output_activation="sigmoid"),
    "peephole": PeepholeLSTM(3),
    "layer_norm_lstm": LayerNormLSTM(4),
    "layer_norm_gru": LayerNormGRU(4),
    "indrnn": IndRNN(4),
}
SAME_STEP: list[Cell] = [  # as one above or in test_contract.py, but for how it begins or one function
    LSTM(3, output_tanh=False),
    chrono_lstm(3, max_lag=20),
    chrono_gru(3, max_lag=20),
    irnn(3),
]


@each_check(CELLS)
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


# --- loops from the papers


def jordan(p: loops.Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    """Decay a half, a logistic output."""
    (context,), ys = start, []
    for x in xs:
        h = np.tanh(x @ p["kernel"] + context @ p["recurrent"] + p["bias"])
        y = sigmoid(h @ p["readout"] + p["readout_bias"])
        context = 0.5 * context + y
        ys.append(y)
    return np.array(ys), [context]


def by_step(step: loops.Step) -> Loop:
    def loop(p: loops.Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
        state, ys = tuple(start), []
        for x in xs:
            state = step(p, state, x)
            ys.append(state[0])
        return np.array(ys), list(state)

    return loop


def peephole(p: loops.Arrays, state: loops.State, x: np.ndarray) -> loops.State:
    h, c = state
    p_i, p_f, p_o = np.split(p["peepholes"], 3)
    i = sigmoid(loops.gate(p, 0, h, x) + p_i * c)
    f = sigmoid(loops.gate(p, 1, h, x) + p_f * c)
    c = f * c + i * np.tanh(loops.gate(p, 2, h, x))
    o = sigmoid(loops.gate(p, 3, h, x) + p_o * c)
    return o * np.tanh(c), c


def without_tanh(p: loops.Arrays, state: loops.State, x: np.ndarray) -> loops.State:
    h, c = state
    i, f, o = (sigmoid(loops.gate(p, k, h, x)) for k in (0, 1, 3))
    c = f * c + i * np.tanh(loops.gate(p, 2, h, x))
    return o * c, c


def ln(z: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return gain * (z - z.mean()) / np.sqrt(z.var() + 1e-5)


def layer_norm_lstm(p: loops.Arrays, state: loops.State, x: np.ndarray) -> loops.State:
    h, c = state
    z = ln(h @ p["recurrent"], p["recurrent_gain"]) + ln(x @ p["kernel"], p["input_gain"]) + p["bias"]
    i, f, g, o = np.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(ln(c, p["memory_gain"]) + p["memory_bias"]), c


def layer_norm_gru(p: loops.Arrays, state: loops.State, x: np.ndarray) -> loops.State:
    (h,) = state
    gates, candidate = slice(0, 2 * H), slice(2 * H, 3 * H)

    def normed(product: np.ndarray, which: slice, gain: str) -> np.ndarray:
        return ln(product[which], p[gain][which])

    of_input, of_state = x @ p["kernel"], h @ p["recurrent"]
    both = normed(of_state, gates, "recurrent_gain") + normed(of_input, gates, "input_gain")
    r, z = np.split(sigmoid(both + p["bias"][gates]), 2)
    remembered = normed(of_state, candidate, "recurrent_gain") + p["recurrent_bias"]
    n = np.tanh(normed(of_input, candidate, "input_gain") + p["bias"][candidate] + r * remembered)
    return ((1 - z) * n + z * h,)


def independent(p: loops.Arrays, state: loops.State, x: np.ndarray) -> loops.State:
    return (np.maximum(x @ p["kernel"] + p["recurrent"] * state[0] + p["bias"], 0),)


AGREE: dict[str, tuple[Cell, Loop, int]] = {  # with the number of the state's leaves
    "jordan": (Jordan(H, output_size=H, decay=0.5, output_activation="sigmoid"), jordan, 1),
    "peephole": (PeepholeLSTM(H), by_step(peephole), 2),
    "lstm without tanh": (LSTM(H, output_tanh=False), by_step(without_tanh), 2),
    "layer_norm_lstm": (LayerNormLSTM(H), by_step(layer_norm_lstm), 2),
    "layer_norm_gru": (LayerNormGRU(H), by_step(layer_norm_gru), 1),
    "indrnn": (IndRNN(H), by_step(independent), 1),
}


@pytest.mark.parametrize("name", AGREE)
@pytest.mark.usefixtures("x64")
def test_equations(name: str) -> None:
    cell, loop, leaves = AGREE[name]
    rng = np.random.default_rng(2)
    compare(cell, loop, [rng.normal(size=H) for _ in range(leaves)])


@pytest.mark.parametrize(
    "name",
    ["jordan", *(pytest.param(n, marks=pytest.mark.full) for n in ("peephole", "layer_norm_gru", "indrnn"))],
)
@pytest.mark.usefixtures("x64")
def test_every_way_gives_the_same(name: str) -> None:
    """The hand-driven way back against autodiff's, over a batch with a mask."""
    cell = AGREE[name][0]
    params = jax.tree.map(jnp.asarray, random_params(cell))
    xs = jax.random.normal(KEY, (4, 2, 2))
    mask = jnp.ones((4, 2), bool).at[2:, 1].set(False)

    def gradients(method: Any) -> Any:
        def loss(params: Any, xs: Any) -> Any:
            return contract.weigh(unroll(cell, params, xs, mask=mask, method=method))

        return jax.value_and_grad(loss, argnums=(0, 1))(params, xs)

    scan, fused = jax.jit(lambda: (gradients("scan"), gradients("fused")))()
    contract.assert_close(fused, scan, "fused is not scan", tolerance=1e-12)


@pytest.mark.parametrize("cell", [*CELLS.values(), *SAME_STEP], ids=lambda v: getattr(v, "__name__", str(v)))
def test_follows_the_parameters_type(cell: Cell) -> None:
    """Half precision in, half precision out."""
    given = jax.eval_shape(lambda: (cell.init(KEY, 2), jnp.zeros((4, 3, 2))))
    half = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), given)
    found = jax.eval_shape(partial(unroll, cell), *half)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}


def test_norms_are_taken_in_single_precision() -> None:
    """About 100 half precision counts in halves: a mean rounded to it would be off by up to a quarter."""
    x = 100 + jax.random.normal(KEY, (2, 1000))
    half = x.astype(jnp.bfloat16)
    found = layer_norm(half, jnp.ones(1000, jnp.bfloat16), 1e-5)
    assert found.dtype == jnp.bfloat16
    wide = np.asarray(half, np.float64)
    exact = (wide - wide.mean(axis=-1, keepdims=True)) / wide.std(axis=-1, keepdims=True)
    np.testing.assert_allclose(found.astype(jnp.float32), exact, rtol=0.01, atol=0.01)


# --- Jordan


@pytest.mark.usefixtures("x64")
def test_jordan_without_decay_is_fed_its_output() -> None:
    """The state is the last output; with the target in its place, a sequence is one step over all times."""
    cell = Jordan(H, output_size=2)
    params = jax.tree.map(jnp.asarray, random_params(cell))
    xs, targets = jax.random.normal(KEY, (5, 4, 2)), jax.random.normal(jax.random.key(4), (5, 4, 2))
    final, ys = unroll(cell, params, xs)
    np.testing.assert_array_equal(final, ys[-1])

    first = cell.initial_state(params, (4,))
    _, at_once = cell.step(params, jnp.concatenate([first[None], targets[:-1]]), cell.drive(params, xs))
    state = first
    for x, target, y in zip(xs, targets, at_once, strict=True):
        _, forced = cell.step(params, state, cell.drive(params, x))
        state = cell.feed(state, target)
        np.testing.assert_allclose(forced, y, rtol=1e-12)
        np.testing.assert_array_equal(state, target)
    assert np.max(np.abs(at_once - ys)[1:]) > 0.01


def test_jordan_feeds_targets_through_its_decay() -> None:
    """Fed its own outputs by hand it is itself; fed targets, its context is their decaying sum."""
    cell = Jordan(H, output_size=1, decay=0.5)
    params = cell.init(KEY, 2)
    state, drive = jnp.array([2.0]), cell.drive(params, jnp.ones(2))
    stepped, y = cell.step(params, state, drive)
    np.testing.assert_array_equal(cell.feed(state, y), stepped)
    np.testing.assert_array_equal(cell.feed(state, jnp.array([3.0])), [4.0])


def test_jordan_refuses_a_decay_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"decay is a share between 0 and 1, but is 1\.5"):
        Jordan(2, decay=1.5)
    with pytest.raises(ValueError, match="output_size must be a whole number of at least 1, but is 0"):
        Jordan(2, output_size=0)


# --- LSTMs


@pytest.mark.usefixtures("x64")
def test_peepholes_begin_as_an_lstm_and_learn() -> None:
    cell, plain = PeepholeLSTM(H), LSTM(H)
    params, plain_params = cell.init(KEY, 2), plain.init(KEY, 2)
    xs = jax.random.normal(KEY, (5, 4, 2))
    contract.assert_close(unroll(cell, params, xs), unroll(plain, plain_params, xs), "not an LSTM", 1e-12)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(unroll(cell, p, xs)[1] ** 2)))(params)["peepholes"]
    assert np.all(np.abs(gradient) > 1e-4)


def test_output_tanh_is_the_default() -> None:
    """No option given is the LSTM of always: the same cell, the same parameters; without tanh h is not bounded."""
    assert LSTM(H) == LSTM(H, output_tanh=True, max_lag=None)
    bare = LSTM(1, output_tanh=False)
    params = bare.init(KEY, 0)
    state = LSTMState(h=jnp.zeros(1), c=jnp.array([100.0]))
    _, ys = unroll(bare, params, jnp.zeros((1, 0)), state)
    assert ys[0, 0] > 30  # σ(0) of σ(1) of 100


# --- layer norm


@pytest.mark.parametrize(
    "cell",
    [LayerNormLSTM(4, epsilon=1e-14), LayerNormGRU(4, epsilon=1e-14)],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
@pytest.mark.usefixtures("x64")
def test_layer_norm_sees_no_scale_and_no_shift(cell: Cell) -> None:
    """Of either matrix, nor the scale of an input; a matrix of one gate scaled alone is seen."""
    params = jax.tree.map(jnp.asarray, random_params(cell))
    size = cell.initial_state(params)
    state = jax.tree.map(lambda leaf: jax.random.normal(KEY, leaf.shape), size)
    xs = jax.random.normal(KEY, (5, 2))
    run = jax.jit(partial(unroll, cell))
    expected = run(params, xs, state)
    shift = jnp.array([[0.7], [-0.4]])
    for changed in (
        params | {"recurrent": 3 * params["recurrent"]},
        params | {"recurrent": params["recurrent"] + 0.5},
        params | {"kernel": 0.2 * params["kernel"]},
        params | {"kernel": params["kernel"] + shift},
    ):
        contract.assert_close(run(changed, xs, state), expected, "a scale or a shift is seen")
    contract.assert_close(run(params, 5 * xs, state), expected, "the scale of an input is seen")
    one = params | {"recurrent": params["recurrent"].at[:, :4].multiply(3)}
    assert np.max(np.abs(run(one, xs, state)[1] - expected[1])) > 1e-3


def test_layer_norm_begins_with_the_forget_bias() -> None:
    params = LayerNormLSTM(2, forget_bias=-1.5).init(KEY, 1)
    np.testing.assert_array_equal(params["bias"], np.array([0, 0, -1.5, -1.5, 0, 0, 0, 0], np.float32))
    np.testing.assert_array_equal(params["recurrent_gain"], np.ones(8, np.float32))


# --- IndRNN


@pytest.mark.usefixtures("x64")
def test_indrnn_is_an_elman_net_of_diagonal_matrix() -> None:
    cell, elman = IndRNN(4, activation="tanh", low=-1.0), Elman(4)
    params = cell.init(KEY, 2)
    full = params | {"recurrent": jnp.diag(params["recurrent"])}
    xs = jax.random.normal(KEY, (6, 3, 2))
    contract.assert_close(unroll(cell, params, xs), unroll(elman, full, xs), "not diagonal", 1e-12)


def test_indrnn_draws_between_its_bounds() -> None:
    u = np.asarray(IndRNN(2000, low=-0.5, high=1.5).init(KEY, 1)["recurrent"])
    assert stats.kstest(u, stats.uniform(-0.5, 2.0).cdf).pvalue > 1e-3
    with pytest.raises(ValueError, match=r"low must not be above high, but they are 1\.0 and 0\.5"):
        IndRNN(2, low=1.0, high=0.5)


# --- named beginnings


def test_irnn_keeps_what_it_holds() -> None:
    """Without input the units stay as they are, for as long as one likes."""
    cell, state = irnn(H), jnp.array([0.5, 0.0, 2.0])
    final, _ = unroll(cell, cell.init(KEY, 0), jnp.zeros((100, 0)), state)
    np.testing.assert_array_equal(final, state)
    assert irnn(H) == irnn(H)


@pytest.mark.parametrize("make", [chrono_lstm, chrono_gru])
def test_chrono_spreads_lifetimes_over_the_lags(make: Callable[[int, int], Cell]) -> None:
    """1 + eᵇ, the mean lifetime, is uniform from 2 to the longest lag; nothing else is changed."""
    size, lag = 300, 50
    quick: Any = {"recurrent_init": Glorot()}
    cell: Any = dataclasses.replace(make(size, lag), **quick)
    params, plain = cell.init(KEY, 2), (LSTM if make is chrono_lstm else GRU)(size, **quick).init(KEY, 2)
    bias = np.asarray(params.pop("bias"), np.float64).reshape(-1, size)
    old = np.asarray(plain.pop("bias")).reshape(-1, size)
    contract.assert_close(params, plain, "another parameter is changed", tolerance=0.0)
    kept = bias[1]  # the forget gate in i, f, g, o; the update gate in r, z, n
    assert kept.min() >= 0
    assert kept.max() <= np.log(lag - 1) * (1 + 1e-6)
    assert stats.kstest(1 + np.exp(kept), stats.uniform(2, lag - 2).cdf).pvalue > 1e-3
    if make is chrono_lstm:
        np.testing.assert_array_equal(bias[0], -kept)
    else:
        np.testing.assert_array_equal(bias[0], old[0])
    np.testing.assert_array_equal(bias[2:], old[2:])
    assert not np.array_equal(kept, cell.init(jax.random.key(9), 0)["bias"][size : 2 * size])


@pytest.mark.parametrize(
    "cell", [chrono_lstm(50, 30), chrono_gru(50, 30), LSTM(50)], ids=lambda v: getattr(v, "__name__", str(v))
)
def test_memories_fade_as_their_gate_says(cell: Any) -> None:
    """Gates that see nothing but their bias keep σ(b) a step: 1 − 1/(1 + eᵇ); the plain LSTM σ(1)."""
    params = cell.init(KEY, 0)
    bias = params["bias"]
    silent = jax.tree.map(jnp.zeros_like, params) | {"bias": bias}
    ones = jax.tree.map(jnp.ones_like, cell.initial_state(params))
    final, _ = unroll(cell, silent, jnp.zeros((10, 0)), ones)
    kept = final.c if isinstance(cell, LSTM) else final
    lifetime = 1 + np.exp(np.asarray(bias[50:100], np.float64))
    np.testing.assert_allclose(kept, (1 - 1 / lifetime) ** 10, rtol=1e-4)
    if cell == LSTM(50):
        np.testing.assert_allclose(lifetime, 1 + np.e, rtol=1e-6)


@pytest.mark.parametrize("make", [chrono_lstm, chrono_gru])
def test_a_lag_of_nothing_is_refused(make: Callable[[int, int], Cell]) -> None:
    with pytest.raises(ValueError, match="max_lag must be a whole number of at least 2, but is 1"):
        make(3, 1)
