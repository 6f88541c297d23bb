"""Engines that execute the runs of a sweep: local processes, or Ray Tune on its cluster."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.harness.errors import UserError
from experiments.harness.lock import holder
from experiments.sweep.plan import Job
from train import stopping_signals
from train.files import open_no_follow

Engine = Literal["local", "ray"]
Ended = Callable[[Job, int, float], None]
"""`(job, exit code, seconds)`, told as each run ends."""
Running = Callable[[Sequence[Job]], None]
"""Receives the running jobs, several times a second."""
PATIENCE = 60  # seconds in which a run that is asked to stop must have saved itself


class Interrupted(BaseException):
    """A signal asked the sweep to stop."""

    def __init__(self, number: int) -> None:
        self.signal = number


@dataclass
class Child:
    """A running run."""

    job: Job
    process: subprocess.Popen
    began: float


def run_locally(jobs: Sequence[Job], at_once: int, ended: Ended, running: Running) -> None:
    """Runs up to `at_once` processes at a time. On a signal asks each to save itself, waits, and raises
    Interrupted.

    A run that a process of an earlier sweep still writes is left until that has saved it, and then goes on.
    """
    waiting, children, reported = list(jobs), list[Child](), set[Job]()
    with signals_raise():
        try:
            while waiting or children:
                holders = {job: holder(job.folder) for job in waiting} if len(children) < at_once else {}
                for job in [job for job, who in holders.items() if who and job not in reported]:
                    reported.add(job)
                    print(f"{job.name} is still being written by {holders[job]}: waiting for it", flush=True)
                for job in [job for job, who in holders.items() if not who][: at_once - len(children)]:
                    waiting.remove(job)
                    if job.finished:
                        ended(job, 0, 0.0)
                    else:
                        children.append(Child(job, start(job), time.monotonic()))
                running([child.job for child in children])
                time.sleep(0.1)
                for child in [child for child in children if child.process.poll() is not None]:
                    children.remove(child)
                    close_input(child.process)
                    ended(child.job, child.process.returncode, time.monotonic() - child.began)
        finally:
            stop([child.process for child in children])


def start(job: Job) -> subprocess.Popen:
    """Starts a run as a process that ignores the terminal's Ctrl-C (the sweep passes it on) and ends when the sweep
    does."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab", opener=open_no_follow) as log:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.sweep.worker", *job.command()],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=surroundings(),
            start_new_session=True,
        )


def surroundings() -> dict[str, str]:
    """Returns this process's environment with this checkout on PYTHONPATH."""
    root = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": root if not before else f"{root}{os.pathsep}{before}"}


def stop(processes: Sequence[subprocess.Popen]) -> None:
    """Asks processes to save themselves and waits; kills them after the patience is over or at a second signal."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    try:
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, Interrupted):
        for process in processes:
            process.kill()
            process.wait()
    finally:
        for process in processes:
            close_input(process)


def close_input(process: subprocess.Popen) -> None:
    """Closes this end of the pipe by which a run learns that the sweep has ended."""
    if process.stdin is not None:
        process.stdin.close()


@contextlib.contextmanager
def signals_raise() -> Any:
    """Makes stop signals raise Interrupted within this context."""

    def handle(number: int, frame: Any) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, handle) for number in stopping_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def run_with_ray(jobs: Sequence[Job], at_once: int, ended: Ended, running: Running) -> None:
    """Runs the same runs as trials of Ray Tune, on the cluster that `RAY_ADDRESS` names or on this machine.

    All its machines must see the sweep's folder. Raises ValueError where Ray isn't installed.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray import tune  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("--engine", 'ray needs Ray Tune: pip install "ray[tune]"') from None
    here, environment = os.getcwd(), surroundings()
    words = {job.name: [*job.command()] for job in jobs}
    logs = {job.name: str(job.log.resolve()) for job in jobs}  # a trial has another working folder
    for job in jobs:
        job.log.parent.mkdir(parents=True, exist_ok=True)

    def trial(given: dict[str, Any]) -> None:
        began = time.monotonic()
        with open(logs[given["run"]], "ab", opener=open_no_follow) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "experiments.sweep.worker", *words[given["run"]]],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": environment["PYTHONPATH"]},
                cwd=here,
            )
            with process.stdin or log:  # open until the run has ended
                process.wait()
        tune.report({"code": process.returncode, "seconds": time.monotonic() - began})

    named = {job.name: job for job in jobs}

    class Tell(tune.Callback):
        """Reports runs as they end and while they run."""

        def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
            running([named[t.config["run"]] for t in trials if t.status == "RUNNING"])

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            last = trial.last_result
            ended(named[trial.config["run"]], last["code"], last["seconds"])

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            ended(named[trial.config["run"]], 1, 0.0)

    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    cores = float(ray.cluster_resources().get("CPU", 1))
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": max(cores / at_once, 0.001)}),
        param_space={"run": tune.grid_search(list(named))},
        tune_config=tune.TuneConfig(max_concurrent_trials=at_once),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(jobs[0].folder.parent.parent.resolve()),
            callbacks=[Tell()],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        ray.shutdown()


ENGINES: dict[Engine, Callable[[Sequence[Job], int, Ended, Running], None]] = {
    "local": run_locally,
    "ray": run_with_ray,
}
