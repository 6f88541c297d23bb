"""One scan with a hand-written backward pass, for every cell of the product form.

Autodiff of a scan reads and writes the gradient of every weight at every step. This backward pass carries only the
cotangents of the state and of the small parameters that the local part reads (peepholes, scales), outputs those of
the drive and of r, and computes the gradients of the large weights from them as single products over many steps:

    forward    r_t = e(s_{t−1}) R          s_t, y_t = p(s_{t−1}, d_t, r_t)
    backward   s̄_{t−1}, d̄_t, r̄_t = (∂p)ᵀ (s̄_t, ȳ_t)          s̄_{t−1} += (∂e)ᵀ r̄_t Rᵀ
    after      R̄ = Σ_t e(s_{t−1})ᵀ r̄_t,    W̄ = Σ_t x_tᵀ d̄_t

with bars for cotangents and (∂p)ᵀ computed by `jax.vjp` of the cell's own `pointwise`. Both passes run in blocks of
steps, sized so that arrays as wide as the gates (d, d̄, r̄) stay in the cache and are never stored for all times.
The residuals are s_t and d_t + r_t, or d_t and r_t separately where the cell needs them (`added_columns`). Steps
write them into preallocated buffers: stacked block by block they would be copied twice, which made most LSTM layers
of the benchmark 2 to 12 % slower.
Without differentiation there are no residuals, and on the CPU a few steps run per iteration (`forward_only`).
As with every `custom_vjp`, forward mode (`jax.jvp`, `jax.jacfwd`) is not supported: unroll with `method="scan"`.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Drive, Output, ProductCell, State, Weights, matmul
from models.recurrence.forward_only import (
    forward_only,
    nearest_divisor,
    split_blocks,
    write_at,
)
from models.recurrence.scan import compute_drive, keep_valid, match_varying_axes, scan

# Rows (steps × examples) of a block on the CPU: enough for the products to run at full rate, few enough for the
# second-level cache.
BLOCK_ROWS = 256
BLOCK_SLACK = 1.5  # a sequence of up to this many blocks is one block


def can_fuse(cell: Cell, weights: Weights, state: State, xs: Array) -> bool:
    """Returns True if the fused scan supports this cell: it has the product form, and no integer in its state or
    drive."""
    if not isinstance(cell, ProductCell) or not cell.has_product_form():
        return False
    leaves = jax.tree.leaves((state, jax.eval_shape(cell.drive, weights, xs)))
    return all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves)


def fused(
    cell: ProductCell, weights: Weights, state: State, xs: Array, *, mask: Array | None, reverse: bool
) -> tuple[State, Output]:
    """Computes final state and outputs `[T, *batch, ...]` from prepared weights, `xs [T, *batch, D]` and mask
    `[T, *batch]`."""
    if not xs.shape[0]:
        return scan(cell, weights, state, cell.drive(weights, xs), mask=mask, reverse=reverse)
    size = block_size(xs.shape[0], math.prod(xs.shape[1:-1]))
    rest = xs.shape[0] % size
    # The remainder that doesn't fill a block runs last.
    first, last = (
        (slice(rest, None), slice(0, rest)) if reverse else (slice(0, -rest or None), slice(-rest, None))
    )
    cut = [None if mask is None else mask[part] for part in (first, last)]
    final: tuple[State, Output] = blockwise(cell, reverse, size, weights, state, xs[first], cut[0])
    if not rest:
        return final
    state, ys = final
    final = blockwise(cell, reverse, rest, weights, state, xs[last], cut[1])
    state, zs = final
    parts = (zs, ys) if reverse else (ys, zs)
    return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def block_size(length: int, batch: int) -> int:
    """Returns the steps per block, a divisor of the length if one is near `BLOCK_ROWS`. On accelerators it is the
    whole length, since more and smaller kernels would cost more than memory traffic."""
    wanted = max(1, BLOCK_ROWS // max(batch, 1))
    if jax.default_backend() != "cpu" or length <= BLOCK_SLACK * wanted:
        return max(length, 1)
    return nearest_divisor(wanted, length) or wanted


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def blockwise(
    cell: ProductCell, reverse: bool, size: int, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[State, Output]:
    """Runs `fused` for a length that is a multiple of `size`, the steps per block.

    This body runs without differentiation. For inputs of size 1 it uses blocks too: fused into the gates, their
    broadcasting makes XLA's code several times slower.
    """
    if jax.default_backend() != "cpu" or xs.shape[-1] == 1:
        return forward(cell, reverse, size, weights, state, xs, mask)[0]
    return forward_only(cell, reverse, weights, state, xs, mask)


def forward(
    cell: ProductCell, reverse: bool, size: int, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[tuple[State, Output], Any]:
    """Runs the recurrence, and returns the residuals of the backward pass too."""
    cut = jax.tree.map(lambda leaf: leaf[:1], (xs, mask))
    first = jax.tree.map(lambda leaf: leaf[0], (compute_drive(cell, weights, *cut), cut[1]))
    in_state, structure = find_outputs_in_state(partial(step, cell, weights), state, *first)

    def step_rows(state: State, drive: Drive, valid: Array | None) -> tuple[State, Any]:
        """Computes the new state, and the rows of a step to store: no output twice."""
        stepped, y, kept = step(cell, weights, state, drive, valid)
        separate = [leaf for leaf, index in zip(jax.tree.leaves(y), in_state, strict=True) if index is None]
        return stepped, (separate, stepped, kept)

    def scan_body(carry: Any, inputs: tuple[Array, Drive, Array | None]) -> tuple[Any, None]:
        (state, buffers), (t, drive, valid) = carry, inputs
        stepped, rows = step_rows(state, drive, valid)
        return (stepped, jax.tree.map(partial(write_at, t), buffers, rows)), None

    def block(carry: Any, inputs: tuple[Array, Array, Array | None]) -> tuple[Any, None]:
        ts, xs, mask = inputs
        return jax.lax.scan(
            scan_body, carry, (ts, compute_drive(cell, weights, xs, mask), mask), reverse=reverse
        )

    rows = jax.eval_shape(step_rows, state, *first)[1]
    buffers = jax.tree.map(lambda row: jnp.zeros((len(xs), *row.shape), row.dtype), rows)
    start, blocks = match_varying_axes(
        ((state, buffers), split_blocks((jnp.arange(len(xs)), xs, mask), size))
    )
    (final, (separate, states, kept)), _ = jax.lax.scan(block, start, blocks, reverse=reverse)
    remaining, leaves = iter(separate), jax.tree.leaves(states)
    ys = jax.tree.unflatten(
        structure, [next(remaining) if index is None else leaves[index] for index in in_state]
    )
    return (final, ys), (weights, xs, mask, state, states, kept)


def backward(
    cell: ProductCell, reverse: bool, size: int, residuals: Any, cotangents: tuple[State, Output]
) -> tuple[Weights, State, Array | None, None]:
    """Computes the cotangents of weights, initial state and inputs."""
    weights, xs, mask, initial, states, kept = residuals
    matrix = cell.recurrent_matrix(weights)
    # Transposed once: XLA's product with Rᵀ is slower, and would be computed at every step.
    transposed = jax.lax.optimization_barrier(jnp.swapaxes(matrix, -1, -2))
    example = jax.tree.map(lambda leaf: leaf[0], (states, kept))
    used, with_used = select_used_leaves(
        lambda weights: (
            local_step(cell, None, weights, *example),
            cell.recurrent_input(weights, example[0]),
        ),
        weights,
    )
    drive_leaves, with_drive_leaves = select_used_leaves(lambda weights: cell.drive(weights, xs[:1]), weights)
    needs_dxs = jnp.issubdtype(xs.dtype, jnp.inexact)

    def state_before(t: Array) -> State:
        """Returns the state before step t; the index before the first is clamped, and its row not used."""
        earlier, first = (t + 1, len(xs) - 1) if reverse else (t - 1, 0)
        rows = jax.tree.map(partial(read_at, earlier), states)
        return jax.tree.map(lambda start, row: jnp.where(t == first, start, row), initial, rows)

    def step(carry: tuple[State, list[Array]], t: Array) -> tuple[tuple[State, list[Array]], Any]:
        ds, dused = carry
        dy, step_kept, valid = jax.tree.map(partial(read_at, t), (dys, kept, mask))
        state = state_before(t)
        _, pull = jax.vjp(
            lambda used, *rest: local_step(cell, valid, with_used(used), *rest), used, state, step_kept
        )
        dused_local, ds_local, dkept = pull((ds, dy))
        _, pull = jax.vjp(lambda used, state: cell.recurrent_input(with_used(used), state), used, state)
        dused_input, ds_input = pull(matmul(unpack_cotangents(cell, dkept)[1], transposed))
        ds = jax.tree.map(jnp.add, ds_local, ds_input)
        return (ds, jax.tree.map(add, dused, dused_local, dused_input)), dkept

    def block(carry: Any, inputs: Any) -> tuple[Any, Array | None]:
        ds, dused, dmatrix, ddrive_leaves = carry
        ts, xs, mask, reached = inputs
        (ds, dused), dkept = jax.lax.scan(step, (ds, dused), ts, reverse=not reverse)
        ddrive, dr = unpack_cotangents(cell, dkept)
        starts = jax.tree.map(
            partial(shift_states, reverse=reverse), state_before(ts[-1 if reverse else 0]), reached
        )
        # In two dimensions: with more axes to sum over, XLA would first copy both sides to another layout.
        recurrent_input, dr = (
            x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
            for x in (cell.recurrent_input(weights, starts), dr)
        )
        (more,) = jax.vjp(lambda matrix: matmul(recurrent_input, matrix), matrix)[1](dr)
        if needs_dxs:
            _, pull = jax.vjp(
                lambda leaves, xs: compute_drive(cell, with_drive_leaves(leaves), xs, mask), drive_leaves, xs
            )
            added, dxs = pull(ddrive)
        else:
            _, pull = jax.vjp(
                lambda leaves: compute_drive(cell, with_drive_leaves(leaves), xs, mask), drive_leaves
            )
            (added,), dxs = pull(ddrive), None
        return (ds, dused, add(dmatrix, more), jax.tree.map(add, ddrive_leaves, added)), dxs

    ds, dys = cotangents
    start = (ds, *jax.tree.map(zero_sum, (used, matrix, drive_leaves)))
    blocks = split_blocks((jnp.arange(len(xs)), xs, mask, states), size)
    start, blocks, dys, kept, states, initial = match_varying_axes(
        (start, blocks, dys, kept, states, initial)
    )
    (ds, dused, dmatrix, ddrive_leaves), dxs = jax.lax.scan(block, start, blocks, reverse=not reverse)
    (dweights,) = jax.vjp(cell.recurrent_matrix, weights)[1](dmatrix.astype(matrix.dtype))
    zeros = jax.tree.map(zero_sum, weights)
    sums = jax.tree.map(add, with_used(dused, zeros), with_drive_leaves(ddrive_leaves, zeros), dweights)
    dweights = jax.tree.map(lambda sum, leaf: sum.astype(leaf.dtype), sums, weights)
    return dweights, ds, None if dxs is None else dxs.reshape(xs.shape), None


blockwise.defvjp(forward, backward)


def zero_sum(leaf: Array) -> Array:
    """Returns zeros to accumulate a sum over time: in single precision at least, since bfloat16 stops counting at
    256."""
    return jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))


def add(total: Array, *more: Array) -> Array:
    """Adds all arrays in the precision of `total`."""
    return sum((x.astype(total.dtype) for x in more), total)


def read_at(t: Array, array: Array) -> Array:
    """Returns `array[t]`."""
    return jax.lax.dynamic_index_in_dim(array, t, 0, keepdims=False, allow_negative_indices=False)


def pack_residuals(cell: ProductCell, drive: Drive, r: Array) -> tuple[Drive, Array]:
    """Returns the arguments of the local part in compact form: d + r in the columns where it needs only their sum,
    and r in the others."""
    added = cell.added_columns(r.shape[-1])
    if added == 0:
        return drive, r
    sums, tail = r[..., :added], r[..., added:]
    if added == r.shape[-1]:
        return drive + sums, tail
    return jnp.concatenate([drive[..., :added] + sums, drive[..., added:]], axis=-1), tail


def unpack_cotangents(cell: ProductCell, dkept: tuple[Drive, Array]) -> tuple[Drive, Array]:
    """Computes d̄ and r̄ from the cotangents of the result of `pack_residuals`: a sum passes its own to both."""
    ddrive, dtail = dkept
    if isinstance(ddrive, jax.Array) and (added := cell.added_columns(ddrive.shape[-1])):
        return ddrive, jnp.concatenate([ddrive[..., :added], dtail], axis=-1) if dtail.shape[-1] else ddrive
    return ddrive, dtail


def step(
    cell: ProductCell, weights: Weights, state: State, drive: Drive, valid: Array | None
) -> tuple[State, Output, tuple[Drive, Array]]:
    """Computes state and output of a step, and the residuals of its backward pass."""
    kept = pack_residuals(cell, drive, cell.product(weights, state))
    return *local_step(cell, valid, weights, state, kept), kept


def local_step(
    cell: ProductCell, valid: Array | None, weights: Weights, state: State, kept: tuple[Drive, Array]
) -> tuple[State, Output]:
    """Computes the local part of a step from the result of `pack_residuals`; masked examples stay unchanged."""
    drive, tail = kept
    if isinstance(drive, jax.Array) and (added := cell.added_columns(drive.shape[-1])):
        tail = jnp.concatenate([jnp.zeros_like(drive[..., :added]), tail], axis=-1)
    stepped, y = cell.pointwise(weights, state, drive, tail)
    return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)


def find_outputs_in_state(step: Any, *arguments: Any) -> tuple[list[int | None], Any]:
    """Returns, for each leaf of a step's output, the index of the leaf of the new state that it equals (an LSTM's
    h), so that it is stored once, or None; and the output's structure. Read from the trace of the step."""
    stepped, y, _ = jax.eval_shape(step, *arguments)
    outvars = jax.make_jaxpr(step)(*arguments).jaxpr.outvars
    states, ys = len(jax.tree.leaves(stepped)), len(jax.tree.leaves(y))
    in_state = [
        next((index for index, new in enumerate(outvars[:states]) if new is variable), None)
        for variable in outvars[states : states + ys]
    ]
    return in_state, jax.tree.structure(y)


def select_used_leaves(function: Any, weights: Weights) -> tuple[list[Array], Any]:
    """Returns the leaves of the weights that a function of them uses, and a function that merges such leaves with
    the others."""
    leaves, structure = jax.tree.flatten(weights)
    jaxpr = jax.make_jaxpr(lambda *leaves: function(jax.tree.unflatten(structure, leaves)))(*leaves).jaxpr
    seen = {id(v) for equation in jaxpr.eqns for v in equation.invars} | {id(v) for v in jaxpr.outvars}
    used = [id(variable) in seen for variable in jaxpr.invars]

    def merge(chosen: list[Array], others: Weights = weights) -> Weights:
        remaining = iter(chosen)
        merged = [
            next(remaining) if u else leaf for u, leaf in zip(used, jax.tree.leaves(others), strict=True)
        ]
        return jax.tree.unflatten(structure, merged)

    return [leaf for u, leaf in zip(used, leaves, strict=True) if u], merge


def shift_states(start: Array, states: Array, *, reverse: bool) -> Array:
    """Returns the states before the steps of a block, from those after them: `[size, *batch, ...]`."""
    return jnp.concatenate([states[1:], start[None]] if reverse else [start[None], states[:-1]])
