"""A training step of a translation model with attention: `train_chunk` against a PyTorch loop over tokens.

A GRU reads the source from both ends, a GRU with additive attention writes the target, its context fed back; all
sizes 256, 64 pairs of 6,000 tokens on each side, tied output layer, mean cross entropy, clipping of the global norm
at 1, Adam. Lengths are drawn between three quarters and the whole of L and T, and padded. Each side runs in its own
process, in turns, from the same weights over the same pairs, and the losses must agree.

    python -m benchmarks.translation      measures this alone, and writes its part of docs/benchmarks.md
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.command import run
from benchmarks.training_steps import TrainingSteps, Turn, our_turn, torch_steps

V, H, B, END = 6_000, 256, 64, 1
RATE, CLIP = 1e-3, 1.0


@dataclass(frozen=True)
class Size:
    """Sources of up to L tokens, targets of up to T, `steps` updates a turn."""

    L: int
    T: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.L}, {self.T}"


SIZES = (Size(13, 13, 4), Size(30, 30, 2))


class Pairs(NamedTuple):
    """The pairs of a turn: ids `[steps, L, B]` and `[steps, T, B]`, the end mark last, and which are valid."""

    inputs: np.ndarray
    mask: np.ndarray
    targets: np.ndarray
    target_mask: np.ndarray


def pairs(size: Size) -> Pairs:
    """Draws the pairs of a turn."""
    random = np.random.default_rng(0)

    def side(length: int) -> tuple[np.ndarray, np.ndarray]:
        lengths = random.integers(-(-3 * length // 4), length + 1, (size.steps, 1, B))
        places = np.arange(length)[:, None]
        ids = random.integers(2, V, (size.steps, length, B))
        ids = np.where(places < lengths - 1, ids, np.where(places < lengths, END, 0))
        return ids.astype(np.int32), places < lengths

    return Pairs(*side(size.L), *side(size.T))


def weights() -> dict[str, np.ndarray]:
    """Draws weights N(0, 1/columns), embeddings N(0, 1/H), and biases N(0, 0.1²), under PyTorch's names:
    those of the encoder as in `torch.nn.GRU`, of the decoder as in `torch.nn.GRUCell`."""
    random = np.random.default_rng(1)
    matrices = {
        "source.weight": (V, H),
        "target.weight": (V, H),
        **{f"encoder.weight_{part}_l0{way}": (3 * H, H) for part in ("ih", "hh") for way in ("", "_reverse")},
        "decoder.weight_ih": (3 * H, 3 * H),
        "decoder.weight_hh": (3 * H, H),
        "bridge.weight": (H, 2 * H),
        "query.weight": (H, H),
        "keys.weight": (H, 2 * H),
        "score.weight": (1, H),
        "hidden.weight": (H, 3 * H),
    }
    drawn = {name: random.normal(size=shape, scale=shape[1] ** -0.5) for name, shape in matrices.items()}
    biases = {
        "bias": V,
        **{f"encoder.bias_{part}_l0{way}": 3 * H for part in ("ih", "hh") for way in ("", "_reverse")},
        **{f"decoder.bias_{part}": 3 * H for part in ("ih", "hh")},
        **{f"{name}.bias": H for name in ("bridge", "keys", "hidden")},
    }
    drawn |= {name: random.normal(size=size, scale=0.1) for name, size in biases.items()}
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def our_model() -> tuple[Any, Any]:
    """Returns the model of `python -m experiments translation --system attention`, and its parameters."""
    import jax.numpy as jnp

    from experiments.encoder_decoder.systems import ModelConfig
    from models import GRU, from_torch

    model = ModelConfig(hidden_size=H).build("attention", V, V, END)
    w = {name: jnp.asarray(array) for name, array in weights().items()}
    cell = GRU(H)

    def dense(name: str) -> dict[str, Any]:
        return {"kernel": w[f"{name}.weight"].T, "bias": w[f"{name}.bias"]}

    score = dense("keys") | {"query": w["query.weight"].T, "readout": w["score.weight"][0]}
    decoder = {"cell": from_torch(cell, w, prefix="decoder"), "score": score}
    params = {
        "reader": {"embedding": w["source.weight"]},
        "writer": {"embedding": w["target.weight"], "bias": w["bias"]},
        "encoder": {
            "forward": from_torch(cell, w, prefix="encoder"),
            "backward": from_torch(cell, w, prefix="encoder", reverse=True),
        },
        "bridge": (dense("bridge"),),
        "decoder": {"layers": (decoder, dense("hidden"))},
    }
    return model, {"params": params}


def ours(size: Size, devices: int) -> Turn:
    """Runs the step of `python -m experiments translation --system attention`, including metrics."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    from data import PairBatch
    from experiments.encoder_decoder.objective import PairLoss
    from train import OptimizerConfig

    model, params = our_model()
    loss = PairLoss(model)
    optimizer = OptimizerConfig(learning_rate=RATE, clip="global_norm", clip_at=CLIP)
    batches = PairBatch(*pairs(size))
    return our_turn(params, [batches], loss, optimizer, devices)


def pytorch(size: Size, threads: int) -> Turn:
    """Runs the same step with `torch.nn`: packed sources in the encoder, a loop over tokens in the decoder, and one
    product for the logits of all steps."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    rnn, functional = nn.utils.rnn, nn.functional

    class Translator(nn.Module):
        """The whole model and its loss."""

        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(V, H), nn.Embedding(V, H)
            self.encoder = nn.GRU(H, H, bidirectional=True)
            self.decoder, self.bridge = nn.GRUCell(3 * H, H), nn.Linear(2 * H, H)
            self.query, self.keys = nn.Linear(H, H, bias=False), nn.Linear(2 * H, H)
            self.score, self.hidden = nn.Linear(H, 1, bias=False), nn.Linear(3 * H, H)
            self.bias = nn.Parameter(torch.empty(V))

        def forward(self, inputs: Any, mask: Any, fed: Any, targets: Any) -> Any:
            packed = rnn.pack_padded_sequence(self.source(inputs), mask.sum(0), enforce_sorted=False)
            read, final = self.encoder(packed)
            values = rnn.pad_packed_sequence(read, batch_first=True, total_length=len(mask))[0]
            keys, unseen = self.keys(values), ~mask.T
            h = torch.tanh(self.bridge(torch.cat([final[0], final[1]], -1)))
            context, ys = values.new_zeros(B, 2 * H), []
            for x in self.target(fed):
                h = self.decoder(torch.cat([x, context], -1), h)
                scores = self.score(torch.tanh(self.query(h)[:, None] + keys))[..., 0]
                alphas = torch.softmax(scores.masked_fill(unseen, -torch.inf), -1)
                context = torch.bmm(alphas[:, None], values)[:, 0]
                ys.append(torch.cat([h, context], -1))
            hidden = torch.tanh(self.hidden(torch.stack(ys)))
            logits = functional.linear(hidden, self.target.weight, self.bias)
            return functional.cross_entropy(logits.view(-1, V), targets.view(-1))

    model = Translator()
    model.load_state_dict({name: torch.tensor(array) for name, array in weights().items()})
    drawn = pairs(size)
    ended = np.concatenate([np.full_like(drawn.targets[:, :1], END), drawn.targets[:, :-1]], axis=1)
    ignored = np.where(drawn.target_mask, drawn.targets, -100)  # the index that `cross_entropy` leaves out
    parts = (drawn.inputs.astype(np.int64), drawn.mask, ended.astype(np.int64), ignored.astype(np.int64))
    batches = list(zip(*map(torch.tensor, parts), strict=True))
    return torch_steps(model, model, batches, rate=RATE, clip=CLIP)


STEPS = TrainingSteps(
    "translation",
    {
        "ours": ours,
        "ours, one device": lambda size, cores: ours(size, 1),
        "PyTorch": pytorch,
    },
    SIZES,
    lambda size: pairs(size).target_mask.sum() / size.steps,
    "translation of",
)


if __name__ == "__main__":
    run("translation", __doc__, STEPS.measure, STEPS.serve)
