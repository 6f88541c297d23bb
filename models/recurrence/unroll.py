"""`unroll`, which runs a cell over time by any of the methods."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from models.cell import (
    Array,
    Cell,
    Drive,
    Key,
    Output,
    Params,
    ProductCell,
    State,
    Weights,
    check_hashable,
)
from models.checks import check_arguments, check_inputs, check_mask, check_params, check_step
from models.layers.layer import Layer, check_output
from models.layers.pooling import last_valid
from models.memory import Memory, check_memory, example_memory, memory_argument
from models.recurrence.associative import associative, can_associate
from models.recurrence.attentive import attentive, can_attend
from models.recurrence.fused import can_fuse, fused
from models.recurrence.methods import Associative, Fused, Method, Newton, Scan, UnrollInfo, resolve_method
from models.recurrence.newton import newton
from models.recurrence.scan import checkpointed_scan, compute_drive, match_varying_axes, scan


def unroll(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
    memory: Memory | None = None,
) -> tuple[State, Output]:
    """Runs a cell over a sequence: `xs [T, *batch, D]` → final state `[*batch, ...]`, outputs `[T, *batch, ...]`.

        w = prepare(params);   s_t, y_t = step(w, s_{t−1}, drive(w, x_t))   for t = 1 … T

    `state` is s_0 (by default the cell's initial state). `reverse` reads from the last step to the first;
    outputs stay aligned with their inputs. Where `mask [T, *batch]` is False the state is unchanged, the output
    is zero, and nothing of the input, NaN included, affects a value or a gradient. `key` and `train` are passed
    to the cell's `prepare`, and so is `memory`, for a cell that reads one.

    Raises ValueError if the shapes or types of parameters, inputs, mask, state or memory don't fit, and
    TypeError if the cell's step doesn't return a state of the structure that it was given.

    Examples:
        >>> cell = LSTM(hidden_size=4)
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> state, ys = unroll(cell, params, jnp.ones((7, 2, 3)))  # T = 7 steps of a batch of 2
        >>> ys.shape, state.c.shape
        ((7, 2, 4), (2, 4))
    """
    static: Any = {"reverse": reverse, "method": method, "train": train}
    if isinstance(cell, Layer):
        check_layer(cell, params, xs, mask, memory)
        return run_layer(cell, "unroll", params, xs, state, mask, key, memory, **static)
    state, ys, _ = unroll_with_info(cell, params, xs, state, mask=mask, key=key, memory=memory, **static)
    return state, ys


def last_output(
    cell: Cell,
    params: Params,
    xs: Array,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
    memory: Memory | None = None,
) -> Output:
    """Returns a cell's output at the last valid step it reads, `[*batch, ...]`; in reverse that is the first in
    time.

    For two directions each is read at its own end (`Bidirectional.last_output`). Zero for a sequence without a
    valid step. Arguments as for `unroll`.
    """
    static: Any = {"reverse": reverse, "method": method, "train": train}
    if isinstance(cell, Layer):
        check_layer(cell, params, xs, mask, memory)
        return run_layer(cell, "last_output", params, xs, None, mask, key, memory, **static)
    _, ys = unroll(cell, params, xs, mask=mask, key=key, memory=memory, **static)
    return last_valid(ys, mask, reverse=reverse)


@partial(jax.jit, static_argnames=("layer", "name", "reverse", "method", "train"), inline=True)
def run_layer(
    layer: Layer,
    name: str,
    params: Params,
    xs: Array,
    state: State | None,
    mask: Array | None,
    key: Key | None,
    memory: Memory | None,
    **static: Any,
) -> Any:
    """Calls a layer's method `name`, "unroll" or "last_output", compiled once for equal layers and shapes."""
    options: dict[str, Any] = {"mask": mask, "key": key} | memory_argument(layer, memory) | static
    if name == "unroll":
        return layer.unroll(params, xs, state, **options)
    return layer.last_output(params, xs, **options)


def check_layer(layer: Layer, params: Params, xs: Array, mask: Array | None, memory: Memory | None) -> None:
    """Raises ValueError if inputs, parameters, mask or memory don't fit a layer; its parts check the rest."""
    check_hashable(layer)
    check_inputs(xs)
    if mask is not None:
        check_mask(mask, xs)
    check_params(layer, params, xs)
    check_memory(layer, memory, xs.shape[1:-1])


def output_size(cell: Cell, params: Any, input_size: int, where: str) -> int:
    """Returns the size N of a cell's outputs `[T, *batch, N]`, from the shapes of its parameters.

    Raises ValueError, naming `where`, if the output is not a single array with such an axis.
    """

    def one_step(params: Params) -> Output:
        return unroll(cell, params, jnp.zeros((1, input_size)), memory=example_memory(cell))[1]

    return check_output(cell, jax.eval_shape(one_step, params), where)


def unroll_with_info(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
    memory: Memory | None = None,
) -> tuple[State, Output, UnrollInfo]:
    """Runs `unroll` and returns information on the method used too; for a single cell, not for a layer.

    Compiled once for equal cells, options and shapes, inside a compiled function or not.

    Raises ValueError for a layer, and for forward-mode differentiation of a method that supports none.

    Examples:
        >>> cell = GRU(4)
        >>> _, _, info = unroll_with_info(cell, cell.init(jax.random.key(0), 3), jnp.ones((7, 3)))
        >>> info.method
        Fused()
    """
    if isinstance(cell, Layer):
        raise ValueError(
            f"a {type(cell).__name__} chooses a method for each of its parts: call them one by one"
        )
    check_hashable(cell)
    try:
        return compiled(
            cell, params, xs, state, mask, key, memory, reverse=reverse, method=method, train=train
        )
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
    raise ValueError(
        f"unroll with method {method!r} of {type(cell).__name__} has a hand-written backward pass and no forward "
        "mode (jax.jvp, jax.jacfwd): use method='scan'"
    )


@partial(jax.jit, static_argnames=("cell", "reverse", "method", "train"))
def compiled(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None,
    mask: Array | None,
    key: Key | None,
    memory: Memory | None,
    *,
    reverse: bool,
    method: Method,
    train: bool,
) -> tuple[State, Output, UnrollInfo]:
    """Implements `unroll_with_info`."""
    batch_shape, given = check_arguments(cell, params, xs, state, mask), state
    check_memory(cell, memory, batch_shape)
    if state is None:
        state = cell.initial_state(params, batch_shape)
    if mask is not None:
        # Zeros in place of masked inputs: a NaN times a zero cotangent would still be NaN.
        xs = jnp.where(mask[..., None], xs, 0)
    weights = cell.prepare(
        params, key=key, train=train, batch_shape=batch_shape, **memory_argument(cell, memory)
    )
    weights, state, xs, mask = match_varying_axes((weights, state, xs, mask))
    check_step(cell, params, weights, given, xs)
    chosen, reason = resolve_method(method, cell, weights, state, xs, mask)
    if isinstance(chosen, Fused):
        return *run_fused(cell, weights, state, xs, mask, reverse), UnrollInfo(chosen, reason)
    if isinstance(chosen, Scan) and chosen.checkpoint_every is not None:
        every = chosen.checkpoint_every
        found = checkpointed_scan(cell, weights, state, xs, every=every, mask=mask, reverse=reverse)
        return *found, UnrollInfo(chosen, reason)
    drive = compute_drive(cell, weights, xs, mask)
    if isinstance(chosen, Newton):
        if train and cell.couples_batch:
            raise ValueError(
                f"method 'newton' can't train {cell}: in training its examples depend on one another, but Newton's "
                "method solves for each by itself; use 'scan'"
            )
        final, ys, details = newton(
            cell, weights, state, drive, batch_shape=batch_shape, options=chosen, mask=mask, reverse=reverse
        )
        return final, ys, UnrollInfo(chosen, reason, **details)
    return *run(chosen, cell, weights, state, drive, mask, reverse), UnrollInfo(chosen, reason)


def run(
    chosen: Scan | Associative,
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    mask: Array | None,
    reverse: bool,
) -> tuple[State, Output]:
    """Runs the chosen method. Raises ValueError if it doesn't support the cell, naming which cells it does."""
    match chosen:
        case Scan():
            return scan(cell, weights, state, drive, mask=mask, reverse=reverse)
        case Associative():
            if not can_associate(cell, mask):
                raise ValueError(
                    f"method 'associative' can't run {cell}: it is for a LinearCell, or an Elman cell with "
                    "activation 'identity' and no mask; use 'scan'"
                )
            return associative(cell, weights, state, drive, mask=mask, reverse=reverse)


def run_fused(
    cell: Cell, weights: Weights, state: State, xs: Array, mask: Array | None, reverse: bool
) -> tuple[State, Output]:
    """Runs the scan with a backward pass of its own. Raises ValueError if none supports the cell, naming which
    cells they do."""
    if isinstance(cell, ProductCell) and can_fuse(cell, weights, state, xs):
        return fused(cell, weights, state, xs, mask=mask, reverse=reverse)
    if can_attend(cell, weights, state, xs):
        return attentive(cell, reverse, weights, state, compute_drive(cell, weights, xs, mask), mask)
    raise ValueError(
        f"method 'fused' can't run {cell}: it is for a ProductCell in the product form, or an AttentionCell, with "
        "no integer in its state or drive; use 'scan'"
    )
