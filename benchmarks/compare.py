"""All libraries on the same work, each in a process of its own, in turns."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import quantiles
from typing import Any

from benchmarks.work import WAYS, Way, Work


@dataclass(frozen=True)
class Peer:
    """A library as it takes part: its file in `layers/`, and over how many devices the batch goes."""

    name: str
    module: str
    devices: int = 1
    families: tuple[str, ...] = ("elman", "gru", "lstm")


PRODUCTS = "products alone"
LARGE = "one large product"
BOUNDS = (PRODUCTS, LARGE)


def peers(cores: int) -> list[Peer]:
    """Those installed: ours over a device per core, the others in JAX as shipped and sharded as ours is; last the
    layer's products alone and one large product, which are no layers but what bounds them."""
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
    """A process that answers a line of JSON with another: times layers, or takes turns at a step."""

    def __init__(self, *command: str) -> None:
        """`command`: a module, and what it is told."""
        # Threads as each library has them by itself: OMP_WAIT_POLICY=passive, say, halves PyTorch's speed.
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **request: Any) -> Any:
        """Its answer to one request. Raises RuntimeError where it has died."""
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
    """The process of one peer's layers."""
    return Worker("benchmarks.worker", peer.module, str(peer.devices))


@dataclass
class Measured:
    """One peer on one work, one way: seconds of every call, of the first one, and bytes that a call adds."""

    peer: str
    work: Work
    way: Way
    times: list[float] = field(default_factory=list)
    first_seconds: float = 0.0
    peak_bytes: int = 0
    value: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Returns what is kept in docs/benchmarks.json: the quartiles in place of every time."""
        row = asdict(self) | {"quartiles": quartiles(self.times)}
        return {name: entry for name, entry in row.items() if name not in ("times", "value")}


def quartiles(times: Sequence[float]) -> list[float]:
    """Returns the lower quartile, the median and the upper quartile; of one time three times that one."""
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
    """Every peer on every work, turn by turn: `rounds` turns of `seconds` each for every way.

    Raises ValueError where two libraries don't come to the same mean square: then it isn't the same work.
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
    """Equal to rounding: weights and inputs are the same, so must be the mean square of the outputs."""
    low, high = min(values.values()), max(values.values())
    if high - low > 1e-4 * high:
        raise ValueError(f"not the same work in {work.name}: {values}")
