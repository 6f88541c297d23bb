"""One scan with a backward pass of its own, for cells that attend to a memory.

Autodiff of a scan reads and writes the gradient of everything that the steps share at every step: of the weights,
and of the memory's keys and values, which are far larger. Here the scan is differentiated with all of these held
fixed, but with a zero added to each result that they enter:

    d_t = drive([x_t, c_{t−1}]) + 0        r_t = e(s_{t−1}) R + 0
    e_t = score(y_t, k) + 0                c_t = α_t v + 0

The gradients of these zeros are the cotangents d̄_t, r̄_t, ē_t, c̄_t, and those of what is shared are single
products over all steps:

    K̄ = Σ_t [x_t, c_{t−1}]ᵀ d̄_t,    R̄ = Σ_t e(s_{t−1})ᵀ r̄_t
    v̄ = Σ_t α_tᵀ c̄_t,               k̄ = Σ_t (∂e_t/∂k)ᵀ ē_t

The terms of an additive score, which fill L times the memory of a state, are computed again in the backward pass.
As with every `custom_vjp`, forward mode is not supported: unroll with `method="scan"`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Drive, Output, ProductCell, State, Weights, matmul
from models.cells.attention_cell import AttentionCell, AttentionState, AttentionWeights
from models.layers.attention import attention_weights
from models.layers.score_gradients import keys_cotangent, score_one
from models.recurrence.fused import select_used_leaves
from models.recurrence.scan import keep_valid, match_varying_axes, narrow, scan, widen


class Taps(NamedTuple):
    """Zeros that are added to the results of a step: to the drive of the cell inside, where the context is fed, and
    to its recurrent product, where it has one, else (); to the scores `[*batch, L]` and the context, `[*batch,
    M]`."""

    drive: Drive
    product: Array | tuple[()]
    scores: Array
    context: Array


class Record(NamedTuple):
    """The factors of the products over all steps, from each step: what the cell inside reads and multiplies by R,
    its output, and the attention weights `[*batch, L]`."""

    read: Array | tuple[()]
    multiplied: Array | tuple[()]
    y: Array
    alphas: Array


def can_attend(cell: Cell, weights: Weights, state: State, xs: Array) -> bool:
    """Returns True for a cell that attends to a memory, with no integer in its state, its drive and the weights
    of the cell inside, and a sequence that isn't empty."""
    if not isinstance(cell, AttentionCell) or not len(xs):
        return False
    inner = jax.eval_shape(lambda x: cell.inner_drive(weights, state, cell.drive(weights, x)), xs[0])
    leaves = jax.tree.leaves((state, inner, weights.cell))
    return all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attentive(
    cell: AttentionCell,
    reverse: bool,
    weights: AttentionWeights,
    state: AttentionState,
    drive: Drive,
    mask: Array | None,
) -> tuple[State, Output]:
    """Computes final state and outputs `[T, *batch, ...]` from prepared weights and drive, leaves `[T, *batch,
    ...]`."""
    return scan(cell, weights, state, drive, mask=mask, reverse=reverse)


def forward(
    cell: AttentionCell,
    reverse: bool,
    weights: AttentionWeights,
    state: AttentionState,
    drive: Drive,
    mask: Array | None,
) -> tuple[tuple[State, Output], Any]:
    """Runs the recurrence, and returns the residuals of the backward pass too."""
    first = jax.tree.map(lambda leaf: leaf[0], drive)
    steps = len(jax.tree.leaves(drive)[0])
    taps = jax.tree.map(
        lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), taps_of(cell, weights, state, first)
    )
    used, with_used = used_in_step(cell, weights, state, first)
    given = match_varying_axes(((used, weights.score), weights, state, drive, mask, taps))
    varied, fixed, state, drive, mask, taps = given

    def run(varied: Any, state: State, drive: Drive, taps: Taps) -> tuple[Any, Record]:
        wide = widen(varied)

        def step(
            state: State, inputs: tuple[Drive, Taps, Array | None]
        ) -> tuple[State, tuple[Output, Record]]:
            drive, taps, valid = inputs
            used, score = narrow(wide, varied)
            own = fixed._replace(cell=with_used(used, fixed.cell), score=score)
            stepped, y, record = tapped_step(cell, own, fixed, state, drive, taps)
            if valid is not None:
                stepped, y = keep_valid(valid, stepped, state, y)
            return stepped, (y, record)

        final, (ys, record) = jax.lax.scan(step, state, (drive, taps, mask), reverse=reverse)
        return (final, ys), record

    found, pull, record = jax.vjp(run, varied, state, drive, taps, has_aux=True)
    return found, (pull, record, fixed, state, first)


def backward(
    cell: AttentionCell, reverse: bool, residuals: Any, cotangents: tuple[State, Output]
) -> tuple[AttentionWeights, State, Drive, None]:
    """Computes the cotangents of weights, initial state and drive."""
    pull, record, weights, state, first = residuals
    (dused, dscore), dstate, ddrive, taps = pull(cotangents)
    _, with_used = used_in_step(cell, weights, state, first)
    parts = [with_used(dused, jax.tree.map(jnp.zeros_like, weights.cell))]
    if cell.feed:
        parts += jax.vjp(lambda own: cell.cell.drive(own, record.read), weights.cell)[1](taps.drive)
    if product := product_cell(cell.cell):
        matrix, into = jax.vjp(product.recurrent_matrix, weights.cell)
        parts += into(*jax.vjp(lambda matrix: matmul(record.multiplied, matrix), matrix)[1](taps.product))
    dkeys = keys_cotangent(cell.score, weights.score, record.y, weights.keys, taps.scores)
    alphas, dcontext = (jnp.moveaxis(leaf, 0, -2) for leaf in (record.alphas, taps.context))
    dvalues = jnp.einsum("...tl,...tm->...lm", alphas, dcontext).astype(weights.values.dtype)
    dcell = jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *parts)
    return AttentionWeights(dcell, dscore, dkeys, dvalues, None), dstate, ddrive, None  # pyright: ignore


attentive.defvjp(forward, backward)


def tapped_step(
    cell: AttentionCell,
    own: AttentionWeights,
    fixed: AttentionWeights,
    state: AttentionState,
    drive: Drive,
    taps: Taps,
) -> tuple[AttentionState, Output, Record]:
    """Computes a step with `taps` added, from the weights that are differentiated and from those held fixed."""
    inner, read, multiplied = cell.cell, (), ()
    if state.context is not None:
        read = jnp.concatenate([drive, state.context], axis=-1)
        drive = jax.tree.map(jnp.add, inner.drive(fixed.cell, read), taps.drive)
    if product := product_cell(inner):
        multiplied = product.recurrent_input(own.cell, state.inner)
        r = matmul(multiplied, product.recurrent_matrix(fixed.cell)) + jnp.asarray(taps.product)
        stepped, y = product.pointwise(own.cell, state.inner, drive, r)
    else:
        stepped, y = inner.step(own.cell, state.inner, drive)
    scores = score_one(cell.score, own.score, y, fixed.keys) + taps.scores
    alphas = attention_weights(scores, fixed.mask).astype(fixed.values.dtype)
    context = jnp.einsum("...l,...lm->...m", alphas, fixed.values) + taps.context
    after = AttentionState(stepped, context if cell.feed else None)
    return after, jnp.concatenate([y, context], axis=-1), Record(read, multiplied, y, alphas)


def taps_of(cell: AttentionCell, weights: AttentionWeights, state: AttentionState, drive: Drive) -> Any:
    """Returns the shapes of what is added to a step."""

    def results(weights: AttentionWeights, state: AttentionState, drive: Drive) -> Taps:
        output = cell.step(weights, state, drive)[1]
        y, context = jnp.split(output, [output.shape[-1] - cell.value_size], axis=-1)
        product = product_cell(cell.cell)
        return Taps(
            cell.inner_drive(weights, state, drive) if cell.feed else (),
            product.product(weights.cell, state.inner) if product else (),
            score_one(cell.score, weights.score, y, weights.keys),
            context.astype(weights.values.dtype),
        )

    return jax.eval_shape(results, weights, state, drive)


def used_in_step(
    cell: AttentionCell, weights: AttentionWeights, state: AttentionState, drive: Drive
) -> tuple[list[Array], Any]:
    """Returns the leaves of the weights of the cell inside that a step differentiates, and a function that
    merges such leaves with the others."""
    inner, product = cell.cell, product_cell(cell.cell)
    given = cell.inner_drive(weights, state, drive)
    if not product:
        return select_used_leaves(lambda own: inner.step(own, state.inner, given), weights.cell)
    r = product.product(weights.cell, state.inner)
    return select_used_leaves(
        lambda own: (
            product.pointwise(own, state.inner, given, r),
            product.recurrent_input(own, state.inner),
        ),
        weights.cell,
    )


def product_cell(cell: Cell) -> ProductCell | None:
    """Returns the cell if it has the product form, so that its matrix can be held fixed."""
    return cell if isinstance(cell, ProductCell) and cell.has_product_form() else None
