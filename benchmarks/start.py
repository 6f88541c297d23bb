"""Response times: help, a rejected option, and the first logged step of a run: new, repeated, resumed.

python -m benchmarks.start      measures this alone, and writes its part of docs/benchmarks.md
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command import run

ROOT = Path(__file__).resolve().parent.parent
RUN = ("char_lm", "--steps", "2000")  # of which it runs some tens
TURNS = 3
PATIENCE = 300.0
ANSWERS = {
    "--help": ("--help",),
    "char_lm --help": ("char_lm", "--help"),
    "char_lm --hidden 3, refused": ("char_lm", "--hidden", "3"),
}


def start(words: tuple[str, ...], home: Path) -> subprocess.Popen[bytes]:
    """Starts `python -m experiments …` in a folder, with its own compilation cache."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(home / "cache")}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *words], cwd=home, env=environment, stdout=quiet, stderr=quiet
    )


def answer_time(words: tuple[str, ...], home: Path) -> float:
    """Measures the seconds until the command ends."""
    began = time.perf_counter()
    start(words, home).wait(PATIENCE)
    return time.perf_counter() - began


def first_step_time(words: tuple[str, ...], home: Path, folder: str) -> float:
    """Measures the seconds until a run logs a training step, and then stops it.

    Raises ValueError if it ends without one.
    """
    path = home / folder / "metrics.jsonl"

    def logged() -> int:
        return path.read_text(encoding="utf-8").count('"split": "train"') if path.exists() else 0

    before, began = logged(), time.perf_counter()
    run = start(words, home)
    try:
        while logged() <= before:
            if run.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise ValueError(f"python -m experiments {' '.join(words)} logged no training step")
            time.sleep(0.01)
        found = time.perf_counter() - began
        run.send_signal(signal.SIGTERM)
        run.wait(PATIENCE)
    finally:
        run.kill()
    return found


def measure(say: Callable[..., None] = print) -> list[dict[str, Any]]:
    """Returns `what`, `seconds`, and for a run with cached programs `of_cold`, the ratio to the time without."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for what, words in ANSWERS.items():
            rows.append({"what": what, "seconds": median(answer_time(words, home) for _ in range(TURNS))})
        cold = first_step_time((*RUN, "--run-dir", "cold"), home, "cold")
        again = first_step_time((*RUN, "--run-dir", "again"), home, "again")
        resumed = first_step_time((*RUN, "--resume", "again"), home, "again")
    command = " ".join(RUN)
    rows.append({"what": f"{command}, the first time", "seconds": cold})
    rows.append({"what": f"{command}, repeated", "seconds": again, "of_cold": again / cold})
    rows.append({"what": f"{command}, resumed", "seconds": resumed, "of_cold": resumed / cold})
    say("start done", flush=True)
    return rows


if __name__ == "__main__":
    run("start", __doc__, measure)
