"""A run in several processes, on one machine or many: how they find one another, and what they do together.

Each process is started by the same command. They join through `jax.distributed`, train on the devices of all, each
with its share of every batch, and then the first alone evaluates and draws; what the others write is thrown away.
"""

import ctypes
import json
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax

from models.cell import at_least

T = TypeVar("T")
AUTO = "auto"
END = "unroll/end"
LOST = (
    "another process of this run has ended or can't be reached: see what it said, and go on with the same commands "
    "and --resume"
)
TOO_LONG = 24 * 60 * 60 * 1000  # ms, for a process that has nothing else to do than wait
# How JAX tells that a peer is gone: by the library that sums over processes, or by its service.
GONE = re.compile(r"gloo|nccl|coordination|barrier|heartbeat|connection|socket", re.IGNORECASE)


@dataclass(frozen=True)
class Processes:
    """The processes that share a run, each started with the same options but for its index."""

    coordinator: str | None = None
    """HOST:PORT, a free port of the first process's host; or auto, where JAX knows the cluster (Slurm, Open MPI,
    Cloud TPU, Kubernetes) and asks it for all three."""
    count: int | None = None
    """How many processes there are."""
    index: int | None = None
    """Which of them this is, from 0; the first writes."""
    wait: int = 300
    """Seconds in which all must have come."""
    patience: int = 100
    """Seconds without a sign of life after which a process counts as lost."""

    def __post_init__(self) -> None:
        at_least(1, wait=self.wait, patience=self.patience)
        given = (self.count, self.index)
        if self.coordinator is None or self.coordinator == AUTO:
            if given != (None, None):
                raise ValueError(
                    "--processes.count and --processes.index go with --processes.coordinator HOST:PORT: give all"
                )
            return
        if self.count is None or self.index is None:
            raise ValueError(
                f"--processes.coordinator {self.coordinator} needs --processes.count and --processes.index too"
            )
        at_least(1, **{"processes.count": self.count})
        if not 0 <= self.index < self.count:
            raise ValueError(f"--processes.index {self.index} must lie in 0 … {self.count - 1}")
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"--processes.coordinator {self.coordinator} must be HOST:PORT, or auto")


class Helped(Exception):
    """This process has done its share of the training, and the first does the rest."""


def several() -> int:
    """How many processes share the run; asked of JAX's service, for its devices must not be looked at too early."""
    return service().num_processes if jax.distributed.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that writes."""
    return not jax.distributed.is_initialized() or service().process_id == 0


def mine() -> dict[str, int]:
    """Which share of the data is this process's."""
    return {"process_index": service().process_id if several() > 1 else 0, "process_count": several()}


def only_first_goes_on() -> None:
    """Raises Helped in all processes but the first."""
    if not first():
        raise Helped


def as_one(processes: Processes, compute: Callable[[], int], refused: Callable[[Exception], int]) -> int:
    """Joins the other processes, computes with them, and leaves with them; the exit code, which is the first's.

    Where this one can't go on it says why (`refused` gives the exit code) and leaves at once, and the others find
    it gone: Python's own end would wait for them.
    """
    if processes.coordinator is None:
        return compute()
    join(processes)
    try:
        with quiet_unless_first():
            code = compute()
            if first():
                client().key_value_set(END, str(code))
    except Helped:
        code = 0
    except Exception as error:
        if GONE.search(str(error)) and not isinstance(error, OSError) and known_to_jax(error):
            leave(LOST)
        try:
            code = refused(error)
        except Exception:
            traceback.print_exc()
            code = 1
        if first():
            time.sleep(2)  # the others may have the same to say, and end where their coordinator does
        leave("", code)
    return leave_together(code)


def known_to_jax(error: Exception) -> bool:
    """Whether an error comes from JAX's runtime: a status, in capitals, before the message."""
    return re.match(r"[A-Z_]{5,}: ", str(error)) is not None


def join(processes: Processes) -> None:
    """Meets the other processes, or ends this one with a sentence: JAX itself would end it with a trace of C++."""
    known = processes.coordinator != AUTO
    where = processes.coordinator if known else "the address that the cluster gave"
    said = (
        f"not all processes came to {where} within {processes.wait} s: start all of them, with an address that all "
        "can reach, and with another --processes.index each"
    )
    late = threading.Timer(processes.wait, leave, [said])
    late.daemon = True
    late.start()
    if known and processes.index == 0:
        check_free(processes.coordinator or "")
    try:
        jax.distributed.initialize(
            processes.coordinator if known else None,
            processes.count,
            processes.index,
            initialization_timeout=processes.wait + 60,  # ours comes before
            heartbeat_timeout_seconds=processes.patience,
            cluster_detection_method="deactivate" if known else None,
        )
    except ValueError:
        raise ValueError(
            "--processes.coordinator auto: JAX knows no cluster here; give HOST:PORT with --processes.count and "
            "--processes.index"
        ) from None
    late.cancel()
    say_before_abort(LOST)


def check_free(coordinator: str) -> None:
    """Raises ValueError where the first process can't have the port."""
    port = int(coordinator.rpartition(":")[2])
    with socket.socket(socket.AF_INET) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(
                f"--processes.coordinator {coordinator}: the port is not to be had here ({error.strerror})"
            ) from None


def from_first(compute: Callable[[], T]) -> T:
    """What `compute` gives in the first process, in terms of JSON, in all of them; its ValueError likewise."""
    if several() == 1:
        return compute()
    key = next_key()
    if not first():
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
    """Raises ValueError in all processes where one was started with other options; `tell` names what differs."""
    if several() == 1:
        return
    key = next_key()
    client().key_value_set(f"{key}/{mine()['process_index']}", json.dumps(described))
    given = [json.loads(client().blocking_key_value_get(f"{key}/{i}", TOO_LONG)) for i in range(several())]
    for index, other in enumerate(given):
        if other != given[0]:
            raise ValueError(
                f"process {index} was started with other options than process 0 ({tell(given[0], other)}): "
                "start all with the same, but for --processes.index"
            )


@contextmanager
def quiet_unless_first() -> Iterator[None]:
    """What all would print is printed once."""
    if first():
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


_scratch: list[tempfile.TemporaryDirectory] = []


def scratch_folder() -> Path:
    """Where a process that isn't the first leaves what it would write; gone when the process is."""
    _scratch.append(tempfile.TemporaryDirectory(prefix="unroll-"))
    return Path(_scratch[-1].name)


def clear_scratch() -> None:
    while _scratch:
        _scratch.pop().cleanup()


def leave_together(code: int) -> int:
    """Waits until the first process is done, however long, and lets go of the others in order; its exit code."""
    impatient = threading.Timer(10, leave, ["", code])
    impatient.daemon = True
    while not first():
        try:
            code = int(client().blocking_key_value_get(END, 1000))  # in pieces, so that Ctrl-C is heard
            break
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE" not in str(error):
                leave(LOST)
    impatient.start()
    clear_scratch()
    jax.distributed.shutdown()
    impatient.cancel()
    return code


def leave(said: str, code: int = 1) -> None:
    """Ends this process at once, with a sentence if there is one."""
    sys.stdout.flush()
    sys.stderr.flush()
    clear_scratch()
    if said:
        os.write(2, f"error: {said}\n".encode())
    os._exit(code)


def say_before_abort(said: str) -> None:
    """JAX's service ends a process whose peers are lost by `abort`, from a thread of its own, in C++: this puts a
    sentence behind its trace, and 1 in place of a core dump."""

    def handler(number: int) -> None:
        leave(said)

    kept = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
    say_before_abort.kept = kept  # type: ignore  # C holds no reference
    ctypes.CDLL(None).signal(signal.SIGABRT, kept)


_asked = 0


def next_key() -> str:
    """A key that no one has used: all processes ask in the same order."""
    global _asked
    _asked += 1
    return f"unroll/{_asked}"


def service() -> Any:
    """What JAX knows of the processes before it knows its devices. Orbax asks it too: there is no other door."""
    from jax._src import distributed

    return distributed.global_state


def client() -> Any:
    """Through which the processes speak before they compute."""
    return service().client
