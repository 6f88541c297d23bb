"""Weights of one layer from and to Keras."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from models.cell import Cell, Params
from models.cells import Elman
from models.layers.bidirectional import Bidirectional, Directions
from models.weights.gates import (
    AFTER,
    BEFORE,
    Packed,
    check_counterpart,
    columns,
    contiguous,
    from_packed,
    reader,
    to_packed,
)

KINDS = ("Elman", AFTER, BEFORE, "LSTM")
ENTRIES = ("kernel", "recurrent_kernel", "bias")
ACTIVATIONS = {"identity": "linear"}  # Keras' names of ours
MERGES = {"concatenate": "concat", "sum": "sum", "mean": "ave"}


def from_keras(cell: Cell, source: Any) -> Params:
    """Converts the weights of a layer of Keras to the parameters of `cell`:

        SimpleRNN                  Elman, with the same activation
        GRU(reset_after=True)      GRU
        GRU(reset_after=False)     GRU(reset="before")
        LSTM                       LSTM
        Bidirectional of these     Bidirectional

    `source` is the layer, or its `get_weights()`: a list of kernel, recurrent kernel and, unless `use_bias=False`,
    bias. Keras packs the gates of a GRU z, r, h, and keeps two biases for it if `reset_after=True`. It keeps the
    activations beside the weights: they are compared if `source` is the layer itself. A layer with
    `go_backwards=True` is `Backward(cell)` here, but for the order of its outputs.

    Raises ValueError for a cell without a counterpart in Keras, another number of arrays, and sizes or settings
    that don't fit.
    """
    config = source.get_config() if hasattr(source, "get_config") else {}
    arrays: Sequence[Any] = source.get_weights() if hasattr(source, "get_weights") else source
    if isinstance(cell, Bidirectional):
        check_settings(cell, config, {"merge_mode": MERGES[cell.merge]})
        half = len(arrays) // 2
        sides: Any = arrays[:half], arrays[half:]
        if hasattr(source, "forward_layer"):
            sides = source.forward_layer, source.backward_layer
        pairs = zip(Directions._fields, cell.cells(), sides, strict=True)
        return {name: from_keras(inner, side) for name, inner, side in pairs}
    kind = check_counterpart(cell, "Keras", KINDS)
    check_settings(cell, config, settings(cell, kind))
    if len(arrays) not in (2, 3):
        raise ValueError(
            f"{len(arrays)} arrays are given, but {cell} takes a kernel, a recurrent kernel and at most one bias"
        )
    read = reader(dict(zip(ENTRIES, arrays, strict=False)), cell, "the layer of Keras")
    size, width = columns(cell)
    kernel, recurrent = (
        ordered(kind, read(*wanted)) for wanted in (("kernel", None, width), (ENTRIES[1], size, width))
    )
    if len(arrays) == 2:
        return from_packed(cell, Packed(kernel, recurrent))
    if kind != AFTER:
        return from_packed(cell, Packed(kernel, recurrent, ordered(kind, read("bias", width))))
    return from_packed(cell, Packed(kernel, recurrent, *ordered(kind, read("bias", 2, width))))


def to_keras(cell: Cell, params: Params, *, bias: bool = True) -> list[np.ndarray]:
    """Inverts `from_keras`: the list for `layer.set_weights(…)`. `bias=False` leaves the biases out, for a layer
    with `use_bias=False`.

    Raises ValueError for a cell without a counterpart in Keras, for parameters that don't fit the cell, and for
    biases left out that aren't zero.
    """
    if isinstance(cell, Bidirectional):
        forward, backward = cell.cells()
        return to_keras(forward, params["forward"], bias=bias) + to_keras(
            backward, params["backward"], bias=bias
        )
    kind, packed = check_counterpart(cell, "Keras", KINDS), to_packed(cell, params, bias=bias)
    arrays = [packed.kernel, packed.recurrent]
    if bias:
        arrays.append(jnp.stack([packed.bias, packed.recurrent_bias]) if kind == AFTER else packed.bias)
    return [contiguous(ordered(kind, array)) for array in arrays]


def ordered(kind: str, array: Any) -> Any:
    """Exchanges the gates r and z of a GRU, which turns our order into that of Keras and back; else changes
    nothing."""
    if kind not in (AFTER, BEFORE):
        return array
    r, z, n = jnp.split(jnp.asarray(array), 3, axis=-1)
    return jnp.concatenate([z, r, n], axis=-1)


def settings(cell: Cell, kind: str) -> dict[str, Any]:
    """Returns the settings of a layer of Keras that must be those of a cell."""
    if isinstance(cell, Elman):
        own = cell.activation
        return {"activation": ACTIVATIONS.get(own, own)} if isinstance(own, str) else {}
    common = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    return common | ({"reset_after": kind == AFTER} if kind in (AFTER, BEFORE) else {})


def check_settings(cell: Cell, config: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ValueError if a setting of a layer of Keras is another than the cell's."""
    for name, value in wanted.items():
        if name in config and config[name] != value:
            raise ValueError(f"this layer of Keras has {name}={config[name]!r}, but {cell} has {value!r}")
