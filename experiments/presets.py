"""Settings by name: what `--preset NAME` stands for."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from types import ModuleType
from typing import Any


def default_config(module: ModuleType, arguments: Sequence[str]) -> Any:
    """The config whose values an experiment's other options replace: that of its `--preset`, or its own default.

    Raises ValueError for a preset that it hasn't got.
    """
    presets: Mapping[str, Any] = getattr(module, "PRESETS", {})
    named = None
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if argument == "--preset":
            named = following
        elif argument.startswith("--preset="):
            named = argument.removeprefix("--preset=")
    if named is None or not presets:
        return module.Config()
    if named not in presets:
        near = difflib.get_close_matches(named, presets, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(presets)}."
        raise ValueError(f"unknown preset {named!r}: {hint}")
    return presets[named]
