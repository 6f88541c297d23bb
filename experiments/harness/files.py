"""The files in a run's folder: written in one move; where one is damaged a sentence says so."""

import dataclasses
import difflib
import json
import typing
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments.harness.environment import FIELDS
from experiments.harness.options import flat
from train.files import write_file

RUNS = Path("runs")
CONFIG = "config.json"
TABLE = "table.txt"
Stored = TypeVar("Stored")


def write_json(path: Path, content: Any) -> None:
    """Writes JSON in one move; where it can't be, nothing is left of it."""
    write_file(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote. Raises ValueError where it isn't JSON any more."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: it isn't JSON") from None


def read_run(folder: Path) -> dict[str, Any]:
    """The config of a run. Raises ValueError where the folder isn't a run's."""
    path = folder / CONFIG
    if not path.is_file():
        runs = sorted(str(p.parent) for p in RUNS.glob("*/*/config.json"))
        near = difflib.get_close_matches(str(folder), runs, n=1)
        hint = f"did you mean {near[0]}?" if near else "name a folder that an experiment has written."
        raise ValueError(f"{folder} is not a run folder (it has no config.json): {hint}")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(described["experiment"], str) or not isinstance(described["config"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(
            f"{path} is damaged: it isn't the config that a run writes; put there that of one with the same options"
        ) from None
    return described


def stored_config(kind: type[Stored], folder: Path) -> Stored:
    """The config of a run, as `config.json` holds it."""
    return from_json(kind, read_run(folder)["config"])


def from_json(kind: Any, content: dict[str, Any]) -> Any:
    """A config from what `config.json` holds of it."""
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        if field.name not in content:
            continue
        value, wanted = content[field.name], hints[field.name]
        if dataclasses.is_dataclass(wanted):
            value = from_json(wanted, value)
        elif isinstance(value, list):
            value = tuple(value)
        elif value is not None and Path in (wanted, *typing.get_args(wanted)):
            value = Path(value)
        values[field.name] = value
    return kind(**values)


def environments(folder: Path) -> list[dict[str, Any]]:
    """Reads the environments in which a run was begun and resumed. Raises ValueError for anything else."""
    path = folder / "environment.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no environment.json: put there that of a run on as many devices")
    found = read_json(path)
    if not isinstance(found, list) or not found or not all(map(is_environment, found)):
        raise ValueError(
            f"{path} is damaged: it isn't what a run writes of its machine; put there one of as many devices"
        )
    return found


def is_environment(found: Any) -> bool:
    return isinstance(found, dict) and all(k in found and isinstance(found[k], t) for k, t in FIELDS.items())


def read_results(folder: Path) -> dict[str, Any] | None:
    """Reads what a finished run found, nested names joined by dots; None of an unfinished one.

    Raises ValueError where the file isn't what a run writes.
    """
    path = folder / "results.json"
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} is damaged: it isn't the results that a run writes")
    return flat(found)


def read_arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote. Raises ValueError where it isn't there."""
    path = folder / "arrays" / f"{name}.npz"
    if not path.is_file():
        raise ValueError(
            f"{folder} has no arrays/{name}.npz: the run is not finished; go on with it by --resume"
        )
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError(f"{path} is damaged: write it anew by resuming the run, --resume {folder}") from None


def arrays_with_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix|`."""
    return {k.removeprefix(f"{prefix}|"): v for k, v in arrays.items() if k.startswith(f"{prefix}|")}
