"""Start-up and shutdown of distributed runs."""

import ctypes
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import NoReturn

import jax

from experiments.harness.errors import UserError
from experiments.harness.processes import AUTO, Processes, WorkerDone, clear_scratch, client, is_main

END = "unroll/end"
LOST = (
    "another process of this run has ended or can't be reached: see what it said, and run the same commands "
    "with --resume to continue"
)
# How JAX tells that a peer is gone: by the library that sums over processes, or by its service.
GONE = re.compile(r"gloo|nccl|coordination|barrier|heartbeat|connection|socket", re.IGNORECASE)


def as_one(processes: Processes, compute: Callable[[], int], refused: Callable[[Exception], int]) -> int:
    """Joins the other processes, computes with them and shuts down with them. Returns the main process's exit code.

    Where this one can't go on it says why (`refused` gives the exit code) and leaves at once, and the others find
    it gone: Python's own end would wait for them.
    """
    if processes.coordinator is None:
        return compute()
    join(processes)
    try:
        with quiet_unless_main():
            code = compute()
            if is_main():
                client().key_value_set(END, str(code))
    except WorkerDone:
        code = 0
    except Exception as error:
        if GONE.search(str(error)) and not isinstance(error, OSError) and known_to_jax(error):
            leave(LOST)
        try:
            code = refused(error)
        except Exception:
            traceback.print_exc()
            code = 1
        if is_main():
            time.sleep(2)  # the others may have the same to say, and end where their coordinator does
        leave("", code)
    except BaseException:  # a signal before training
        leave("", 1)
    try:
        return leave_together(code)
    except BaseException:  # a signal to one that waits for the first
        leave("", 1)


def known_to_jax(error: Exception) -> bool:
    """Tells whether an error comes from JAX's runtime: a status, in capitals, before the message."""
    return re.match(r"[A-Z_]{5,}: ", str(error)) is not None


def join(processes: Processes) -> None:
    """Connects to the other processes, or ends this one with a sentence in place of JAX's own C++ trace."""
    known = processes.coordinator != AUTO
    where = processes.coordinator if known else "the address that the cluster gave"
    said = (
        f"not all processes came to {where} within {processes.wait} s: start all of them, with an address that all "
        "can reach, with the same --processes.count and with another --processes.index each"
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
        raise UserError(
            "--processes.coordinator",
            "auto: JAX knows no cluster here; give HOST:PORT with --processes.count and --processes.index",
        ) from None
    late.cancel()
    say_before_abort(LOST)


def check_free(coordinator: str) -> None:
    """Raises UserError if the main process can't bind the coordinator's port."""
    port = int(coordinator.rpartition(":")[2])
    with socket.socket(socket.AF_INET) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
        except OSError as error:
            raise UserError(
                "--processes.coordinator",
                f"{coordinator}: this port can't be opened here ({error.strerror}); choose another",
            ) from None


@contextmanager
def quiet_unless_main() -> Iterator[None]:
    """Silences standard output in every process but the main one."""
    if is_main():
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def leave_together(code: int) -> int:
    """Waits for the main process to finish, then shuts down in order. Returns its exit code."""
    while not is_main():
        try:
            code = int(client().blocking_key_value_get(END, 1000))  # in pieces, so that Ctrl-C is heard
            break
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE" not in str(error):
                leave(LOST)
    impatient = threading.Timer(10, leave, ["", code])
    impatient.daemon = True
    impatient.start()
    clear_scratch()
    jax.distributed.shutdown()
    impatient.cancel()
    return code


def leave(said: str, code: int = 1) -> NoReturn:
    """Ends this process at once, with a sentence if there is one."""
    sys.stdout.flush()
    sys.stderr.flush()
    clear_scratch()
    if said:
        os.write(2, f"error: {said}\n".encode())
    os._exit(code)


def say_before_abort(said: str) -> None:
    """Replaces JAX's abort after a lost peer: prints a sentence and exits with 1, without a core dump."""

    def handler(number: int) -> None:
        leave(said)

    kept = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
    say_before_abort.kept = kept  # type: ignore  # C holds no reference
    ctypes.CDLL(None).signal(signal.SIGABRT, kept)
