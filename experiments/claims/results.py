"""The results of finished runs as arrays."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import RESULTS, read_results

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
