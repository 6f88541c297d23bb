"""Runs `python -m experiments` for a parent process, and ends when the parent does.

Its standard input is a pipe that the other process never writes to: the pipe closes when that process ends,
however it ends. The run is then asked to save itself, as by SIGTERM.
"""

import os
import runpy
import signal
import threading


def stop_at_end_of_input() -> None:
    """Waits for the end of standard input, then asks this process to save itself and exit."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    runpy.run_module("experiments", run_name="__main__", alter_sys=True)
