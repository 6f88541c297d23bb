"""Options from a JSON file (`--config RUN/config.json`), as the defaults that other options override."""

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from experiments.harness.errors import UserError
from experiments.harness.files import CONFIG
from experiments.harness.options import flat, option_name
from experiments.harness.types import from_json
from train.files import read_json

OPTION = "--config"
Config = TypeVar("Config")


def read_config_file(path: Path, name: str) -> dict[str, Any]:
    """Reads the options of an experiment: what a run's `config.json` holds, or an object of options by their names,
    nested or with dots, `{"steps": 500, "optimizer": {"learning_rate": 0.01}}`. A folder stands for the
    `config.json` in it.

    Returns them by their names with dots. Raises UserError if there is no such file, it holds something else, or it
    is a run of another experiment.
    """
    path = path / CONFIG if path.is_dir() else path
    if not path.is_file():
        raise UserError(OPTION, f"names {path}, and there is no such file")
    try:
        content = read_json(path)
    except ValueError:
        raise UserError(OPTION, f"names {path}, which isn't JSON") from None
    if not isinstance(content, Mapping):
        raise UserError(OPTION, f"names {path}, which holds no options: write an object, {{…}}")
    made_by = content.get("experiment", name)
    if made_by != name and "config" in content:
        raise UserError(OPTION, f"names {path}, which is of a run of {made_by}, not of {name}")
    options = content["config"] if "config" in content and "experiment" in content else content
    return flat(options)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns a config with the options of `read_config_file` in place of its own.

    Raises UserError for an option that it hasn't got, or a value of another type.
    """
    known = flat(dataclasses.asdict(config))  # type: ignore[call-overload]
    paths = {option_name(path).removeprefix("--").replace("-", "_"): path for path in known}
    paths |= {path: path for path in known}
    stored = json.loads(json.dumps(dataclasses.asdict(config), default=str))  # type: ignore[call-overload]
    for key, value in values.items():
        path = paths.get(key.replace("-", "_"))
        if path is None:
            near = difflib.get_close_matches(key, paths, n=1)
            raise UserError(
                OPTION, f"has an unknown option {key}" + (f": did you mean {near[0]}?" if near else "")
            )
        *outer, last = path.split(".")
        place = stored
        for part in outer:
            place = place[part]
        place[last] = value
    try:
        return from_json(type(config), stored)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(OPTION, f"can't be read: {error}") from error
