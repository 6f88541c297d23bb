"""Leaving in good order when asked to."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Set `requested`, and the loop saves and returns after the chunk it is in."""

    requested: bool = False
    signal: int = 0
    """The number of the signal that asked, 0 if none did."""


def stopping_signals() -> list[signal.Signals]:
    """The signals that ask a run to save and leave: SIGINT, SIGTERM and, unless it is ignored, SIGHUP."""
    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *hangup]


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Ctrl-C (SIGINT), SIGTERM and a terminal that closes (SIGHUP, unless it is ignored, as `nohup` has it) ask to
    stop while this lasts; a second signal does what it did before.

    Outside the main thread, where Python allows no handlers, it catches nothing.

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
        # Not print: the signal may have come in the middle of one.
        with suppress(OSError):  # the terminal may be gone
            os.write(2, b"\nstopping after the steps under way; once more stops at once\n")

    for number in before:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()
