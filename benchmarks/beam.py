"""Translation by beam search: `beam_search` against a PyTorch loop over tokens, with the same weights.

A GRU reads 1,000 sources of 13 tokens on average from both ends, a GRU of 256 units with additive attention writes
up to 30 of 6,000 tokens; width 5, scores over ((5 + length) / 6)^0.6. The weights are random, with a bias to the
end mark, so that translations are of many lengths. Sentences are sorted by length and searched 100 at a time,
padded to a multiple of 4 tokens. Each side runs in its own process, in turns.

    python -m benchmarks.beam      measures this alone, and writes its part of docs/benchmarks.md
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.command import WORKER, run
from benchmarks.compare import Worker, in_turns, quartiles

V, H, WIDTH, LENGTH, END, ALPHA = 6_000, 256, 5, 30, 1, 0.6
SENTENCES, BATCH, MULTIPLE = 1_000, 100, 4
ROUNDS = 5
SIDES = ("ours", "PyTorch")
DIFFERENT = (
    5  # sentences of 1,000 whose translations may differ, where two hypotheses are equal but for rounding
)
Search = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""`(sources [L, B], mask) → tokens [B, T], filled up with the end mark, and scores [B]` of the best hypotheses."""


def batches(sentences: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns sources `[L, B]` and their masks, sorted by length."""
    random = np.random.default_rng(0)
    lengths = np.sort(np.clip(random.normal(13, 4, sentences).round(), 4, 28).astype(int))
    found = []
    for some in np.split(lengths, range(BATCH, sentences, BATCH)):
        steps = -(-some.max() // MULTIPLE) * MULTIPLE
        mask = np.arange(steps)[:, None] < some[None]
        found.append((np.where(mask, random.integers(2, V, mask.shape), 0).astype(np.int32), mask))
    return found


def weights() -> dict[str, np.ndarray]:
    """Draws embeddings from N(0, 1) and matrices from N(0, 1/rows), that of the output layer ten times as large, so
    that few tokens compete."""
    random = np.random.default_rng(1)
    shapes = {
        **{f"{cell}_{name}": shape for cell in ("forward", "backward") for name, shape in gru(H).items()},
        **{f"decoder_{name}": shape for name, shape in gru(3 * H).items()},
        "bridge": (2 * H, H),
        "query": (H, H),
        "keys": (2 * H, H),
        "score": (H, 1),
        "hidden": (3 * H, H),
    }
    drawn = {name: random.normal(size=shape, scale=shape[0] ** -0.5) for name, shape in shapes.items()}
    drawn |= {name: random.normal(size=(V, H)) for name in ("source", "target")}
    drawn["output"] = random.normal(size=(H, V), scale=10 * H**-0.5)
    drawn["bias"] = np.where(np.arange(V) == END, 5.5, 0.0)
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def gru(size: int) -> dict[str, tuple[int, int]]:
    """Returns the shapes of a GRU's two matrices; its biases are zero."""
    return {"kernel": (size, 3 * H), "recurrent": (H, 3 * H)}


def ours() -> Search:
    """Runs `beam_search` as `python -m experiments translation` does."""
    import jax
    import jax.numpy as jnp

    from models import (
        GRU,
        AttentionCell,
        Bidirectional,
        Dense,
        EncoderDecoder,
        Stacked,
        TokenReader,
        TokenWriter,
        WuPenalty,
        beam_search,
        decoder_step,
    )

    model = EncoderDecoder(
        Bidirectional(GRU(H)),
        Stacked((AttentionCell(GRU(H), memory_size=2 * H), Dense(H))),
        TokenReader(V, H),
        TokenWriter(V, H, end=END),
    )
    w = {name: jnp.asarray(array) for name, array in weights().items()}
    cells = {
        name: {
            "kernel": w[f"{name}_kernel"],
            "recurrent": w[f"{name}_recurrent"],
            "bias": jnp.zeros(3 * H),
            "recurrent_bias": jnp.zeros(H),
        }
        for name in ("forward", "backward", "decoder")
    }
    score = {"query": w["query"], "kernel": w["keys"], "bias": jnp.zeros(H), "readout": w["score"][:, 0]}
    hidden = {"kernel": w["hidden"], "bias": jnp.zeros(H)}
    params = {
        "params": {
            "reader": {"embedding": w["source"]},
            "writer": {"embedding": w["target"], "kernel": w["output"], "bias": w["bias"]},
            "encoder": {"forward": cells["forward"], "backward": cells["backward"]},
            "bridge": ({"kernel": w["bridge"], "bias": jnp.zeros(H)},),
            "decoder": {"layers": ({"cell": cells["decoder"], "score": score}, hidden)},
        }
    }

    @jax.jit
    def found(params: Any, inputs: Any, mask: Any) -> Any:
        step, state = decoder_step(model, params, inputs, mask)
        first = jnp.full(inputs.shape[1:], END, jnp.int32)
        options: Any = {"width": WIDTH, "length": LENGTH, "end": END, "normalise": WuPenalty(ALPHA)}
        return beam_search(step, state, first, **options)

    def search(inputs: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        beams = jax.device_get(found(params, inputs, mask))
        return beams.tokens[:, 0], beams.scores[:, 0]

    return search


def pytorch() -> Search:
    """Runs a loop over tokens, whose tensors hold all hypotheses of all sentences."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    w = {name: torch.tensor(array) for name, array in weights().items()}
    encoder, decoder = torch.nn.GRU(H, H, bidirectional=True), torch.nn.GRUCell(3 * H, H)
    matrices = {"weight_ih_l0": "forward_kernel", "weight_hh_l0": "forward_recurrent"}
    matrices |= {"weight_ih_l0_reverse": "backward_kernel", "weight_hh_l0_reverse": "backward_recurrent"}
    load(encoder, {name: w[own].T for name, own in matrices.items()})
    load(decoder, {"weight_ih": w["decoder_kernel"].T, "weight_hh": w["decoder_recurrent"].T})
    output = w["output"].T.contiguous()
    ended = torch.full((V,), -torch.inf)  # what has ended goes on as itself alone
    ended[END] = 0

    @torch.inference_mode()
    def search(inputs: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = inputs.shape[1]
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            w["source"][torch.tensor(inputs)], torch.tensor(mask.sum(0)), enforce_sorted=False
        )
        read, final = encoder(packed)
        values = torch.nn.utils.rnn.pad_packed_sequence(read, batch_first=True)[0]
        keys = (values @ w["keys"])[:, None]
        unseen = ~torch.tensor(mask[: values.shape[1]].T)[:, None]
        h = torch.tanh(torch.cat([final[0], final[1]], -1) @ w["bridge"]).repeat_interleave(WIDTH, 0)
        context = torch.zeros(rows * WIDTH, 2 * H)
        last = torch.full((rows, WIDTH), END)
        tokens = torch.full((rows, WIDTH, LENGTH), END)
        scores = torch.full((rows, WIDTH), -torch.inf)
        scores[:, 0] = 0
        done = torch.zeros(rows, WIDTH, dtype=torch.bool)
        lengths = torch.zeros(rows, WIDTH)
        first_row = torch.arange(rows)[:, None] * WIDTH
        for t in range(LENGTH):
            h = decoder(torch.cat([w["target"][last.view(-1)], context], -1), h)
            queries = (h @ w["query"]).view(rows, WIDTH, 1, H)
            places = (torch.tanh(queries + keys) @ w["score"])[..., 0].masked_fill(unseen, -torch.inf)
            context = (torch.softmax(places, -1) @ values).view(rows * WIDTH, -1)
            hidden = torch.tanh(torch.cat([h, context], -1) @ w["hidden"])
            gains = torch.log_softmax(torch.nn.functional.linear(hidden, output, w["bias"]), -1)
            gains = gains.view(rows, WIDTH, V)
            gains[done] = ended
            totals = scores[..., None] + gains
            lengths = lengths + ~done
            ranked = totals / (((5 + lengths) / 6) ** ALPHA)[..., None]
            chosen = ranked.view(rows, -1).topk(WIDTH)[1]
            scores = totals.view(rows, -1).gather(1, chosen)
            parent, last = chosen // V, chosen % V
            lengths, done = lengths.gather(1, parent), done.gather(1, parent) | (last == END)
            tokens = tokens.gather(1, parent[..., None].expand_as(tokens))
            tokens[..., t] = last
            kept = (first_row + parent).view(-1)
            h, context = h[kept], context[kept]
            if done.all():
                break
        return tokens[:, 0].numpy(), scores[:, 0].numpy()

    return search


def load(module: Any, matrices: dict[str, Any]) -> None:
    """Gives a module these weights, and biases of zero."""
    zeros = {name: 0 * value for name, value in module.state_dict().items() if name.startswith("bias")}
    module.load_state_dict(zeros | matrices)


def serve(side: str, sentences: str) -> None:
    """Translates everything for each line read, and answers seconds, tokens and scores; for a separate process."""
    search, sources = {"ours": ours, "PyTorch": pytorch}[side](), batches(int(sentences))
    for _ in sys.stdin:
        began = time.perf_counter()
        found = [search(*batch) for batch in sources]
        seconds = time.perf_counter() - began
        tokens, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        print(
            json.dumps({"seconds": seconds, "tokens": tokens.tolist(), "scores": scores.tolist()}), flush=True
        )


def measure(
    say: Callable[..., None] = print, rounds: int = ROUNDS, sentences: int = SENTENCES
) -> list[dict[str, Any]]:
    """Times the installed sides, in turns. Returns for each `side` `quartiles` (seconds, over the turns),
    `sentences_per_second` (from their median), `words` a translation, and how many sentences are `different` from
    ours.

    Raises ValueError if more than a few are, or their scores.
    """
    names = SIDES if importlib.util.find_spec("torch") else SIDES[:-1]
    sides = {name: Worker("benchmarks.beam", WORKER, name, str(sentences)) for name in names}
    first, different, times = in_turns(sides, rounds, differences)
    say("beam search done", flush=True)
    words = float((np.array(first["ours"]["tokens"]) != END).sum(axis=1).mean())
    return [
        {
            "side": name,
            "quartiles": quartiles(found),
            "sentences": sentences,
            "sentences_per_second": sentences / median(found),
            "words": words,
            "different": different[name],
        }
        for name, found in times.items()
    ]


def differences(answer: dict[str, Any], ours: dict[str, Any]) -> int:
    """Counts the sentences with other tokens than ours. Raises ValueError if they are more than rounding explains,
    or if scores differ by 1e-4."""
    different = (np.array(answer["tokens"]) != np.array(ours["tokens"])).any(axis=1)
    apart = np.abs(np.array(answer["scores"]) / np.array(ours["scores"]) - 1)[~different].max(initial=0)
    if different.sum() > DIFFERENT or not apart < 1e-4:  # NaN is no agreement
        raise ValueError(
            f"not the same work: {different.sum()} translations differ, and scores of the others by {apart:.1e}"
        )
    return int(different.sum())


if __name__ == "__main__":
    run("beam", __doc__, measure, serve)
