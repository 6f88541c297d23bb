"""Weights of one cell in the form that libraries share: gates packed side by side, a bias for each product."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from models.cell import Array, Cell, Params
from models.cells import GRU, LSTM, BasicGRU, Elman
from models.checks import check_params, describe_cell

GATES: dict[type[Cell], str] = {Elman: "h", BasicGRU: "zn", GRU: "rzn", LSTM: "ifgo"}
AFTER, BEFORE = "GRU(reset='after')", "GRU(reset='before')"


class Packed(NamedTuple):
    """The matrices and biases of a cell, the gates in our order: `kernel [D, G·H]`, `recurrent [H, G·H]`, and for
    each of the two products a bias `[G·H]`, or None where there is none."""

    kernel: Any
    recurrent: Any
    bias: Any = None
    recurrent_bias: Any = None


def check_counterpart(cell: Cell, library: str, kinds: Sequence[str]) -> str:
    """Returns the kind of a cell among those that a library has, such as "Elman" or "GRU(reset='after')".

    Raises ValueError for any other, and for an LSTM that outputs its memory without tanh.
    """
    name = type(cell).__name__ if type(cell) in GATES else "another"
    kind = {"after": AFTER, "before": BEFORE}[cell.reset] if type(cell) is GRU else name
    if kind not in kinds:
        *others, last = kinds
        raise ValueError(f"{library} has no counterpart of {cell}: it has {', '.join(others)} and {last}")
    if isinstance(cell, LSTM) and not cell.output_tanh:
        raise ValueError(
            f"{library}'s LSTM outputs o ∘ tanh(c), and this one o ∘ c: it needs output_tanh=True"
        )
    return kind


def columns(cell: Cell) -> tuple[int, int]:
    """Returns H and the number of columns G·H of a cell."""
    size: int = cell.hidden_size  # pyright: ignore[reportAttributeAccessIssue]
    return size, len(GATES[type(cell)]) * size


def from_packed(cell: Cell, packed: Packed) -> Params:
    """Converts packed weights to parameters of `cell`, which has one bias, and a second one only for the candidate
    of a GRU that resets after the product. Two biases that are only ever added are summed.

    Raises ValueError for sizes that don't fit.
    """
    kernel, recurrent, first, second = map(owned, packed)
    size, width = columns(cell)
    zeros = jnp.zeros(width, recurrent.dtype)
    bias = zeros if first is None else first
    params = {"kernel": kernel, "recurrent": recurrent}
    if isinstance(cell, GRU) and cell.reset == "after":
        split = width - size
        if second is not None:
            bias = jnp.concatenate([bias[:split] + second[:split], bias[split:]])
        params |= {"bias": bias, "recurrent_bias": (zeros if second is None else second)[split:]}
    else:
        params |= {"bias": bias if second is None else bias + second}
    check_params(cell, params, name="the converted tree")
    return params


def to_packed(cell: Cell, params: Params, *, bias: bool = True) -> Packed:
    """Inverts `from_packed`: the second bias is zero but for a GRU's candidate. `bias=False` leaves both out.

    Raises ValueError for parameters that don't fit the cell, and for biases that can't be left out, as they aren't
    zero.
    """
    check_params(cell, params)
    kernel, recurrent, first = (jnp.asarray(params[name]) for name in ("kernel", "recurrent", "bias"))
    second = jnp.zeros_like(first)
    if "recurrent_bias" in params:
        own = jnp.asarray(params["recurrent_bias"])
        second = jnp.concatenate([second[: len(second) - len(own)], own])
    if bias:
        return Packed(kernel, recurrent, first, second)
    if jnp.any(first != 0) or jnp.any(second != 0):
        raise ValueError(f"bias=False leaves out the biases, but those of this {cell} are not zero")
    return Packed(kernel, recurrent)


def reader(entries: Mapping[str, Any], cell: Cell, source: str) -> Callable[..., Any]:
    """Returns a function of a name and a shape that reads an entry, None standing for any size.

    It raises ValueError, naming entry, cell and `source`, for one that is missing or has another shape.
    """

    def read(name: str, *shape: int | None) -> Any:
        if name not in entries:
            raise ValueError(f"{source} has no {name}: it holds {', '.join(entries) or 'nothing'}")
        found = np.shape(entries[name])
        if len(found) != len(shape) or any(n not in (None, m) for n, m in zip(shape, found, strict=True)):
            wanted = ", ".join("D" if size is None else str(size) for size in shape)
            raise ValueError(f"{name} is {list(found)}, but {describe_cell(cell)} takes [{wanted}]")
        return entries[name]

    return read


def owned(array: Any) -> Any:
    """Converts to an array of JAX that shares no memory with another library, which may go on to train it."""
    return (
        array if array is None else jnp.asarray(np.array(array) if isinstance(array, np.ndarray) else array)
    )


def contiguous(array: Array) -> np.ndarray:
    """Converts to a NumPy array that owns its numbers in C order, as other libraries want them."""
    return np.array(array, order="C")
