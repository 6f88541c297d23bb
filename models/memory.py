"""The memory that a decoder attends to, such as the outputs of an encoder."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, check_at_least


class Memory(NamedTuple):
    """L vectors `values [L, *batch, M]`; `mask [L, *batch]` is True where one is valid.

    Masked values, NaN included, reach no value and no gradient. A cell projects keys from them once a sequence, in
    `prepare`."""

    values: Array
    mask: Array


def memory_size(cell: Cell) -> int | None:
    """Returns the size M of the memory that a cell reads; None if it reads none."""
    return cast(Any, cell).memory_size if cell.reads_memory else None


def set_memory_size(cell: Cell, inner: Cell) -> None:
    """Sets the field `memory_size` of a cell, where it is None, to the `hidden_size` of the cell inside. Raises
    ValueError if that has none, and for a size below 1."""
    size = cast(Any, cell).memory_size
    if size is None:
        size = getattr(inner, "hidden_size", None)
        if size is None:
            raise ValueError(
                f"memory_size has no default, since a {type(inner).__name__} has no hidden_size: give it"
            )
        object.__setattr__(cell, "memory_size", size)
    check_at_least(1, memory_size=size)


def common_memory_size(cells: Sequence[Cell]) -> int | None:
    """Returns the size of the one memory that cells read; None if none of them does. Raises ValueError if they
    expect different sizes."""
    sizes = {size for size in map(memory_size, cells) if size is not None}
    if len(sizes) > 1:
        raise ValueError(
            f"the layers read one memory, but expect different sizes of it: {', '.join(map(str, sorted(sizes)))}"
        )
    return next(iter(sizes), None)


def example_memory(cell: Cell, batch_shape: BatchShape = ()) -> Memory | None:
    """Returns a memory of one place, all zeros, of the size that a cell reads; None if it reads none.

    `jax.eval_shape` of a cell's outputs takes it in place of a real one.
    """
    size = memory_size(cell)
    if size is None:
        return None
    return Memory(jnp.zeros((1, *batch_shape, size)), jnp.ones((1, *batch_shape), bool))


def memory_argument(cell: Cell, memory: Memory | None) -> dict[str, Any]:
    """Returns the keyword `memory` for a cell that reads one, nothing for any other."""
    return {"memory": memory} if cell.reads_memory else {}


def check_memory(cell: Cell, memory: Memory | None, batch_shape: BatchShape) -> None:
    """Raises ValueError for a memory given to a cell that reads none, for none given to one that reads it, and
    for a memory that doesn't fit the batch or the cell."""
    name, size = type(cell).__name__, memory_size(cell)
    if memory is None:
        if size is not None:
            raise ValueError(f"a {name} reads a memory, but none is given: pass memory=Memory(values, mask)")
        return
    if size is None:
        raise ValueError(
            f"a memory is given, but a {name} reads none: leave it out, or take a cell or layer that attends to it"
        )
    if not isinstance(memory, Memory):
        raise ValueError(f"memory must be a Memory(values, mask), but is a {type(memory).__name__}")
    values, mask = memory
    for name_of, array in (("values", values), ("mask", mask)):
        if not hasattr(array, "shape"):
            raise ValueError(f"the memory's {name_of} must be an array, but is a {type(array).__name__}")
    wanted = (*batch_shape, size)
    if values.ndim != 2 + len(batch_shape) or values.shape[1:] != wanted:
        raise ValueError(
            f"the memory's values must be [L, *batch, M] with *batch, M = {list(wanted)} for this {name} and these "
            f"inputs, but are {list(values.shape)}"
        )
    if mask.shape != values.shape[:-1] or mask.dtype != jnp.bool_:
        raise ValueError(
            f"the memory's mask must be boolean [L, *batch] = {list(values.shape[:-1])}, but is {mask.dtype} "
            f"{list(mask.shape)}"
        )


def without_masked(memory: Memory) -> Array:
    """Returns the values `[L, *batch, M]` with zeros where they are masked: NaN times a zero weight is NaN."""
    return jnp.where(memory.mask[..., None], memory.values, 0)
