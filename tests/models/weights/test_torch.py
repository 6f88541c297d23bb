"""Weights written into modules of PyTorch: under any prefix, in bfloat16, into cells; what differs is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    GRU,
    LSTM,
    Bidirectional,
    Cell,
    Elman,
    SelfAttention,
    Stacked,
    from_torch,
    from_torch_attention,
    from_torch_stack,
    load_torch,
    to_torch,
    to_torch_attention,
    to_torch_stack,
    unroll,
)
from tests.models import drawn

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: make test-peers")
pytestmark = pytest.mark.peers
B, D, H = 2, 3, 4
STACK = Stacked((Bidirectional(LSTM(H)),) * 2)


def larger(dtype: Any) -> Any:
    """A model with a deep LSTM inside, and attention."""
    rnn = torch.nn.LSTM(D, H, num_layers=2, bidirectional=True, dtype=dtype)
    inner = {"rnn": rnn, "attention": torch.nn.MultiheadAttention(H, 2, dtype=dtype)}
    return torch.nn.ModuleDict({"encoder": torch.nn.ModuleDict(inner), "head": torch.nn.Linear(H, 1)})


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_into_a_larger_model_and_back(name: str) -> None:
    """Bit for bit in both types; what lies beside it stays as it was."""
    model, attention = larger(getattr(torch, name)), SelfAttention(H, heads=2, position="none", causal=False)
    head = model["head"].weight.detach().clone()
    own: list[Any] = [
        jax.tree.map(lambda leaf: leaf.astype(name), drawn.parameters(cell, size))
        for cell, size in ((STACK, D), (attention, H))
    ]
    load_torch(model, to_torch_stack(STACK, own[0], prefix="encoder.rnn"))
    load_torch(model, to_torch_attention(attention, own[1], prefix="encoder.attention."))
    assert torch.equal(model["head"].weight, head)
    back = [
        from_torch_stack(STACK, model, prefix="encoder.rnn"),
        from_torch_attention(attention, model.state_dict(), prefix="encoder.attention"),
    ]
    assert jax.tree.structure(back) == jax.tree.structure(own)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(own), strict=True):
        assert one.dtype == other.dtype == name
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "cell", [Elman(H), Elman(H, "relu"), GRU(H), LSTM(H)], ids=["tanh", "relu", "GRU", "LSTM"]
)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.usefixtures("x64")
def test_cells(cell: Cell, bias: bool) -> None:
    """`RNNCell`, `GRUCell` and `LSTMCell`, one step."""
    params = drawn.parameters(cell, D)
    if not bias:
        params |= {key: jnp.zeros_like(leaf) for key, leaf in params.items() if "bias" in key}
    kind = {Elman: torch.nn.RNNCell, GRU: torch.nn.GRUCell, LSTM: torch.nn.LSTMCell}[type(cell)]
    options = {"nonlinearity": cell.activation} if isinstance(cell, Elman) else {}
    module = kind(D, H, bias=bias, dtype=torch.float64, **options)
    load_torch(module, to_torch(cell, params, layer=None, bias=bias))
    x = np.random.default_rng(0).normal(size=(B, D))
    given = module(torch.from_numpy(x))
    expected = given[0] if isinstance(cell, LSTM) else given
    np.testing.assert_allclose(
        unroll(cell, params, jnp.asarray(x[None]))[1][0], expected.detach(), atol=1e-12
    )
    back = from_torch(cell, module)
    assert all(np.array_equal(back[key], params[key]) for key in params)


def test_refused() -> None:
    model, params = larger(torch.float32), drawn.parameters(STACK, D)
    with pytest.raises(ValueError, match=r"no weight_ih_l0 here: give prefix='encoder\.rnn'"):
        from_torch(LSTM(H), model)
    with pytest.raises(ValueError, match=r"the module has no decoder\.weight_ih_l0: it has encoder\.rnn"):
        load_torch(model, to_torch_stack(STACK, params, prefix="decoder"))
    half = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), params)
    with pytest.raises(
        ValueError, match=r"is float32\[16, 3\] in the module, but bfloat16\[16, 3\] is given"
    ):
        load_torch(model, to_torch_stack(STACK, half, prefix="encoder.rnn"))
    with pytest.raises(ValueError, match="proj_size has no counterpart"):
        from_torch(LSTM(H), torch.nn.LSTM(D, H, proj_size=2))
