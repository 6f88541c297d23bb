"""Weights of one cell from and to Equinox."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Cell, Params
from models.weights.gates import AFTER, Packed, check_counterpart, columns, from_packed, reader, to_packed

# Equinox packs the gates of an LSTM i, f, g, o and of a GRU r, z, n, and keeps one bias: as here, but transposed.
KINDS = (AFTER, "LSTM")
ENTRIES = ("weight_ih", "weight_hh", "bias", "bias_n")


def from_equinox(cell: Cell, source: Any) -> Params:
    """Converts the parameters of `equinox.nn.GRUCell` or `LSTMCell` to those of `cell`. `source` is the module, or
    a mapping of arrays under the names of its attributes. Biases may be absent (`use_bias=False`).

    Raises ValueError for a cell without a counterpart in Equinox, a missing entry, or sizes that don't fit.
    """
    kind = check_counterpart(cell, "Equinox", KINDS)
    held = source if isinstance(source, Mapping) else {name: getattr(source, name, None) for name in ENTRIES}
    entries = {name: leaf for name, leaf in held.items() if leaf is not None}
    read, (size, width) = reader(entries, cell, "the module of Equinox"), columns(cell)
    packed = Packed(read("weight_ih", width, None).T, read("weight_hh", width, size).T)
    if "bias" not in entries:
        return from_packed(cell, packed)
    params = from_packed(cell, packed._replace(bias=read("bias", width)))
    return params | {"recurrent_bias": jnp.array(read("bias_n", size))} if kind == AFTER else params


def to_equinox(cell: Cell, params: Params, *, bias: bool = True) -> dict[str, jax.Array]:
    """Inverts `from_equinox`: arrays under the names of the module's attributes, for

        equinox.tree_at(lambda module: [getattr(module, name) for name in arrays], module, list(arrays.values()))

    `bias=False` leaves the biases out, for a module made with `use_bias=False`.

    Raises ValueError for a cell without a counterpart in Equinox, for parameters that don't fit the cell, and for
    biases left out that aren't zero.
    """
    kind, (size, _) = check_counterpart(cell, "Equinox", KINDS), columns(cell)
    packed = to_packed(cell, params, bias=bias)
    arrays = {"weight_ih": packed.kernel.T, "weight_hh": packed.recurrent.T}
    if bias:
        arrays["bias"] = packed.bias
        arrays |= {"bias_n": packed.recurrent_bias[-size:]} if kind == AFTER else {}
    return arrays
