"""The Lyapunov spectrum of a cell along a trajectory.

A frame Q of k directions is propagated, W_t = J_t Q_{t−1}, and orthonormalised again, W_t = Q_t R_t; the first i
directions converge to the span of the i that grow fastest, and the i-th exponent is the mean of ln |R_t,ii|.
Benettin et al. 1980; Shimada & Nagashima 1979; for recurrent nets Engelken, Wolf & Abbott 2023, "Lyapunov spectra
of chaotic recurrent neural networks".

Between two orthonormalisations the columns are separated by LU, W = (PᵀL) U, at half the cost of a QR: the first i
columns of PᵀL have the span of those of W, no entry exceeds 1, and the product of the diagonals of all U and of the
next R *is* the diagonal of the R of one QR of the whole product (Bauer's treppen-iteration, 1957). So nothing
underflows or overflows and no direction is lost to rounding, however rare the QRs are.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Bool, Float

from analysis.exponents import LyapunovSpectrum, summarise
from analysis.tangent_frames import advance, tangent_step
from models.cell import Array, Cell, Key, Params, State, check_at_least
from models.checks import one_sequence
from models.recurrence.scan import states_before
from models.state import coordinates_size, ravel_coordinates, ravel_state

ALL_CHECKED = 64  # up to this S the sum rule is checked at every step, above it in one stretch of ten


def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    state: State | None = None,
    *,
    mask: Bool[Array, " T"] | None = None,
    k: int | None = None,
    warmup: int | None = None,
    qr_every: int = 10,
    key: Key | None = None,
    adjoint: bool = False,
    tolerance: float = 0.05,
    absolute: float = 1e-4,
) -> LyapunovSpectrum:
    """Computes the k largest Lyapunov exponents (by default all S) along the trajectory driven by `xs [T, D]` from
    `state`.

    `xs` is `[T, 0]` for a map without input. S counts the whole state: both h and c of an LSTM, complex leaves
    twice, integers not at all, and the cell's `coordinates` if a state has several representations; a step from a
    state without coordinates is left out. No Jacobian is formed: a step takes k directional derivatives. The
    first `warmup` steps (by default a tenth, and up to `qr_every` more, so that the rest divides) are not
    counted, while the state relaxes and the frame aligns. `key` draws the initial frame. With `adjoint` the
    transposed Jacobians are multiplied, from the last step to the first, which gives the same exponents; the
    warm-up is then at the end. An exponent is converged if its standard error is at most `tolerance` times its
    modulus plus `absolute` nats per step. The errors hold along this trajectory; `exponents_over_starts` gives
    those over several.

    Differentiable in `params`, `xs` and `state`: `mean(exponents**2)` as a loss is gradient flossing (Engelken
    2023). For several trajectories: `jax.vmap(partial(lyapunov_spectrum, cell, params), in_axes=1)(xs)`.

    Masked steps (`mask [T]` False) are left out of the product and of the count.

    Raises ValueError if parameters, inputs, state or mask don't fit, for k outside 1 … S, if too few steps remain
    after the warm-up, and if a state overflows (under `jit` and `vmap` the exponents are NaN then).

    Examples:
        >>> cell = Elman(2, activation="identity")
        >>> matrix = jnp.diag(jnp.array([0.5, 0.25]))
        >>> params = {"kernel": jnp.zeros((0, 2)), "recurrent": matrix, "bias": jnp.zeros(2)}
        >>> found = lyapunov_spectrum(cell, params, jnp.zeros((200, 0)))  # a map: no input
        >>> np.asarray(found.exponents).round(2)  # ln ½ and ln ¼
        array([-0.69, -1.39], dtype=float32)
    """
    xs, state = one_sequence(cell, params, xs, state, mask)
    check_at_least(1, qr_every=qr_every)
    length, size = xs.shape[0], coordinates_size(cell, state)
    k = size if k is None else k
    check_at_least(1, k=k)
    if k > size:
        raise ValueError(f"there are {size} exponents, one for each number in the state, but k is {k}")
    warmup = length // 10 if warmup is None else warmup
    check_at_least(0, warmup=warmup)
    counted = (length - warmup) // qr_every
    if counted < 1:
        raise ValueError(
            f"a sequence of {length} steps is too short for a warm-up of {warmup} and one stretch of {qr_every}: "
            "give a longer one, or reduce warmup or qr_every"
        )
    key = jax.random.key(0) if key is None else key
    limits = (tolerance, absolute)
    found, finite = compute_spectrum(cell, k, qr_every, counted, adjoint, limits, params, xs, state, key)
    if not isinstance(finite, Tracer) and not finite.all():
        raise ValueError(
            f"the state of {type(cell).__name__} leaves the range of {found.exponents.dtype} at step "
            f"{int(jnp.argmin(finite)) + 1} of {length}: a diverging trajectory has no exponents"
        )
    return found


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def compute_spectrum(
    cell: Cell,
    k: int,
    qr_every: int,
    counted: int,
    adjoint: bool,
    limits: tuple[float | Array, float | Array],
    params: Params,
    xs: Array,
    state: State,
    key: Key,
) -> tuple[LyapunovSpectrum, Bool[Array, " T"]]:
    """Computes the spectrum from the last `counted` stretches of `qr_every` steps, and which states are finite."""
    weights = cell.prepare(params)
    drive = cell.drive(weights, xs)
    vector, _ = ravel_coordinates(cell, state)
    length, size = xs.shape[0], vector.size

    def reorder(leaf: Array) -> Array:
        """Converts the order of the steps taken to that of time, or back."""
        return leaf[::-1] if adjoint else leaf

    stretch, remainder = jnp.divmod(jnp.arange(length)[::-1], qr_every)
    # Above ALL_CHECKED the determinants would cost as much as the exponents.
    checked = (stretch < counted) & (stretch % (1 if size <= ALL_CHECKED else 10) == 0)
    states = states_before(cell, weights, state, drive) if adjoint else None

    def step(carry: tuple[State, Array], inputs: Any) -> tuple[tuple[State, Array], tuple[Array, ...]]:
        (state, frame), (states, drive, orthonormal, check) = carry, inputs
        before = states if adjoint else state
        stepped, push, pull = tangent_step(cell, weights, before, drive)
        has_coordinates = cell.has_coordinates(before)

        def determinant() -> Array:
            jacobian = jax.lax.stop_gradient(push(jnp.eye(size, dtype=frame.dtype)))
            return jnp.linalg.slogdet(jacobian)[1]

        missing = jnp.full((), jnp.nan, frame.dtype)
        log_det = (
            jax.lax.cond(check & has_coordinates, determinant, lambda: missing) if k == size else missing
        )

        def multiply(frame: Array) -> Array:
            return jnp.where(has_coordinates, (pull if adjoint else push)(frame), frame)

        frame, logs, small = advance(multiply, frame, orthonormal)
        finite = jnp.isfinite(ravel_state(stepped)[0]).all()
        return (stepped, frame), (logs, small, log_det, has_coordinates, finite)

    frame = jnp.linalg.qr(jax.random.normal(key, (size, k), vector.dtype))[0]
    inputs = (states, drive, reorder(remainder == 0), reorder(checked))
    _, (*series, finite) = jax.lax.scan(step, (state, frame), inputs, reverse=adjoint)

    def stretches(leaf: Array) -> Array:
        last = reorder(leaf)[length - counted * qr_every :]
        return last.reshape(counted, qr_every, *leaf.shape[1:])

    logs, small, log_dets, has_coordinates = (stretches(leaf) for leaf in series)
    # A step that is left out counts as the mean of the others.
    counted_steps = has_coordinates[..., None]
    mean = jnp.mean(logs, axis=(0, 1), where=counted_steps, keepdims=True)
    logs = jnp.where(counted_steps, logs, mean)
    tolerance, absolute = limits
    found = summarise(logs, small, log_dets, whole=k == size, tolerance=tolerance, absolute=absolute)
    return found, finite
