"""Weights of one cell from and to Flax Linen."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from models.cell import Cell, Params
from models.weights.gates import AFTER, Packed, check_counterpart, columns, from_packed, reader, to_packed

# Linen's dense layers are named i for the input or h for the state, then the gate: here the gates, in our order.
GATES = {"Elman": ("",), "BasicGRU": ("f", "n"), AFTER: ("r", "z", "n"), "LSTM": ("i", "f", "g", "o")}


def from_linen(cell: Cell, params: Mapping[str, Any]) -> Params:
    """Converts the parameters of a cell of Flax Linen to those of `cell`:

        SimpleCell                       Elman, with the same activation; residual=False
        MGUCell(reset_gate=False)        BasicGRU
        GRUCell                          GRU
        LSTMCell, OptimizedLSTMCell      LSTM

    `params` is the cell's entry under "params": `{"ii": {"kernel": …}, "hi": {…}, …}`. A state of an LSTM is (c, h)
    in Linen and (h, c) here.

    Raises ValueError for a cell without a counterpart in Flax, a missing entry, or sizes that don't fit.
    """
    gates = GATES[check_counterpart(cell, "Flax", tuple(GATES))]
    names = [side + gate for side in "ih" for gate in gates]
    if missing := [name for name in names if name not in params]:
        raise ValueError(
            f"these Linen parameters have no {', '.join(missing)}: they hold {', '.join(params) or 'nothing'}"
        )
    entries = {f"{name}/{entry}": leaf for name in names for entry, leaf in params[name].items()}
    if "hn" in names[-1:] and len(gates) == 2 and "hn/bias" in entries:
        raise ValueError(f"an MGUCell with reset_gate=True has no counterpart here: {cell} has no reset gate")
    read, (size, _) = reader(entries, cell, "the tree of Linen parameters"), columns(cell)

    def packed(side: str, entry: str, *shape: int | None) -> Any:
        held = [f"{side}{gate}/{entry}" for gate in gates]
        if entry == "bias" and not any(name in entries for name in held):
            return None
        blocks = {
            name: jnp.asarray(read(name, *shape, size))
            for name in held
            if entry == "kernel" or name in entries
        }
        zeros = jnp.zeros(size, next(iter(blocks.values())).dtype)
        return jnp.concatenate([blocks.get(name, zeros) for name in held], axis=-1)

    kernel, recurrent = packed("i", "kernel", None), packed("h", "kernel", size)
    return from_packed(cell, Packed(kernel, recurrent, packed("i", "bias"), packed("h", "bias")))


def to_linen(cell: Cell, params: Params) -> dict[str, dict[str, Any]]:
    """Inverts `from_linen`: the cell's entry under "params", for `linen_cell.apply({"params": …}, carry, x)`.

    Raises ValueError for a cell without a counterpart in Flax, and for parameters that don't fit the cell.
    """
    kind = check_counterpart(cell, "Flax", tuple(GATES))
    packed, gates = to_packed(cell, params), GATES[kind]
    # Linen keeps the bias of an LSTM's gates beside R, of all others beside W.
    biased = "h" if kind == "LSTM" else "i"

    def split(side: str, entry: str, whole: Any) -> dict[str, dict[str, Any]]:
        blocks = jnp.split(whole, len(gates), axis=-1)
        return {side + gate: {entry: block} for gate, block in zip(gates, blocks, strict=True)}

    tree = split("i", "kernel", packed.kernel) | split("h", "kernel", packed.recurrent)
    for name, own in split(biased, "bias", packed.bias).items():
        tree[name] |= own
    if kind == AFTER:
        tree["hn"] |= split("h", "bias", packed.recurrent_bias)["hn"]
    return tree
