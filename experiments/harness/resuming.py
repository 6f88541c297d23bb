"""The run that `--resume` means, and the checks that a command may go on with it."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.harness.errors import UserError
from experiments.harness.files import RUNS, environments
from experiments.harness.options import ADDED, fixed, flat, format_value, needed_by, option_name
from train import INCIDENTS_FILE, Checkpoints, read_metrics
from train.nonfinite import read_incidents
from train.tracking import METRICS_FILE

NEWEST = "newest"  # what --resume without a value stands for


def resumed_folder(name: str, run_dir: Path | None, resume: str | None) -> Path:
    """Returns the folder of the run to resume."""
    if run_dir is not None:
        named = None if resume in (None, NEWEST) else Path(resume)
        if named is not None and named.absolute() != run_dir.absolute():
            raise UserError("--resume", f"{named} and --run-dir {run_dir} are two folders: give one of them")
        return run_dir
    return newest_unfinished(name) if resume in (None, NEWEST) else Path(resume)


def newest_unfinished(name: str) -> Path:
    """Returns the most recently started run of this experiment that has no results yet."""
    runs = [path.parent for path in (RUNS / name).glob("*/config.json")]
    unfinished = [run for run in runs if not (run / "results.json").exists()]
    if not unfinished:
        raise ValueError(
            f"there is no unfinished run of {name} in {RUNS / name}: leave --resume out to begin one"
        )
    return max(unfinished, key=started)


def started(folder: Path) -> tuple[datetime, str]:
    """Returns when a run was first started (the beginning of time if unknown), and its name."""
    try:
        return datetime.fromisoformat(environments(folder)[0]["started"]), folder.name
    except (ValueError, KeyError, IndexError, TypeError):
        return datetime.min.replace(tzinfo=UTC), folder.name


def fingerprint_of(described: Mapping[str, Any], pinned: Collection[str] = ()) -> dict[str, Any]:
    """Returns the options that change what is computed, as a run's checkpoints record them."""
    return {option_name(option): value for option, value in fixed(described, pinned).items()}


def check_same(before: dict[str, Any], now: dict[str, Any], folder: Path, pinned: Collection[str]) -> None:
    """Raises ValueError, naming the option, if a resumed run would compute something else."""
    if before["experiment"] != now["experiment"]:
        raise ValueError(f"{folder} is a run of {before['experiment']}, not of {now['experiment']}")
    old, new = ADDED | flat(before["config"]), flat(now["config"])
    reasons = needed_by(old) | needed_by(new)
    for option in fixed(before, pinned) | fixed(now, pinned):
        if old.get(option) != new.get(option):
            why = f", and {reasons[option]} depends on it" if option in reasons else ""
            raise ValueError(
                f"{folder} was begun with {option_name(option)} {format_value(old.get(option))}, not "
                f"{format_value(new.get(option))}{why}: resume with the same, or begin a new run"
            )
    if "loop" not in now["config"]:
        return
    saved = [step for path in folder.rglob("checkpoints") for step in Checkpoints(path).recorded_steps()]
    done = max(saved, default=0)
    if done > now["config"]["loop"]["steps"]:
        raise ValueError(
            f"{folder} has been trained for {done} steps already: resume with --steps {done} or more"
        )


def check_restorable(folder: Path, fingerprint: Mapping[str, Any]) -> None:
    """Raises ValueError if training can't resume from what a run has saved: each of its trainings needs one whole
    checkpoint of the same options, and readable metrics."""
    for path in sorted(folder.rglob("checkpoints")):
        Checkpoints(path, config=fingerprint).check()
    for path in sorted(folder.rglob(METRICS_FILE)):
        read_metrics(path)
    for path in sorted(folder.rglob(INCIDENTS_FILE)):
        read_incidents(path)
