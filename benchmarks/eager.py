"""Calls of `unroll` without `jax.jit`, compared with the same function jitted.

`python -m benchmarks.eager` measures them, and updates the page. From the second eager call on nothing is compiled;
1,000 of them change neither the process's memory nor its live arrays.
"""

import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.command import WORKER, run
from benchmarks.work import FAMILIES, Work
from benchmarks.worker import resident

SIZES = ((10, 1, 4, 8), (100, 16, 64, 64))  # one dominated by the overhead of a call; the small net
ROUNDS, CALLS = 200, 1000


def measure() -> list[dict[str, Any]]:
    """Returns a record of `one` for each cell and size, from a separate process."""
    command = [sys.executable, "-m", "benchmarks.eager", WORKER]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


def all_of_them() -> list[dict[str, Any]]:
    """Measures every cell and size."""
    return [one(Work(family, *size)) for size in SIZES for family in FAMILIES]


def one(work: Work, rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, Any]:
    """Returns seconds of a call, `jitted` and `eager`, in turns (median); `grown_bytes` of resident memory and
    `grown_arrays` of live arrays over `calls` more eager calls."""
    import jax
    import jax.numpy as jnp

    from models import CELLS, Cell, unroll
    from models.weights.torch import from_torch

    cell: Cell = CELLS[work.family](work.H)  # type: ignore[call-arg]
    params, xs = from_torch(cell, work.weights()), jnp.asarray(work.inputs())
    jitted = jax.jit(lambda params, xs: unroll(cell, params, xs)[1])
    ways = {"jitted": lambda: jitted(params, xs), "eager": lambda: unroll(cell, params, xs)[1]}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way().block_until_ready()
            if turn:  # the first compiles
                times[name].append(time.perf_counter() - began)
    for _ in range(calls):  # the allocator fills its pools
        ways["eager"]().block_until_ready()
    gc.collect()
    memory, arrays = resident("VmRSS"), len(jax.live_arrays())
    for _ in range(calls):
        ways["eager"]().block_until_ready()
    gc.collect()
    return {
        "work": asdict(work),
        "seconds": {name: median(taken) for name, taken in times.items()},
        "grown_bytes": resident("VmRSS") - memory,
        "grown_arrays": len(jax.live_arrays()) - arrays,
    }


if __name__ == "__main__":
    run("eager", __doc__, measure, lambda: print(json.dumps(all_of_them())))
