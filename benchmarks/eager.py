"""Calls of `unroll` without `jax.jit` around them, beside the same function jitted.

`python -m benchmarks.eager` measures, and puts it into the page. The second eager call and those after it compile
nothing; 1,000 of them leave the process's memory and its live arrays as they were.
"""

import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.work import FAMILIES, Work
from benchmarks.worker import resident

SIZES = ((10, 1, 4, 8), (100, 16, 64, 64))  # where a call's own cost is nearly all of it; the small net
ROUNDS, CALLS = 200, 1000


def measure() -> list[dict[str, Any]]:
    """Returns, from a process of its own, a record for each cell and size, as `one` gives it."""
    command = [sys.executable, "-m", "benchmarks.eager", "one"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(told.stdout)


def one(work: Work, rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, Any]:
    """Returns seconds of a call, `jitted` and `eager`, by turns (median); `grown_bytes` of resident memory and
    `grown_arrays`, live ones, over so many more eager calls."""
    import jax
    import jax.numpy as jnp

    from models import CELLS, Cell, unroll
    from models.interop import from_torch

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
    for _ in range(calls):  # the allocator fills what it keeps
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


def main() -> None:
    """Measures, and puts it into the page."""
    from benchmarks.record import put_in
    from benchmarks.sections import eager

    print("\n".join(eager(put_in("eager", measure()))))


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps([one(Work(family, *size)) for size in SIZES for family in FAMILIES]))
    else:
        main()
