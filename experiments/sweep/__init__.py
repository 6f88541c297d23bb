"""Run an experiment for every combination of some options, over several seeds; a table, a figure.

    python -m experiments sweep adding --grid cell=gru,lstm --seeds 3

Options that aren't the sweep's own go to every run. Each run is an ordinary one, in a folder of its own.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.harness.checks import check_at_least
from experiments.harness.command_line import read_command
from experiments.harness.environment import cores, environment
from experiments.harness.files import ENVIRONMENT, RUNS, environments, read_run, stored_config, write_json
from experiments.harness.launch import leave_accelerator
from experiments.harness.lock import acquire
from experiments.harness.options import digest
from experiments.harness.resuming import resumed_folder
from experiments.registry import NAMES, module_of, unknown
from experiments.sweep.engines import ENGINES, Engine, Interrupted
from experiments.sweep.outcomes import compare, draw, read_outcomes
from experiments.sweep.plan import Job, check_begun, failure_reason, plan, read_grid
from train.files import check_name
from train.progress import clock, columns_of

__all__ = ["draw", "main"]  # `inspect` draws by the module that has the run's name


@dataclass(frozen=True)
class Sweep:
    """The options of a sweep; all other options go to the experiment."""

    experiment: tyro.conf.Positional[str]
    """The experiment to run."""
    grid: Annotated[tuple[str, ...], tyro.conf.arg(help_behavior_hint="(default: none)")] = ()
    """OPTION=VALUE,VALUE,… as in cell=elman,gru length=100,200: every combination is run."""
    seeds: int = 1
    """Runs of each combination, with the seeds 0, 1, …"""
    jobs: int | None = None
    """Runs at a time; by default one per core, or 1 with an accelerator."""
    engine: Engine = "local"
    """Processes of this machine, or Ray Tune (an extra) on a cluster of its own."""
    metric: str | None = None
    """Entry of results.json to compare, e.g. test.accuracy; by default the experiment's main result."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """List the runs without starting them."""
    run_dir: Path | None = None
    """Folder of the sweep; runs/sweep/TIME-HASH by default."""
    resume: str | None = None
    """Resume a sweep: the newest unfinished one, or the one named. Values and seeds may be added."""

    def __post_init__(self) -> None:
        check_at_least(1, seeds=self.seeds)
        if self.jobs is not None:
            check_at_least(1, jobs=self.jobs)


def main(arguments: Sequence[str]) -> int:
    """Plans, checks, runs and compares. Returns 0 if all runs finished, 1 if one failed, 128 + signal if
    stopped."""
    given, options = read(arguments)
    leave_accelerator()
    folder = folder_of(given, options)
    jobs = plan(given.experiment, read_grid(given.grid), given.seeds, options, folder)
    pinned = getattr(module_of(given.experiment), "PINNED", ())
    check_begun(jobs, pinned)
    left = [job for job in jobs if not job.finished]
    if given.dry_run:
        print("\n".join(describe_job(job) for job in jobs))
        print(f"{len(jobs)} runs, {len(jobs) - len(left)} of them finished, in {folder}")
        return 0
    if given.metric is not None and len(left) < len(jobs):
        read_outcomes(jobs, given.metric)  # an unknown one is better known now than in hours
    open_sweep(folder, given, options)
    print(f"sweep folder: {folder}", flush=True)
    try:
        failures = run_jobs(jobs, given.engine, given.jobs or default_jobs())
    except Interrupted as stopped:
        done = sum(job.finished for job in jobs)
        print(
            f"stopped with {done} of {len(jobs)} runs finished; run the same command with --resume {folder} to "
            "continue",
            file=sys.stderr,
        )
        return 128 + stopped.signal
    print(compare(folder, jobs, given.metric, given.seeds, failures))
    for path in sorted((folder / "figures").glob("*.png")):
        print(f"look at: {path}")
    if failures:
        again = f"try again with the same command and --resume {folder}"
        print(f"{len(failures)} of {len(jobs)} runs failed; {again}", file=sys.stderr)
    return 1 if failures else 0


def run_jobs(jobs: Sequence[Job], engine: Engine, at_once: int) -> dict[str, str]:
    """Runs those that aren't finished, so many at a time, and tells as each ends; returns why each that failed did.

    Raises Interrupted at a signal, when all have saved themselves."""
    left = [job for job in jobs if not job.finished]
    show = Show(len(jobs), len(left), min(at_once, max(1, len(left))))
    failures: dict[str, str] = {}

    def ended(job: Job, code: int, seconds: float) -> None:
        if code or not job.finished:
            failures[job.name] = failure_reason(job.log)
        show.ended(job, seconds, failures.get(job.name))

    try:
        if left:
            ENGINES[engine](left, show.at_once, ended, show.running)
    finally:
        show.close()
    return failures


def read(arguments: Sequence[str]) -> tuple[Sweep, list[str]]:
    """Parses the sweep's own options, and returns the others for its runs."""
    given, rest = read_command(Sweep, arguments, "sweep", __doc__, return_unknown_args=True)
    if given.experiment not in NAMES:
        raise ValueError(unknown(given.experiment, NAMES))
    return given, rest


def folder_of(given: Sweep, options: Sequence[str]) -> Path:
    """Returns a new folder, or the folder of the sweep to resume. Raises ValueError if there is none."""
    if given.resume is None:
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{digest(described(given, options))}"
        folder = given.run_dir or RUNS / "sweep" / name
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(
                f"{folder} exists already: choose another --run-dir, or add --resume to continue it"
            )
        return folder
    folder = resumed_folder("sweep", given.run_dir, given.resume)
    if (
        read_run(folder)["experiment"] != "sweep"
        or stored_config(Config, folder).experiment != given.experiment
    ):
        raise ValueError(f"{folder} isn't a sweep of {given.experiment}: name another, or begin a new one")
    return folder


@dataclass(frozen=True)
class Config:
    """The options of a sweep, as config.json holds them."""

    experiment: str
    grid: dict[str, list[str]]
    seeds: int
    options: list[str]


def described(given: Sweep, options: Sequence[str]) -> dict[str, Any]:
    """Returns the content of config.json for a sweep."""
    grid = {key: list(values) for key, values in read_grid(given.grid).items()}
    config = Config(given.experiment, grid, given.seeds, list(options))
    return {"experiment": "sweep", "config": vars(config)}


def open_sweep(folder: Path, given: Sweep, options: Sequence[str]) -> None:
    """Creates the folder and writes the sweep's config and environment."""
    check_name(folder)
    folder.mkdir(parents=True, exist_ok=True)
    acquire(folder)
    write_json(folder / "config.json", described(given, options))
    before = environments(folder) if (folder / ENVIRONMENT).exists() else []
    write_json(folder / ENVIRONMENT, [*before, environment(1)])
    (folder / "results.json").unlink(missing_ok=True)


def default_jobs() -> int:
    """Returns the number of cores, or 1 if the runs would share an accelerator."""
    return 1 if entry_points(group="jax_plugins") or find_spec("libtpu") else cores()


def describe_job(job: Job) -> str:
    """Returns a run's command with its state: new, unfinished or finished."""
    state = "finished" if job.finished else "goes on" if job.begun else "new"
    return f"{state:<10}python -m experiments {' '.join(map(quoted, job.command()))}"


def quoted(word: str) -> str:
    return f'"{word}"' if any(letter in word for letter in " ()'*") else word


class Show:
    """Prints a line as each run ends, and on a terminal a status line of what is running."""

    def __init__(self, total: int, left: int, at_once: int) -> None:
        self.total, self.done, self.left, self.at_once = total, total - left, left, at_once
        self.began, self.ended_now, self.drawn = time.monotonic(), 0, 0.0
        self.terminal = sys.stdout.isatty()
        if self.done:
            print(f"{self.done} of {total} runs are finished already")

    def ended(self, job: Job, seconds: float, failure: str | None) -> None:
        """Reports how a run ended."""
        self.done, self.ended_now = self.done + 1, self.ended_now + 1
        said = f"failed: {failure}" if failure else f"took {clock(seconds)}"
        self.wipe()
        print(f"[{self.done}/{self.total}] {job.name}  {said}", flush=True)

    def running(self, jobs: Sequence[Job]) -> None:
        """Redraws the line of what is running, on a terminal."""
        now = time.monotonic()
        if not self.terminal or now - self.drawn < 0.5 or not jobs:
            return
        self.drawn = now
        line = f"{self.done} of {self.total} done, {clock(now - self.began)}"
        if self.ended_now:
            rest = (now - self.began) / self.ended_now * (self.left - self.ended_now)
            line += f", about {clock(rest)} left"
        line += f"; running: {', '.join(job.name for job in jobs)}"
        width = shutil.get_terminal_size().columns
        if columns_of(line) >= width:
            ends = [end for end in range(len(line)) if columns_of(line[:end]) <= width - 2]
            line = line[: max(ends, default=0)] + "…"
        print(f"\r{line}\x1b[K", end="", flush=True)

    def wipe(self) -> None:
        if self.terminal:
            print("\r\x1b[K", end="")

    close = wipe
