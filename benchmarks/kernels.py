"""The time of our LSTM by kernel, from XLA's own trace.

`python -m benchmarks.kernels` measures it, and updates the page. One core runs one device's shard of the batch, and
kernels are of four kinds: thin products (one per step), large products (one per block of steps), the local part
(other kernels once per step), and the rest (sums of gradients, fills, copies of blocks).
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.command import WORKER, run
from benchmarks.work import SIZES, Work

KINDS = ("thin products", "large products", "local part", "rest")
CALLS = 10


def measure() -> list[dict[str, Any]]:
    """Returns a record for each size with the seconds of each kind in one call, from separate processes."""
    found = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.kernels", WORKER, *map(str, size)]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(finished.stdout.splitlines()[-1]))
    return found


def one(work: Work) -> dict[str, Any]:
    """Traces forward and backward on one core."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])  # before XLA makes its threads
    import jax

    from benchmarks.layers.ours import build

    share = Work(work.family, work.T, max(1, work.B // len(cores)), work.D, work.H)
    layer = build(share, False)
    program = layer.compiled_both.lower(*layer.arguments).compile().as_text() or ""
    for _ in range(3):
        layer.both()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(CALLS):
                layer.both()
        (path,) = Path(folder).rglob("*.xplane.pb")
        events = [
            (event.name, event.duration_ns)
            for plane in jax.profiler.ProfileData.from_file(str(path)).planes
            for line in plane.lines
            for event in line.events
        ]
    seconds = {
        kind: 1e-9 * time / CALLS for kind, time in by_kind(events, products(program), work.T * CALLS).items()
    }
    return {"work": asdict(share), "seconds": seconds}


def products(program: str) -> dict[str, bool]:
    """Returns every instruction of a compiled program that does work, and whether it is or calls a matrix
    product."""
    holds: dict[str, bool] = defaultdict(bool)  # computation → whether there is a product in it
    calls: dict[str, str] = {}
    inside = ""
    for line in program.splitlines():
        if heading := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            inside = heading[1]
        elif instruction := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = \S.*? ([\w\-]+)\(", line):
            name, operation = instruction.groups()
            called = re.search(r"calls=%?([\w.\-]+)", line)
            calls[name] = called[1] if called else ""
            holds[inside] |= operation == "dot"
            if operation == "dot":
                holds[name] = True
            if operation in ("while", "call", "conditional"):  # their time is that of their kernels
                del calls[name]
    return {name: holds[name] or holds[called] for name, called in calls.items()}


def by_kind(events: list[tuple[str, float]], products: dict[str, bool], steps: int) -> dict[str, float]:
    """Computes the time of each kind, from (kernel, time), which kernels are products, and the number of
    `steps`."""
    count: dict[str, int] = defaultdict(int)
    total: dict[str, float] = defaultdict(float)
    for name, time in events:
        if name in products:
            count[name] += 1
            total[name] += time
    times: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for name, time in total.items():
        often = count[name] >= steps
        thin, large, local, rest = KINDS
        times[(thin if often else large) if products[name] else (local if often else rest)] += time
    return times


if __name__ == "__main__":
    run("kernels", __doc__, measure, lambda *size: print(json.dumps(one(Work("lstm", *map(int, size))))))
