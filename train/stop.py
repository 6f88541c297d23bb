"""Graceful stopping on signals."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """A request to stop: if `requested` is set, the loop saves and returns after the current chunk."""

    requested: bool = False
    signal: int = 0
    """The number of the signal, 0 if there was none."""


def stopping_signals() -> list[signal.Signals]:
    """Returns the signals that make a run save and stop: SIGINT, SIGTERM and, unless it is ignored, SIGHUP."""
    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *hangup]


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns SIGINT (Ctrl-C), SIGTERM and SIGHUP (unless it is ignored, as by `nohup`) into requests to stop within
    the block; a second signal has its usual effect.

    Outside the main thread, where Python allows no handlers, it does nothing.

        with stop_on_signals() as stop:
            result = fit(…, stop=stop)
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    before = {number: signal.getsignal(number) for number in stopping_signals()}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        request.requested, request.signal = True, number
        restore()
        # Not `print`: the signal may have interrupted one.
        with suppress(OSError):  # the terminal may be gone
            os.write(2, b"\nstopping after the current steps; once more stops at once\n")

    for number in before:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()
