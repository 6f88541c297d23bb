"""Deep and bidirectional nets of PyTorch agree with ours of the same weights, padding included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, Cell, Elman, unroll
from models.cell import Array
from models.layers.bidirectional import Bidirectional
from models.layers.stacked import Stacked
from models.weights.torch_stack import from_torch_stack, state_from_torch, to_torch_stack
from tests.models import drawn

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: make test-peers")
pytestmark = pytest.mark.peers
T, B, D, H = 5, 3, 4, 3
CELLS: dict[str, tuple[Any, dict[str, Any], Cell]] = {
    "RNN": (torch.nn.RNN, {"nonlinearity": "relu"}, Elman(H, activation="relu")),
    "GRU": (torch.nn.GRU, {}, GRU(H)),
    "LSTM": (torch.nn.LSTM, {}, LSTM(H)),
}
SHAPES = [(2, True), (3, False), (1, True)]


def make(name: str, depth: int, both: bool, **options: Any) -> tuple[Any, Cell]:
    """A module of PyTorch with random weights and biases, and ours for it."""
    module, own, cell = CELLS[name]
    torch.manual_seed(1)
    module = module(D, H, num_layers=depth, bidirectional=both, dtype=torch.float64, **own, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    layer = Bidirectional(cell) if both else cell
    return module, layer if depth == 1 else Stacked((layer,) * depth)


def weight(shape: tuple[int, ...]) -> np.ndarray:
    """Another one for every entry, so that no gradient can hide in a sum."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def close(found: Any, expected: Any) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "packed"])
@pytest.mark.parametrize(("depth", "both"), SHAPES, ids=["deep both", "deep", "both"])
@pytest.mark.parametrize(
    "name", ["LSTM", *(pytest.param(name, marks=pytest.mark.full) for name in CELLS if name != "LSTM")]
)
@pytest.mark.usefixtures("x64")
def test_agrees(name: str, depth: int, both: bool, padded: bool) -> None:
    module, stack = make(name, depth, both)
    rng, count = np.random.default_rng(0), 2 if name == "LSTM" else 1
    xs = torch.tensor(rng.normal(size=(T, B, D)), requires_grad=True)
    states = [
        torch.tensor(rng.normal(size=(depth * (1 + both), B, H)), requires_grad=True) for _ in range(count)
    ]
    lengths, utils = [2, 5, 1], torch.nn.utils.rnn
    given = utils.pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=False) if padded else xs
    ys, finals = module(given, tuple(states) if count == 2 else states[0])
    ys = utils.pad_packed_sequence(ys, total_length=T)[0] if padded else ys
    finals = finals if count == 2 else (finals,)
    leaves = (ys, *finals)
    terms = [torch.sum(leaf * torch.from_numpy(weight(leaf.shape))) for leaf in leaves]
    torch.stack(terms).sum().backward()

    mask = jnp.asarray(np.arange(T)[:, None] < np.array(lengths)) if padded else None
    inputs = jnp.asarray(xs.detach().numpy())
    inputs = inputs if mask is None else jnp.where(mask[..., None], inputs, jnp.nan)

    def loss(params: Any, xs: Array, *states: Array) -> tuple[Array, Any]:
        final, ys = unroll(stack, params, xs, state_from_torch(stack, *states), mask=mask)
        # PyTorch's [layers · directions, B, H]: every second leaf is an LSTM's c.
        flat = jax.tree.leaves(final)
        found = (ys, *(jnp.stack(flat[i::count]) for i in range(count)))
        return sum((jnp.sum(leaf * weight(leaf.shape)) for leaf in found), jnp.zeros(())), found

    params = from_torch_stack(stack, module.state_dict())
    own_states = [jnp.asarray(state.detach().numpy()) for state in states]
    differentiate = jax.jit(jax.grad(loss, argnums=tuple(range(2 + count)), has_aux=True))
    (of_params, of_xs, *of_states), found = differentiate(params, inputs, *own_states)
    for ours, theirs in zip(found, leaves, strict=True):
        close(ours, theirs.detach())
    close(of_xs, xs.grad)
    for ours, theirs in zip(of_states, states, strict=True):
        close(ours, theirs.grad)
    gradients = to_torch_stack(stack, of_params)
    assert gradients.keys() == dict(module.named_parameters()).keys()
    for entry, parameter in module.named_parameters():
        if "bias_hh" not in entry:  # ours keeps the sum of both biases
            close(gradients[entry], parameter.grad)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.usefixtures("x64")
def test_there_and_back(name: str) -> None:
    """`to_torch_stack`, loaded, gives the same outputs; read back, the same weights bit for bit."""
    module, stack = make(name, 2, both=True)
    params = drawn.parameters(stack, D, scale=0.5)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch_stack(stack, params).items()})
    back = from_torch_stack(stack, module.state_dict())
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for found, expected in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(found, expected)
    xs = np.random.default_rng(2).normal(size=(T, B, D))
    close(unroll(stack, params, jnp.asarray(xs))[1], module(torch.from_numpy(xs))[0].detach())


def test_without_biases() -> None:
    module, stack = make("LSTM", 2, both=True, bias=False)
    params = from_torch_stack(stack, module.state_dict())
    assert not any(np.any(side["bias"]) for layer in params["layers"] for side in layer.values())


def test_errors() -> None:
    module, stack = make("LSTM", 2, both=True)
    states = module.state_dict()
    cell = LSTM(H)
    with pytest.raises(
        ValueError, match=r"weights for _l0, _l0_reverse, _l1, .* this Stacked takes _l0, _l1$"
    ):
        from_torch_stack(Stacked((cell, cell)), states)
    with pytest.raises(ValueError, match="no weight_ih_l2"):
        from_torch_stack(Stacked((Bidirectional(cell),) * 3), states)
    with pytest.raises(ValueError, match="connections are residual"):
        from_torch_stack(Stacked((Bidirectional(cell),) * 2, "residual"), states)
    with pytest.raises(ValueError, match="merge='sum'"):
        from_torch_stack(Stacked((Bidirectional(cell, merge="sum"),) * 2), states)
    for mixed in ((cell, GRU(H)), (cell, LSTM(4)), (cell, Bidirectional(cell))):
        with pytest.raises(ValueError, match="same type, size and number of directions"):
            from_torch_stack(Stacked(mixed), states)
    with pytest.raises(ValueError, match="no counterpart"):
        to_torch_stack(Stacked((GRU(H, reset="before"),)), {"layers": ({},)})
    with pytest.raises(ValueError, match=r"h has 3 entries, but this Stacked has 4 cells"):
        state_from_torch(stack, jnp.zeros((3, B, H)))
