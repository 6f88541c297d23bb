"""A cell from a short expression: `lstm`, `gru(reset=before)`, `path/to/file.py:MyCell(alpha=0.3)`."""

import ast
import dataclasses
import difflib
import importlib.util
import re
import sys
import typing
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import jax
import jax.numpy as jnp

from experiments.footprint import Part, check_fits, nbytes
from experiments.harness.cell_files import cell_file
from experiments.harness.options import readable
from models import CELLS, Cell, unroll
from models.cell import Array, Drive, Params
from models.initializers import INITIALIZERS, Initializer

PROTOCOL = ("init", "initial_state", "step")
Kind = type[Cell] | type[Initializer]  # what an expression may call


def parse_cell(expression: str, hidden_size: int) -> Cell:
    """Returns the cell that an expression names, checked against the protocol.

    Values in the parentheses are Python literals, bare words (`reset=before`) or initialisers
    (`recurrent_init=gaussian(gain=1.5)`). `hidden_size` serves a cell that has such a field and isn't given one.

    Raises ValueError, one sentence, for an unknown cell, file, class, option or value, and for a class that
    breaks the protocol.
    """
    path, call = split_path(expression)
    name, positional, keywords = parse_call(expression, call)
    kind = load_class(path, name) if path else built_in(name)
    options = bind(expression, kind, positional, keywords)
    if "hidden_size" in field_types(kind) and "hidden_size" not in options:
        options["hidden_size"] = hidden_size
    try:
        cell = kind(**options)
    except Exception as error:  # a user's __post_init__ may raise anything
        text = str(error) or type(error).__name__
        raise ValueError(f"the cell {expression} can't be made: {text}") from error
    check_cell(expression, cell)
    return cell


def split_path(expression: str) -> tuple[Path | None, str]:
    """Splits `a/b.py:MyCell(x=1)` into (a/b.py, MyCell(x=1)); without a file the path is None."""
    if ".py:" in expression:
        path, call = expression.split(".py:", 1)
        return cell_file(path + ".py"), call
    if expression.endswith(".py"):
        raise ValueError(f"the cell {expression} names a file without a class: write {expression}:ClassName")
    return None, expression


def parse_call(expression: str, call: str) -> tuple[str, list[ast.expr], dict[str, ast.expr]]:
    """Parses `MyCell(1, x=2)` into ("MyCell", [1], {"x": 2}), the values still syntax."""
    try:
        node = ast.parse(call.strip(), mode="eval").body
    except SyntaxError:
        node = None
    if isinstance(node, ast.Name):
        return node.id, [], {}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and all(k.arg for k in node.keywords):
        return node.func.id, node.args, {str(k.arg): k.value for k in node.keywords}
    raise ValueError(
        f"can't read the cell {expression!r}: write a name, or a name with options as in lstm(forget_bias=0)"
    )


def built_in(name: str) -> type[Cell]:
    """Returns the class of a built-in cell."""
    if name in CELLS:
        return CELLS[name]
    near = difflib.get_close_matches(name, CELLS, n=1)
    hint = (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(CELLS)}, or path/to/file.py:ClassName."
    )
    raise ValueError(f"unknown cell {name!r}: {hint}")


def load_class(path: Path, name: str) -> type[Cell]:
    """Loads the class of that name from a user's file."""
    if not path.is_file():
        raise ValueError(f"there is no cell file {path}")
    whole = path.resolve()
    if readable(str(whole)) != str(whole):
        raise ValueError(
            f"the cell file {whole} is not UTF-8 by its name, and JAX compiles no such file: rename it"
        )
    module = load_module(whole)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [
            n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__
        ]
        raise ValueError(f"{path} has no class {name}: it defines {', '.join(classes) or 'none'}")
    if not issubclass(found, Cell):
        raise ValueError(f"{path}:{name} is not a cell: derive it from models.Cell")
    if not dataclasses.is_dataclass(found) or "__dataclass_fields__" not in vars(found):
        raise ValueError(f"{path}:{name} is not a dataclass: put @dataclass(frozen=True) above it")
    missing = [method for method in PROTOCOL if getattr(found, method) is getattr(Cell, method)]
    if missing:
        raise ValueError(f"{path}:{name} has no method {missing[0]}: a cell writes {', '.join(PROTOCOL)}")
    return found


def load_module(path: Path) -> ModuleType:
    """Loads a user's file as a module, once a process: classes loaded twice would not be equal."""
    name = f"cell_file_{path.stem}_{abs(hash(path)):x}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ValueError(f"{path} can't be read as a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look themselves up here while they are defined
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            raise ValueError(f"{path}{line} can't be loaded: {type(error).__name__}: {error}") from error
    return sys.modules[name]


def field_types(kind: Kind) -> dict[str, Any]:
    """Returns the options of a cell or initialiser and their annotated types."""
    try:
        hints = typing.get_type_hints(kind)
    except Exception as error:  # a name that only a type checker knows, say
        raise ValueError(f"the annotations of {kind.__name__}'s fields can't be read: {error}") from None
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def bind(
    expression: str, kind: Kind, positional: list[ast.expr], keywords: dict[str, ast.expr]
) -> dict[str, Any]:
    """Binds options to their names, their values read and checked against the annotations."""
    types = field_types(kind)
    if len(positional) > len(types):
        raise ValueError(f"{expression} has {len(positional)} values, but {kind.__name__} takes {len(types)}")
    given = dict(zip(types, positional, strict=False))
    for name in keywords:
        if name in given:
            raise ValueError(f"{expression} gives {name} twice: by its place and by its name")
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(types) or 'none'}."
            raise ValueError(f"{kind.__name__} has no option {name!r}: {hint}")
    return {name: read_value(kind, name, types[name], node) for name, node in (given | keywords).items()}


def read_value(kind: Kind, name: str, wanted: Any, node: ast.expr) -> Any:
    """Reads one value, of the annotated type where that is a plain one."""
    value: Any = read_initializer(node) if is_initializer(wanted) else read_literal(node)
    plain = {int: int, float: (int, float), bool: bool, str: str}.get(wanted)
    wrong = plain is not None and (
        not isinstance(value, plain) or (isinstance(value, bool) and wanted is not bool)
    )
    if typing.get_origin(wanted) is Literal:
        wrong = value not in typing.get_args(wanted)
    if wrong or (value is None and wanted in (int, float, bool, str)):
        choices = " or ".join(map(repr, typing.get_args(wanted))) or f"of type {wanted.__name__}"
        raise ValueError(f"{kind.__name__}'s {name} must be {choices}, but is {ast.unparse(node)}")
    return float(str(value)) if wanted is float else value


def is_initializer(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, Initializer)


def read_literal(node: ast.expr) -> Any:
    """Reads a literal's value; a bare word stands for itself."""
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise ValueError(
            f"can't read the value {ast.unparse(node)!r}: write a number, a word or a quoted text"
        ) from None


def read_initializer(node: ast.expr) -> Initializer:
    """Reads `orthogonal`, or with options `gaussian(gain=1.5)`."""
    text = ast.unparse(node)
    name, positional, keywords = parse_call(text, text)
    kind = INITIALIZERS.get(name.lower())
    if kind is None:
        raise ValueError(f"unknown initialiser {name!r}: there are {', '.join(INITIALIZERS)}")
    return kind(**bind(text, kind, positional, keywords))


def check_cell(expression: str, cell: Cell, input_size: int = 2) -> None:
    """Runs a cell through its protocol without computing anything; ValueError says which method fails and how, or
    that its parameters need more memory than is free."""

    def attempt(method: str, call: Any) -> Any:
        try:
            return call()
        except Exception as error:  # whatever a user's code raises is to be named, not shown as a traceback
            text = str(error).strip().split("\n")[0]
            raise ValueError(
                f"the cell {expression}: {method} fails: {type(error).__name__}: {text}"
            ) from error

    attempt("hashing (are all fields hashable, and is it frozen?)", lambda: hash(cell))
    params = attempt("init", lambda: jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size)))
    check_fits({f"the parameters of {expression}": Part(nbytes(params), "a smaller --hidden-size")})
    for batch in ((), (3,)):
        state = attempt(
            "initial_state", lambda b=batch: jax.eval_shape(lambda p: cell.initial_state(p, b), params)
        )
        for leaf in jax.tree.leaves(state):
            if leaf.shape[: len(batch)] != batch:
                shape = list(leaf.shape)
                raise ValueError(
                    f"the cell {expression}: initial_state must make leaves that begin with the batch shape "
                    f"{list(batch)}, but made one of {shape}"
                )
        x = jax.ShapeDtypeStruct((*batch, input_size), jnp.zeros(0).dtype)
        xs = jax.ShapeDtypeStruct((4, *x.shape), x.dtype)

        def drive(p: Params, x: Array, b: tuple[int, ...] = batch) -> Drive:
            return cell.drive(cell.prepare(p, batch_shape=b), x)

        def step(p: Params, x: Array, b: tuple[int, ...] = batch) -> Any:
            return cell.step(cell.prepare(p, batch_shape=b), cell.initial_state(p, b), drive(p, x))

        attempt("prepare or drive", lambda d=drive, xs=xs: jax.eval_shape(d, params, xs))
        pair = attempt("step", lambda s=step, x=x: jax.eval_shape(s, params, x))
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(
                f"the cell {expression}: step must return two things, the new state and the output"
            )
        _, ys = attempt("step", lambda xs=xs: jax.eval_shape(lambda p, xs: unroll(cell, p, xs), params, xs))
        ndim = len(batch) + 2
        if not isinstance(ys, jax.ShapeDtypeStruct) or ys.ndim != ndim or ys.shape[:-1] != (4, *batch):
            raise ValueError(
                f"the cell {expression}: step's output must be one array [*batch, H] for a model to read it out"
            )


def label(expression: str) -> str:
    """Shortens an expression to what figures and tables call it, without folders and brackets: `elman
    recurrent=glorot`."""
    path, call = split_path(expression)
    name, positional, keywords = parse_call(expression, call)
    values = [ast.unparse(v) for v in positional]
    values += [f"{k.removesuffix('_init')}={ast.unparse(v)}" for k, v in keywords.items()]
    return " ".join([f"{path.name}:{name}" if path else name, ", ".join(values)]).strip()


def at_length(cell: str, length: int) -> str:
    """Puts the length in place of T in a cell's expression: `lstm(max_lag=T)` → `lstm(max_lag=100)`."""
    return re.sub(r"=\s*T\b", f"={length}", cell)
