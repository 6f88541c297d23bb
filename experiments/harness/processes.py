"""A run in several processes, on one machine or many: what they share and do together.

Each process is started by the same command. They join through `jax.distributed`, train on the devices of all, each
with its share of every batch, and then the first alone evaluates and draws; what the others write is thrown away.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import jax

from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError

T = TypeVar("T")
AUTO = "auto"
TOO_LONG = 24 * 60 * 60 * 1000  # ms, for a process that has nothing else to do than wait


@dataclass(frozen=True)
class Processes:
    """The processes that share a run, each started with the same options except its index."""

    coordinator: str | None = None
    """HOST:PORT, a free port of the first process's host; or auto, to ask the cluster (Slurm, Open MPI, …)."""
    count: int | None = None
    """Number of processes."""
    index: int | None = None
    """Index of this process, from 0; the first one writes."""
    wait: int = 300
    """Seconds within which all processes must connect."""
    patience: int = 100
    """Seconds of silence after which a process counts as lost."""

    def __post_init__(self) -> None:
        check_at_least(1, **{"processes.wait": self.wait, "processes.patience": self.patience})
        given = (self.count, self.index)
        if self.coordinator is None or self.coordinator == AUTO:
            if given != (None, None):
                raise UserError(
                    "--processes.count",
                    "and --processes.index go with --processes.coordinator HOST:PORT: give all",
                )
            return
        if self.count is None or self.index is None:
            raise UserError(
                "--processes.coordinator",
                f"{self.coordinator} needs --processes.count and --processes.index too",
            )
        check_at_least(1, **{"processes.count": self.count})
        if not 0 <= self.index < self.count:
            raise UserError("--processes.index", f"{self.index} must lie in 0 … {self.count - 1}")
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UserError("--processes.coordinator", f"{self.coordinator} must be HOST:PORT, or auto")


class WorkerDone(Exception):
    """This process has finished its part of the training; the main process does the rest."""


def process_count() -> int:
    """Returns the number of processes of the run, from JAX's service: its devices must not be looked at too
    early."""
    return service().num_processes if jax.distributed.is_initialized() else 1


def is_main() -> bool:
    """Tells whether this is the main process, the one that writes."""
    return not jax.distributed.is_initialized() or service().process_id == 0


class Share(TypedDict):
    """One of several equal shards of every batch."""

    process_index: int
    process_count: int


def process_shard() -> Share:
    """Returns this process's shard of the data."""
    return Share(
        process_index=service().process_id if process_count() > 1 else 0, process_count=process_count()
    )


def only_main_continues() -> None:
    """Raises WorkerDone in all processes but the main one."""
    if not is_main():
        raise WorkerDone


def broadcast_from_main(compute: Callable[[], T]) -> T:
    """Runs `compute` in the main process and returns its JSON value, or raises its ValueError, in all of them."""
    if process_count() == 1:
        return compute()
    key = next_key()
    known: dict[str, Any]
    if not is_main():
        known = json.loads(client().blocking_key_value_get(key, TOO_LONG))
    else:
        try:
            known = {"value": compute()}
        except ValueError as error:
            known = {"error": str(error)}
        client().key_value_set(key, json.dumps(known))
    if "error" in known:
        raise ValueError(known["error"])
    return known["value"]


def check_alike(described: Any, tell: Callable[[Any, Any], str | None]) -> None:
    """Raises ValueError in all processes if one was started with other options; `tell` names the difference.

    Each compares itself with the main one before it waits for others: with a --processes.count of its own it
    might wait for some that don't exist.
    """
    if process_count() == 1:
        return
    key, own = next_key(), process_shard()["process_index"]
    client().key_value_set(f"{key}/{own}", json.dumps(described))

    def given(index: int) -> Any:
        return json.loads(client().blocking_key_value_get(f"{key}/{index}", TOO_LONG))

    for index in (own, *range(1, process_count())):
        if (other := given(index)) != given(0):
            raise ValueError(
                f"process {index} was started with other options than process 0 ({tell(given(0), other)}): "
                "start all with the same, but for --processes.index"
            )


def check_divides(batch_size: int) -> None:
    """Raises UserError for a batch that the processes can't share equally."""
    if batch_size % process_count():
        raise UserError(
            "--batch-size",
            f"{batch_size} doesn't divide over {process_count()} processes: make it a multiple of that",
        )


_scratch: list[tempfile.TemporaryDirectory] = []


def scratch_folder() -> Path:
    """Creates the folder in which a worker process writes; it is deleted when the process ends."""
    _scratch.append(tempfile.TemporaryDirectory(prefix="unroll-"))
    return Path(_scratch[-1].name)


def clear_scratch() -> None:
    while _scratch:
        _scratch.pop().cleanup()


_asked = 0


def next_key() -> str:
    """Returns a key not used before: all processes ask in the same order."""
    global _asked
    _asked += 1
    return f"unroll/{_asked}"


def service() -> Any:
    """Returns JAX's distributed state, known before its devices are. Orbax reads it too; there is no public
    access."""
    from jax._src import distributed

    return distributed.global_state


def client() -> Any:
    """Returns the client through which the processes communicate before they compute."""
    return service().client
