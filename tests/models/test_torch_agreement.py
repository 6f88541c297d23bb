"""Weights taken from PyTorch give PyTorch's outputs, final states and gradients, and go back unchanged."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, BasicGRU, Cell, Elman, LSTMState, from_torch, from_torch_stack, to_torch, unroll
from models.cell import Array

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: make test-peers")
pytestmark = pytest.mark.peers
T, B, D, H = 6, 3, 4, 5
MODULES = {
    "RNN-tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}, Elman(H)),
    "RNN-relu": (torch.nn.RNN, {"nonlinearity": "relu"}, Elman(H, activation="relu")),
    "GRU": (torch.nn.GRU, {}, GRU(H)),
    "LSTM": (torch.nn.LSTM, {}, LSTM(H)),
}
GIVEN = pytest.mark.parametrize("name", MODULES)


def weights_of_ys(shape: tuple[int, ...]) -> np.ndarray:
    """Another weight for every entry, so that no gradient can hide in a sum."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def make(name: str, dtype: Any = torch.float64, layers: int = 1, **options: Any) -> tuple[Any, Cell]:
    """A module of PyTorch with random weights and biases, and the cell of ours for it."""
    module, own, cell = MODULES[name]
    torch.manual_seed(1)
    module = module(D, H, num_layers=layers, dtype=dtype, **own, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.7)
    return module, cell


def inputs(cell: Cell, dtype: Any = torch.float64, layers: int = 1) -> tuple[Any, tuple[Any, ...]]:
    """xs `[T, B, D]` and h0 (, c0), each `[layers, B, H]`, as leaves that want a gradient."""
    torch.manual_seed(2)
    xs = torch.randn(T, B, D, dtype=dtype, requires_grad=True)
    count = 2 if isinstance(cell, LSTM) else 1
    return xs, tuple(torch.randn(layers, B, H, dtype=dtype, requires_grad=True) for _ in range(count))


def run_torch(module: Any, xs: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    ys, final = module(xs, states if len(states) == 2 else states[0])
    return ys, final if isinstance(final, tuple) else (final,)


def numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()


def as_state(states: tuple[Any, ...], layer: int = 0) -> Any:
    leaves = [jnp.asarray(numpy(leaf)[layer]) for leaf in states]
    return LSTMState(*leaves) if len(leaves) == 2 else leaves[0]


def close(found: Any, expected: Any, tolerance: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def compare(
    name: str, dtype: Any, tolerance: float, lengths: list[int] | None = None, **options: Any
) -> None:
    """Outputs, final states, and the gradients of a weighted sum of both in everything there is."""
    module, cell = make(name, dtype, **options)
    xs, states = inputs(cell, dtype)
    if lengths is None:
        ys, finals = run_torch(module, xs, states)
        mask, given = None, jnp.asarray(numpy(xs))
    else:
        utils = torch.nn.utils.rnn
        packed = utils.pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=False)
        ys, finals = run_torch(module, packed, states)
        ys, _ = utils.pad_packed_sequence(ys, total_length=T)
        mask = jnp.asarray(np.arange(T)[:, None] < np.array(lengths))
        # What PyTorch cuts off is NaN for ours.
        given = jnp.where(mask[..., None], jnp.asarray(numpy(xs)), jnp.nan)
    loss: Any = sum(torch.sum(leaf * torch.from_numpy(weights_of_ys(leaf.shape))) for leaf in (ys, *finals))
    loss.backward()

    def ours(params: Any, xs: Array, state: Any) -> tuple[Array, Any]:
        final, ys = unroll(cell, params, xs, state, mask=mask)
        leaves = [ys, *(leaf[None] for leaf in jax.tree.leaves(final))]
        return sum((jnp.sum(leaf * weights_of_ys(leaf.shape)) for leaf in leaves), jnp.zeros(())), leaves

    params = from_torch(cell, module.state_dict())
    differentiate = jax.jit(jax.grad(ours, argnums=(0, 1, 2), has_aux=True))
    (d_params, d_xs, d_state), leaves = differentiate(params, given, as_state(states))
    for found, expected in zip(leaves, (ys, *finals), strict=True):
        close(found, numpy(expected), tolerance)
    close(d_xs, xs.grad, tolerance)
    for found, expected in zip(jax.tree.leaves(d_state), states, strict=True):
        close(found, numpy(expected.grad)[0], tolerance)
    close(d_params["kernel"].T, module.weight_ih_l0.grad, tolerance)
    close(d_params["recurrent"].T, module.weight_hh_l0.grad, tolerance)
    if module.bias:
        close(d_params["bias"], module.bias_ih_l0.grad, tolerance)
        of_state = np.array(d_params["bias"])
        if isinstance(cell, GRU):
            of_state[2 * H :] = d_params["recurrent_bias"]
        close(of_state, module.bias_hh_l0.grad, tolerance)
    else:
        assert not np.any(params["bias"])


@GIVEN
def test_single_precision(name: str) -> None:
    compare(name, torch.float32, 1e-6)


@GIVEN
@pytest.mark.usefixtures("x64")
def test_double_precision(name: str) -> None:
    compare(name, torch.float64, 1e-12)


@GIVEN
@pytest.mark.usefixtures("x64")
def test_without_biases(name: str) -> None:
    compare(name, torch.float64, 1e-12, bias=False)


@GIVEN
@pytest.mark.usefixtures("x64")
def test_packed_sequences_agree_with_masks(name: str) -> None:
    compare(name, torch.float64, 1e-12, lengths=[2, 6, 1])


@GIVEN
@pytest.mark.usefixtures("x64")
def test_layers_of_a_deep_net(name: str) -> None:
    """A two-layer net of PyTorch is its layers one after the other."""
    module, cell = make(name, layers=2)
    xs, states = inputs(cell, layers=2)
    expected, finals = run_torch(module, xs, states)
    ys = jnp.asarray(numpy(xs))
    for layer in (0, 1):
        params = from_torch(cell, module.state_dict(), layer=layer)
        final, ys = unroll(cell, params, ys, as_state(states, layer))
        for found, wanted in zip(jax.tree.leaves(final), finals, strict=True):
            close(found, numpy(wanted)[layer], 1e-12)
    close(ys, numpy(expected), 1e-12)


@GIVEN
@pytest.mark.usefixtures("x64")
def test_our_weights_in_torch(name: str) -> None:
    """`to_torch`, loaded, gives the same outputs; and read back, the same weights bit for bit."""
    module, cell = make(name)
    params = cell.init(jax.random.key(3), D)
    params = {k: v + jnp.asarray(weights_of_ys(v.shape)) for k, v in params.items()}  # no bias stays zero
    arrays = to_torch(cell, params)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    xs, states = inputs(cell)
    expected, finals = run_torch(module, xs, states)
    final, ys = unroll(cell, params, jnp.asarray(numpy(xs)), as_state(states))
    close(ys, numpy(expected), 1e-12)
    for found, wanted in zip(jax.tree.leaves(final), finals, strict=True):
        close(found, numpy(wanted)[0], 1e-12)
    back = from_torch(cell, module.state_dict())
    assert back.keys() == params.keys()
    for entry in params:
        np.testing.assert_array_equal(back[entry], params[entry])


@GIVEN
def test_training_the_module_later_changes_nothing_of_ours(name: str) -> None:
    module, cell = make(name, torch.float32)
    params = from_torch(cell, module.state_dict())
    before = {k: np.array(v) for k, v in params.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for entry, array in before.items():
        np.testing.assert_array_equal(params[entry], array)


@GIVEN
@pytest.mark.parametrize("bias", [True, False])
def test_every_way_to_hand_over_weights(name: str, bias: bool) -> None:
    """A module, its parameters by name, a prefix in a larger model, and a cell of PyTorch: the same weights."""
    module, cell = make(name, torch.float32, bias=bias)
    expected = from_torch(cell, module.state_dict())
    larger = torch.nn.ModuleDict({"encoder": torch.nn.ModuleDict({"rnn": module}), "other": module})
    one = getattr(torch.nn, f"{type(module).__name__}Cell")(D, H, bias=bias)
    one.load_state_dict({entry.removesuffix("_l0"): value for entry, value in module.state_dict().items()})
    for found in (
        from_torch(cell, module),
        from_torch(cell, module.named_parameters()),
        from_torch(cell, dict(module.named_parameters())),
        from_torch(cell, larger, prefix="encoder.rnn"),
        from_torch(cell, larger.state_dict(), prefix="encoder.rnn."),
        from_torch_stack(cell, larger.named_parameters(), prefix="encoder.rnn"),
        from_torch(cell, one),
        from_torch(cell, one.named_parameters()),
    ):
        assert found.keys() == expected.keys()
        for entry in expected:
            np.testing.assert_array_equal(found[entry], expected[entry])


@GIVEN
def test_weights_in_bfloat16(name: str) -> None:
    """Bit for bit, in bfloat16; the biases are one sum."""
    module, cell = make(name, torch.bfloat16)
    found = from_torch(cell, module)
    for entry, theirs in (("kernel", module.weight_ih_l0), ("recurrent", module.weight_hh_l0)):
        assert found[entry].dtype == jnp.bfloat16
        np.testing.assert_array_equal(np.asarray(found[entry], np.float32), numpy(theirs.float()).T)
    if not isinstance(cell, GRU):
        both = numpy((module.bias_ih_l0 + module.bias_hh_l0).float())
        np.testing.assert_array_equal(np.asarray(found["bias"], np.float32), both)


def test_what_does_not_fit_is_refused() -> None:
    module, cell = make("LSTM", torch.float32)
    states = module.state_dict()
    with pytest.raises(ValueError, match="no weight_ih_l1"):
        from_torch(cell, states, layer=1)
    with pytest.raises(ValueError, match=r"no entry under 'encoder\.': there are weight_ih_l0"):
        from_torch(LSTM(H), states, prefix="encoder")
    with pytest.raises(ValueError, match=r"weight_ih_l0 is \[20, 4\].*hidden_size=7.*takes \[28, D\]"):
        from_torch(LSTM(7), states)
    for other in (BasicGRU(H), GRU(H, reset="before")):
        with pytest.raises(ValueError, match="no counterpart"):
            from_torch(other, states)
    with pytest.raises(ValueError, match="tanh and relu, not 'sigmoid'"):
        from_torch(Elman(H, activation="sigmoid"), states)
