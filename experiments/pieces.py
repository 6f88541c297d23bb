"""Results that a run computes piece by piece, so that a resumed one does nothing again."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.run import Run
from experiments.run_files import read_arrays


def piece(run: Run, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays of one piece, `arrays/name.npz`: of a resumed run those that are there, else computed, written."""
    if run.resumed and has_piece(run, name):
        return read_arrays(run.folder, name)
    run.write_arrays(name, compute())
    return read_arrays(run.folder, name)


def has_piece(run: Run, name: str) -> bool:
    return (run.folder / "arrays" / f"{name}.npz").is_file()
