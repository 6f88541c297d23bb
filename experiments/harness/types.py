"""Values of JSON, read into the types that our dataclasses are annotated with."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")


def from_json(kind: type[T], content: Mapping[str, Any], path: str = "") -> T:
    """Builds a dataclass from its JSON in `config.json`. A field that the file lacks gets its default: older runs
    don't have later options.

    Raises ValueError, naming the field, for a value of another type or a missing field that has no default, and as
    the dataclass itself does.
    """
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in content:
            raise _WrongTypeError(f"it has no {path}{field.name}")
    values = {
        field.name: read_as(hints[field.name], content[field.name], f"{path}{field.name}")
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.name in content
    }
    return kind(**values)


def read_as(kind: Any, value: Any, name: str) -> Any:
    """Returns a JSON value as a value of this type: a list as a tuple, text as a path, a whole number as a float.

    Raises ValueError, naming it, where it is of another type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is Literal and value in arguments and not isinstance(value, bool):
        return value
    if origin in (Union, types.UnionType):
        for one in arguments:
            try:
                return read_as(one, value, name)
            except _WrongTypeError:
                continue
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return from_json(kind, value, f"{name}.")  # type: ignore[arg-type]
    if origin in (tuple, list) and isinstance(value, list):
        repeated = origin is list or arguments[-1:] == (...,)
        wanted = [arguments[0]] * len(value) if repeated else arguments
        if len(wanted) == len(value):
            pairs = zip(wanted, value, strict=True)
            return origin(read_as(one, item, f"{name}[{i}]") for i, (one, item) in enumerate(pairs))
    if origin is dict and isinstance(value, Mapping):
        return {key: read_as(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if kind is type(None) and value is None:
        return None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (str, bool, dict, list) and isinstance(value, kind):
        return value
    raise _WrongTypeError(f"{name} can't be {value!r:.60}")


class _WrongTypeError(ValueError):
    """A value has another type than its field."""
