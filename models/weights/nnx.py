"""Weights of one cell from and to Flax NNX."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from models.cell import Cell, Params
from models.weights.gates import AFTER, Packed, check_counterpart, columns, from_packed, reader, to_packed
from models.weights.linen import from_linen, to_linen

KINDS = ("Elman", AFTER, "LSTM")
NAMES = {"if": "if_"}  # Linen's name if is a keyword of Python


def from_nnx(cell: Cell, source: Any) -> Params:
    """Converts the parameters of a cell of Flax NNX to those of `cell`:

        SimpleCell                       Elman, with the same activation; residual=False
        GRUCell                          GRU
        LSTMCell, OptimizedLSTMCell      LSTM

    `source` is the cell, its `nnx.state(cell)`, or a dictionary of arrays of the same names. A state of an LSTM is
    (c, h) in NNX and (h, c) here.

    Raises ValueError for a cell without a counterpart in NNX, a missing entry, sizes that don't fit, and a
    `SimpleCell` with `residual=True`.
    """
    kind = check_counterpart(cell, "Flax NNX", KINDS)
    if getattr(source, "residual", False):
        raise ValueError(f"a SimpleCell of NNX with residual=True has no counterpart here: {cell} adds no h")
    tree = pure(source)
    if kind == "LSTM" and "dense_h" not in tree:
        return from_linen(cell, {name: tree[own] for name, own in linen_names(tree).items()})
    read = reader(
        {f"{name}/{entry}": leaf for name in tree for entry, leaf in dict(tree[name]).items()},
        cell,
        "the state of NNX",
    )
    size, width = columns(cell)
    kernel, recurrent = read("dense_i/kernel", None, width), read("dense_h/kernel", size, width)
    biases = [
        read(f"{name}/bias", width) if "bias" in tree[name] else None for name in ("dense_i", "dense_h")
    ]
    return from_packed(cell, Packed(kernel, recurrent, *biases))


def to_nnx(cell: Cell, params: Params, *, optimized: bool = False) -> dict[str, dict[str, Any]]:
    """Inverts `from_nnx`: a dictionary of arrays, for `nnx.update(nnx_cell, …)`. An LSTM gets the names of
    `LSTMCell`, or with `optimized` those of `OptimizedLSTMCell`.

    Raises ValueError for a cell without a counterpart in NNX, for parameters that don't fit the cell, and for a GRU
    whose `recurrent_bias` isn't zero, as that of NNX has none.
    """
    kind = check_counterpart(cell, "Flax NNX", KINDS)
    if kind == "LSTM" and not optimized:
        return {NAMES.get(name, name): own for name, own in to_linen(cell, params).items()}
    packed = to_packed(cell, params)
    if jnp.any(packed.recurrent_bias != 0):
        raise ValueError(
            "Flax NNX's GRUCell has no bias between reset gate and R, but the recurrent_bias of this GRU isn't zero"
        )
    tree = {"dense_i": {"kernel": packed.kernel}, "dense_h": {"kernel": packed.recurrent}}
    # NNX keeps the bias of an LSTM's gates beside R, of all others beside W.
    tree["dense_h" if kind == "LSTM" else "dense_i"]["bias"] = packed.bias
    return tree


def pure(source: Any) -> dict[str, Any]:
    """Returns the parameters of a cell of NNX, or of its state, as dictionaries of arrays."""
    if isinstance(source, dict):
        return source
    from flax import nnx  # not with this module: it takes its time, and few need it

    if isinstance(source, Mapping) and not isinstance(source, nnx.State):
        return dict(source)
    state: Any = source if isinstance(source, nnx.State) else nnx.state(source, nnx.Param)
    return nnx.to_pure_dict(state)


def linen_names(tree: Mapping[str, Any]) -> dict[str, str]:
    """Returns NNX's names by those of Linen."""
    back = {own: name for name, own in NAMES.items()}
    return {back.get(name, name): name for name in tree}
