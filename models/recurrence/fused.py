"""One scan with a hand-driven way back, for every cell that is a product and something local.

Autodiff of a scan reads and writes the gradient of every weight at every step. Here the way back carries only the
cotangents of the state and of what small parameters the local part reads (peepholes, scales), gives out those
of the drive and of r, and makes the gradients of the large weights of them as single products over many steps:

    forward    r_t = e(s_{t−1}) R          s_t, y_t = p(s_{t−1}, d_t, r_t)
    backward   s̄_{t−1}, d̄_t, r̄_t = (∂p)ᵀ (s̄_t, ȳ_t)          s̄_{t−1} += (∂e)ᵀ r̄_t Rᵀ
    after      R̄ = Σ_t e(s_{t−1})ᵀ r̄_t,    W̄ = Σ_t x_tᵀ d̄_t

with bars for cotangents and (∂p)ᵀ taken by `jax.vjp` of the cell's own `pointwise`. Both ways go block by block
of so many steps that what is as wide as the gates (d, d̄, r̄) stays in the cache and is never held for all of time.
Kept between the ways are s_t and d_t + r_t, or both of them where a cell needs them apart (`added_columns`). Steps
write them where they stay and read them there: stacked block by block they would be copied twice, for which
most LSTM layers of the benchmark took 2 to 12 % longer.
Where nothing is differentiated, on the CPU, nothing is kept, and steps go a few at a time (`forward_alone`).
As with every `custom_vjp`, forward mode (`jax.jvp`, `jax.jacfwd`) doesn't go through: unroll with `method="scan"`.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Drive, Output, ProductCell, State, Weights, matmul
from models.recurrence.forward_alone import divisor_near, driven, forward_alone, in_blocks, put
from models.recurrence.scan import keep_valid, scan, varying_alike

# Rows (steps × examples) of a block on the CPU: enough for the products to run at full rate, few enough for the
# second-level cache.
BLOCK_ROWS = 256
BLOCK_SLACK = 1.5  # up to so many times as many stay one block


def can_fuse(cell: Cell, weights: Weights, state: State, xs: Array) -> bool:
    """Tells whether the fused scan serves this cell: it has the product form, and no integer in its state or
    drive."""
    if not isinstance(cell, ProductCell) or not cell.has_product_form():
        return False
    leaves = jax.tree.leaves((state, jax.eval_shape(cell.drive, weights, xs)))
    return all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves)


def fused(
    cell: ProductCell, weights: Weights, state: State, xs: Array, *, mask: Array | None, reverse: bool
) -> tuple[State, Output]:
    """Final state and outputs `[T, *batch, ...]` from prepared weights, `xs [T, *batch, D]`, mask `[T, *batch]`."""
    if not xs.shape[0]:
        return scan(cell, weights, state, cell.drive(weights, xs), mask=mask, reverse=reverse)
    size = block_size(xs.shape[0], math.prod(xs.shape[1:-1]))
    rest = xs.shape[0] % size
    # What doesn't fill a block is read last, by itself.
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
    """Steps of a block, a divisor of the length if one is near `BLOCK_ROWS`; all of them off the CPU, where more
    and smaller kernels would cost more than memory."""
    wanted = max(1, BLOCK_ROWS // max(batch, 1))
    if jax.default_backend() != "cpu" or length <= BLOCK_SLACK * wanted:
        return max(length, 1)
    return divisor_near(wanted, length) or wanted


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def blockwise(
    cell: ProductCell, reverse: bool, size: int, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[State, Output]:
    """`fused` for a length that blocks of `size` steps fill.

    This body is run where nothing is differentiated. A narrow input is driven in blocks then too: fused into the
    gates, its broadcasting makes XLA's code for them several times slower.
    """
    if jax.default_backend() != "cpu" or xs.shape[-1] == 1:
        return forward(cell, reverse, size, weights, state, xs, mask)[0]
    return forward_alone(cell, reverse, weights, state, xs, mask)


def forward(
    cell: ProductCell, reverse: bool, size: int, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[tuple[State, Output], Any]:
    """The recurrence, and what its way back needs."""
    cut = jax.tree.map(lambda leaf: leaf[:1], (xs, mask))
    first = jax.tree.map(lambda leaf: leaf[0], (driven(cell, weights, *cut), cut[1]))
    same, structure = outputs_in_state(partial(step, cell, weights), state, *first)

    def made(state: State, drive: Drive, valid: Array | None) -> tuple[State, Any]:
        """The new state, and what of a step is written down: no output twice."""
        stepped, y, kept = step(cell, weights, state, drive, valid)
        others = [leaf for leaf, at in zip(jax.tree.leaves(y), same, strict=True) if at is None]
        return stepped, (others, stepped, kept)

    def scanned(carry: Any, inputs: tuple[Array, Drive, Array | None]) -> tuple[Any, None]:
        (state, whole), (t, drive, valid) = carry, inputs
        stepped, rows = made(state, drive, valid)
        return (stepped, jax.tree.map(partial(put, t), whole, rows)), None

    def block(carry: Any, inputs: tuple[Array, Array, Array | None]) -> tuple[Any, None]:
        ts, xs, mask = inputs
        return jax.lax.scan(scanned, carry, (ts, driven(cell, weights, xs, mask), mask), reverse=reverse)

    rows = jax.eval_shape(made, state, *first)[1]
    whole = jax.tree.map(lambda row: jnp.zeros((len(xs), *row.shape), row.dtype), rows)
    start, blocks = varying_alike(((state, whole), in_blocks((jnp.arange(len(xs)), xs, mask), size)))
    (final, (others, states, kept)), _ = jax.lax.scan(block, start, blocks, reverse=reverse)
    fresh, leaves = iter(others), jax.tree.leaves(states)
    ys = jax.tree.unflatten(structure, [next(fresh) if at is None else leaves[at] for at in same])
    return (final, ys), (weights, xs, mask, state, states, kept)


def backward(
    cell: ProductCell, reverse: bool, size: int, residuals: Any, cotangents: tuple[State, Output]
) -> tuple[Weights, State, Array | None, None]:
    """Cotangents of weights, initial state and inputs."""
    weights, xs, mask, initial, states, kept = residuals
    matrix = cell.recurrent_matrix(weights)
    # Turned round once: XLA takes longer over a product with Rᵀ by rows, and would at every step.
    turned = jax.lax.optimization_barrier(jnp.swapaxes(matrix, -1, -2))
    example = jax.tree.map(lambda leaf: leaf[0], (states, kept))
    read, with_read = reads(
        lambda weights: (local(cell, None, weights, *example), cell.recurrent_input(weights, example[0])),
        weights,
    )
    driving, with_driving = reads(lambda weights: cell.drive(weights, xs[:1]), weights)
    wants_dxs = jnp.issubdtype(xs.dtype, jnp.inexact)

    def before(t: Array) -> State:
        """The state that step t starts from; the index beyond the first is clamped, and not used."""
        earlier, first = (t + 1, len(xs) - 1) if reverse else (t - 1, 0)
        rows = jax.tree.map(partial(take, earlier), states)
        return jax.tree.map(lambda start, row: jnp.where(t == first, start, row), initial, rows)

    def step(carry: tuple[State, list[Array]], t: Array) -> tuple[tuple[State, list[Array]], Any]:
        ds, dread = carry
        dy, at, valid = jax.tree.map(partial(take, t), (dys, kept, mask))
        state = before(t)
        _, pull = jax.vjp(lambda read, *at: local(cell, valid, with_read(read), *at), read, state, at)
        dread_local, ds_local, dkept = pull((ds, dy))
        _, pull = jax.vjp(lambda read, state: cell.recurrent_input(with_read(read), state), read, state)
        dread_input, ds_input = pull(matmul(apart(cell, dkept)[1], turned))
        ds = jax.tree.map(jnp.add, ds_local, ds_input)
        return (ds, jax.tree.map(add, dread, dread_local, dread_input)), dkept

    def block(carry: Any, inputs: Any) -> tuple[Any, Array | None]:
        ds, dread, dmatrix, ddriving = carry
        ts, xs, mask, reached = inputs
        (ds, dread), dkept = jax.lax.scan(step, (ds, dread), ts, reverse=not reverse)
        ddrive, dr = apart(cell, dkept)
        starts = jax.tree.map(partial(shifted, reverse=reverse), before(ts[-1 if reverse else 0]), reached)
        # In two dimensions: with more to sum over, XLA would copy both sides into another order first.
        recurrent_input, dr = (
            x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
            for x in (cell.recurrent_input(weights, starts), dr)
        )
        (more,) = jax.vjp(lambda matrix: matmul(recurrent_input, matrix), matrix)[1](dr)
        if wants_dxs:
            _, pull = jax.vjp(lambda leaves, xs: driven(cell, with_driving(leaves), xs, mask), driving, xs)
            added, dxs = pull(ddrive)
        else:
            _, pull = jax.vjp(lambda leaves: driven(cell, with_driving(leaves), xs, mask), driving)
            (added,), dxs = pull(ddrive), None
        return (ds, dread, add(dmatrix, more), jax.tree.map(add, ddriving, added)), dxs

    ds, dys = cotangents
    start = (ds, *jax.tree.map(zero_sum, (read, matrix, driving)))
    blocks = in_blocks((jnp.arange(len(xs)), xs, mask, states), size)
    start, blocks, dys, kept, states, initial = varying_alike((start, blocks, dys, kept, states, initial))
    (ds, dread, dmatrix, ddriving), dxs = jax.lax.scan(block, start, blocks, reverse=not reverse)
    (dweights,) = jax.vjp(cell.recurrent_matrix, weights)[1](dmatrix.astype(matrix.dtype))
    zeros = jax.tree.map(zero_sum, weights)
    sums = jax.tree.map(add, with_read(dread, zeros), with_driving(ddriving, zeros), dweights)
    dweights = jax.tree.map(lambda sum, leaf: sum.astype(leaf.dtype), sums, weights)
    return dweights, ds, None if dxs is None else dxs.reshape(xs.shape), None


blockwise.defvjp(forward, backward)


def zero_sum(leaf: Array) -> Array:
    """Returns the zero that a sum over time begins with: in single precision at least, for half precision stops
    counting at 256."""
    return jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))


def add(total: Array, *more: Array) -> Array:
    """The sum, in the precision of `total`."""
    return sum((x.astype(total.dtype) for x in more), total)


def take(t: Array, whole: Array) -> Array:
    """`whole[t]`."""
    return jax.lax.dynamic_index_in_dim(whole, t, 0, keepdims=False, allow_negative_indices=False)


def keep(cell: ProductCell, drive: Drive, r: Array) -> tuple[Drive, Array]:
    """Returns what the local part is given, without what it doesn't need apart: d + r in the columns where it takes
    their sum, and r in the others."""
    added = cell.added_columns(r.shape[-1])
    if added == 0:
        return drive, r
    sums, tail = r[..., :added], r[..., added:]
    if added == r.shape[-1]:
        return drive + sums, tail
    return jnp.concatenate([drive[..., :added] + sums, drive[..., added:]], axis=-1), tail


def apart(cell: ProductCell, dkept: tuple[Drive, Array]) -> tuple[Drive, Array]:
    """d̄ and r̄ from the cotangents of what `keep` gave: a sum hands its own to both."""
    ddrive, dtail = dkept
    if isinstance(ddrive, jax.Array) and (added := cell.added_columns(ddrive.shape[-1])):
        return ddrive, jnp.concatenate([ddrive[..., :added], dtail], axis=-1) if dtail.shape[-1] else ddrive
    return ddrive, dtail


def step(
    cell: ProductCell, weights: Weights, state: State, drive: Drive, valid: Array | None
) -> tuple[State, Output, tuple[Drive, Array]]:
    """State and output of a step, and what of it is kept for the way back."""
    kept = keep(cell, drive, cell.product(weights, state))
    return *local(cell, valid, weights, state, kept), kept


def local(
    cell: ProductCell, valid: Array | None, weights: Weights, state: State, kept: tuple[Drive, Array]
) -> tuple[State, Output]:
    """The local part of a step from what `keep` gave, with the masked examples left as they were."""
    drive, tail = kept
    if isinstance(drive, jax.Array) and (added := cell.added_columns(drive.shape[-1])):
        tail = jnp.concatenate([jnp.zeros_like(drive[..., :added]), tail], axis=-1)
    stepped, y = cell.pointwise(weights, state, drive, tail)
    return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)


def outputs_in_state(step: Any, *arguments: Any) -> tuple[list[int | None], Any]:
    """For each leaf of the output of a step the leaf of the new state that it is (an LSTM's h), which is then kept
    once; None where it is something else. Seen in the trace of the step. And the output's structure."""
    stepped, y, _ = jax.eval_shape(step, *arguments)
    made = jax.make_jaxpr(step)(*arguments).jaxpr.outvars
    states, ys = len(jax.tree.leaves(stepped)), len(jax.tree.leaves(y))
    same = [
        next((at for at, new in enumerate(made[:states]) if new is variable), None)
        for variable in made[states : states + ys]
    ]
    return same, jax.tree.structure(y)


def reads(function: Any, weights: Weights) -> tuple[list[Array], Any]:
    """The leaves of the weights that a function of them reads, and what puts such leaves among the others."""
    leaves, structure = jax.tree.flatten(weights)
    jaxpr = jax.make_jaxpr(lambda *leaves: function(jax.tree.unflatten(structure, leaves)))(*leaves).jaxpr
    seen = {id(v) for equation in jaxpr.eqns for v in equation.invars} | {id(v) for v in jaxpr.outvars}
    used = [id(variable) in seen for variable in jaxpr.invars]

    def merge(chosen: list[Array], others: Weights = weights) -> Weights:
        fresh = iter(chosen)
        merged = [next(fresh) if u else leaf for u, leaf in zip(used, jax.tree.leaves(others), strict=True)]
        return jax.tree.unflatten(structure, merged)

    return [leaf for u, leaf in zip(used, leaves, strict=True) if u], merge


def shifted(start: Array, states: Array, *, reverse: bool) -> Array:
    """The states that the steps of a block start from, out of those that they come to: `[size, *batch, ...]`."""
    return jnp.concatenate([states[1:], start[None]] if reverse else [start[None], states[:-1]])
