"""A training step of a small GPT: `train_chunk` against Flax Linen and PyTorch.

Embedding and learned positions, pre-norm blocks with GELU, softmax over 65 characters, mean cross entropy over
random windows, clipping of the global norm at 1, Adam. Each side runs in its own process, in turns, from the same
weights over the same windows, and the losses must agree.

    python -m benchmarks.gpt      measures this alone, and writes its part of docs/benchmarks.md
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.command import run
from benchmarks.training_steps import TrainingSteps, Turn, our_turn, torch_steps

V = 65
RATE, CLIP = 1e-3, 1.0


@dataclass(frozen=True)
class Size:
    """Layers of N units in 4 heads, windows of T tokens, B at once, `steps` updates a turn."""

    layers: int
    N: int
    T: int
    B: int
    steps: int
    heads: int = 4

    @property
    def name(self) -> str:
        return f"{self.layers} × {self.N}, T {self.T}, B {self.B}"


SIZES = (Size(4, 128, 64, 12, 10), Size(4, 256, 256, 16, 4))


def windows(size: Size) -> np.ndarray:
    """Draws the windows of a turn, each with the token after it: ids `[steps, B, T + 1]`."""
    return np.random.default_rng(0).integers(0, V, (size.steps, size.B, size.T + 1)).astype(np.int32)


def weights(size: Size) -> dict[str, np.ndarray]:
    """Draws weights N(0, 0.02²), as GPT-2 does, and biases too, under PyTorch's names; gains are 1."""
    random, n = np.random.default_rng(1), size.N

    def draw(*shape: int) -> np.ndarray:
        return random.normal(scale=0.02, size=shape).astype(np.float32)

    found = {"embedding": draw(V, n), "codes": draw(size.T, n), "readout": draw(V, n), "bias": draw(V)}
    norms = ["norm."]
    for i in range(size.layers):
        start = f"layers.{i}."
        norms += [f"{start}norm1.", f"{start}norm2."]
        for name, rows, columns in (
            ("self_attn.in_proj_", 3 * n, n),
            ("self_attn.out_proj.", n, n),
            ("linear1.", 4 * n, n),
            ("linear2.", n, 4 * n),
        ):
            found |= {f"{start}{name}weight": draw(rows, columns), f"{start}{name}bias": draw(rows)}
    for norm in norms:
        found |= {f"{norm}weight": np.ones(n, np.float32), f"{norm}bias": draw(n)}
    return found


def encoder_weights(size: Size) -> dict[str, np.ndarray]:
    """Returns the weights of the blocks and the last norm."""
    return {name: array for name, array in weights(size).items() if "." in name}


def ours(size: Size, devices: int) -> Turn:
    """Runs the step of `python -m experiments language_model --reading windows`, including metrics."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    from data import StreamBatch
    from experiments.language.objective import StreamLoss
    from train import OptimizerConfig

    model, params = our_model(size)
    loss = StreamLoss(model, "token", carries=False)
    optimizer = OptimizerConfig(learning_rate=RATE, clip="global_norm", clip_at=CLIP)
    ids = windows(size).swapaxes(1, 2)
    mask, reset = np.ones((size.steps, size.T, size.B), bool), np.ones((size.steps, size.B), bool)
    batches = StreamBatch(ids[:, :-1], ids[:, 1:], mask, reset)
    return our_turn(params, [batches], loss, optimizer, devices, loss.first_carry(params, size.B))


def our_model(size: Size) -> tuple[Any, Any]:
    """Returns our language model and its parameters."""
    import jax
    import jax.numpy as jnp

    from models import LanguageModel, Stacked, Transformer, from_torch_attention

    cell = Transformer(size.N, size.layers, size.heads, size.T, "learned")
    arrays = jax.tree.map(jnp.asarray, weights(size))
    # The first two layers project the inputs, which have the right size already, and add the positions.
    blocks = from_torch_attention(Stacked(cell.stack.layers[2:]), encoder_weights(size))
    params = {
        "embedding": {"embedding": arrays["embedding"]},
        "recurrent": {"cell": {"layers": ({}, {"codes": arrays["codes"]}, *blocks["layers"])}},
        "kernel": arrays["readout"].T,
        "bias": arrays["bias"],
    }
    return LanguageModel(cell, V, size.N), {"params": params}


def linen(size: Size) -> Turn:
    """Runs the same step with `flax.linen`, as in its documentation, all steps of a turn in one jitted scan."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn

    class Block(nn.Module):
        """Attention and feed-forward net."""

        @nn.compact
        def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
            y = nn.LayerNorm(epsilon=1e-5, name="norm1")(x)
            x = x + nn.MultiHeadDotProductAttention(size.heads, name="self_attn")(y, mask=mask)
            y = nn.Dense(4 * size.N, name="linear1")(nn.LayerNorm(epsilon=1e-5, name="norm2")(x))
            return x + nn.Dense(size.N, name="linear2")(nn.gelu(y, approximate=False))

    class GPT(nn.Module):
        """The whole model."""

        @nn.compact
        def __call__(self, tokens: jax.Array) -> jax.Array:
            x = nn.Embed(V, size.N, name="embedding")(tokens)
            x = x + self.param("codes", nn.initializers.normal(0.02), (size.T, size.N))
            mask = nn.make_causal_mask(tokens)
            for i in range(size.layers):
                x = Block(name=f"layers.{i}")(x, mask)
            return nn.Dense(V, name="readout")(nn.LayerNorm(epsilon=1e-5, name="norm")(x))

    model = GPT()
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(RATE))
    ids = jnp.asarray(windows(size))

    def step(state: Any, batch: jax.Array) -> tuple[Any, jax.Array]:
        params, moments = state

        def loss(params: Any) -> jax.Array:
            logits: Any = model.apply({"params": params}, batch[:, :-1])
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]))

        value, gradient = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), value

    chunk = jax.jit(lambda state: jax.lax.scan(step, state, ids), donate_argnums=0)
    params = linen_params(size)
    held = [(params, optimizer.init(params))]

    def turn() -> list[float]:
        state, losses = chunk(held.pop())
        held.append(jax.block_until_ready(state))
        return np.asarray(losses).tolist()

    return turn


def linen_params(size: Size) -> Any:
    """Returns the weights under Linen's names."""
    import jax
    import jax.numpy as jnp

    arrays, heads = weights(size), size.heads
    params: dict[str, Any] = {"embedding": {"embedding": arrays["embedding"]}, "codes": arrays["codes"]}
    params["readout"] = {"kernel": arrays["readout"].T, "bias": arrays["bias"]}
    params["norm"] = {"scale": arrays["norm.weight"], "bias": arrays["norm.bias"]}
    for i in range(size.layers):
        own = {name.removeprefix(f"layers.{i}."): array for name, array in arrays.items()}
        block: dict[str, Any] = {
            name: {"kernel": own[f"{name}.weight"].T, "bias": own[f"{name}.bias"]}
            for name in ("linear1", "linear2")
        }
        block |= {
            name: {"scale": own[f"{name}.weight"], "bias": own[f"{name}.bias"]} for name in ("norm1", "norm2")
        }
        rows = zip(
            ("query", "key", "value"),
            np.split(own["self_attn.in_proj_weight"], 3),
            np.split(own["self_attn.in_proj_bias"], 3),
            strict=True,
        )
        attention = {
            name: {"kernel": w.T.reshape(size.N, heads, -1), "bias": b.reshape(heads, -1)}
            for name, w, b in rows
        }
        out = own["self_attn.out_proj.weight"].T.reshape(heads, -1, size.N)
        attention["out"] = {"kernel": out, "bias": own["self_attn.out_proj.bias"]}
        params[f"layers.{i}"] = block | {"self_attn": attention}
    return jax.tree.map(jnp.asarray, params)


def pytorch(size: Size, threads: int, *, compiled: bool) -> Turn:
    """Runs the same step with `torch.nn`, written as in nanoGPT: one product for queries, keys and values, and
    `scaled_dot_product_attention`; with `torch.compile` or without."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    functional = nn.functional

    class Attention(nn.Module):
        """Causal self-attention."""

        def __init__(self) -> None:
            super().__init__()
            self.in_proj, self.out_proj = nn.Linear(size.N, 3 * size.N), nn.Linear(size.N, size.N)

        def forward(self, x: Any) -> Any:
            cut = (*x.shape[:2], size.heads, size.N // size.heads)
            q, k, v = (part.view(cut).transpose(1, 2) for part in self.in_proj(x).split(size.N, dim=2))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out_proj(y.transpose(1, 2).contiguous().view(x.shape))

    class Block(nn.Module):
        """Attention and feed-forward net."""

        def __init__(self) -> None:
            super().__init__()
            self.self_attn, self.norm1, self.norm2 = Attention(), nn.LayerNorm(size.N), nn.LayerNorm(size.N)
            self.linear1, self.linear2 = nn.Linear(size.N, 4 * size.N), nn.Linear(4 * size.N, size.N)

        def forward(self, x: Any) -> Any:
            x = x + self.self_attn(self.norm1(x))
            return x + self.linear2(functional.gelu(self.linear1(self.norm2(x))))

    class GPT(nn.Module):
        """The whole model and its loss."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.codes = nn.Embedding(V, size.N), nn.Parameter(torch.empty(size.T, size.N))
            self.layers = nn.ModuleList(Block() for _ in range(size.layers))
            self.norm, self.readout = nn.LayerNorm(size.N), nn.Linear(size.N, V)

        def forward(self, tokens: Any, targets: Any) -> Any:
            x = self.embedding(tokens) + self.codes
            for layer in self.layers:
                x = layer(x)
            return functional.cross_entropy(self.readout(self.norm(x)).view(-1, V), targets.reshape(-1))

    model = GPT()
    renamed = {"embedding": "embedding.weight", "readout": "readout.weight", "bias": "readout.bias"}
    arrays = {
        renamed.get(name, name.replace("in_proj_", "in_proj.")): torch.tensor(array)
        for name, array in weights(size).items()
    }
    model.load_state_dict(arrays)
    run = torch.compile(model) if compiled else model
    ids = torch.tensor(windows(size).astype(np.int64))
    batches = [(batch[:, :-1], batch[:, 1:]) for batch in ids]
    return torch_steps(model, run, batches, rate=RATE, clip=CLIP)


STEPS = TrainingSteps(
    "gpt",
    {
        "ours": ours,
        "ours, one device": lambda size, cores: ours(size, 1),
        "Linen": lambda size, cores: linen(size),
        "PyTorch": partial(pytorch, compiled=False),
        "PyTorch, compiled": partial(pytorch, compiled=True),
    },
    SIZES,
    lambda size: size.T * size.B,
    "GPT",
    rounds=5,
)


if __name__ == "__main__":
    run("gpt", __doc__, STEPS.measure, STEPS.serve)
