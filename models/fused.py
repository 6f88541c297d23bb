"""One scan with a hand-driven way back, for every cell that is a product and something local.

Autodiff of a scan reads and writes the gradient of every weight at every step. Here the way back carries only
the cotangents of the state and of what small parameters the local part reads (peepholes, scales), gives out those
of the drive and of r, and makes the gradient of R of them afterwards as one large product:

    forward    r_t = e(s_{t−1}) R          s_t, y_t = p(s_{t−1}, d_t, r_t)
    backward   s̄_{t−1}, d̄_t, r̄_t = (∂p)ᵀ (s̄_t, ȳ_t)          s̄_{t−1} += (∂e)ᵀ r̄_t Rᵀ
    after      R̄ = Σ_t e(s_{t−1})ᵀ r̄_t

with bars for cotangents and (∂p)ᵀ taken by `jax.vjp` of the cell's own `pointwise`. Kept between the ways are
s_{t−1} and r_t (d_t + r_t alone for an additive cell). As with every `custom_vjp`, forward mode (`jax.jvp`,
`jax.jacfwd`) doesn't go through: unroll with `method="scan"` for that.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Drive, Output, ProductCell, State, Weights, times
from models.scan import keep_valid


def can_fuse(cell: Cell, state: State) -> bool:
    """Whether the fused scan serves this cell: it has the product form and no integer in its state."""
    leaves = jax.tree.leaves(state)
    inexact = all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves)
    return isinstance(cell, ProductCell) and cell.has_product_form() and inexact


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def fused(
    cell: ProductCell, reverse: bool, weights: Weights, state: State, drive: Drive, mask: Array | None
) -> tuple[State, Output]:
    """As `models.scan.scan`: prepared weights, drive leaves `[T, *batch, ...]`, mask `[T, *batch]` or None."""
    return forward(cell, reverse, weights, state, drive, mask)[0]


def forward(
    cell: ProductCell, reverse: bool, weights: Weights, state: State, drive: Drive, mask: Array | None
) -> tuple[tuple[State, Output], Any]:
    """The recurrence, and what its way back needs."""

    def step(state: State, inputs: tuple[Drive, Array | None]) -> tuple[State, tuple[Output, State, Array]]:
        drive, valid = inputs
        r = cell.product(weights, state)
        if cell.additive:
            drive, r = drive + r, jnp.zeros_like(r)
        stepped, y = local(cell, valid, weights, state, drive, r)
        return stepped, (y, state, drive if cell.additive else r)

    final, (ys, states, kept) = jax.lax.scan(step, state, (drive, mask), reverse=reverse)
    # An additive cell's drive isn't needed again, but its sum with r is.
    return (final, ys), (weights, states, None if cell.additive else drive, kept, mask)


def backward(
    cell: ProductCell, reverse: bool, residuals: Any, cotangents: tuple[State, Output]
) -> tuple[Weights, State, Drive, None]:
    """Cotangents of weights, initial state and drive."""
    weights, states, drive, kept, mask = residuals
    small, merge = read_by_step(cell, weights, states, drive, kept)
    matrix = cell.recurrent_matrix(weights)

    def step(carry: tuple[State, list[Array]], inputs: Any) -> tuple[tuple[State, list[Array]], Any]:
        ds, dsmall = carry
        dy, state, drive, kept, valid = inputs

        def pointwise(small: list[Array], state: State, drive: Drive, r: Array) -> tuple[State, Output]:
            return local(cell, valid, merge(small), state, drive, r)

        def product(small: list[Array], state: State) -> Array:
            return times(cell.exposed(merge(small), state), matrix)

        if cell.additive:
            zero = jnp.zeros_like(kept)
            _, pull = jax.vjp(lambda small, state, z: pointwise(small, state, z, zero), small, state, kept)
            dsmall_local, ds_local, dr = pull((ds, dy))
            ddrive = None
        else:
            _, pull = jax.vjp(pointwise, small, state, drive, kept)
            dsmall_local, ds_local, ddrive, dr = pull((ds, dy))
        _, pull = jax.vjp(product, small, state)
        dsmall_product, ds_product = pull(dr)
        ds = jax.tree.map(jnp.add, ds_local, ds_product)
        dsmall = jax.tree.map(
            lambda *parts: parts[0] + parts[1] + parts[2], dsmall, dsmall_local, dsmall_product
        )
        return (ds, dsmall), (ddrive, dr)

    ds, dys = cotangents
    start = (ds, [jnp.zeros_like(leaf) for leaf in small])
    inputs = (dys, states, drive, kept, mask)
    (ds, dsmall), (ddrive, dr) = jax.lax.scan(step, start, inputs, reverse=not reverse)

    exposed = cell.exposed(weights, states)
    (dmatrix,) = jax.vjp(lambda matrix: times(exposed, matrix), matrix)[1](dr)
    (dweights,) = jax.vjp(cell.recurrent_matrix, weights)[1](dmatrix)
    dlocal = merge(dsmall, jax.tree.map(jnp.zeros_like, weights))
    return jax.tree.map(jnp.add, dweights, dlocal), ds, dr if cell.additive else ddrive, None


fused.defvjp(forward, backward)


def local(
    cell: ProductCell, valid: Array | None, weights: Weights, state: State, drive: Drive, r: Array
) -> tuple[State, Output]:
    """The local part, with the masked examples of a step left as they were."""
    stepped, y = cell.pointwise(weights, state, drive, r)
    return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)


def read_by_step(
    cell: ProductCell, weights: Weights, states: State, drive: Drive, kept: Array
) -> tuple[Any, Any]:
    """The weights that `pointwise` or `exposed` read, and the function that puts such leaves among the others.

    Only these need a cotangent carried through time. Which they are is seen in the trace of one step.
    """
    leaves, structure = jax.tree.flatten(weights)
    one_state, one_drive, one_r = jax.tree.map(
        lambda leaf: leaf[0], (states, kept if drive is None else drive, kept)
    )

    def trace(leaves: list[Array]) -> Any:
        weights = jax.tree.unflatten(structure, leaves)
        return cell.pointwise(weights, one_state, one_drive, one_r), cell.exposed(weights, one_state)

    jaxpr = jax.make_jaxpr(trace)(leaves).jaxpr
    read = {id(v) for equation in jaxpr.eqns for v in equation.invars} | {id(v) for v in jaxpr.outvars}
    used = [id(variable) in read for variable in jaxpr.invars]

    def merge(small: list[Array], others: Weights = weights) -> Weights:
        fresh = iter(small)
        merged = [next(fresh) if u else leaf for u, leaf in zip(used, jax.tree.leaves(others), strict=True)]
        return jax.tree.unflatten(structure, merged)

    return [leaf for u, leaf in zip(used, leaves, strict=True) if u], merge
