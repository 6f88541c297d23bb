"""The Neural Turing machine: the contract, a NumPy loop of its equations, weights set by hand, its Jacobian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.contract import checks as contract
from models import GRU, AttentionCell, BatchNormLSTM, Cell, Dense, NeuralTuringMachine, unroll
from models.cells.neural_turing_machine import cosines, sharpened
from tests.contract import each_check

LSTM_CONTROLLED = NeuralTuringMachine(3, slots=5, width=2)
CONTROLLED = NeuralTuringMachine(
    3, Dense(3), slots=6, width=2, reads=2, writes=2, shift=2, memory_start="learned"
)
T, D = 6, 3


@pytest.mark.usefixtures("quick_compilation")
@each_check({"lstm": LSTM_CONTROLLED})
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.full
@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", contract.CHECKS)
def test_contract_with_several_heads(name: str) -> None:
    contract.run(contract.CHECKS[name], CONTROLLED)


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def loop(params: Any, xs: np.ndarray) -> np.ndarray:
    """The equations, head by head and row by row, for `CONTROLLED`: outputs `[T, 3 + 2·2]`."""
    memory = np.array(params["start"]["memory"])
    weights = [softmax(row) for row in params["start"]["heads"]]
    reads = list(params["start"]["reads"])
    outputs = []
    for x in xs:
        given = np.concatenate([x, *reads])
        h = np.tanh(given @ params["controller"]["kernel"] + params["controller"]["bias"])
        z = np.clip(h @ params["heads"]["kernel"] + params["heads"]["bias"], -20, 20)
        size = 2 + 3 + 5
        for head in range(4):
            own = z[head * size : (head + 1) * size]
            key, beta, gate = np.tanh(own[:2]), softplus(own[2]), sigmoid(own[3])
            gamma, shifts = 1 + softplus(own[4]), softmax(own[5:])
            near = [
                key @ row / (np.sqrt(key @ key + 1e-12) * np.sqrt(row @ row + 1e-12) + 1e-6) for row in memory
            ]
            v = gate * softmax(beta * np.array(near)) + (1 - gate) * weights[head]
            u = [sum(shifts[j + 2] * v[(i - j) % 6] for j in range(-2, 3)) for i in range(6)]
            weights[head] = np.array(u) ** gamma / np.sum(np.array(u) ** gamma)
        written = z[4 * size :].reshape(2, 2, 2)
        erased, added = sigmoid(written[0]), np.tanh(written[1])
        for w, e in zip(weights[2:], erased, strict=True):
            memory = memory * (1 - np.outer(w, e))
        memory = memory + sum(np.outer(w, a) for w, a in zip(weights[2:], added, strict=True))
        reads = [w @ memory for w in weights[:2]]
        outputs.append(np.concatenate([h, *reads]))
    return np.array(outputs)


@pytest.mark.usefixtures("x64")
def test_a_loop_gives_the_same_outputs_and_gradients() -> None:
    params: Any = CONTROLLED.init(jax.random.key(0), D)
    params = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    xs = np.random.default_rng(0).normal(size=(T, D))
    ys = jax.jit(lambda p: unroll(CONTROLLED, p, jnp.asarray(xs))[1])(params)
    numbers = jax.tree.map(np.asarray, params)
    np.testing.assert_allclose(ys, loop(numbers, xs), rtol=1e-10, atol=1e-12)

    weigh = np.random.default_rng(1).normal(size=ys.shape)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(weigh * unroll(CONTROLLED, p, jnp.asarray(xs))[1])))(params)
    for seed in range(3):
        direction = jax.tree.map(
            lambda leaf, seed=seed: np.random.default_rng(seed).normal(size=leaf.shape), numbers
        )
        ends = []
        for step in (1e-6, -1e-6):
            there = jax.tree.map(lambda leaf, d, step=step: leaf + step * d, numbers, direction)
            ends.append(np.sum(weigh * loop(there, xs)))
        along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: float(np.sum(g * d)), gradient, direction)))
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def copying(width: int, slots: int) -> tuple[NeuralTuringMachine, Any]:
    """A machine that copies: inputs `[bits ±1, write, read]`. While it writes, the head that writes goes
    one row further; while it reads, so does the head that reads."""
    cell = NeuralTuringMachine(width + 2, Dense(width + 2, "identity"), slots=slots, width=width)
    params: Any = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), width + 2))
    params["controller"]["kernel"] = params["controller"]["kernel"].at[: width + 2].set(jnp.eye(width + 2))
    size, write, read = width + 6, width, width + 1
    kernel, bias = params["heads"]["kernel"], params["heads"]["bias"]
    for head, flag in enumerate((read, write)):
        start = head * size
        bias = bias.at[start + width + 1].set(-20)  # the gate: never by content
        bias = bias.at[start + width + 2].set(20)  # sharp
        stay, further = start + width + 4, start + width + 5
        kernel = kernel.at[flag, further].set(40).at[flag, stay].set(-40)
        bias = bias.at[further].set(-20).at[stay].set(20)
    erase, add = 2 * size, 2 * size + width
    kernel = kernel.at[write, erase:add].set(40)
    bias = bias.at[erase:add].set(-20)
    kernel = kernel.at[jnp.arange(width), add + jnp.arange(width)].set(20)
    params["heads"] = {"kernel": kernel, "bias": bias}
    params["start"]["heads"] = params["start"]["heads"].at[:, 0].set(60)
    return cell, params


def test_weights_set_by_hand_copy() -> None:
    """Twelve rows into sixteen, and back, exactly."""
    width, slots, length = 4, 16, 12
    cell, params = copying(width, slots)
    bits = np.sign(np.random.default_rng(0).normal(size=(length, width)))
    rest = np.zeros((length, width))
    flags = np.eye(2)[[0] * length + [1] * length]
    xs = jnp.asarray(np.concatenate([np.concatenate([bits, rest]), flags], axis=1), jnp.float32)
    _, ys = jax.jit(lambda xs: unroll(cell, params, xs))(xs)
    np.testing.assert_allclose(ys[length:, -width:], bits, atol=1e-5)


@pytest.mark.full
@pytest.mark.usefixtures("x64")
def test_jacobian_of_the_memory() -> None:
    """With heads that don't look at the content, ∂M_t/∂M_{t−1} is diagonal: 1 − w_i e_j."""
    cell = NeuralTuringMachine(4, slots=5, width=3)
    params: Any = cell.init(jax.random.key(0), D)
    size = 3 + 3 + 3
    bias = params["heads"]["bias"].at[jnp.array([3 + 1, size + 3 + 1])].set(-1e9)
    params["heads"]["bias"] = bias
    state = unroll(cell, params, jax.random.normal(jax.random.key(1), (4, D)))[0]
    weights = cell.prepare(params)
    x = jax.random.normal(jax.random.key(2), (D,))

    def write(memory: Any) -> Any:
        return cell.step(weights, state._replace(memory=memory), x)[0].memory

    seen = cell.observe(weights, state, x)
    wanted = 1 - np.outer(seen["write_weights"][0], seen["erase"][0])
    jacobian = jax.jit(jax.jacfwd(write))(state.memory).reshape(15, 15)
    np.testing.assert_allclose(jacobian, np.diag(wanted.ravel()), atol=1e-8)  # the gate is σ(−20)
    assert wanted.min() < 0.9


def test_gradients_at_zero() -> None:
    """A weight of zero, a row and a key of zeros: finite gradients."""
    w, gamma = jnp.array([0.0, 0.5, 0.5]), jnp.array(3.0)
    for gradient in jax.grad(lambda w, gamma: sharpened(w, gamma)[1], argnums=(0, 1))(w, gamma):
        assert np.all(np.isfinite(gradient))
    tiny = jnp.full(128, 1 / 128)
    np.testing.assert_allclose(
        sharpened(tiny, jnp.array(21.0)), tiny, rtol=1e-4
    )  # 128^−21 is zero in float32
    zeros = jnp.zeros((2, 3))
    for gradient in jax.grad(lambda k, m: jnp.sum(cosines(k, m)), argnums=(0, 1))(zeros, zeros):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"slots": 0}, "slots must be a whole number of at least 1"),
        ({"slots": 4, "reads": 5}, "reads is 5, more heads than the 4 rows"),
        ({"slots": 4, "shift": 2}, "moves a head to 5 places, but the memory has 4 rows"),
        ({"controller": BatchNormLSTM(3)}, "couples the examples of a batch"),
        ({"controller": AttentionCell(GRU(3))}, "attends to a memory"),
    ],
)
def test_refusals(options: Any, refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        NeuralTuringMachine(3, **options)
