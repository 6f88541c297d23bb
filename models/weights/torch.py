"""Weights of one cell from and to PyTorch."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from models.cell import Cell, Params
from models.cells import Elman
from models.weights.gates import (
    AFTER,
    Packed,
    check_counterpart,
    columns,
    contiguous,
    from_packed,
    reader,
    to_packed,
)

# PyTorch packs the gates of an LSTM i, f, g, o and of a GRU r, z, n: the same order as here.
KINDS = ("Elman", AFTER, "LSTM")


def from_torch(cell: Cell, source: Any, layer: int = 0, *, reverse: bool = False, prefix: str = "") -> Params:
    """Converts the parameters of `torch.nn.RNN`, `GRU` or `LSTM`, for one layer and direction, or of `RNNCell`,
    `GRUCell` or `LSTMCell`, to those of `cell`.

    `source` is the module, its `state_dict()`, its `named_parameters()`, or a mapping of NumPy arrays with the same
    names; `prefix` is the name of the module inside a larger model (`"encoder.rnn"`). Biases may be absent
    (`bias=False`). For a whole deep net use `from_torch_stack`.

    PyTorch stores W and R transposed, `[G·H, D]` and `[G·H, H]`, and two biases; those of the input and the
    recurrent product are summed, except for the GRU's candidate, where the reset gate acts between them. Types are
    kept, bfloat16 too; float64 needs JAX's 64-bit mode (`jax_enable_x64`), and is float32 without it.

    Raises ValueError for a cell without a counterpart in PyTorch, a missing layer, sizes that don't fit, and an
    LSTM with `proj_size`.
    """
    check_torch(cell)
    entries = torch_entries(source, prefix)
    if any(name.startswith("weight_hr") for name in entries):
        raise ValueError(
            f"an LSTM of PyTorch with proj_size has no counterpart here: {cell} has no projection"
        )
    # The parameter names of RNNCell and the like have no layer number.
    one_cell = "weight_ih" in entries and layer == 0 and not reverse
    ending = "" if one_cell else suffix(layer, reverse)
    if f"weight_ih{ending}" not in entries and (held := prefixes(entries, ending)):
        raise ValueError(f"there is no weight_ih{ending} here: give prefix={' or '.join(map(repr, held))}")
    given = [name + ending for name in ("bias_ih", "bias_hh") if name + ending in entries]
    if len(given) == 1:
        raise ValueError(
            f"the state_dict has {given[0]} but not the other of the two biases: give both or none"
        )
    read, (size, width) = reader(entries, cell, "the state_dict"), columns(cell)
    kernel = as_array(read("weight_ih" + ending, width, None))
    recurrent = as_array(read("weight_hh" + ending, width, size))
    return from_packed(cell, Packed(kernel.T, recurrent.T, *(as_array(read(name, width)) for name in given)))


def to_torch(
    cell: Cell,
    params: Params,
    layer: int | None = 0,
    *,
    reverse: bool = False,
    prefix: str = "",
    bias: bool = True,
) -> dict[str, np.ndarray]:
    """Inverts `from_torch`: NumPy arrays under PyTorch's names, for `load_torch`. `layer=None` gives the names of
    `RNNCell`, `GRUCell` and `LSTMCell`; `bias=False` leaves the biases out, for a module made with `bias=False`.

    The sum of two biases becomes the first of them, and the second is zero.

    Raises ValueError for a cell without a counterpart in PyTorch, for parameters that don't fit the cell, and for
    biases left out that aren't zero.
    """
    check_torch(cell)
    packed = to_packed(cell, params, bias=bias)
    arrays = {"weight_ih": packed.kernel.T, "weight_hh": packed.recurrent.T}
    arrays |= {"bias_ih": packed.bias, "bias_hh": packed.recurrent_bias} if bias else {}
    start, ending = beginning(prefix), "" if layer is None else suffix(layer, reverse)
    return {start + name + ending: contiguous(array) for name, array in arrays.items()}


def load_torch(module: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays under PyTorch's names into a module of PyTorch; its other parameters stay as they are.

    It takes bfloat16 too, which `torch.from_numpy` does not.

    Raises ValueError for a name that the module doesn't have, and for another shape or type than its own.
    """
    held, found = module.state_dict(), {}
    for name, array in arrays.items():
        if name not in held:
            raise ValueError(f"the module has no {name}: it has {', '.join(held) or 'nothing'}")
        own = held[name]
        mine, theirs = describe(array.dtype, array.shape), describe(own.dtype, own.shape)
        if mine != theirs:
            raise ValueError(f"{name} is {theirs} in the module, but {mine} is given")
        # PyTorch reads no bfloat16 of NumPy's; through float32 it is the same number.
        found[name] = own.new_tensor(array.astype(np.float32) if array.dtype == jnp.bfloat16 else array)
    module.load_state_dict(found, strict=False)


def describe(dtype: Any, shape: Any) -> str:
    """Writes type and shape, `float32[3, 4]`."""
    return f"{str(dtype).removeprefix('torch.')}{list(shape)}"


def torch_entries(source: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the entries of a module, `state_dict()` or `named_parameters()` under `prefix`, without the prefix.

    Raises ValueError if no entry has that prefix.
    """
    entries = dict(source.state_dict() if hasattr(source, "state_dict") else source)
    start = beginning(prefix)
    found = {name.removeprefix(start): value for name, value in entries.items() if name.startswith(start)}
    if prefix and not found:
        raise ValueError(f"there is no entry under {start!r}: there are {', '.join(entries) or 'none'}")
    return found


def prefixes(entries: Mapping[str, Any], ending: str = "_l0") -> list[str]:
    """Lists the names of the modules inside that have a `weight_ih` of this ending."""
    names = (name.rpartition(".") for name in entries)
    return [module for module, _, own in names if own in ("weight_ih" + ending, "weight_ih") and module]


def beginning(prefix: str) -> str:
    """Returns what names under a prefix begin with."""
    return f"{prefix.removesuffix('.')}." if prefix else ""


def as_array(value: Any) -> np.ndarray:
    """Converts a PyTorch tensor or an array to a NumPy array of the same type; bfloat16 is the type JAX defines."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    tensor = value.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(jnp.bfloat16)
    return tensor.numpy()


def suffix(layer: int, reverse: bool) -> str:
    """Returns the suffix of PyTorch's parameter names for a layer and direction."""
    return f"_l{layer}_reverse" if reverse else f"_l{layer}"


def check_torch(cell: Cell) -> None:
    """Raises ValueError if PyTorch has no such cell."""
    check_counterpart(cell, "PyTorch", KINDS)
    if isinstance(cell, Elman) and cell.activation not in ("tanh", "relu"):
        raise ValueError(f"PyTorch's RNN has the activations tanh and relu, not {cell.activation!r}")
