"""A cell's protocol: a class loaded from a user's file, and a cell run through its methods by shapes alone."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.footprint import Part, check_fits, nbytes
from experiments.harness.options import readable
from models import Cell, unroll
from models.cell import Array, Drive, Params
from models.layers.layer import Layer, cells_inside, is_causal
from models.memory import example_memory, memory_argument
from train.files import load_module

PROTOCOL = ("init", "initial_state", "step")


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


def check_cell(expression: str, cell: Cell, input_size: int = 2) -> None:
    """Runs a cell through its protocol without computing anything; ValueError says which method fails and how, or
    that its parameters need more memory than is free."""
    attempt_of(expression, "hashing (are all fields hashable, and is it frozen?)", lambda: hash(cell))
    input_size = fitting_size(cell, input_size)
    params = attempt_of(expression, "init", lambda: parameter_shapes(cell, input_size))
    state = attempt_of(expression, "initial_state", lambda: state_shapes(cell, input_size))
    check_fits(
        {
            f"the parameters of {expression}": Part(nbytes(params), "a smaller --hidden-size"),
            f"the state of {expression}": Part(nbytes(state), "a smaller --hidden-size or context"),
        }
    )
    check_calls(expression, cell, input_size)


def fitting_size(cell: Cell, input_size: int) -> int:
    """Returns a size of inputs that a cell takes: `input_size`, or where it takes only its own (a residual layer)
    the size of one of the cells in it."""
    for size in (input_size, *sizes_inside(cell)):
        try:
            parameter_shapes(cell, size)
        except ValueError:
            continue
        except Exception:  # a user's code may raise anything; it is named where it is called next
            break
        return size
    return input_size


def sizes_inside(cell: Cell) -> list[int]:
    """Returns the sizes of a cell and of the cells in its fields."""
    own = getattr(cell, "hidden_size", None)
    inside = [size for part in cells_inside(cell) for size in sizes_inside(part)]
    return ([] if own is None else [own]) + inside


def attempt_of(expression: str, method: str, call: Any) -> Any:
    """Calls a method of a cell; ValueError says which one fails and how."""
    try:
        return call()
    except Exception as error:  # whatever a user's code raises is to be named, not shown as a traceback
        text = str(error).strip().split("\n")[0]
        raise ValueError(f"the cell {expression}: {method} fails: {type(error).__name__}: {text}") from error


@functools.lru_cache
def parameter_shapes(cell: Cell, input_size: int) -> Any:
    """Returns the shapes of a cell's parameters."""
    return jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))


@functools.lru_cache
def state_shapes(cell: Cell, input_size: int) -> Any:
    """Returns the shapes of a cell's state of one example."""
    return jax.eval_shape(cell.initial_state, parameter_shapes(cell, input_size))


@functools.lru_cache  # a cell is made more than once before a run begins
def check_calls(expression: str, cell: Cell, input_size: int) -> None:
    """Runs `initial_state`, `prepare`, `drive`, `step` and the whole sequence, as `check_cell` says."""
    attempt, params = functools.partial(attempt_of, expression), parameter_shapes(cell, input_size)
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
        x = jax.ShapeDtypeStruct((*batch, input_size), jnp.result_type(float))
        # One step: a code of positions may serve no more.
        xs = jax.ShapeDtypeStruct((1, *x.shape), x.dtype)

        def weights(p: Params, b: tuple[int, ...] = batch) -> Any:
            return cell.prepare(p, batch_shape=b, **memory_argument(cell, example_memory(cell, b)))

        def drive(p: Params, x: Array, weights: Any = weights) -> Drive:
            return cell.drive(weights(p), x)

        def step(p: Params, x: Array, b: tuple[int, ...] = batch, weights: Any = weights) -> Any:
            return cell.step(weights(p), cell.initial_state(p, b), cell.drive(weights(p), x))

        def whole(p: Params, xs: Array, b: tuple[int, ...] = batch) -> Any:
            return unroll(cell, p, xs, memory=example_memory(cell, b))

        if is_causal(cell):
            attempt("prepare or drive", lambda d=drive, xs=xs: jax.eval_shape(d, params, xs))
            pair = attempt("step", lambda s=step, x=x: jax.eval_shape(s, params, x))
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ValueError(
                    f"the cell {expression}: step must return two things, the new state and the output"
                )
        _, ys = attempt("unroll", lambda w=whole, xs=xs: jax.eval_shape(w, params, xs))
        ndim = len(batch) + 2
        if not isinstance(ys, jax.ShapeDtypeStruct) or ys.ndim != ndim or ys.shape[:-1] != (1, *batch):
            made = "unroll's outputs" if isinstance(cell, Layer) else "step's output"
            axes = "[T, *batch, H]" if isinstance(cell, Layer) else "[*batch, H]"
            raise ValueError(
                f"the cell {expression}: {made} must be one array {axes} for a model to read it out"
            )
