"""Decoding from a Transformer: its key–value cache against recomputing the whole window for every token.

A GPT of 4 layers of 128 units draws 256 tokens, the likeliest each, one text at a time. Both sides are one jitted
scan: over `step`, whose state is the cache; and over `unroll` of the window as it stands, padded to 256 tokens,
which computes every output anew for each token. The tokens must be the same.

    python -m benchmarks.decoding      measures this alone, and writes its part of docs/benchmarks.md
"""

import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

from benchmarks.command import WORKER, run

ROUNDS, TOKENS = 5, 256


def measure(tokens: int = TOKENS, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Returns a row for each side, from a separate process: `side`, `seconds` in all (median), `tokens`."""
    command = [sys.executable, "-m", "benchmarks.decoding", WORKER, str(tokens), str(rounds)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


def one(tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Times both sides in turns. Raises ValueError if they draw different tokens."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from models import LanguageModel, Transformer, unroll
    from models.recurrence.streaming import advance
    from models.token_ids import embed

    cell = Transformer(128, 4, 4, context=tokens)
    model = LanguageModel(cell, 65, 128)
    params: Any = model.init(jax.random.key(0), jnp.zeros((1, 1), int), jnp.zeros((1, 1), int), method="loss")
    table, cell_params = params["params"]["embedding"]["embedding"], params["params"]["recurrent"]["cell"]

    def likeliest(y: jax.Array) -> jax.Array:
        return jnp.argmax(jnp.asarray(model.apply(params, y, method="logits")), axis=-1)

    def cached(first: jax.Array) -> jax.Array:
        weights = cell.prepare(cell_params)

        def step(held: Any, _: None) -> tuple[Any, jax.Array]:
            state, y = advance(cell, weights, held[0], embed(table, held[1]))
            token = likeliest(y)
            return (state, token), token

        return jax.lax.scan(step, (cell.initial_state(cell_params), first), None, length=tokens)[1]

    def recomputed(first: jax.Array) -> jax.Array:
        def step(window: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
            token = likeliest(unroll(cell, cell_params, embed(table, window))[1][t])
            return window.at[t + 1].set(token, mode="drop"), token

        begin = jnp.zeros(tokens, int).at[0].set(first)
        return jax.lax.scan(step, begin, jnp.arange(tokens))[1]

    sides = {"cached": jax.jit(cached), "recomputed": jax.jit(recomputed)}
    drawn = [np.asarray(side(jnp.asarray(1))) for side in sides.values()]
    if not np.array_equal(drawn[0], drawn[1]):
        raise ValueError(f"not the same work: {np.sum(drawn[0] != drawn[1])} of {tokens} tokens differ")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side(jnp.asarray(1)).block_until_ready()
            times[name].append(time.perf_counter() - began)
    return [{"side": name, "seconds": median(taken), "tokens": tokens} for name, taken in times.items()]


if __name__ == "__main__":
    run("decoding", __doc__, measure, lambda *words: print(json.dumps(one(*map(int, words)))))
