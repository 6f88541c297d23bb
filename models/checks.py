"""Checks of the arguments of public functions that take a cell: inputs, parameters, state, mask and their types.

Checks look at shapes and types only, so inside `jit` they cost nothing after the trace. The parameters must have
the structure that the cell's own `init` returns, found by `jax.eval_shape` once per cell and input size.
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from models.cell import Array, BatchShape, Cell, Params, State, check_hashable

LeafShapes = dict[str, tuple[int, ...]]  # the shape of each leaf, by name


def one_sequence(
    cell: Cell, params: Params, xs: Array, state: State | None, mask: Array | None = None
) -> tuple[Array, State]:
    """Returns the valid steps of `xs [T, D]` and the state before them: `state`, by default the cell's initial one.

    Masked steps can be dropped because they leave the state unchanged.

    Raises ValueError if inputs, parameters, state or mask don't fit the cell, and for a mask under `jit` or `vmap`,
    where the number of valid steps isn't known.
    """
    check_hashable(cell)
    check_inputs(xs, "[T, D]")
    if mask is not None:
        check_mask(mask, xs)
        if isinstance(mask, Tracer):
            raise ValueError(
                "the mask of one sequence must be known outside jit or vmap, since it decides how many steps are "
                "measured: drop the masked steps first, xs[mask]"
            )
        xs = xs[np.flatnonzero(mask)]
    checked.eval_shape(cell, params, xs, state, axes="[T, D]")
    return xs, cell.initial_state(params) if state is None else state


def check_call(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    mask: Array | None = None,
    *,
    axes: str = "[T, *batch, D]",
) -> None:
    """Raises ValueError if parameters, inputs, state or mask don't fit the cell or one another, in shape or type,
    and TypeError if its step doesn't return a state of the structure it was given."""
    batch_shape = check_arguments(cell, params, xs, state, mask, axes=axes)
    weights = jax.eval_shape(lambda params: cell.prepare(params, batch_shape=batch_shape), params)
    check_step(cell, params, weights, state, xs)


checked = partial(jax.jit, static_argnums=0, static_argnames="axes")(check_call)
"""`check_call` as a jitted function, so that `checked.eval_shape(…)` is cached for equal cells, shapes and
types."""


def check_arguments(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None,
    mask: Array | None,
    *,
    axes: str = "[T, *batch, D]",
) -> BatchShape:
    """Returns the batch shape. Raises ValueError if the shapes of parameters, inputs, state or mask don't fit."""
    check_inputs(xs, axes)
    check_params(cell, params, xs)
    batch_shape = xs.shape[1:-1]
    if state is not None:
        check_state(cell, params, state, batch_shape)
    if mask is not None:
        check_mask(mask, xs)
    return batch_shape


def check_given(cell: Cell, params: Params, xs: Array, state: State | None) -> None:
    """Raises ValueError if a state doesn't fit a layer, or the inputs have another type than its parameters."""
    if state is not None:
        check_state(cell, params, state, xs.shape[1:-1])
    kinds = {jnp.result_type(leaf) for leaf in jax.tree.leaves(params)}
    if kinds and jnp.issubdtype(xs.dtype, jnp.floating) and kinds != {xs.dtype}:
        found = " and ".join(sorted(kind.name for kind in kinds))
        raise ValueError(
            f"the inputs xs are {xs.dtype}, but the parameters of {type(cell).__name__} are {found}: cast one of "
            f"them, for example xs.astype({next(iter(kinds)).name!r})"
        )


def check_inputs(xs: Array, axes: str = "[T, *batch, D]") -> None:
    """Raises ValueError if the inputs are not an array with these axes."""
    if not hasattr(xs, "shape"):
        raise ValueError(
            f"xs must be an array {axes}, but is a {type(xs).__name__}: give jnp.asarray(xs), time first"
        )
    if axes == "[T, D]" and len(xs.shape) > 2:
        raise ValueError(
            f"xs must be one sequence [T, D], but is {list(xs.shape)}: for several sequences [T, B, D] use "
            "jax.vmap(…, in_axes=1)(xs)"
        )
    if len(xs.shape) < 2:
        raise ValueError(f"xs must be {axes}, time first and inputs last, but is {list(xs.shape)}")


def check_params(cell: Cell, params: Params, xs: Array | None = None, name: str = "params") -> None:
    """Raises ValueError if the parameters don't have the structure and shapes that the cell's `init` returns for
    some D. The D of the inputs `xs [..., D]` is tried first; a mismatch in D alone is left to the cell to report. A
    cell whose `init` can't be traced or returns nothing isn't checked."""
    wanted = None if xs is None else init_shapes(cell, xs.shape[-1])
    structure, shapes = structure_and_shapes(params)
    if wanted is not None and (structure, shapes) == wanted[0]:
        return
    found = leaf_shapes(params)
    if wanted is not None and found == wanted[1]:  # A Linen FrozenDict in place of a dict.
        return
    own = matching_init_shapes(cell, found) if xs is None or wanted is not None else None
    if own is not None and found != own:
        raise ValueError(f"{name} doesn't fit {describe_cell(cell)}: {describe_mismatch(own, found)}")


def structure_and_shapes(tree: Any) -> tuple[Any, tuple[tuple[int, ...], ...]]:
    """Returns the structure of a tree and the shapes of its leaves."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(jnp.shape(leaf) for leaf in leaves)


def leaf_shapes(tree: Any) -> LeafShapes:
    """Returns the shape of each leaf by name, whatever the type of the containers."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): jnp.shape(leaf)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


@lru_cache(maxsize=1024)
def init_shapes(cell: Cell, input_size: int) -> tuple[tuple[Any, Any], LeafShapes] | None:
    """Returns structure and shapes of the parameters of `cell.init`; None if it can't be traced or returns none."""
    try:
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    except ValueError:
        raise
    except Exception:  # A user's `init` may do what tracing doesn't allow: not the parameters' fault.
        return None
    return (structure_and_shapes(params), leaf_shapes(params)) if leaf_shapes(params) else None


def matching_init_shapes(cell: Cell, found: LeafShapes) -> LeafShapes | None:
    """Returns the shapes of `init` for the input size D that the parameters are made for, read off an axis that
    grows with D; None if `init` can't be traced."""
    try:
        one, two = (init_shapes(cell, size) for size in (1, 2))
    except ValueError:  # It accepts other input sizes only.
        return None
    if one is None or two is None:
        return None
    for name, shape in one[1].items():
        for axis, (size, wider) in enumerate(zip(shape, two[1].get(name, ()), strict=False)):
            if wider > size and len(found.get(name, ())) == len(shape):
                fits = init_shapes(cell, 1 + max(-1, (found[name][axis] - size) // (wider - size)))
                return None if fits is None else fits[1]
    # Where no axis tells, D may decide which parameters there are: a layer that projects inputs of another size to
    # its own has none for that at its own size, which is then among the axes of the others.
    for size in sorted({length for shape in found.values() for length in shape}):
        if fits_exactly(cell, size, found):
            return found
    return one[1]


def fits_exactly(cell: Cell, input_size: int, found: LeafShapes) -> bool:
    """Tells whether `init` gives these shapes for an input size."""
    try:
        fits = init_shapes(cell, input_size)
    except ValueError:  # It accepts other input sizes only.
        return False
    return fits is not None and fits[1] == found


def describe_mismatch(wanted: LeafShapes, found: LeafShapes) -> str:
    """Describes the first leaf in which the shapes differ."""
    for name, shape in wanted.items():
        if name not in found:
            return f"it has no {name!r} {list(shape)}, but {', '.join(map(repr, found)) or 'no leaf'}"
        if found[name] != shape:
            return f"{name or 'the array'} is {list(found[name])}, but {list(shape)} is wanted"
    more = next(name for name in found if name not in wanted)
    return f"it has {more!r} {list(found[more])}, which this cell doesn't take"


def describe_cell(cell: Cell) -> str:
    """Returns the cell's name, with its size if it has one."""
    size = getattr(cell, "hidden_size", None)
    return type(cell).__name__ + ("" if size is None else f"(hidden_size={size})")


def check_mask(mask: Array, xs: Array) -> None:
    """Raises ValueError if the mask is not boolean `[T, *batch]`."""
    if not hasattr(mask, "shape") or mask.shape != xs.shape[:-1]:
        found = list(mask.shape) if hasattr(mask, "shape") else f"a {type(mask).__name__}"
        raise ValueError(
            f"the mask must be an array [T, *batch] = {list(xs.shape[:-1])} for these inputs, but is {found}"
        )
    if mask.dtype != jnp.bool_:
        raise ValueError(f"the mask must be boolean, True where a step is valid, but is {mask.dtype}")


def check_state(cell: Cell, params: Params, state: State, batch_shape: BatchShape) -> None:
    """Raises ValueError if a given state doesn't have the structure and shapes of the cell's own."""
    expected = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    difference = first_difference(expected, state, dtypes=False)
    if difference:
        raise ValueError(
            f"the state given to {type(cell).__name__} doesn't fit inputs of batch {batch_shape}: {difference}"
        )


def check_step(cell: Cell, params: Params, weights: Any, state: State | None, xs: Array) -> None:
    """Raises TypeError if the step's new state differs in structure, shape or type from the old one (the given
    state or the cell's initial one); ValueError if the type of that state, of the inputs or of some parameters is
    why."""
    own = jax.eval_shape(lambda params: cell.initial_state(params, xs.shape[1:-1]), params)
    difference = step_difference(cell, weights, own if state is None else state, xs)
    if not difference:
        return
    if state is not None and not step_difference(cell, weights, own, xs):
        raise ValueError(
            f"the state given to {type(cell).__name__} has another type than its parameters and inputs produce: "
            f"{first_difference(own, state, dtypes=True)}"
        )
    dtypes_found = {
        name.name: jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in jax.tree.leaves_with_path(params)
        if jnp.issubdtype(name := jnp.result_type(leaf), jnp.floating)
    }
    if len(dtypes_found) > 1:
        found = ", ".join(f"{name} ({kind})" for kind, name in dtypes_found.items())
        raise ValueError(f"the parameters of {type(cell).__name__} must have one type, but are {found}")
    for kind in dtypes_found:
        if not step_difference(cell, weights, own, jax.ShapeDtypeStruct(xs.shape, jnp.dtype(kind))):
            raise ValueError(
                f"the inputs xs are {xs.dtype}, but the parameters of {type(cell).__name__} are {kind}: cast one "
                f"of them, for example xs.astype({kind!r})"
            )
    raise TypeError(f"{type(cell).__name__}.step must return a state of the form it was given: {difference}")


def step_difference(cell: Cell, weights: Any, state: Any, xs: Any) -> str:
    """Describes how the new state differs from the old one in structure, shape or type; empty if it doesn't."""
    drive = jax.eval_shape(cell.drive, weights, xs)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), drive)
    return first_difference(state, jax.eval_shape(cell.step, weights, state, one)[0], dtypes=True)


def first_difference(expected: Any, found: Any, *, dtypes: bool) -> str:
    """Describes the first leaf in which two pytrees differ in structure, shape or type; empty if none does."""
    if jax.tree.structure(expected) != jax.tree.structure(found):
        return f"it is {jax.tree.structure(found)}, but {jax.tree.structure(expected)} is wanted"

    def name(leaf: Any) -> str:
        return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" if dtypes else f"{list(jnp.shape(leaf))}"

    leaves = zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True)
    for (path, leaf), other in leaves:
        if name(leaf) != name(other):
            return f"leaf {jax.tree_util.keystr(path) or 'h'} is {name(other)}, but {name(leaf)} is wanted"
    return ""
