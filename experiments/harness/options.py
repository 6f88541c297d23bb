"""The config of a run as options: their names, values and differences."""

import dataclasses
import difflib
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from types import ModuleType
from typing import Any

FLAT = (
    "loop",
    "network",
    "model",
    "search",
    "launch",
)  # nested configs whose options stand without their name in front
LATEST = "latest"  # in place of a run's folder
# Of the loop's options (how long, and what is logged when) those that change parameters and so can't on resuming.
POLICY = ("loop.nonfinite", "loop.rollbacks", "loop.accumulate", "loop.precision")
# What runs did that were begun before these options stood.
ADDED = {"loop.accumulate": 1, "loop.precision": "float32"}


def describe(name: str, config: Any) -> dict[str, Any]:
    """Returns what config.json holds: the experiment's name and its config, every default resolved."""
    return {"experiment": name, "config": json.loads(json.dumps(dataclasses.asdict(config), default=str))}


def digest(described: dict[str, Any]) -> str:
    """Returns six hexadecimal digits of a config, the same for equal options."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:6]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings: {"a": {"b": 1}} → {"a.b": 1}."""
    pairs: dict[str, Any] = {}
    for key, value in tree.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return pairs


def option_fields(config: Any) -> set[str]:
    """Returns the paths of a config's fields that are options: `loop.steps`."""
    return set(flat(dataclasses.asdict(config)))


def option_name(path: str) -> str:
    """Spells a config field as the command line does: `loop.log_every` → `--log-every`, `from_` → `--from`."""
    for nested in FLAT:
        path = path.removeprefix(f"{nested}.")
    return "--" + path.removesuffix("_").replace("_", "-")


def fixed(described: Mapping[str, Any], pinned: Collection[str]) -> dict[str, Any]:
    """Returns the options that change what is computed: all but the length of the run and what is logged when, and
    of these the ones that another option depends on."""
    options = flat(described["config"])
    decisive = {*POLICY, *pinned, *needed_by(options)}
    return {
        option: value
        for option, value in options.items()
        if not option.startswith("loop.") or option in decisive
    }


def needed_by(options: Mapping[str, Any]) -> dict[str, str]:
    """Returns the options of the loop on which the parameters depend because of another option, each with that
    one: `{"loop.eval_every": "--optimizer.schedule validation_plateau"}`."""
    schedule, needed = options.get("optimizer.schedule"), {}
    if schedule == "validation_plateau":  # the rate falls at evaluations
        needed["loop.eval_every"] = f"--optimizer.schedule {schedule}"
    if schedule in ("cosine", "warmup_cosine") and not options.get("optimizer.decay_steps"):
        needed["loop.steps"] = f"--optimizer.schedule {schedule}"  # the rate ends with the run
    if options.get("loop.nonfinite") == "rollback":  # to one of the checkpoints kept: the best is among them
        needed |= dict.fromkeys(("loop.save_every", "loop.keep", "loop.eval_every"), "--nonfinite rollback")
    return needed


def differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Returns the first option in which two configs differ, with both values; empty if none does."""
    if one.get("experiment") != other.get("experiment"):
        return f"{other.get('experiment')}, not {one.get('experiment')}"
    old, new = flat(one["config"]), flat(other["config"])
    for option in old | new:
        if old.get(option) != new.get(option):
            return (
                f"{option_name(option)} {format_value(new.get(option))}, not {format_value(old.get(option))}"
            )
    return ""


def format_value(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def readable(name: str) -> str:
    """Replaces the bytes of a file name that aren't UTF-8 by �, for drawing and writing text."""
    return os.fsencode(name).decode(errors="replace")


def format_number(value: Any) -> str:
    """Formats a number with six digits, anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else format_value(value)


def folder_name(name: str) -> str:
    """Turns a label into a folder name: `elman recurrent_init=glorot` → elman_recurrent_init_glorot."""
    return "_".join("".join(c if c.isalnum() or c in "._-" else " " for c in name).split())


def default_config(
    module: ModuleType, arguments: Sequence[str], stored: Mapping[str, Any] | None = None
) -> Any:
    """Returns the config that an experiment's options override: that of its `--preset`, or its default, adapted to
    what else is given, there or in the options of a file, `stored`, if the config has `as_default`.

    Raises ValueError for a preset that it hasn't got.
    """
    presets: Mapping[str, Any] = getattr(module, "PRESETS", {})
    of_file = {option_name(path): str(value) for path, value in (stored or {}).items() if value is not None}
    given = of_file | given_options(arguments)
    named = given.get("--preset")
    if named is not None and presets and named not in presets:
        near = difflib.get_close_matches(named, presets, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(presets)}."
        raise ValueError(f"unknown preset {named!r}: {hint}")
    config = module.Config() if named is None or not presets else presets[named]
    return config.as_default(given) if hasattr(config, "as_default") else config


def given_options(arguments: Sequence[str]) -> dict[str, str]:
    """Returns the options among the words of a command line, each with the (first) word of its value."""
    found = {}
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            found[option.replace("_", "-")] = value if equals else following
    return found
