"""Step Jacobians of the recurrent layers, H = 256: `step_jacobians` in closed form against `jax.jacfwd`.

Timed in turns: `ours`; `jacfwd, all steps`, forward mode under `vmap`, where XLA hoists the product with R that all
steps share; `jacfwd, step by step`, jitted and called once per step, the obvious way to write it; and `writing`, a
constant written into an array as large as the result, a lower bound.

    python -m benchmarks.jacobians      measures this alone, and writes its part of docs/benchmarks.md
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.command import WORKER, run
from benchmarks.work import FAMILIES, Family

H, D, ROUNDS = 256, 64, 15
LENGTHS = (16, 64)


def measure() -> list[dict[str, Any]]:
    """Returns a record for each cell and length with the median seconds of each method, from a separate process."""
    command = [sys.executable, "-m", "benchmarks.jacobians", WORKER]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


def one(family: Family, length: int) -> dict[str, Any]:
    from analysis import step_jacobians
    from models import CELLS, Cell
    from models.state import ravel_state

    cell: Cell = CELLS[family](H)  # type: ignore[call-arg]
    params = cell.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (length, D))
    state = cell.initial_state(params)
    weights = cell.prepare(params)
    drive = cell.drive(weights, xs)
    vector, restore = ravel_state(state)

    def step(vector: jax.Array, drive: Any) -> jax.Array:
        return ravel_state(cell.step(weights, restore(vector), drive)[0])[0]

    jacobian, go = jax.jit(jax.jacfwd(step)), jax.jit(step)
    drives = [jax.tree.map(lambda leaf, t=t: leaf[t], drive) for t in range(length)]

    def step_by_step() -> jax.Array:
        at, found = vector, vector
        for drive in drives:
            found, at = jacobian(at, drive), go(at, drive)
        return found

    size = vector.size
    writing = jax.jit(lambda value: jnp.full((length, size, size), value))
    ways: dict[str, Callable[[], jax.Array]] = {
        "ours": lambda: step_jacobians(cell, params, xs),
        "jacfwd, all steps": lambda: step_jacobians(cell, params, xs, method="forward"),
        "jacfwd, step by step": step_by_step,
        "writing": lambda: writing(1.0),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way().block_until_ready()
            if turn:  # the first compiles
                times[name].append(time.perf_counter() - began)
    seconds = {name: median(taken) for name, taken in times.items()}
    return {"family": family, "T": length, "S": size, "seconds": seconds}


def all_of_them() -> list[dict[str, Any]]:
    """Measures every cell and length."""
    return [one(family, length) for family in FAMILIES for length in LENGTHS]


if __name__ == "__main__":
    run("jacobians", __doc__, measure, lambda: print(json.dumps(all_of_them())))
