"""Fixed and slow points of a cell under constant input.

With constant input x the step is a map F(s) of the state. Its fixed points, and the slow points where

    q(s) = ½ ‖F(s) − s‖²

has a minimum above zero, are the skeleton of what a trained net computes: stable points are its memories, and
saddles the decisions between them. Sussillo & Barak 2013; Golub & Sussillo 2018.

q is a sum of squares, minimised by Levenberg–Marquardt from all starts in parallel. A step solves
(JᵀJ + μI) δ = −Jᵀr with r = F(s) − s, J = ∂r/∂s; μ falls if q does, and grows otherwise. Unlike Newton's method for
F(s) = s it never increases q, so that it finds slow points too, and stays near its start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Complex, Float, Int, PyTree

from analysis.jacobian import jacobian_eigenvalues
from analysis.threads import one_blas_thread
from models.cell import Array, Cell, Params, State, check_at_least, check_hashable
from models.checks import check_params
from models.state import has_unique_coordinates, ravel_state

# The damping μ relative to the mean square of J, and the factors on it.
INITIAL_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-12, 1e12
DAMPING_FALL, DAMPING_RISE = 0.2, 4.0
SLOW_MARGIN = 1e-3  # distance from the unit circle beyond which an eigenvalue of a slow point is unstable
MAX_SLOPE = 1e-3  # largest slope accepted as a minimum


@dataclass(frozen=True)
class FixedPoints:
    """P different points, slowest first; S is the whole state flattened, as in `step_jacobians`.

    `states [P, S]`; `speed [P]` is ‖F(s) − s‖; `fixed [P]` is True if it is zero to within `tolerance`, the others
    are slow points; `eigenvalues [P, S]` of ∂F/∂s, largest modulus first; `unstable [P]` counts those outside the
    unit circle; `starts [P]` counts the starts that converged there; `lost` those that found no minimum or a fast
    one.

    For slow points eigenvalues count as unstable above 1.001: at a minimum of q with F(s) ≠ s one is exactly 1,
    since (∂F/∂s − 1)ᵀ(F(s) − s) = 0.
    """

    states: Float[np.ndarray, "P S"]
    speed: Float[np.ndarray, " P"]
    fixed: Bool[np.ndarray, " P"]
    eigenvalues: Complex[np.ndarray, "P S"]
    unstable: Int[np.ndarray, " P"]
    starts: Int[np.ndarray, " P"]
    lost: int

    @property
    def kinds(self) -> list[str]:
        """The kind of each point: "stable", "saddle" (some unstable directions) or "unstable" (all are), after
        "slow " if it isn't fixed."""
        size = self.states.shape[1]
        names = ["stable" if n == 0 else "unstable" if n == size else "saddle" for n in self.unstable]
        return [name if fixed else f"slow {name}" for name, fixed in zip(names, self.fixed, strict=True)]


def find_fixed_points(
    cell: Cell,
    params: Params,
    x: Float[Array, " D"],
    starts: State,
    *,
    steps: int = 200,
    tolerance: float | None = None,
    slow: float = 1e-2,
    separation: float = 1e-3,
    reach: float = 2.0,
) -> FixedPoints:
    """Finds fixed and slow points of s ↦ step(s, x) from many starts.

    `starts` has leaves `[N, ...]`, N states; states that the net visits (from `unroll`), with some noise, are best.
    A point is fixed if ‖F(s) − s‖ ≤ `tolerance`·max(1, ‖s‖) (by default 1e-9 in float64, which is recommended, and
    1e-5 in float32), slow if q has a minimum and the speed is at most `slow`. Points closer than
    `separation`·max(1, ‖s‖) are merged. Points further from the mean of the starts than `reach` times the furthest
    start are lost: out there, which the net never visits, saturated gates keep every state. Integer leaves of the
    state (a step counter) are constant.

    Raises ValueError if parameters, input or starts don't fit the cell or aren't finite, if there are no starts,
    and for a cell whose states have several representations (`Cell.coordinates`; xLSTM): the numbers of a fixed
    state can then change, and its eigenvalues include those of the redundancy.

    Examples:
        >>> params = {"kernel": jnp.zeros((0, 1)), "recurrent": jnp.array([[2.0]]), "bias": jnp.zeros(1)}
        >>> starts = jnp.array([[-1.0], [0.1], [1.0]])
        >>> found = find_fixed_points(Elman(1), params, jnp.zeros(0), starts)  # h = tanh(2 h)
        >>> sorted(np.abs(found.states[:, 0]).round(2).tolist()), sorted(found.kinds)
        ([0.0, 0.96, 0.96], ['stable', 'stable', 'unstable'])
    """
    check_at_least(1, steps=steps)
    check_hashable(cell)
    if not hasattr(x, "shape") or len(x.shape) != 1:
        found = list(x.shape) if hasattr(x, "shape") else f"a {type(x).__name__}"
        raise ValueError(f"x must be an array [D], one constant input, but is {found}")
    check_params(cell, params, x)
    check_starts(cell, params, starts)
    check_finite(params=params, x=x, starts=starts)
    vectors = jax.vmap(lambda state: ravel_state(state)[0])(starts)
    if tolerance is None:
        tolerance = 1e-9 if vectors.dtype == jnp.float64 else 1e-5
    ends, speed, slope = (
        np.asarray(a, np.float64) for a in minimise_speed(cell, steps, params, x, vectors, starts)
    )
    size = np.maximum(1.0, np.linalg.norm(ends, axis=1))
    is_fixed = speed <= tolerance * size
    origin = np.asarray(jnp.mean(vectors, axis=0), np.float64)
    furthest = np.max(np.linalg.norm(np.asarray(vectors, np.float64) - origin, axis=1))
    in_reach = np.linalg.norm(ends - origin, axis=1) <= reach * np.maximum(1.0, furthest)
    found = np.isfinite(speed) & in_reach & (is_fixed | ((slope <= MAX_SLOPE) & (speed <= slow)))
    points, counts = merge(ends, np.where(found, speed, np.inf), separation * size)
    at_points = jax.tree.map(lambda leaf: leaf[points], starts)
    eigenvalues = jacobian_eigenvalues(
        jacobians(cell, params, x, jnp.asarray(ends[points], vectors.dtype), at_points)
    )
    return FixedPoints(
        states=ends[points],
        speed=speed[points],
        fixed=is_fixed[points],
        eigenvalues=eigenvalues,
        unstable=np.sum(
            np.abs(eigenvalues) > np.where(is_fixed[points], 1.0, 1.0 + SLOW_MARGIN)[:, None], axis=1
        ),
        starts=counts,
        lost=int(np.sum(~found)),
    )


def step_map(cell: Cell, params: Params, x: Array, start: State) -> Callable[[Array], Array]:
    """Returns s ↦ F(s) on vectors `[S]`, with constant input and integer leaves."""
    weights = cell.prepare(params)
    drive = cell.drive(weights, x)
    _, restore = ravel_state(start)
    return lambda vector: ravel_state(cell.step(weights, restore(vector), drive)[0])[0]


@partial(jax.jit, static_argnums=(0, 1))
def minimise_speed(
    cell: Cell, steps: int, params: Params, x: Array, vectors: Array, starts: State
) -> tuple[Array, Array, Array]:
    """Minimises q from each start, and returns end points `[N, S]`, speeds ‖r‖ `[N]` and slopes
    ‖Jᵀr‖ / (‖r‖ max(1, ‖J‖)) `[N]`, which are zero at a minimum."""

    def one(start_pair: tuple[Array, State]) -> tuple[Array, Array, Array]:
        vector, start = start_pair
        step = step_map(cell, params, x, start)

        def velocity(vector: Array) -> Array:
            return step(vector) - vector

        end = levenberg_marquardt(velocity, vector, steps)
        r, jacobian = velocity(end), jax.jacfwd(velocity)(end)
        speed, steepest = jnp.linalg.norm(r), jnp.maximum(1.0, jnp.linalg.norm(jacobian))
        tiny = jnp.finfo(vector.dtype).tiny
        return end, speed, jnp.linalg.norm(jacobian.T @ r) / (speed * steepest + tiny)

    # As many starts in parallel as have 64 MB of Jacobians.
    return jax.lax.map(one, (vectors, starts), batch_size=max(1, 2**23 // vectors.shape[1] ** 2))


@partial(jax.jit, static_argnums=0)
def jacobians(cell: Cell, params: Params, x: Array, vectors: Array, starts: State) -> Array:
    """Computes ∂F/∂s at each vector: `[P, S]` → `[P, S, S]`."""
    return jax.vmap(lambda vector, start: jax.jacfwd(step_map(cell, params, x, start))(vector))(
        vectors, starts
    )


def levenberg_marquardt(residual: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """Minimises ½ ‖r(s)‖² from `start [S]`, for at most `steps` steps, until it rests or no step improves."""

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        _, _, damping, count = carry
        return (count < steps) & (damping < MOST_DAMPING)

    def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        s, r, damping, count = carry
        jacobian = jax.jacfwd(residual)(s)
        normal = jacobian.T @ jacobian
        scale = jnp.trace(normal) / len(s) + jnp.finfo(s.dtype).tiny
        move = jnp.linalg.solve(normal + damping * scale * jnp.eye(len(s), dtype=s.dtype), -jacobian.T @ r)
        proposal = s + move
        r_proposal = residual(proposal)
        better = jnp.vdot(r_proposal, r_proposal) < jnp.vdot(r, r)  # False for NaN
        damping = jnp.maximum(damping * jnp.where(better, DAMPING_FALL, DAMPING_RISE), LEAST_DAMPING)
        at_rest = jnp.linalg.norm(move) <= jnp.finfo(s.dtype).eps * (1 + jnp.linalg.norm(s))
        damping = jnp.where(at_rest, MOST_DAMPING, damping)
        return jnp.where(better, proposal, s), jnp.where(better, r_proposal, r), damping, count + 1

    begin = (start, residual(start), jnp.asarray(INITIAL_DAMPING, start.dtype), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, step, begin)[0]


def merge(
    points: Float[np.ndarray, "N S"], speed: Float[np.ndarray, " N"], separation: Float[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """Groups points within `separation` of a slowest one, and returns the indices of these and the sizes of the
    groups; points of infinite speed are left out."""
    remaining = np.isfinite(speed)
    chosen, counts = [], []
    for i in np.argsort(speed, kind="stable"):
        if remaining[i]:
            near = remaining & (np.linalg.norm(points - points[i], axis=1) <= separation[i])
            chosen.append(i)
            counts.append(int(near.sum()))
            remaining &= ~near
    return np.array(chosen, int), np.array(counts, int)


def check_starts(cell: Cell, params: Params, starts: State) -> None:
    """Raises ValueError if the starts aren't N ≥ 1 states of the cell, or have several representations."""
    expected = jax.eval_shape(cell.initial_state, params)
    shapes = [leaf.shape[1:] for leaf in jax.tree.leaves(starts)]
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(starts)}
    fits = jax.tree.structure(expected) == jax.tree.structure(starts)
    if not fits or shapes != [leaf.shape for leaf in jax.tree.leaves(expected)] or len(counts) != 1:
        raise ValueError(
            f"starts must be N states of {type(cell).__name__}, each leaf with a leading axis N, but are "
            f"{jax.tree.map(lambda leaf: list(leaf.shape), starts)}, and one state is "
            f"{jax.tree.map(lambda leaf: list(leaf.shape), expected)}"
        )
    if counts == {0}:
        raise ValueError("there are no starts: give at least one state")
    if not has_unique_coordinates(cell, jax.tree.map(lambda leaf: leaf[0], starts)):
        raise ValueError(
            f"a state of {type(cell).__name__} has several representations, so that fixed points aren't those of "
            "its numbers: use a cell whose coordinates are its state"
        )


def check_finite(**arguments: PyTree) -> None:
    """Raises ValueError, naming the argument, if a number in it is NaN or infinite."""
    for name, tree in arguments.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            if not np.isfinite(leaf).all():
                where = jax.tree_util.keystr(path, simple=True, separator=".")
                raise ValueError(f"{name} must be finite, but {where or 'it'} has a NaN or infinity")


@one_blas_thread
def principal_axes(
    points: Float[np.ndarray, "... S"], count: int = 2
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "count S"]]:
    """Computes the mean and the `count` orthonormal directions of largest variance of `points [..., S]`, such as
    states along trajectories: `(p − mean) @ axes.T` are the coordinates that `figures` draws.

    Raises ValueError for fewer dimensions or points than axes.
    """
    flat = np.asarray(points, np.float64).reshape(-1, points.shape[-1])
    if min(flat.shape) < count:
        raise ValueError(
            f"{count} axes need as many points and dimensions, but points are {list(points.shape)}"
        )
    mean = flat.mean(axis=0)
    _, _, axes = np.linalg.svd(flat - mean, full_matrices=False)
    # The largest entry of each is positive, so that figures don't flip.
    largest = np.argmax(np.abs(axes), axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return mean, axes[:count]
