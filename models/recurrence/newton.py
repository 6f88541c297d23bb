"""All steps at once for any cell: Newton's method on the whole trajectory.

The states s_1 … s_T are the unique root of r_t = f(s_{t−1}, d_t) − s_t. A round updates s to s + δ, where

    δ_t = J_t δ_{t−1} + r_t,    δ_0 = 0,    J_t = ∂f/∂s at s_{t−1},

which is linear in δ and is solved for all t in log T rounds of `jax.lax.associative_scan`. After i rounds the first
i states are exact, so T rounds always suffice; how many are needed depends on the dynamics: a few if they forget
quickly, more as the largest Lyapunov exponent approaches 0, and too many beyond it, in chaos.
Danieli et al. 2023 (DeepPCR); Lim et al. 2024 (DEER); Gonzalez et al. 2024, "Towards scalable and stable
parallelization of nonlinear RNNs" (quasi-DEER, ELK).
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from models.cell import Array, BatchShape, Cell, Drive, Output, State, Weights, check_at_least
from models.recurrence.free_memory import check_memory
from models.recurrence.linearised import Vectors, linear_recurrence, shift_states, step_blocks, vector_maps
from models.recurrence.lyapunov_estimate import check_exponent, expected_rounds, largest_exponent
from models.recurrence.scan import keep_valid, match_varying_axes, scan
from models.state import state_size

# Peak memory of both passes, in arrays [T, B, S, S] or [T, B, S]. XLA's memory analysis gives 3.6 to 5.9 and 15
# to 28 for Elman, GRU and LSTM.
ARRAYS_IN_MEMORY = {"full": 6, "diagonal": 30}


@dataclass(frozen=True)
class Newton:
    """All steps at once by Newton's method (`newton.py`); supports every cell without integers in its state.

    - `iterations`: the maximal number of rounds. An example that hasn't converged by then is run by scan.
    - `tolerance`: an example has converged if |s_t − f(s_{t−1})| ≤ tolerance · (1 + |s_t|) everywhere; by
      default four times the machine epsilon of the state's type.
    - `jacobian`: "full" (DEER) stores a few arrays of T·B·S² numbers, and takes T·B·S³ operations per round;
      "diagonal" (quasi-DEER) drops the off-diagonal entries, stores T·B·S numbers and needs more rounds, each of
      which still takes S products with J in sequence. The gradient is exact with both; "full" stores its Jacobians
      once more for it, "diagonal" runs backward step by step.
    - `damping` λ: a round uses J_t / (1 + λ) in place of J_t, between Newton's method (λ = 0) and s_t ← f(s_{t−1})
      (λ → ∞), so that products of Jacobians don't diverge. This is the scaled form of ELK (appendix A.4 of
      Gonzalez et al.; their k is λ / (1 + λ)), without the Kalman filter of its other form; i states are exact
      after i rounds with it too. With full Jacobians λ is multiplied by min(1, residual), for each example, so
      that the last rounds are Newton's again.
    - `lyapunov`: λ₁, the largest Lyapunov exponent in nats per step, if it is known
      (`analysis.lyapunov_spectrum`); "measure" estimates it for each example over the first steps. Examples that
      are expected to need more rounds than `iterations` (`lyapunov_estimate.py`) are run by scan from the start.
      None, the default, tries Newton's method on all.
    """

    iterations: int = 100
    tolerance: float | None = None
    jacobian: Literal["full", "diagonal"] = "full"
    damping: float = 0.0
    lyapunov: float | Literal["measure"] | None = None

    def __post_init__(self) -> None:
        check_at_least(1, iterations=self.iterations)
        if self.tolerance is not None and not 0 < self.tolerance < math.inf:
            raise ValueError(f"Newton's tolerance must be a number above 0, but is {self.tolerance!r}")
        if self.jacobian not in ("full", "diagonal"):
            raise ValueError(f"Newton's jacobian is 'full' or 'diagonal', but is {self.jacobian!r}")
        if not 0 <= self.damping < math.inf:
            raise ValueError(f"Newton's damping must be a number of at least 0, but is {self.damping!r}")
        check_exponent(self.lyapunov, "Newton")


def newton(
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    *,
    batch_shape: BatchShape,
    options: Newton,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
) -> tuple[State, Output, dict[str, Array]]:
    """Computes final state and outputs `[T, *batch, ...]`, as `scan` does, and information on each example:
    `iterations` (rounds taken), `converged`, `residual` (max |s_t − f(s_{t−1})| / (1 + |s_t|)), each `[*batch]`,
    and `exponent`, the measured λ₁, if requested.

    For an example that hasn't converged the result is that of scan, and the residual that of the last round. The
    gradient is exact either way, by one linear recurrence backwards; the information has none. As with every
    `custom_vjp`, forward mode is not supported.

    Raises ValueError if the state has an integer leaf, or if the Jacobians don't fit into the free memory, in which
    axes added by `vmap` are not counted.
    """
    if not can_newton(state):
        raise ValueError(
            f"method 'newton' can't run {cell}: an integer in its state has no derivative; use 'scan'"
        )
    length, batch = jax.tree.leaves(drive)[0].shape[0], max(1, math.prod(batch_shape))
    check_memory(
        memory_needed(options, length, state, batch),
        f"Newton's method with {options.jacobian} Jacobians (T = {length}, B = {batch}, S = "
        f"{state_size(state) // batch})",
        "method='scan', Newton(jacobian='diagonal'), or fewer steps or examples at once",
    )
    if not length:
        none = {"iterations": jnp.zeros(batch_shape, jnp.int32), "converged": jnp.ones(batch_shape, bool)}
        return *scan(cell, weights, state, drive), none | {"residual": jnp.zeros(batch_shape)}
    if reverse:
        drive = jax.tree.map(lambda leaf: leaf[::-1], drive)
        mask = None if mask is None else mask[::-1]
    pack, restore, _ = vector_maps(cell, state, batch_shape)
    attempt, measured = jnp.ones(batch_shape, bool), {}
    if options.lyapunov == "measure":
        exponent = largest_exponent(cell, weights, state, drive, mask, batch_shape)
        attempt, measured = expected_rounds(exponent) <= options.iterations, {"exponent": exponent}
    found: Any = solution(cell, options, batch_shape, weights, state, drive, mask, attempt)
    vectors, info = found

    def read_out(before: Array, drive: Drive, valid: Array | None) -> Output:
        state = restore(before)
        stepped, y = cell.step(weights, state, drive)
        return y if valid is None else keep_valid(valid, stepped, state, y)[1]

    ys = jax.vmap(read_out)(shift_states(pack(state), vectors), drive, mask)
    ys = jax.tree.map(lambda leaf: leaf[::-1], ys) if reverse else ys
    return restore(vectors[-1]), ys, jax.lax.stop_gradient(info | measured)


def memory_needed(options: Newton, length: int, state: State, batch: int) -> int:
    """Estimates the peak memory in bytes of Newton's method for `length` steps of `batch` states,
    `state [*batch, ...]`."""
    numbers = length * state_size(state) * (state_size(state) // batch if options.jacobian == "full" else 1)
    dtype = jnp.finfo(jnp.result_type(jnp.float32, *jax.tree.leaves(state))).dtype
    return ARRAYS_IN_MEMORY[options.jacobian] * numbers * dtype.itemsize


def can_newton(state: State) -> bool:
    """Returns True if the state has a derivative, that is, no integer leaf."""
    return all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in jax.tree.leaves(state))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def solution(
    cell: Cell,
    options: Newton,
    batch_shape: BatchShape,
    weights: Weights,
    state: State,
    drive: Drive,
    mask: Array | None,
    attempt: Array,
) -> tuple[Vectors, dict[str, Array]]:
    """Computes s_1 … s_T, by Newton's method where `attempt` is True and it converges, else by scan, and
    information on each example."""
    pack, _, step = vector_maps(cell, state, batch_shape)
    start = pack(state)
    every_step = jax.vmap(step, in_axes=(None, 0, 0, 0))
    length, per_example = jax.tree.leaves(drive)[0].shape[0], (0, -1)
    eps = max((float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(state)), default=0.0)
    tolerance = 4 * eps if options.tolerance is None else options.tolerance

    def measure(vectors: Vectors) -> tuple[Vectors, Array]:
        gap = every_step(weights, shift_states(start, vectors), drive, mask) - vectors
        return gap, jnp.max(jnp.abs(gap) / (1 + jnp.abs(vectors)), axis=per_example, initial=0.0)

    def active(residual: Array) -> Array:
        return (residual > tolerance) & jnp.isfinite(residual) & attempt

    def unfinished(carry: tuple[Array, ...]) -> Array:
        _, _, residual, rounds = carry
        return jnp.any(active(residual)) & (jnp.max(rounds, initial=0) < options.iterations)

    def improve(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        vectors, gap, residual, rounds = carry
        jacobians = step_blocks(
            lambda s: every_step(weights, s, drive, mask), shift_states(start, vectors), options.jacobian
        )
        # Step 1 starts from s_0, which is known: δ_0 = 0.
        jacobians = jacobians.at[:1].set(0)
        if options.damping:
            weight = options.damping * (jnp.minimum(residual, 1) if options.jacobian == "full" else 1.0)
            jacobians = jacobians / jnp.broadcast_to(1 + weight, batch_shape)[None, ..., None, None, None]
        change = linear_recurrence(jacobians, gap.reshape(*jacobians.shape[:-1], 1))
        change = change.reshape(gap.shape)
        # If the products of Jacobians overflow, take the plain step s_t ← f(s_{t−1}).
        change = jnp.where(jnp.isfinite(change).all(-1, keepdims=True), change, gap)
        moving = active(residual)
        vectors = jnp.where(moving[None, ..., None], vectors + change, vectors)
        return vectors, *measure(vectors), rounds + moving

    zeros = jnp.zeros((length, *start.shape), start.dtype), jnp.zeros(batch_shape, jnp.int32)
    (guess, rounds), _ = match_varying_axes((zeros, start))
    carry = (guess, *measure(guess), rounds)
    vectors, _, residual, rounds = jax.lax.while_loop(unfinished, improve, carry)
    converged = residual <= tolerance

    def sequential() -> Vectors:
        def both(before: Array, inputs: tuple[Drive, Array | None]) -> tuple[Array, Array]:
            stepped = step(weights, before, *inputs)
            return stepped, stepped

        scanned = jax.lax.scan(both, start, (drive, mask))[1]
        return jnp.where(converged[None, ..., None], vectors, scanned)

    vectors = jax.lax.cond(jnp.all(converged), lambda: vectors, sequential)
    return vectors, {"iterations": rounds, "converged": converged, "residual": residual}


def forward(
    cell: Cell, options: Newton, batch_shape: BatchShape, *inputs: Any
) -> tuple[tuple[Vectors, dict[str, Array]], Any]:
    """Computes the solution and the residuals of the backward pass."""
    found: Any = solution(cell, options, batch_shape, *inputs)
    return found, (*inputs, found[0])


def backward(cell: Cell, options: Newton, batch_shape: BatchShape, residuals: Any, cotangents: Any) -> Any:
    """Computes the cotangents of weights, initial state and drive, by the implicit function theorem:

        s̄_t = v̄_t + J_{t+1}ᵀ s̄_{t+1}      then, for all t at once,      (w̄, d̄_t) = (∂f/∂(w, d))ᵀ s̄_t

    with v̄ the cotangent of the solution. The recurrence runs in parallel over time with full Jacobians; with
    diagonal ones it runs step by step, by products with the exact Jacobian.
    """
    weights, state, drive, mask, _, vectors = residuals
    pack, _, step = vector_maps(cell, state, batch_shape)
    before = shift_states(pack(state), vectors)
    every_step = jax.vmap(step, in_axes=(None, 0, 0, 0))
    cotangent = cotangents[0]

    def sequential() -> Vectors:
        def step_back(after: Array, inputs: tuple[Array, Array, Drive, Array | None]) -> tuple[Array, Array]:
            cotangent, before, drive, valid = inputs
            _, pull = jax.vjp(lambda before: step(weights, before, drive, valid), before)
            return pull(cotangent + after)[0], cotangent + after

        inputs = (cotangent, before, drive, mask)
        return jax.lax.scan(step_back, jnp.zeros_like(before[0]), inputs, reverse=True)[1]

    if options.jacobian == "full":
        jacobians = step_blocks(lambda s: every_step(weights, s, drive, mask), before, "full").mT
        jacobians = jnp.concatenate([jacobians[1:], jnp.zeros_like(jacobians[:1])])
        total = linear_recurrence(jacobians, cotangent.reshape(*jacobians.shape[:-1], 1), reverse=True)
        total = total.reshape(cotangent.shape)
        # Products of Jacobians can overflow where the cotangents don't.
        total = jax.lax.cond(jnp.all(jnp.isfinite(total)), lambda: total, sequential)
    else:
        total = sequential()

    def from_inputs(weights: Weights, state: State, drive: Drive) -> Vectors:
        return every_step(weights, shift_states(pack(state), vectors), drive, mask)

    return *jax.vjp(from_inputs, weights, state, drive)[1](total), None, None


solution.defvjp(forward, backward)
