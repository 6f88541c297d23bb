"""Runs all libraries on the same work, each in its own process, in turns."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import quantiles
from typing import Any, TypeVar

from benchmarks.work import WAYS, Way, Work

Found = TypeVar("Found")


@dataclass(frozen=True)
class Peer:
    """A library in the comparison: its file in `layers/`, and the number of devices over which the batch is
    sharded."""

    name: str
    module: str
    devices: int = 1
    families: tuple[str, ...] = ("elman", "gru", "lstm")


PRODUCTS = "products alone"
LARGE = "one large product"
BOUNDS = (PRODUCTS, LARGE)


def peers(cores: int) -> list[Peer]:
    """Returns the installed libraries: ours on one device per core, the others in JAX unsharded and sharded as
    ours; last the layer's products alone and one large product, which bound the speed of all layers."""
    found = [Peer("ours", "ours", cores), Peer("ours, one device", "ours")]
    for name, module, needs, families in (
        ("Linen", "flax_linen", "flax", ("elman", "gru", "lstm")),
        ("NNX", "flax_nnx", "flax", ("elman", "gru", "lstm")),
        ("Equinox", "equinox_cells", "equinox", ("gru", "lstm")),
    ):
        if importlib.util.find_spec(needs):
            found.append(Peer(name, module, 1, families))
            found.append(Peer(f"{name}, sharded", module, cores, families))
    if importlib.util.find_spec("torch"):
        found.append(Peer("PyTorch", "pytorch"))
    return [*found, Peer(PRODUCTS, "products", cores), Peer(LARGE, "large_product")]


class Worker:
    """A process that answers lines of JSON with lines of JSON: times layers, or runs training steps."""

    def __init__(self, *command: str) -> None:
        """Starts a `command`: a module, and its arguments."""
        # Each library keeps its default threads: OMP_WAIT_POLICY=passive, for instance, halves PyTorch's speed.
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **request: Any) -> Any:
        """Returns the answer to one request. Raises RuntimeError if the process has died."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self.process.args))} ended without an answer")  # type: ignore
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def layers(peer: Peer) -> Worker:
    """Starts the process of one peer's layers."""
    return Worker("benchmarks.worker", peer.module, str(peer.devices))


@dataclass
class Measured:
    """One peer on one work and pass: seconds of every call, of the first one, and bytes that a call adds."""

    peer: str
    work: Work
    way: Way
    times: list[float] = field(default_factory=list)
    first_seconds: float = 0.0
    peak_bytes: int = 0
    value: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Returns the record for docs/benchmarks.json, with the quartiles in place of all times."""
        row = asdict(self) | {"quartiles": quartiles(self.times)}
        return {name: entry for name, entry in row.items() if name not in ("times", "value")}


def in_turns(
    sides: dict[str, Worker], rounds: int, check: Callable[[Any, Any], Found]
) -> tuple[dict[str, Any], dict[str, Found], dict[str, list[float]]]:
    """Asks each side once, which compiles, then `rounds` times in turns, and closes all.

    Returns by side the first answer, what `check(first answer, that of "ours")` found, and the `seconds` of the
    later answers. `check` raises ValueError where a side doesn't do the same work."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    try:
        first = {name: side.ask() for name, side in sides.items()}
        found = {name: check(answer, first["ours"]) for name, answer in first.items()}
        for _ in range(rounds):
            for name, side in sides.items():
                times[name].append(side.ask()["seconds"])
    finally:
        for side in sides.values():
            side.close()
    return first, found, times


def quartiles(times: Sequence[float]) -> list[float]:
    """Returns the lower quartile, the median and the upper quartile; a single time is all three."""
    return quantiles(times, n=4) if len(times) > 1 else [*times] * 3


def compare(
    chosen: Sequence[Peer],
    works: Sequence[Work],
    *,
    rounds: int,
    seconds: float,
    ways: Sequence[Way] = WAYS,
    say: Any = print,
) -> list[Measured]:
    """Measures every peer on every work, in turns: `rounds` turns of `seconds` each for every pass.

    Raises ValueError if two libraries disagree in the mean square, so that they don't do the same work.
    """
    workers = {peer.name: layers(peer) for peer in chosen}
    found: list[Measured] = []
    try:
        for work in works:
            taking = [peer.name for peer in chosen if work.family in peer.families]
            built = {name: workers[name].ask(do="build", work=asdict(work), ways=ways) for name in taking}
            check_same(work, {name: built[name][ways[-1]]["value"] for name in taking if name not in BOUNDS})
            for way in ways:
                rows = {name: Measured(name, work, way, **built[name][way]) for name in taking}
                for _ in range(rounds):
                    for name in taking:
                        times = workers[name].ask(do="time", way=way, seconds=seconds)
                        rows[name].times += times
                found += rows.values()
            say(f"{work.name} done", flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    return found


def check_same(work: Work, values: dict[str, float]) -> None:
    """Raises ValueError unless the mean squares of the outputs agree, as weights and inputs do."""
    low, high = min(values.values()), max(values.values())
    if high - low > 1e-4 * high:
        raise ValueError(f"not the same work in {work.name}: {values}")
