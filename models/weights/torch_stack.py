"""Conversion of deep and bidirectional nets from and to PyTorch's layout."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from models.cell import Array, Cell, Params, State
from models.cells import LSTM, LSTMState
from models.checks import check_params
from models.layers.bidirectional import Bidirectional, Directions
from models.layers.stacked import Stacked
from models.weights.torch import check_torch, from_torch, suffix, to_torch, torch_entries


def from_torch_stack(stack: Cell, source: Any, *, prefix: str = "") -> Params:
    """Converts the parameters of a whole `torch.nn.RNN`, `GRU` or `LSTM`, deep, bidirectional or both, to those of
    `stack`: a plain `Stacked` of cells, a `Stacked` of `Bidirectional(cell)`, one `Bidirectional(cell)` or one
    cell. `source` and `prefix` as for `from_torch`.

    Raises ValueError for a stack without a counterpart in PyTorch, another number of layers or directions, or sizes
    that don't fit.
    """
    layers, state_dict = torch_layers(stack), torch_entries(source, prefix)
    wanted = {suffix(i, back) for i, layer in enumerate(layers) for _, _, back in directions(layer)}
    held = {name.removeprefix("weight_hh") for name in state_dict if name.startswith("weight_hh")}
    if held - wanted:
        raise ValueError(
            f"the state_dict has weights for {', '.join(sorted(held))}, but this {type(stack).__name__} takes "
            f"{', '.join(sorted(wanted))}"
        )
    read = [
        {name: from_torch(cell, state_dict, i, reverse=back) for name, cell, back in directions(layer)}
        for i, layer in enumerate(layers)
    ]
    pairs = zip(layers, read, strict=True)
    own = tuple(params if isinstance(layer, Bidirectional) else params["forward"] for layer, params in pairs)
    return {"layers": own} if isinstance(stack, Stacked) else own[0]


def to_torch_stack(
    stack: Cell, params: Params, *, prefix: str = "", bias: bool = True
) -> dict[str, np.ndarray]:
    """Inverts `from_torch_stack`, as NumPy arrays under PyTorch's names, for `load_torch`. `prefix` and `bias` as
    for `to_torch`.

    Raises ValueError for a stack without a counterpart in PyTorch, for parameters that don't fit the stack, and for
    biases left out that aren't zero.
    """
    arrays: dict[str, np.ndarray] = {}
    layers = torch_layers(stack)
    check_params(stack, params)
    all_params = params["layers"] if isinstance(stack, Stacked) else (params,)
    for i, (layer, own) in enumerate(zip(layers, all_params, strict=True)):
        for name, cell, back in directions(layer):
            mine = own[name] if isinstance(layer, Bidirectional) else own
            arrays |= to_torch(cell, mine, i, reverse=back, prefix=prefix, bias=bias)
    return arrays


def state_from_torch(stack: Cell, h: Array | np.ndarray, c: Array | np.ndarray | None = None) -> State:
    """Converts PyTorch's h (and for an LSTM c), each `[layers · directions, *batch, H]`, to a state of `stack`.

    Raises ValueError for a stack without a counterpart in PyTorch, for wrong sizes, for a c given for a cell other
    than an LSTM, and for an LSTM without one.
    """
    layers = torch_layers(stack)
    cells = [cell for layer in layers for _, cell, _ in directions(layer)]
    count = len(cells)
    if h.shape[0] != count:
        raise ValueError(f"h has {h.shape[0]} entries, but this {type(stack).__name__} has {count} cells")
    if (c is not None) != isinstance(cells[0], LSTM):
        problem = "needs h and c, but c is missing" if c is None else "has h only, but c is given"
        raise ValueError(f"a state of {type(cells[0]).__name__} {problem}")
    size = getattr(cells[0], "hidden_size", None)
    for name, array in ({"h": h} | ({} if c is None else {"c": c})).items():
        if array.shape != (*h.shape[:-1], size):
            raise ValueError(
                f"{name} must be [layers · directions, *batch, H] with H = {size}, but is {list(array.shape)}"
            )
    rows = iter(range(count))

    def read() -> State:
        row = next(rows)
        return jnp.asarray(h[row]) if c is None else LSTMState(jnp.asarray(h[row]), jnp.asarray(c[row]))

    states = tuple(
        Directions(read(), read()) if isinstance(layer, Bidirectional) else read() for layer in layers
    )
    return states if isinstance(stack, Stacked) else states[0]


def directions(layer: Cell) -> Iterator[tuple[str, Cell, bool]]:
    """Yields, for each direction of a layer, its name, its cell and whether it reads backward."""
    if isinstance(layer, Bidirectional):
        forward, backward = layer.cells()
        yield "forward", forward, False
        yield "backward", backward, True
    else:
        yield "forward", layer, False


def torch_layers(stack: Cell) -> tuple[Cell, ...]:
    """Returns the layers of a stack. Raises ValueError if they have no counterpart in one PyTorch module."""
    layers = stack.layers if isinstance(stack, Stacked) else (stack,)
    if isinstance(stack, Stacked) and stack.connection != "plain":
        raise ValueError(
            f"PyTorch's deep nets are plain, but this stack's connections are {stack.connection}"
        )
    cells = [cell for layer in layers for _, cell, _ in directions(layer)]
    for layer in layers:
        if isinstance(layer, Bidirectional) and layer.merge != "concatenate":
            raise ValueError(
                f"PyTorch concatenates both directions, but this layer has merge={layer.merge!r}"
            )
    for cell in cells:
        check_torch(cell)
    if len({signature(cell) for cell in cells}) > 1 or len({type(layer) for layer in layers}) > 1:
        raise ValueError(
            "the layers of one PyTorch module have the same type, size and number of directions, but these are "
            f"{', '.join(str(cell) for cell in cells)}"
        )
    return layers


def signature(cell: Cell) -> tuple[Any, ...]:
    """Returns the properties that all cells of one PyTorch module share."""
    return type(cell), getattr(cell, "hidden_size", None), getattr(cell, "activation", None)
