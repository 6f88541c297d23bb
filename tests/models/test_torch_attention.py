"""Attention, encoder and decoder layers of PyTorch agree with ours of the same weights, masks included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    GRU,
    Cell,
    CrossAttention,
    Memory,
    Norm,
    SelfAttention,
    Stacked,
    Transformer,
    from_torch_attention,
    to_torch_attention,
    unroll,
)
from models.cell import Array
from models.layers.transformer import transformer_block
from tests.models import drawn

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: make test-peers")
pytestmark = pytest.mark.peers
N, HEADS, F, M = 6, 2, 7, 4
T, B, L = 5, 3, 4
VALID = np.arange(T)[:, None] < np.array([5, 3, 4])  # of the sequences
THERE = np.arange(L)[:, None] < np.array([2, 4, 1])  # of the memory
POST, PRE = {"activation": "relu"}, {"activation": "gelu", "norm_first": True}


def block(norm: str, causal: bool, activation: str, memory_size: int | None = None) -> tuple[Cell, ...]:
    """Our block of the sizes of this file."""
    sizes: Any = {"heads": HEADS, "feed_forward": F, "memory_size": memory_size}
    return transformer_block(N, causal=causal, norm=norm, activation=activation, **sizes)  # pyright: ignore


def encoder(layers: int, norm: Any, **options: Any) -> Any:
    """PyTorch's encoder of several layers, with a last norm or without."""
    inner = torch.nn.TransformerEncoderLayer(N, HEADS, F, dropout=0, dtype=torch.float64, **options)
    return torch.nn.TransformerEncoder(inner, layers, norm, enable_nested_tensor=False)


def last_norm() -> Any:
    return torch.nn.LayerNorm(N, dtype=torch.float64)


def modules() -> dict[str, tuple[Any, Cell, bool, bool]]:
    """PyTorch's module, ours, whether it is causal, whether it reads a memory."""
    double = {"dtype": torch.float64}
    layer = {"dropout": 0, **double}
    attention, decoder = torch.nn.MultiheadAttention, torch.nn.TransformerDecoderLayer
    encoder_layer = torch.nn.TransformerEncoderLayer
    whole = torch.nn.TransformerDecoder(decoder(N, HEADS, F, **PRE, **layer), 2, last_norm())
    transformer = Transformer(N, 2, HEADS, 8, "none", "pre", F, causal=False)
    return {
        "self": (attention(N, HEADS, **double), SelfAttention(N, HEADS, causal=False), False, False),
        "self causal": (attention(N, HEADS, **double), SelfAttention(N, HEADS, 8), True, False),
        "cross": (attention(N, HEADS, **double), CrossAttention(N, HEADS), False, True),
        "cross kdim": (
            attention(N, HEADS, kdim=M, vdim=M, **double),
            CrossAttention(N, HEADS, M),
            False,
            True,
        ),
        "encoder post": (
            encoder_layer(N, HEADS, F, **POST, **layer),
            Stacked(block("post", False, "relu")),
            False,
            False,
        ),
        "encoder pre causal": (
            encoder_layer(N, HEADS, F, **PRE, **layer),
            Stacked(block("pre", True, "gelu")),
            True,
            False,
        ),
        "decoder post": (
            decoder(N, HEADS, F, **POST, **layer),
            Stacked(block("post", True, "relu", N)),
            True,
            True,
        ),
        "encoder 2 pre": (encoder(2, last_norm(), **PRE), transformer, False, False),
        "decoder 2 pre": (whole, Stacked((*block("pre", True, "gelu", N) * 2, Norm())), True, True),
    }


MODULES = (
    "self",
    "self causal",
    "cross",
    "cross kdim",
    "encoder post",
    "encoder pre causal",
    "decoder post",
    "encoder 2 pre",
    "decoder 2 pre",
)


def make(name: str, dtype: Any) -> tuple[Any, Cell, bool, bool]:
    """A module with random weights, norms included, and the rest of `modules`."""
    torch.manual_seed(1)
    module, *rest = modules()[name]
    module = module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    return module, *rest  # pyright: ignore[reportReturnType]


def run(module: Any, xs: Any, memory: Any, causal: bool) -> Any:
    """PyTorch's outputs `[T, B, N]`, with keys masked beyond their length."""
    absent, gone = torch.from_numpy(~VALID.T), torch.from_numpy(~THERE.T)
    mask = torch.ones(T, T, dtype=torch.bool).triu(1) if causal else None
    if isinstance(module, torch.nn.MultiheadAttention):
        keys = xs if memory is None else memory
        options = {"key_padding_mask": absent if memory is None else gone, "need_weights": False}
        return module(xs, keys, keys, attn_mask=mask, **options)[0]
    if memory is None:
        own = "mask" if isinstance(module, torch.nn.TransformerEncoder) else "src_mask"
        return module(xs, src_key_padding_mask=absent, **{own: mask})
    return module(xs, memory, tgt_mask=mask, tgt_key_padding_mask=absent, memory_key_padding_mask=gone)


def close(found: Any, expected: Any, tolerance: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("name", "bits"), [*((name, 64) for name in MODULES), ("self causal", 32), ("decoder post", 32)]
)
def test_agrees(name: str, bits: int, request: pytest.FixtureRequest) -> None:
    """Outputs at valid steps, and the gradients of a weighted sum of them in weights, inputs and memory; with NaN
    in all that is masked."""
    if bits == 64:
        request.getfixturevalue("x64")
    tolerance = {64: 1e-10, 32: 1e-5}[bits]
    dtype = {64: torch.float64, 32: torch.float32}[bits]
    module, layer, causal, reads = make(name, dtype)
    rng = np.random.default_rng(0)
    xs = torch.tensor(rng.normal(size=(T, B, N)), dtype=dtype, requires_grad=True)
    size = layer.memory_size if reads else N  # pyright: ignore[reportAttributeAccessIssue]
    memory = torch.tensor(rng.normal(size=(L, B, size)), dtype=dtype, requires_grad=True)
    weights = np.cos(np.arange(T * B * N)).reshape(T, B, N) * VALID[..., None]
    theirs = run(module, xs, memory if reads else None, causal)
    torch.sum(theirs * torch.tensor(weights, dtype=dtype)).backward()

    def loss(params: Any, xs: Array, values: Array) -> tuple[Array, Array]:
        given: Any = {"memory": Memory(values, jnp.asarray(THERE))} if reads else {}
        _, ys = unroll(layer, params, xs, mask=jnp.asarray(VALID), **given)
        return jnp.sum(ys * jnp.asarray(weights, ys.dtype)), ys

    params = from_torch_attention(layer, module)
    own = [
        jnp.where(there[..., None], jnp.asarray(leaf.detach().numpy()), jnp.nan)
        for leaf, there in ((xs, VALID), (memory, THERE))
    ]
    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    (of_params, of_xs, of_memory), ys = differentiate(params, *own)
    close(ys, np.where(VALID[..., None], theirs.detach(), 0), tolerance)
    close(of_xs, xs.grad, tolerance)
    if reads:
        close(of_memory, memory.grad, tolerance)
    gradients = to_torch_attention(layer, of_params)
    assert gradients.keys() == dict(module.named_parameters()).keys()
    for entry, parameter in module.named_parameters():
        close(gradients[entry], parameter.grad, tolerance)


def test_a_memory_without_a_valid_place() -> None:
    """PyTorch gives NaN there, ours the output's bias; the other examples agree."""
    module, layer, *_ = make("cross kdim", torch.float32)
    rng, empty = np.random.default_rng(0), THERE & np.array([True, False, True])
    xs, values = (rng.normal(size=size).astype(np.float32) for size in ((T, B, N), (L, B, M)))
    given = (torch.from_numpy(array) for array in (xs, values, values))
    theirs = module(*given, key_padding_mask=torch.from_numpy(~empty.T))[0].detach().numpy()
    params = from_torch_attention(layer, module)
    ys = unroll(layer, params, jnp.asarray(xs), memory=Memory(jnp.asarray(values), jnp.asarray(empty)))[1]
    assert np.isnan(theirs[:, 1]).all()
    close(ys[:, [0, 2]], theirs[:, [0, 2]], 1e-5)
    close(ys[:, 1], np.broadcast_to(module.out_proj.bias.detach(), (T, N)), 1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_there_and_back(name: str) -> None:
    """`to_torch_attention` fills the whole module; read back, the same weights bit for bit."""
    module, layer, *_ = make(name, torch.float32)
    params = drawn.parameters(layer, N)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch_attention(layer, params).items()})
    whole = torch.nn.ModuleDict({"part": module})
    for back in (
        from_torch_attention(layer, module),
        from_torch_attention(layer, module.state_dict()),
        from_torch_attention(layer, whole, prefix="part"),
    ):
        assert jax.tree.structure(back) == jax.tree.structure(params)
        for found, expected in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
            np.testing.assert_array_equal(found, expected)


ENCODER = Transformer(N, 2, HEADS, 8, "none", "pre", F, causal=False)
OTHER_LAYERS: dict[str, tuple[Cell, str]] = {
    "a recurrent stack": (Stacked((GRU(N),)), "PyTorch has no counterpart of this Stacked"),
    "a plain block": (Stacked((SelfAttention(N), Norm())), "PyTorch has no counterpart of this Stacked"),
    "rotary": (Transformer(N, 2, 1), "position='rotary': take 'none'"),
    "learned": (SelfAttention(N, position="learned"), "position='learned': take 'none'"),
    "another memory": (
        Stacked(block("pre", True, "gelu", M)),
        "memory of its own size 6, but this one's has size 4",
    ),
    "too few blocks": (Stacked(block("pre", False, "gelu") * 3), "has 2 blocks, but this Stacked has 3"),
    "no last norm": (
        Stacked(block("pre", False, "gelu") * 2),
        "has norm.weight, norm.bias, which this Stacked",
    ),
    "other size": (Transformer(8, 2, HEADS, 8, "none"), r"norm1.weight is \[6\], but Norm\(.*\) takes \[8\]"),
    "other heads": (
        Transformer(N, 2, 1, 8, "none", "pre", F),
        "num_heads is 2, but that of SelfAttention.* is 1",
    ),
    "other order": (
        Stacked((*block("post", False, "gelu") * 2, Norm())),
        "norm_first is True, but that of Feed.* is False",
    ),
    "other activation": (
        Stacked((*block("pre", False, "relu") * 2, Norm())),
        "activation is 'gelu', but .* is 'relu'",
    ),
    "other epsilon": (
        Stacked((*block("pre", False, "gelu") * 2, Norm(1e-3))),
        "norm.eps is 1e-05, but .* is 0.001",
    ),
}


@pytest.mark.parametrize("case", OTHER_LAYERS)
def test_layers_that_do_not_fit(case: str) -> None:
    layer, sentence = OTHER_LAYERS[case]
    with pytest.raises(ValueError, match=sentence):
        from_torch_attention(layer, make("encoder 2 pre", torch.float32)[0])


def test_entries_that_do_not_fit() -> None:
    attention, layer = torch.nn.MultiheadAttention, SelfAttention(N, HEADS)
    with pytest.raises(ValueError, match=r"no in_proj_bias: .*made with bias=False"):
        from_torch_attention(layer, attention(N, HEADS, bias=False))
    with pytest.raises(ValueError, match=r"has bias_k, bias_v, .* add_bias_kv=True has no counterpart"):
        from_torch_attention(layer, attention(N, HEADS, add_bias_kv=True))
    with pytest.raises(
        ValueError, match=r"in_proj_weight is \[24, 8\], but SelfAttention\(.*\) takes \[18, 6\]"
    ):
        from_torch_attention(layer, attention(8, HEADS))
    with pytest.raises(
        ValueError, match=r"v_proj_weight is \[6, 5\], but CrossAttention\(.*\) takes \[6, 4\]"
    ):
        from_torch_attention(CrossAttention(N, HEADS, M), attention(N, HEADS, kdim=M, vdim=5))
    with pytest.raises(ValueError, match="reads inputs of another size than its own"):
        to_torch_attention(layer, drawn.parameters(layer, 5))
    with pytest.raises(ValueError, match="doesn't project its inputs"):
        to_torch_attention(ENCODER, drawn.parameters(ENCODER, 5))
