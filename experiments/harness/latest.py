"""The word `latest` in place of a run's folder."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from experiments.harness.files import CONFIG, RUNS, environments
from experiments.harness.options import LATEST


def latest_run(experiments: Collection[str]) -> Path:
    """Returns the most recently begun run of these experiments. Raises ValueError if there is none."""
    runs = [path.parent for name in experiments for path in (RUNS / name).glob(f"*/{CONFIG}")]
    if not runs:
        names = "an experiment" if len(experiments) > 3 else " or ".join(experiments)
        raise ValueError(f"there is no run of {names} in {RUNS}: run one first, or name its folder")
    return max(runs, key=begun)


def begun(folder: Path) -> tuple[float, str]:
    """Returns when a run was begun, in seconds, 0 if that can't be read, and its name."""
    try:
        return datetime.fromisoformat(environments(folder)[0]["started"]).timestamp(), folder.name
    except (ValueError, KeyError, TypeError, OSError):
        return 0.0, folder.name


def name_latest(
    arguments: list[str], positional: Collection[str], options: Mapping[str, Collection[str]]
) -> list[str]:
    """Puts the folder of the latest run in place of the word `latest`, unless a file or folder has that name.

    Args:
        arguments: of a command.
        positional: the experiments whose runs it reads, named before any option.
        options: the experiments whose runs an option reads, by the option.
    """
    if LATEST not in (word.rpartition("=")[2] for word in arguments) or Path(LATEST).exists():
        return arguments
    named, option = [], ""
    for word in arguments:
        if word.startswith("--"):
            option, _, value = word.partition("=")
            if value == LATEST and option in options:
                word = f"{option}={latest_run(options[option])}"
        elif word == LATEST and (option in options or (not option and positional)):
            word = str(latest_run(options[option] if option else positional))
        named.append(word)
    return named
