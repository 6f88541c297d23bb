"""The results of finished runs: where they are, and as arrays."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import CONFIG, RESULTS, read_results, read_run
from experiments.sweep.plan import Job

Arrays = dict[str, np.ndarray]
Results = Mapping[str, Any]
Reader = Callable[[Results], Arrays]
"""`results.json, with keys joined by dots → arrays`. A name with a bar holds numbers by seed, `[..., N]`."""


def read_numbers(reader: Reader, folder: Path) -> Arrays:
    """Reads the arrays of one of the needed runs. Raises ValueError where its results lack some."""
    try:
        return reader(read_results(folder) or {})
    except (KeyError, TypeError, ValueError, IndexError):
        raise ValueError(
            f"{folder / RESULTS} lacks numbers that claims needs: delete that folder to run it anew"
        ) from None


def has_numbers(reader: Reader, folder: Path) -> bool:
    """Tells whether the results of a run hold all that is needed of it; those of an older version may not."""
    try:
        read_numbers(reader, folder)
    except ValueError:
        return False
    return True


def joined(parts: Iterable[Arrays]) -> Arrays:
    """Joins what several runs found: what several of them measured, along the seeds; scales are the same in all."""
    found: Arrays = {}
    for part in parts:
        for name, values in part.items():
            new = name not in found or "|" not in name
            found[name] = values if new else np.concatenate([found[name], values], axis=-1)
    return found


def rows(results: Results, *keys: str) -> np.ndarray:
    """Returns the lists of some keys as rows; what isn't finite stands as None."""
    return np.array(
        [[math.inf if x is None else float(x) for x in np.atleast_1d(results[key])] for key in keys]
    )


def row(results: Results, *keys: str) -> np.ndarray:
    """Returns the list of one key, or the numbers of several."""
    return rows(results, *keys).ravel()


def find_runs(
    jobs: Mapping[str, Job], folders: Iterable[Path], readers: Mapping[str, Reader]
) -> dict[str, Path]:
    """Finds the folders of finished runs: each job's own, or one in or below `folders` with the same config.

    Raises ValueError where a job's own folder lacks numbers, as one of an older version may.
    """
    others = {home: described for folder in folders for home, described in finished_below(folder).items()}
    found = {}
    for name, job in jobs.items():
        if job.finished:
            read_numbers(readers[name], job.folder)
            found[name] = job.folder
            continue
        alike = (home for home, described in others.items() if described == job.described)
        home = next((home for home in alike if has_numbers(readers[name], home)), None)
        if home is not None:
            found[name] = home
    return found


def finished_below(folder: Path) -> dict[Path, dict[str, Any]]:
    """Returns the configs of the finished runs in or below a folder, by their folders."""
    found = {}
    for path in sorted(folder.rglob(CONFIG)):
        if (path.parent / RESULTS).is_file():
            with contextlib.suppress(ValueError):  # a damaged one is none
                found[path.parent] = read_run(path.parent)
    return found
