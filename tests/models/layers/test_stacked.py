"""Stacks against NumPy loops, layer by layer, and as cells: they step, and pass the contract."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from analysis import step_jacobians
from experiments.contract import checks as contract
from models import GRU, LSTM, Cell, Elman, Orthogonal, unroll
from models.cell import Array
from models.layers.bidirectional import Bidirectional
from models.layers.dropout import VariationalDropout
from models.layers.stacked import Stacked
from tests.contract import each_check
from tests.models import drawn, loops

pytestmark = pytest.mark.slow

T, B, D = 4, 2, 3
MASK = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], bool)
LOOPS: dict[type[Cell], loops.Step] = {Elman: loops.elman(), GRU: loops.gru_after, LSTM: loops.lstm}
DEEP = {
    "plain": Stacked((LSTM(2), Elman(4), GRU(3))),
    "residual": Stacked((GRU(3), LSTM(3), Elman(3)), "residual"),
    "dense": Stacked((Elman(2), LSTM(3), GRU(2)), "dense"),
    "highway": Stacked((LSTM(2), GRU(2), Elman(2)), "highway"),
}


def deep_loop(stack: Stacked, params: Any, xs: np.ndarray, states: Any) -> tuple[list[Any], np.ndarray]:
    """The docstring's equations, a layer at a time, over the valid steps in reverse."""
    outputs, finals = [xs], []
    for i, (layer, p, state) in enumerate(zip(stack.layers, params["layers"], states, strict=True)):
        below = np.concatenate(outputs, axis=-1) if stack.connection == "dense" else outputs[-1]
        final, f = loops.run(LOOPS[type(layer)], p, below, state, MASK, reverse=True)
        if i and stack.connection == "residual":
            f = below + f
        if i and stack.connection == "highway":
            gate = params["gates"][i - 1]
            t = loops.sigmoid(below @ gate["kernel"] + gate["bias"])
            f = t * f + (1 - t) * below
        finals.append(final)
        outputs.append(f)
    return finals, outputs[-1]


@pytest.mark.parametrize(
    "connection",
    [name if name == "residual" else pytest.param(name, marks=pytest.mark.full) for name in DEEP],
)
@pytest.mark.usefixtures("x64")
def test_equations(connection: str) -> None:
    """Outputs, final states and every gradient, by central differences of the loops; with holes, in reverse."""
    stack, rng = DEEP[connection], np.random.default_rng(3)
    drawn_params = drawn.parameters(stack, D)
    params, xs = jax.tree.map(np.array, drawn_params), rng.normal(size=(T, B, D))
    states = jax.tree.map(np.array, drawn.states(stack, drawn_params, (B,)))
    as_tuples = [tuple(jax.tree.leaves(state)) for state in states]

    def weighted(leaves: list[Any], xp: Any) -> Any:
        return sum(xp.sum(leaf * np.cos(np.arange(leaf.size)).reshape(leaf.shape)) for leaf in leaves)

    def loss(params: Any, xs: Array, states: Any) -> tuple[Array, Any]:
        found = unroll(stack, params, xs, states, mask=jnp.asarray(MASK), reverse=True)
        return weighted(jax.tree.leaves(found), jnp), found

    # What is masked is NaN for ours.
    given = jax.tree.map(jnp.asarray, (params, np.where(MASK[..., None], xs, np.nan), states))
    gradients, found = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*given)

    def by_loops() -> list[np.ndarray]:
        return jax.tree.leaves(deep_loop(stack, params, xs, as_tuples))

    for ours, wanted in zip(jax.tree.leaves(found), by_loops(), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12)
    arrays = jax.tree.leaves((params, xs, states))
    differences = loops.central_differences(lambda: float(weighted(by_loops(), np)), *arrays)
    for ours, wanted in zip(jax.tree.leaves(gradients), differences, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-8)


@each_check({"dense": Stacked((GRU(2, reset="before"), LSTM(1)), "dense", VariationalDropout(0.5))})
@pytest.mark.usefixtures("quick_compilation")
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.usefixtures("x64")
def test_jacobian_is_of_all_layers_states() -> None:
    """[[J₁, 0], [∂s²/∂s¹, J₂]] with J₁ the first layer's own: what is above doesn't act on what is below."""
    stack = Stacked((LSTM(2), GRU(3)))
    params = drawn.parameters(stack, D)
    xs = jax.random.normal(jax.random.key(1), (T, D))
    jacobians = step_jacobians(stack, params, xs)
    assert jacobians.shape == (T, 7, 7)
    below = step_jacobians(LSTM(2), params["layers"][0], xs)
    np.testing.assert_allclose(jacobians[:, :4, :4], below, rtol=1e-12)
    assert not np.any(jacobians[:, :4, 4:])
    assert np.all(np.abs(jacobians[1:, 4:, :2]).max(axis=(1, 2)) > 1e-3)
    _, ys = unroll(LSTM(2), params["layers"][0], xs)
    above = step_jacobians(GRU(3), params["layers"][1], ys)
    np.testing.assert_allclose(jacobians[:, 4:, 4:], above, rtol=1e-12)


def test_highway_carries_at_first() -> None:
    """With b = −1 and kernels of zero the gate is σ(−1) everywhere."""
    stack = Stacked((Elman(3), Elman(3)), "highway")
    params = stack.init(jax.random.key(0), D)
    assert len(params["gates"]) == 1
    np.testing.assert_array_equal(params["gates"][0]["bias"], np.full(3, -1.0))
    params["gates"][0]["kernel"] = jnp.zeros((3, 3))
    xs = jax.random.normal(jax.random.key(1), (T, D))
    _, first = unroll(Elman(3), params["layers"][0], xs)
    _, second = unroll(Elman(3), params["layers"][1], first)
    share = 1 / (1 + np.e)
    _, ys = unroll(stack, params, xs)
    np.testing.assert_allclose(ys, share * second + (1 - share) * first, rtol=1e-5, atol=1e-6)


def test_layers_differ_at_the_start() -> None:
    """Each layer draws from a key of its own."""
    params = Stacked((Elman(3), Elman(3), Elman(3)), "highway").init(jax.random.key(0), 3)
    for entry in ("kernel", "recurrent"):
        drawn = [layer[entry] for layer in params["layers"]]
        assert all(np.any(a != b) for i, a in enumerate(drawn) for b in drawn[:i])
    assert np.any(params["gates"][0]["kernel"] != params["gates"][1]["kernel"])


@pytest.mark.usefixtures("x64")
def test_observes_every_layer() -> None:
    """A stack shows what each layer shows when it is alone, its input being the output below."""
    stack = Stacked((LSTM(2), GRU(2)), "residual")
    params = drawn.parameters(stack, D)
    x, states = jnp.ones(D), jax.tree.map(lambda leaf: leaf + 0.3, stack.initial_state(params))
    found = stack.observe(stack.prepare(params), states, x)
    lstm, gru = params["layers"]
    below = LSTM(2).step(lstm, states[0], LSTM(2).drive(lstm, x))[1]
    expected = {f"layer1.{k}": v for k, v in LSTM(2).observe(lstm, states[0], LSTM(2).drive(lstm, x)).items()}
    expected |= {
        f"layer2.{k}": v for k, v in GRU(2).observe(gru, states[1], GRU(2).drive(gru, below)).items()
    }
    assert found.keys() == expected.keys()
    assert len(found) == 5
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12)


@dataclass(frozen=True)
class TwoOutputs(Elman):
    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Array, Any]:
        h, y = super().step(weights, state, drive)
        return h, (y, y)

    def has_product_form(self) -> bool:
        return False


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As a user has it: without the suite's own check of annotations, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def started(stack: Cell) -> Any:
    return drawn.parameters(stack, D)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no layers": (lambda: Stacked(()), "at least one layer"),
    "connection": (
        lambda: Stacked((LSTM(2),), "skip"),  # pyright: ignore[reportArgumentType]
        "unknown connection 'skip' between layers: there are plain, residual, dense, highway",
    ),
    "residual sizes": (
        lambda: started(Stacked((LSTM(2), LSTM(2), GRU(3)), "residual")),
        "residual connection .* layer 3 of 3, GRU, has input size 2 and output size 3",
    ),
    "highway sizes": (
        lambda: started(Stacked((LSTM(2), GRU(3)), "highway")),
        "highway connection .* layer 2",
    ),
    "two outputs": (
        lambda: started(Stacked((LSTM(2), TwoOutputs(2)))),
        "layer 2 of a stack, TwoOutputs, must",
    ),
    "state of another depth": (
        lambda: unroll(DEEP["plain"], started(DEEP["plain"]), jnp.ones((T, D)), (jnp.zeros(2),)),
        r"3 parts must be a tuple .*\(layer 1, layer 2, layer 3\), but is 1 entries",
    ),
    "state that is none": (
        lambda: unroll(DEEP["plain"], started(DEEP["plain"]), jnp.ones((T, D)), jnp.zeros(2)),
        "must be a tuple",
    ),
    "jacobian": (
        lambda: (lambda s: step_jacobians(s, started(s), jnp.ones((T, D))))(
            Stacked((LSTM(2), Bidirectional(Elman(2))))
        ),
        "a Stacked that reads from the end .* has no step",
    ),
    "method that a layer can't do": (
        lambda: (lambda s: unroll(s, started(s), jnp.ones((T, D)), method="fused"))(
            Stacked((LSTM(2), GRU(2, reset="before")))
        ),
        "fused",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.usefixtures("unchecked")
def test_errors(name: str) -> None:
    act, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        act()


def test_options_reach_every_layer() -> None:
    """Method and direction; and a stack of one plain layer is that layer."""
    cell = Elman(3, recurrent_init=Orthogonal(0.9))
    stack = Stacked((cell,), "highway")
    params = started(stack)
    assert params["gates"] == ()
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    run = jax.jit(unroll, static_argnums=0, static_argnames=("method", "reverse"))
    for options in ({"method": "scan"}, {"reverse": True}):
        (final,), ys = run(stack, params, xs, **options)
        own_final, own = run(cell, params["layers"][0], xs, **options)
        np.testing.assert_array_equal(ys, own)
        np.testing.assert_array_equal(final, own_final)
