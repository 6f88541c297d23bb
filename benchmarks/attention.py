"""Attention in a recurrence: its backward pass beside its forward pass, and beside that of a plain scan.

A GRU that attends to L places of a source after each of 20 steps (`AttentionCell`), B = 64, all sizes 256.
Forward is the outputs, backward what their gradients in parameters, inputs and memory take beyond that. Both
methods run the same forward pass; "fused", which `unroll` chooses by itself, has a backward pass of its own
(`models.recurrence.attentive`). Their gradients must agree.

    python -m benchmarks.attention      measures this alone, and writes its part of docs/benchmarks.md
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.command import WORKER, run

ROUNDS, METHODS = 5, ("fused", "scan")


@dataclass(frozen=True)
class Size:
    """L places, T steps, B examples, N units in everything, and the score."""

    score: str
    L: int
    T: int = 20
    B: int = 64
    N: int = 256


SIZES = tuple(Size(score, length) for score in ("additive", "general") for length in (50, 400))


def measure(sizes: tuple[Size, ...] = SIZES, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Returns a row for each size and method, each size from a separate process: `score`, `L`, `method`,
    `forward` and `both`, the seconds of the pass alone and of both passes (medians)."""
    found = []
    for size in sizes:
        command = [
            sys.executable,
            "-m",
            "benchmarks.attention",
            WORKER,
            json.dumps(asdict(size)),
            str(rounds),
        ]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        found += json.loads(finished.stdout)
    return found


def one(size: Size, rounds: int) -> list[dict[str, Any]]:
    """Times both methods and both passes in turns. Raises ValueError if the gradients differ."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from models import GRU, AttentionCell, Memory, unroll
    from models.layers.attention import SCORES

    cell = AttentionCell(GRU(size.N), SCORES[size.score]())
    keys = jax.random.split(jax.random.key(0), 4)
    params = cell.init(keys[0], size.N)
    xs = jax.random.normal(keys[1], (size.T, size.B, size.N))
    values = 0.3 * jax.random.normal(keys[2], (size.L, size.B, size.N))
    factors, mask = jax.random.normal(keys[3], (size.T, size.B, 2 * size.N)), jnp.ones((size.L, size.B), bool)
    passes: dict[tuple[str, str], Any] = {}
    for method in METHODS:

        def loss(params: Any, xs: jax.Array, values: jax.Array, method: Any = method) -> jax.Array:
            _, ys = unroll(cell, params, xs, memory=Memory(values, mask), method=method)
            return jnp.sum(factors * ys)

        passes[method, "forward"] = jax.jit(loss)
        passes[method, "both"] = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    found = [jax.tree.leaves(passes[method, "both"](params, xs, values)[1]) for method in METHODS]
    for ours, plain in zip(*found, strict=True):
        apart = np.max(np.abs(ours - plain)) / np.max(np.abs(plain))
        if not apart < 1e-3:
            raise ValueError(f"not the same work: a gradient of {list(plain.shape)} differs by {apart:.2g}")
    times: dict[tuple[str, str], list[float]] = {name: [] for name in passes}
    for turn in range(rounds + 1):  # the first compiles
        for name, compiled in passes.items():
            began = time.perf_counter()
            jax.block_until_ready(compiled(params, xs, values))
            times[name] += [time.perf_counter() - began] * bool(turn)
    return [
        {"score": size.score, "L": size.L, "method": method}
        | {name: median(times[method, name]) for name in ("forward", "both")}
        for method in METHODS
    ]


if __name__ == "__main__":
    run(
        "attention",
        __doc__,
        measure,
        lambda size, rounds: print(json.dumps(one(Size(**json.loads(size)), int(rounds)))),
    )
