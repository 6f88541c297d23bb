"""The files of a run's folder, written in one move and read into types; damage to one gives one sentence."""

import difflib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments.harness.environment import FIELDS
from experiments.harness.options import flat
from experiments.harness.types import from_json, read_as
from train.files import StoredMapping, atomic_file, read_file, read_json, write_file

RUNS = Path("runs")
CONFIG = "config.json"
RESULTS = "results.json"
ENVIRONMENT = "environment.json"
TABLE = "table.txt"
FOLDERS = ("arrays", "checkpoints", "figures", "tensorboard")
Stored = TypeVar("Stored")


def write_json(path: Path, content: Any) -> None:
    """Writes JSON in one move; if that fails, nothing is left behind."""
    write_file(path, json.dumps(content, indent=2) + "\n")


def read_run(folder: Path) -> dict[str, Any]:
    """Reads the config of a run. Raises ValueError if the folder is not a run's or the file is damaged."""
    path = folder / CONFIG
    if not path.is_file():
        runs = sorted(str(p.parent) for p in RUNS.glob(f"*/*/{CONFIG}"))
        near = difflib.get_close_matches(str(folder), runs, n=1)
        hint = f"did you mean {near[0]}?" if near else "name a folder that an experiment has written."
        raise ValueError(f"{folder} is not a run folder (it has no {CONFIG}): {hint}")
    try:
        described = read_json(path)
        read_as(dict, described, "it")
        read_as(str, described["experiment"], "experiment")
        read_as(dict, described["config"], "config")
    except ValueError:
        raise ValueError(
            f"{path} is damaged: copy {CONFIG} from a run with the same options, or start a new run"
        ) from None
    check_folders(folder)
    return described


def stored_config(kind: type[Stored], folder: Path) -> Stored:
    """Reads the config of a run into its type. Raises ValueError, naming the field, for a value of another type."""
    content = read_run(folder)["config"]
    try:
        return from_json(kind, content)
    except ValueError as error:
        raise ValueError(
            f"{folder / CONFIG} is damaged: {error}; copy it from a run with the same options, or start a new run"
        ) from None


def check_folders(run: Path) -> None:
    """Raises ValueError if a file stands in place of one of a run's folders."""
    for name in FOLDERS:
        path = run / name
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is damaged: it is a file, and a run has a folder there; remove it")


def environments(folder: Path) -> list[dict[str, Any]]:
    """Reads the environments in which a run was started and resumed. Raises ValueError for anything else."""
    path = folder / ENVIRONMENT
    if not path.exists():
        raise ValueError(f"{folder} has no {ENVIRONMENT}: copy it from a run on the same number of devices")
    found = read_json(path)
    try:
        for one in read_as(list[dict], found, "it"):
            for field, kind in FIELDS.items():
                read_as(kind, one[field], field)
            read_as(int, one.get("processes", 1), "processes")
            read_as(dict[str, str], one.get("cell_files", {}), "cell_files")
        if not found:
            raise ValueError("it is empty")
    except ValueError:
        raise ValueError(
            f"{path} is damaged: copy {ENVIRONMENT} from a run on the same number of devices"
        ) from None
    return found


def read_results(folder: Path) -> dict[str, Any] | None:
    """Reads the results of a finished run, nested names joined by dots; None for an unfinished run.

    Raises ValueError where the file isn't what a run writes.
    """
    path = folder / RESULTS
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} is damaged: it isn't the results that a run writes")
    return flat(found)


def write_arrays(folder: Path, name: str, arrays: Mapping[str, Any]) -> None:
    """Writes `arrays/name.npz` in one move: a kill leaves the old file or the new one."""
    path = folder / "arrays" / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})


def read_arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote; asking for an array that it lacks raises ValueError.

    Raises ValueError where the file is missing or damaged.
    """
    path = folder / "arrays" / f"{name}.npz"
    if not path.exists():
        raise ValueError(
            f"{folder} has no arrays/{name}.npz: the run is not finished; resume it with --resume"
        )
    content = io.BytesIO(read_file(path))
    try:
        with np.load(content) as arrays:
            return StoredMapping(path, arrays)
    except Exception:  # zipfile, zlib and NumPy raise a dozen kinds for what isn't theirs any more
        raise ValueError(f"{path} is damaged: write it anew by resuming the run, --resume {folder}") from None


def arrays_with_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays whose names begin with `prefix|`, without it."""
    return {k.removeprefix(f"{prefix}|"): v for k, v in arrays.items() if k.startswith(f"{prefix}|")}
