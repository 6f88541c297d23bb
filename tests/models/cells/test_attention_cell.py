"""The cell that attends to a memory: the contract, a NumPy loop of its equations, and what it refuses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.contract import checks as contract
from models import (
    GRU,
    LSTM,
    Additive,
    AttentionCell,
    AttentionReadout,
    BatchNormLSTM,
    Cell,
    CrossAttention,
    Dense,
    Dot,
    Elman,
    FedContext,
    Fused,
    General,
    LearnedState,
    Memory,
    Newton,
    PeepholeLSTM,
    RecurrentDropout,
    Residual,
    ScaledDot,
    Scan,
    SelfAttentive,
    Stacked,
    Transformer,
    stream,
    unroll,
    unroll_with_info,
)
from models.cells.batch_norm import observe_sequence
from tests.contract import ALWAYS
from tests.models import drawn, loops

T, B, D, H, M, L = 5, 3, 2, 4, 3, 4
READERS: dict[str, Cell] = {
    "additive": AttentionCell(GRU(3), memory_size=4),
    "not fed": AttentionCell(LSTM(2), General(), feed=False, memory_size=3),
    "around layers": AttentionCell(
        Stacked((Elman(3), Residual(CrossAttention(3, memory_size=2)))), memory_size=2
    ),
    "stack": Stacked((LSTM(4), Residual(CrossAttention(4, heads=2, memory_size=3)), Elman(3))),
    "fed context": FedContext(LSTM(2), 2, "ends"),
    "readout": Stacked((Elman(3), AttentionReadout(2, Additive(3)), Dense(2))),
    "transformer": Transformer(4, layers=1, context=8, memory_size=3, position="learned"),
    "learned state": LearnedState(AttentionCell(GRU(3), memory_size=4)),
    "own past too": SelfAttentive(AttentionCell(GRU(3), memory_size=2), context=3),
}


CHECKED = {
    "around layers": ("stepping", "mask", "memory"),
    "learned state": ("memory",),
    "own past too": ("memory", "stepping"),
}
IN_CI = ("additive", "fed context", "readout")  # one of each kind; the others differ in parts


def in_ci(name: str, what: str) -> bool:
    """Those that their equations decide. (The layers of Transformers have a test of their own.)"""
    return name in IN_CI and what in (*ALWAYS, "memory")


@pytest.mark.parametrize(
    ("cell", "check"),
    [
        pytest.param(cell, check, id=f"{name}-{what}", marks=[] if in_ci(name, what) else [pytest.mark.full])
        for name, cell in READERS.items()
        for what, check in contract.CHECKS.items()
        if what in CHECKED.get(name, contract.CHECKS)
    ],
)
@pytest.mark.usefixtures("quick_compilation")
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


def memory(batch_shape: tuple[int, ...] = (B,)) -> Memory:
    """Places of which some are masked and NaN; the last example has none that is valid."""
    rng = np.random.default_rng(5)
    mask = rng.random((L, *batch_shape)) < 0.6
    mask[0], mask[:, -1] = True, False
    values = np.where(mask[..., None], rng.normal(size=(L, *batch_shape, M)), np.nan)
    return Memory(jnp.asarray(values), jnp.asarray(mask))


def score(name: str, p: dict[str, np.ndarray], query: np.ndarray, value: np.ndarray) -> float:
    """The equation of each score for one query and one value."""
    match name:
        case "Dot":
            return float(query @ value)
        case "ScaledDot":
            return float(query @ value) / np.sqrt(len(value))
        case "General":
            return float(query @ (value @ p["kernel"]))
    return float(np.tanh(query @ p["query"] + value @ p["kernel"] + p["bias"]) @ p["readout"])


def loop(cell: AttentionCell, params: Any, xs: np.ndarray, given: Memory, valid: np.ndarray) -> np.ndarray:
    """The docstring's equations, one example, one step and one place at a time."""
    outputs = np.zeros((*xs.shape[:2], cell.cell.hidden_size + M))  # pyright: ignore[reportAttributeAccessIssue]
    for b in range(xs.shape[1]):
        places = [np.asarray(given.values)[i, b] for i in range(L) if given.mask[i, b]]
        h, context = np.zeros(cell.cell.hidden_size), np.zeros(M)  # pyright: ignore[reportAttributeAccessIssue]
        for t in range(xs.shape[0]):
            if not valid[t, b]:
                continue
            x = np.concatenate([xs[t, b], context]) if cell.feed else xs[t, b]
            h = loops.gru_after(params["cell"], (h,), x)[0]
            scores = np.array([score(type(cell.score).__name__, params["score"], h, m) for m in places])
            weights = np.exp(scores) / np.exp(scores).sum()
            context = sum((w * m for w, m in zip(weights, places, strict=True)), np.zeros(M))
            outputs[t, b] = np.concatenate([h, context])
    return outputs


@pytest.mark.parametrize(
    ("scores", "feed"),
    [
        (Additive(5), True),
        pytest.param(ScaledDot(), False, marks=pytest.mark.full),
        *(pytest.param(scores, True, marks=pytest.mark.full) for scores in (General(), Dot())),
    ],
)
@pytest.mark.usefixtures("x64")
def test_equations(scores: Any, feed: bool) -> None:
    """Outputs, with padding in the inputs and in the memory, and the gradient by central differences."""
    cell = AttentionCell(GRU(M), scores, feed, M)
    params = drawn.parameters(cell, D)
    xs, given = np.random.default_rng(2).normal(size=(T, B, D)), memory()
    valid = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1]], bool)
    padded, mask = jnp.asarray(np.where(valid[..., None], xs, np.nan)), jnp.asarray(valid)
    numbers = jax.tree.map(np.array, params)
    expected = loop(cell, numbers, xs, given, valid)
    _, ys = unroll(cell, params, padded, mask=mask, memory=given)
    np.testing.assert_allclose(ys, expected, rtol=1e-12, atol=1e-13)
    factors = np.cos(np.arange(expected.size)).reshape(expected.shape)

    def loss(params: Any) -> jax.Array:
        return jnp.sum(unroll(cell, params, padded, mask=mask, memory=given)[1] * factors)

    leaves = jax.tree.leaves(numbers)
    differences = loops.central_differences(
        lambda: float(np.sum(loop(cell, numbers, xs, given, valid) * factors)), *leaves
    )
    for ours, wanted in zip(jax.tree.leaves(jax.grad(loss)(params)), differences, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_recurrence_of_bahdanau() -> None:
    """s_t = f(s_{t−1}, [x_t, a(s_{t−1})]), the context at the start of the step, from the second step on; their
    first step, which reads the context of s_0, is ours given it."""
    cell = AttentionCell(GRU(H), memory_size=M)
    params, given = drawn.parameters(cell, D), jax.tree.map(lambda leaf: leaf[:, 0], memory())
    numbers, xs = jax.tree.map(np.array, params), np.random.default_rng(3).normal(size=(T, D))
    places = np.asarray(given.values)[np.asarray(given.mask)]

    def context(s: np.ndarray) -> np.ndarray:
        scores = np.array([score("Additive", numbers["score"], s, m) for m in places])
        return np.exp(scores) / np.exp(scores).sum() @ places

    s = np.full(H, 0.5)
    start = cell.initial_state(params)._replace(inner=jnp.asarray(s), context=jnp.asarray(context(s)))
    states = []
    for x in xs:
        s = loops.gru_after(numbers["cell"], (s,), np.concatenate([x, context(s)]))[0]
        states.append(s)
    _, ys = unroll(cell, params, jnp.asarray(xs), start, memory=given)
    np.testing.assert_allclose(ys[:, :H], states, rtol=1e-12)


@pytest.mark.full
@pytest.mark.usefixtures("x64")
def test_methods() -> None:
    """Newton's method solves it, with weights of its own for each example, in values and gradients; a scan with
    checkpoints too; the other says why it can't."""
    cell = AttentionCell(GRU(3), memory_size=M)
    params, given = drawn.parameters(cell, D, scale=0.5), memory()
    xs = jnp.asarray(np.random.default_rng(4).normal(size=(T, B, D)))
    mask = jnp.ones((T, B), bool).at[2, 1].set(False)

    def value_and_gradients(method: Any) -> Any:
        def loss(params: Any, values: jax.Array) -> tuple[jax.Array, Any]:
            own = Memory(values, given.mask)
            final, ys = unroll(cell, params, xs, mask=mask, memory=own, method=method)
            return jnp.sum(jnp.sin(ys)), (final, ys)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, given.values)

    expected = value_and_gradients("scan")
    for method in (Newton(), Scan(checkpoint_every=2)):
        contract.assert_close(value_and_gradients(method), expected, f"{method}", tolerance=1e-8)
    refusal = r"method 'associative' can't run AttentionCell\(.*it is for a LinearCell"
    with pytest.raises(ValueError, match=refusal):
        value_and_gradients("associative")


@pytest.mark.parametrize(
    "cell",
    [
        AttentionCell(GRU(M)),
        pytest.param(AttentionCell(PeepholeLSTM(M), General(), feed=False), marks=pytest.mark.full),
        pytest.param(AttentionCell(LSTM(2), Dot(), memory_size=2), marks=pytest.mark.full),
        pytest.param(
            AttentionCell(Stacked((GRU(3), LSTM(2))), Additive(5), memory_size=M), marks=pytest.mark.full
        ),
        pytest.param(AttentionCell(GRU(M, "before"), ScaledDot()), marks=pytest.mark.full),
    ],
)
@pytest.mark.usefixtures("x64")
def test_own_backward_pass(cell: AttentionCell) -> None:
    """The fused scan, which "auto" takes, has the values of the plain one and its gradients in parameters, inputs,
    memory and state, in both directions, with NaN in all padding."""
    params, given = drawn.parameters(cell, D), memory()
    values, rng = given.values[..., : cell.value_size], np.random.default_rng(4)
    valid = jnp.asarray(rng.random((T, B)) < 0.7)
    xs = jnp.where(valid[..., None], rng.normal(size=(T, B, D)), jnp.nan)
    start = drawn.states(cell, params, (B,))

    def differentiate(method: Any) -> Any:
        def loss(params: Any, xs: jax.Array, values: jax.Array, start: Any) -> tuple[jax.Array, Any]:
            both = [
                unroll(
                    cell,
                    params,
                    xs,
                    start,
                    mask=valid,
                    memory=Memory(values, given.mask),
                    reverse=back,
                    method=method,
                )
                for back in (False, True)
            ]
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(both)), both  # pyright: ignore

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(params, xs, values, start)

    contract.assert_close(differentiate("auto"), differentiate("scan"), "fused", tolerance=1e-12)
    _, _, info = unroll_with_info(cell, params, xs, mask=valid, memory=Memory(values, given.mask))
    assert info.method == Fused()


def test_attention_is_observed_and_streamed() -> None:
    """The weights sum to 1 over the valid places, and are those of the step that they are observed at; a stream
    gives what unroll gives, and calls with equal cells share one compilation."""
    cell, given = AttentionCell(GRU(H), memory_size=M), memory()
    params = cell.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    _, ys = unroll(cell, params, xs, memory=given)
    online = stream(cell, params, (B,), memory=given)
    state, weights = online.initial_state, cell.prepare(params, batch_shape=(B,), memory=given)
    observed = observe_sequence(cell, params, xs, memory=given)["memory_attention"]
    for x, y, over_time in zip(xs[:2], ys[:2], observed[:2], strict=True):
        seen = cell.observe(weights, state, cell.drive(weights, x))["memory_attention"]
        state, streamed = online.step(state, x)
        np.testing.assert_allclose(streamed, y, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(jnp.sum(seen, axis=-1), [1, 1, 0], atol=1e-6)
        clean = jnp.where(given.mask[..., None], given.values, 0)
        np.testing.assert_allclose(jnp.einsum("bl,lbm->bm", seen, clean), y[:, H:], rtol=1e-5, atol=1e-6)
        assert not np.any(seen[~given.mask.T])
        np.testing.assert_allclose(over_time, seen, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="reads a memory, but none is given"):
        observe_sequence(cell, params, xs)
    inside = AttentionCell(Stacked((Elman(2), CrossAttention(2, memory_size=M))), memory_size=M)
    weights = inside.prepare(params := inside.init(jax.random.key(0), D), batch_shape=(B,), memory=given)
    start = inside.initial_state(params, (B,))
    assert set(inside.observe(weights, start, xs[0])) == {
        "layer1.hidden",
        "layer2.memory_attention",
        "memory_attention",
    }


@dataclass(frozen=True)
class Shifted(Elman):
    """A product cell whose bias is shifted by the sum of a memory."""

    reads_memory: ClassVar[bool] = True
    memory_size: ClassVar[int] = M

    def prepare(self, params: Any, *, memory: Any = None, **options: Any) -> Any:
        return params | {"bias": params["bias"] + jnp.sum(memory.values)}


def test_dropout_around_a_cell_hands_a_memory_on() -> None:
    cell, given = Shifted(3), Memory(jnp.full((L, B, M), 0.01), jnp.ones((L, B), bool))
    params, xs = cell.init(jax.random.key(0), D), jax.random.normal(jax.random.key(1), (T, B, D))
    shifted = params | {"bias": params["bias"] + 0.01 * L * B * M}
    for around in (cell, RecurrentDropout(cell, 0.5)):
        _, ys = unroll(around, params, xs, memory=given)
        np.testing.assert_allclose(ys, unroll(Elman(3), shifted, xs)[1], rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="reads a memory, but none is given"):
            unroll(around, params, xs)


@pytest.mark.parametrize(
    "cell", [AttentionCell(GRU(H), memory_size=M), SelfAttentive(CrossAttention(H, memory_size=M))]
)
def test_memory_takes_the_type_of_the_parameters(cell: Cell) -> None:
    given = memory()
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell.init(jax.random.key(0), D))
    state, ys = unroll(cell, params, jnp.ones((T, B, D), jnp.bfloat16), memory=given)
    assert ys.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.int32)}
    assert bool(jnp.isfinite(ys).all())


def test_refusals() -> None:
    assert AttentionCell(GRU(H)).memory_size == H
    params = (cell := AttentionCell(GRU(H), memory_size=M)).init(jax.random.key(0), D)
    own = (stack := Stacked((GRU(3),))).init(jax.random.key(0), D)
    xs = jnp.ones((T, B, D))
    for call, said in {
        lambda: AttentionCell(
            Stacked((GRU(3),))
        ): "memory_size has no default, since a Stacked has no hidden_size",
        lambda: AttentionCell(BatchNormLSTM(3)): "BatchNormLSTM couples the examples of a batch",
        lambda: AttentionCell(
            GRU(3), memory_size=0
        ): "memory_size must be a whole number of at least 1, but is 0",
        lambda: AttentionCell(GRU(3), Dot(), memory_size=M + 1).init(
            jax.random.key(0), D
        ): "vectors of one size",
        lambda: unroll(cell, params, xs): "AttentionCell reads a memory, but none is given",
        lambda: unroll(cell, params, xs, memory=memory((B + 1,))): "the memory's values must be",
        lambda: unroll(stack, own, xs, memory=memory()): "a memory is given, but a Stacked reads none",
    }.items():
        with pytest.raises(ValueError, match=said):
            call()
