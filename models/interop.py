"""Exact conversion of parameters from and to the layouts of other libraries, without importing them."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from models.cell import Array, Cell, Params
from models.cells import GRU, LSTM, Elman
from models.checks import check_params

# PyTorch packs the gates of an LSTM i, f, g, o and of a GRU r, z, n: the same order as here.
TORCH_GATES: dict[type[Cell], int] = {Elman: 1, GRU: 3, LSTM: 4}
LINEN_GATES: dict[type[Cell], tuple[str, ...]] = {
    Elman: ("",),
    GRU: ("r", "z", "n"),
    LSTM: ("i", "f", "g", "o"),
}


def from_torch(cell: Cell, source: Any, layer: int = 0, *, reverse: bool = False, prefix: str = "") -> Params:
    """Converts the parameters of `torch.nn.RNN`, `GRU` or `LSTM`, for one layer and direction, or of `RNNCell`,
    `GRUCell` or `LSTMCell`, to those of `cell`.

    `source` is the module, its `state_dict()`, its `named_parameters()`, or a mapping of NumPy arrays with the same
    names; `prefix` is the name of the module inside a larger model (`"encoder.rnn"`). Biases may be absent
    (`bias=False`). For a whole deep net use `from_torch_stack`.

    PyTorch stores W and R transposed, `[G·H, D]` and `[G·H, H]`, and two biases; those of the input and the
    recurrent product are summed, except for the GRU's candidate, where the reset gate acts between them.

    Raises ValueError for a cell without a counterpart in PyTorch, a missing layer, or sizes that don't fit.
    """
    gates = torch_gates(cell)
    state_dict = torch_entries(source, prefix)
    # The parameter names of RNNCell and the like have no layer number.
    one_cell = "weight_ih" in state_dict and layer == 0 and not reverse
    ending = "" if one_cell else suffix(layer, reverse)

    def read(name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        full = name + ending
        if full not in state_dict:
            raise ValueError(f"the state_dict has no {full}: it holds {', '.join(state_dict) or 'nothing'}")
        array = as_array(state_dict[full])
        wanted = [size if size is not None else "D" for size in shape]
        if len(array.shape) != len(shape) or any(
            w not in (None, n) for w, n in zip(shape, array.shape, strict=True)
        ):
            raise ValueError(f"{full} is {list(array.shape)}, but {cell} takes {wanted}")
        return array

    size: int = cell.hidden_size  # pyright: ignore[reportAttributeAccessIssue]
    rows = gates * size
    kernel, recurrent = read("weight_ih", (rows, None)), read("weight_hh", (rows, size))
    biases = [name + ending for name in ("bias_ih", "bias_hh") if name + ending in state_dict]
    if len(biases) == 1:
        raise ValueError(
            f"the state_dict has {biases[0]} but not the other of the two biases: give both or none"
        )
    if biases:
        bias_input, bias_recurrent = read("bias_ih", (rows,)), read("bias_hh", (rows,))
    else:
        bias_input = bias_recurrent = np.zeros(rows, kernel.dtype)
    params = {"kernel": jnp.asarray(kernel.T), "recurrent": jnp.asarray(recurrent.T)}
    if isinstance(cell, GRU):
        gate_bias = np.concatenate([bias_recurrent[: 2 * size], np.zeros(size, kernel.dtype)])
        return params | {
            "bias": jnp.asarray(bias_input + gate_bias),
            "recurrent_bias": jnp.asarray(bias_recurrent[2 * size :]),
        }
    return params | {"bias": jnp.asarray(bias_input + bias_recurrent)}


def torch_entries(source: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the entries of a module, `state_dict()` or `named_parameters()` under `prefix`, without the prefix.

    Raises ValueError if no entry has that prefix.
    """
    entries = dict(source.state_dict() if hasattr(source, "state_dict") else source)
    start = f"{prefix.removesuffix('.')}." if prefix else ""
    found = {name.removeprefix(start): value for name, value in entries.items() if name.startswith(start)}
    if prefix and not found:
        raise ValueError(f"there is no entry under {start!r}: there are {', '.join(entries) or 'none'}")
    return found


def as_array(value: Any) -> np.ndarray:
    """Converts a PyTorch tensor or an array to a NumPy array of the same type; bfloat16 is the type JAX defines."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    tensor = value.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(jnp.bfloat16)
    return tensor.numpy()


def to_torch(cell: Cell, params: Params, layer: int = 0, *, reverse: bool = False) -> dict[str, np.ndarray]:
    """Inverts `from_torch`, as NumPy arrays under PyTorch's names:
    `module.load_state_dict({k: torch.from_numpy(v) for k, v in to_torch(cell, params).items()})`.

    Raises ValueError for a cell without a counterpart in PyTorch, and for parameters that don't fit the cell.
    """
    torch_gates(cell)
    check_params(cell, params)
    kernel, recurrent, bias = (np.array(params[name]) for name in ("kernel", "recurrent", "bias"))
    bias_recurrent = np.zeros_like(bias)
    if isinstance(cell, GRU):
        bias_recurrent[2 * cell.hidden_size :] = np.asarray(params["recurrent_bias"])
    arrays = {"weight_ih": kernel.T, "weight_hh": recurrent.T, "bias_ih": bias, "bias_hh": bias_recurrent}
    ending = suffix(layer, reverse)
    return {name + ending: np.ascontiguousarray(array) for name, array in arrays.items()}


def suffix(layer: int, reverse: bool) -> str:
    """Returns the suffix of PyTorch's parameter names for a layer and direction."""
    return f"_l{layer}_reverse" if reverse else f"_l{layer}"


def torch_gates(cell: Cell) -> int:
    """Returns how many gates PyTorch packs for this cell. Raises ValueError if it has no such cell."""
    gates = TORCH_GATES.get(type(cell))
    if gates is None or (isinstance(cell, GRU) and cell.reset == "before"):
        raise ValueError(f"PyTorch has no counterpart of {cell}: it has Elman, GRU(reset='after') and LSTM")
    check_output_tanh(cell, "PyTorch's")
    if isinstance(cell, Elman) and cell.activation not in ("tanh", "relu"):
        raise ValueError(f"PyTorch's RNN has the activations tanh and relu, not {cell.activation!r}")
    return gates


def check_output_tanh(cell: Cell, library: str) -> None:
    """Raises ValueError for an LSTM that outputs its memory without tanh."""
    if isinstance(cell, LSTM) and not cell.output_tanh:
        raise ValueError(f"{library} LSTM outputs o ∘ tanh(c), and this one o ∘ c: it needs output_tanh=True")


def from_linen(cell: Cell, params: Mapping[str, Any]) -> Params:
    """Converts the parameters of Flax Linen's `SimpleCell`, `GRUCell`, `LSTMCell` or `OptimizedLSTMCell` to those
    of `cell`. `params` is the cell's entry under "params": `{"ii": {"kernel": …}, "hi": {…}, …}`.

    Raises ValueError for a cell without a counterpart in Flax, a missing entry, or sizes that don't fit.
    """
    gates = LINEN_GATES.get(type(cell))
    if gates is None or (isinstance(cell, GRU) and cell.reset == "before"):
        raise ValueError(f"Flax has no counterpart of {cell}: it has Elman, GRU(reset='after') and LSTM")
    check_output_tanh(cell, "Flax's")
    missing = [side + gate for side in "ih" for gate in gates if side + gate not in params]
    if missing:
        raise ValueError(
            f"these Linen parameters have no {', '.join(missing)}: they hold {', '.join(params)}"
        )

    def packed(side: str, entry: str) -> Array:
        blocks = [params[side + gate].get(entry) for gate in gates]
        zeros = np.zeros(params["h" + gates[0]]["kernel"].shape[-1], params["h" + gates[0]]["kernel"].dtype)
        return jnp.concatenate([jnp.asarray(zeros if block is None else block) for block in blocks], axis=-1)

    weights = {"kernel": packed("i", "kernel"), "recurrent": packed("h", "kernel")}
    bias, recurrent_bias = packed("i", "bias"), packed("h", "bias")
    if isinstance(cell, GRU):
        split = 2 * cell.hidden_size
        kept = jnp.concatenate([recurrent_bias[:split], jnp.zeros_like(recurrent_bias[split:])])
        found = weights | {"bias": bias + kept, "recurrent_bias": recurrent_bias[split:]}
    else:
        found = weights | {"bias": bias + recurrent_bias}
    check_params(cell, found, name="the converted tree of Linen parameters")
    return found
