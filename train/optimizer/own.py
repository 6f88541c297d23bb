"""Optimizers of the user's own: `path/to/file.py:make_optimizer`, a function that makes an Optax transformation."""

import ast
import os
from pathlib import Path
from typing import Any

import optax

from train.files import load_module


def is_own(name: str) -> bool:
    """Tells whether the name of an optimizer is that of a function in a file."""
    return ".py:" in name


def split_name(name: str) -> tuple[Path, str, dict[str, Any]]:
    """Splits `a/b.py:make(decay=0.1)` into the file, "make" and {"decay": 0.1}; a `~` stands for the user's home.

    Raises ValueError if it isn't of that form.
    """
    file, _, call = name.rpartition(".py:")
    try:
        node = ast.parse(call.strip(), mode="eval").body
        options = {}
        if isinstance(node, ast.Call) and not node.args:
            options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
            node = node.func
        if not isinstance(node, ast.Name) or "None" in options:
            raise SyntaxError
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"optimizer.name is {name!r}, which can't be read: write a file and a function in it, with options "
            "or without, as in path/to/file.py:make_optimizer(decay=0.1)"
        ) from None
    return Path(os.path.expanduser(file + ".py")), node.id, options


def own_rule(name: str, rate: optax.Schedule) -> optax.GradientTransformation:
    """Calls the function that a name gives with the learning rate and the options, and returns what it makes: a
    transformation from clipped gradients to updates.

    Raises ValueError if there is no such file or function, or if it makes none.
    """
    path, function, options = split_name(name)
    if not path.is_file():
        raise ValueError(f"optimizer.name is {name!r}, but there is no file {path}")
    make = getattr(load_module(path.resolve()), function, None)
    if not callable(make):
        raise ValueError(f"optimizer.name is {name!r}, but {path} has no function {function}")
    try:
        made = make(rate, **options)
    except Exception as error:  # a user's function may raise anything
        text = f"{type(error).__name__}: {error}"
        raise ValueError(f"optimizer.name is {name!r}, which can't be made: {text}") from error
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(
            f"optimizer.name is {name!r}, which makes a {type(made).__name__}: return a transformation of Optax, "
            "as in optax.adam(learning_rate)"
        )
    return made
