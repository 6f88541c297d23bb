"""PyTorch's Transformer, and an attention model written there as a loop over tokens, agree with ours of the same
weights: loss, logits and gradients, with ragged sources and targets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    GRU,
    Additive,
    AttentionCell,
    Bidirectional,
    Cell,
    Dense,
    EncoderDecoder,
    Norm,
    Stacked,
    TokenReader,
    TokenWriter,
    from_torch,
    from_torch_attention,
    from_torch_stack,
    to_torch,
    to_torch_attention,
    to_torch_stack,
)
from models.layers.transformer import transformer_block

torch: Any = pytest.importorskip("torch", reason="needs PyTorch: make test-peers")
pytestmark = pytest.mark.peers
V, W, N, H, F, L, T, B, END = 7, 6, 6, 5, 8, 5, 4, 3, 1
SOURCE = np.arange(L)[:, None] < np.array([5, 2, 3])
TARGET = np.arange(T)[:, None] < np.array([2, 4, 1])
SMOOTHING = 0.1
nn = torch.nn


def drawn(module: Any, dtype: Any) -> Any:
    """The module with every parameter drawn at random, norms and biases too."""
    torch.manual_seed(1)
    module = module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    return module


def pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources, targets and the inputs of the decoder."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(0, V, (L, B)), rng.integers(0, W, (T, B))
    return inputs, targets, np.concatenate([np.full((1, B), END), targets[:-1]])


def transformer_logits(module: Any) -> Any:
    """The logits of `nn.Transformer` between embeddings and a linear layer."""
    inputs, _, fed = map(torch.from_numpy, pairs())
    absent, gone = torch.from_numpy(~TARGET.T), torch.from_numpy(~SOURCE.T)
    ys = module["both"](
        module["source"](inputs) * N**0.5,
        module["target"](fed) * N**0.5,
        tgt_mask=torch.ones(T, T, dtype=torch.bool).triu(1),
        src_key_padding_mask=gone,
        tgt_key_padding_mask=absent,
        memory_key_padding_mask=gone,
    )
    return module["readout"](ys)


def attention_logits(module: Any) -> Any:
    """The logits of a GRU with additive attention, token by token."""
    inputs, _, fed = map(torch.from_numpy, pairs())
    packed = nn.utils.rnn.pack_padded_sequence(module["source"](inputs), SOURCE.sum(0), enforce_sorted=False)
    outputs, final = module["encoder"](packed)
    memory, _ = nn.utils.rnn.pad_packed_sequence(outputs, total_length=L)
    state = torch.tanh(module["bridge"](torch.cat([final[0], final[1]], dim=-1)))
    keys, context, logits = module["projection"](memory), memory.new_zeros(B, 2 * H), []
    for token in fed:
        read = torch.cat([module["target"](token), context], dim=-1)
        _, after = module["decoder"](read[None], state[None])
        state = after[0]
        scores = module["score"](torch.tanh(module["query"](state) + keys))[..., 0]
        alphas = torch.softmax(scores.masked_fill(torch.from_numpy(~SOURCE), -torch.inf), dim=0)
        context = torch.einsum("lb,lbm->bm", alphas, memory)
        y = torch.tanh(module["vector"](torch.cat([state, context], dim=-1)))
        logits.append(module["readout"](y))
    return torch.stack(logits)


def theirs(logits: Any, module: Any) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The logits, the loss with smoothed labels, and its gradients by name."""
    targets = torch.from_numpy(np.where(TARGET, pairs()[1], -1))
    loss = nn.functional.cross_entropy(
        logits.reshape(-1, W),
        targets.reshape(-1),
        ignore_index=-1,
        label_smoothing=SMOOTHING,
        reduction="sum",
    )
    loss.backward()
    gradients = {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}
    return logits.detach().numpy(), loss.item(), gradients


def ours(model: EncoderDecoder, params: Any) -> tuple[Any, Any, Any]:
    """The same of ours."""
    inputs, targets = (jnp.asarray(x) for x in pairs()[:2])
    masks: Any = {"mask": jnp.asarray(SOURCE), "target_mask": jnp.asarray(TARGET)}

    def loss(params: Any) -> tuple[jax.Array, Any]:
        found: Any = model.apply(params, inputs, targets, smoothing=SMOOTHING, method="loss", **masks)
        return found[0], model.apply(params, inputs, targets=targets, **masks)

    (value, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return logits, value, gradient["params"]


def array(tensor: Any) -> jax.Array:
    return jnp.asarray(tensor.detach().numpy())


def linear(layer: Any) -> dict[str, jax.Array]:
    return {"kernel": array(layer.weight).T, "bias": array(layer.bias)}


def close(found: Any, expected: Any, tolerance: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


def compare(
    model: EncoderDecoder, params: Any, logits: Any, module: Any, named: Any, tolerance: float
) -> None:
    """`named` maps our gradients to PyTorch's names."""
    wanted_logits, wanted, wanted_gradients = theirs(logits, module)
    found_logits, value, gradients = ours(model, {"params": params})
    close(np.asarray(found_logits)[TARGET], wanted_logits[TARGET], tolerance)
    close(value, wanted, tolerance)
    found = named(gradients)
    assert found.keys() == wanted_gradients.keys()
    for name, gradient in wanted_gradients.items():
        close(found[name], gradient, tolerance)


def prefixed(start: str, entries: dict[str, Any]) -> dict[str, Any]:
    return {f"{start}.{name}": entry for name, entry in entries.items()}


def of_gates(entries: dict[str, Any]) -> dict[str, Any]:
    """The gradients of a GRU's two biases, which are one and the same for the gates r and z."""
    for name in [name for name in entries if name.startswith("bias_hh")]:
        entries[name][: 2 * H] = entries[name.replace("hh", "ih")][: 2 * H]
    return entries


def as_linear(start: str, own: Any) -> dict[str, Any]:
    return {f"{start}.weight": own["kernel"].T, f"{start}.bias": own["bias"]}


PRECISIONS = [(64, 1e-10), pytest.param(32, 1e-5, marks=pytest.mark.full)]


def dtype_of(bits: int, request: pytest.FixtureRequest) -> Any:
    if bits == 64:
        request.getfixturevalue("x64")
    return {64: torch.float64, 32: torch.float32}[bits]


@pytest.mark.parametrize(("bits", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("norm", ["post", pytest.param("pre", marks=pytest.mark.full)])
def test_transformer(norm: Any, bits: int, tolerance: float, request: pytest.FixtureRequest) -> None:
    dtype = dtype_of(bits, request)
    options = {"dropout": 0.0, "norm_first": norm == "pre", "activation": "relu"}
    layer = nn.TransformerEncoderLayer(N, 2, F, **options)
    whole = nn.TransformerEncoder(layer, 2, nn.LayerNorm(N), enable_nested_tensor=False)
    both = nn.Transformer(N, 2, 2, 2, F, custom_encoder=whole, **options)
    embeddings = {"source": nn.Embedding(V, N), "target": nn.Embedding(W, N), "readout": nn.Linear(N, W)}
    module = drawn(nn.ModuleDict({"both": both, **embeddings}), dtype)

    def stack(causal: bool, memory_size: int | None) -> Cell:
        sizes: Any = {"heads": 2, "feed_forward": F, "activation": "relu", "memory_size": memory_size}
        return Stacked((*transformer_block(N, causal=causal, norm=norm, **sizes) * 2, Norm()))

    encoder, decoder = stack(False, None), stack(True, N)
    reader, writer = TokenReader(V, N, scale=True), TokenWriter(W, N, scale=True, end=END)
    model = EncoderDecoder(encoder, decoder, reader, writer, bridge="none")
    params = {
        "reader": {"embedding": array(module["source"].weight)},
        "encoder": from_torch_attention(encoder, module, prefix="both.encoder."),
        "decoder": from_torch_attention(decoder, module, prefix="both.decoder."),
        "writer": {"embedding": array(module["target"].weight), **linear(module["readout"])},
    }

    def named(gradients: Any) -> dict[str, Any]:
        return {
            "source.weight": gradients["reader"]["embedding"],
            "target.weight": gradients["writer"]["embedding"],
            **prefixed("both.encoder", to_torch_attention(encoder, gradients["encoder"])),
            **prefixed("both.decoder", to_torch_attention(decoder, gradients["decoder"])),
            **as_linear("readout", gradients["writer"]),
        }

    compare(model, params, transformer_logits(module), module, named, tolerance)


@pytest.mark.parametrize(("bits", "tolerance"), PRECISIONS)
def test_attention(bits: int, tolerance: float, request: pytest.FixtureRequest) -> None:
    dtype = dtype_of(bits, request)
    module = nn.ModuleDict(
        {
            "source": nn.Embedding(V, N),
            "encoder": nn.GRU(N, H, bidirectional=True),
            "bridge": nn.Linear(2 * H, H),
            "projection": nn.Linear(2 * H, H),
            "query": nn.Linear(H, H, bias=False),
            "score": nn.Linear(H, 1, bias=False),
            "target": nn.Embedding(W, N),
            "decoder": nn.GRU(N + 2 * H, H),
            "vector": nn.Linear(3 * H, N),
            "readout": nn.Linear(N, W),
        }
    )
    module = drawn(module, dtype)
    encoder, cell = Bidirectional(GRU(H)), GRU(H)
    decoder = Stacked((AttentionCell(cell, Additive(), memory_size=2 * H), Dense(N)))
    model = EncoderDecoder(encoder, decoder, TokenReader(V, N), TokenWriter(W, N, end=END))
    score = {"query": array(module["query"].weight).T, **linear(module["projection"])}
    attention = {
        "cell": from_torch(cell, module, prefix="decoder."),
        "score": score | {"readout": array(module["score"].weight)[0]},
    }
    params = {
        "reader": {"embedding": array(module["source"].weight)},
        "encoder": from_torch_stack(encoder, module, prefix="encoder."),
        "bridge": (linear(module["bridge"]),),
        "decoder": {"layers": (attention, linear(module["vector"]))},
        "writer": {"embedding": array(module["target"].weight), **linear(module["readout"])},
    }

    def named(gradients: Any) -> dict[str, Any]:
        attending, vector = gradients["decoder"]["layers"]
        return {
            "source.weight": gradients["reader"]["embedding"],
            "target.weight": gradients["writer"]["embedding"],
            **prefixed("encoder", of_gates(to_torch_stack(encoder, gradients["encoder"]))),
            **prefixed("decoder", of_gates(to_torch(cell, attending["cell"]))),
            **as_linear("bridge", gradients["bridge"][0]),
            **as_linear("projection", attending["score"]),
            "query.weight": attending["score"]["query"].T,
            "score.weight": attending["score"]["readout"][None],
            **as_linear("vector", vector),
            **as_linear("readout", gradients["writer"]),
        }

    compare(model, params, attention_logits(module), module, named, tolerance)
