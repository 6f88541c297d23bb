"""Fixed and slow points of a cell under constant input: where its state stays, or nearly.

With the input held at x the step is a map of the state into itself, F(s). Its fixed points, and the slow
points where

    q(s) = ½ ‖F(s) − s‖²

has a minimum above zero, are the skeleton of what a trained net computes: what it remembers are stable
points, and what decides between them are saddles. Sussillo & Barak 2013; Golub & Sussillo 2018.

q is a sum of squares, so it is minimised as one: Levenberg–Marquardt from every start, all starts at once. A
step is (JᵀJ + μI) δ = −Jᵀr with r = F(s) − s, J = ∂r/∂s; μ falls where q did, and grows where it did not.
Unlike Newton's method for F(s) = s it never climbs, so that it finds slow points too, and stays near where it
began.
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

START, LEAST, MOST = 1e-2, 1e-12, 1e12  # of the damping μ, relative to the mean square of J
FALL, RISE = 0.2, 4.0  # its factors
BESIDE_ONE = 1e-3  # how far from the unit circle an eigenvalue of a slow point counts
FLAT = 1e-3  # the slope at a minimum, at the most


@dataclass(frozen=True)
class FixedPoints:
    """P different points, slowest first; S the whole state flattened, as in `step_jacobians`.

    `states [P, S]`; `speed [P]` is ‖F(s) − s‖; `fixed [P]` whether that is zero to within `tolerance`, the
    others are slow points; `eigenvalues [P, S]` of ∂F/∂s, largest modulus first; `unstable [P]` counts those
    outside the unit circle; `starts [P]` how many starts ended there; `lost` how many starts ended at no
    minimum or at a fast one.

    Of a slow point an eigenvalue counts as outside from 1.001 on: where q is least and F(s) ≠ s, one is exactly 1,
    for there (∂F/∂s − 1)ᵀ(F(s) − s) = 0.
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
        """Of each point "stable", "saddle" (some directions lead away) or "unstable" (all of them do), with
        "slow " before it where it isn't fixed."""
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
    apart: float = 1e-3,
    reach: float = 2.0,
) -> FixedPoints:
    """Fixed and slow points of s ↦ step(s, x) from many starts: `starts` has leaves `[N, ...]`, N states of
    which one is `[...]`: those that the net visits (from `unroll`), with some noise, serve best.

    A point is fixed where ‖F(s) − s‖ ≤ `tolerance`·max(1, ‖s‖) (by default 1e-9 in float64, which is advised,
    and 1e-5 in float32), slow where q has a minimum and the speed is at most `slow`. Points nearer to each
    other than `apart`·max(1, ‖s‖) are one. What ends more than `reach` times as far from the starts' mean as
    any start began is lost: there, out of reach of the net itself, saturated gates keep every state as it is.
    An integer leaf of the state (a step counter) is held at what it is at the start.

    Raises ValueError where parameters, input or starts don't fit the cell or aren't finite, where there are no
    starts, and for a cell whose states can be written in more than one way (`Cell.coordinates`; xLSTM): where it
    stays the numbers may move, and the zeros among its eigenvalues count the ways to write it.
    """
    check_at_least(1, steps=steps)
    check_hashable(cell)
    if not hasattr(x, "shape") or len(x.shape) != 1:
        found = list(x.shape) if hasattr(x, "shape") else f"a {type(x).__name__}"
        raise ValueError(f"x must be an array [D], one input held for all time, but is {found}")
    check_params(cell, params, x)
    check_starts(cell, params, starts)
    check_finite(params=params, x=x, starts=starts)
    vectors = jax.vmap(lambda state: ravel_state(state)[0])(starts)
    if tolerance is None:
        tolerance = 1e-9 if vectors.dtype == jnp.float64 else 1e-5
    ends, speed, slope = (np.asarray(a, np.float64) for a in settle(cell, steps, params, x, vectors, starts))
    size = np.maximum(1.0, np.linalg.norm(ends, axis=1))
    is_fixed = speed <= tolerance * size
    origin = np.asarray(jnp.mean(vectors, axis=0), np.float64)
    furthest = np.max(np.linalg.norm(np.asarray(vectors, np.float64) - origin, axis=1))
    within = np.linalg.norm(ends - origin, axis=1) <= reach * np.maximum(1.0, furthest)
    found = np.isfinite(speed) & within & (is_fixed | ((slope <= FLAT) & (speed <= slow)))
    points, counts = merge(ends, np.where(found, speed, np.inf), apart * size)
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
            np.abs(eigenvalues) > np.where(is_fixed[points], 1.0, 1.0 + BESIDE_ONE)[:, None], axis=1
        ),
        starts=counts,
        lost=int(np.sum(~found)),
    )


def held(cell: Cell, params: Params, x: Array, start: State) -> Callable[[Array], Array]:
    """s ↦ F(s) for vectors `[S]`, input and integer leaves held."""
    weights = cell.prepare(params)
    drive = cell.drive(weights, x)
    _, restore = ravel_state(start)
    return lambda vector: ravel_state(cell.step(weights, restore(vector), drive)[0])[0]


@partial(jax.jit, static_argnums=(0, 1))
def settle(
    cell: Cell, steps: int, params: Params, x: Array, vectors: Array, starts: State
) -> tuple[Array, Array, Array]:
    """Returns where each start `[N, S]` ends, with its speed ‖r‖ `[N]` and slope ‖Jᵀr‖ / (‖r‖ max(1, ‖J‖)) `[N]`,
    which is zero where no way leads down."""

    def one(given: tuple[Array, State]) -> tuple[Array, Array, Array]:
        vector, start = given
        following = held(cell, params, x, start)

        def velocity(vector: Array) -> Array:
            return following(vector) - vector

        end = levenberg_marquardt(velocity, vector, steps)
        r, jacobian = velocity(end), jax.jacfwd(velocity)(end)
        speed, steepest = jnp.linalg.norm(r), jnp.maximum(1.0, jnp.linalg.norm(jacobian))
        tiny = jnp.finfo(vector.dtype).tiny
        return end, speed, jnp.linalg.norm(jacobian.T @ r) / (speed * steepest + tiny)

    # As many starts side by side as make 64 MB of Jacobians.
    return jax.lax.map(one, (vectors, starts), batch_size=max(1, 2**23 // vectors.shape[1] ** 2))


@partial(jax.jit, static_argnums=0)
def jacobians(cell: Cell, params: Params, x: Array, vectors: Array, starts: State) -> Array:
    """∂F/∂s at each of the vectors: `[P, S]` → `[P, S, S]`."""
    return jax.vmap(lambda vector, start: jax.jacfwd(held(cell, params, x, start))(vector))(vectors, starts)


def levenberg_marquardt(residual: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """Minimises ½ ‖r(s)‖² from `start [S]`, for at most so many steps: until it rests or no step gains."""

    def proceed(carry: tuple[Array, Array, Array, Array]) -> Array:
        _, _, damping, count = carry
        return (count < steps) & (damping < MOST)

    def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        s, r, damping, count = carry
        jacobian = jax.jacfwd(residual)(s)
        normal = jacobian.T @ jacobian
        scale = jnp.trace(normal) / len(s) + jnp.finfo(s.dtype).tiny
        move = jnp.linalg.solve(normal + damping * scale * jnp.eye(len(s), dtype=s.dtype), -jacobian.T @ r)
        there = s + move
        r_there = residual(there)
        better = jnp.vdot(r_there, r_there) < jnp.vdot(r, r)  # False for NaN
        damping = jnp.maximum(damping * jnp.where(better, FALL, RISE), LEAST)
        at_rest = jnp.linalg.norm(move) <= jnp.finfo(s.dtype).eps * (1 + jnp.linalg.norm(s))
        damping = jnp.where(at_rest, MOST, damping)
        return jnp.where(better, there, s), jnp.where(better, r_there, r), damping, count + 1

    begin = (start, residual(start), jnp.asarray(START, start.dtype), jnp.asarray(0))
    return jax.lax.while_loop(proceed, step, begin)[0]


def merge(
    points: Float[np.ndarray, "N S"], speed: Float[np.ndarray, " N"], apart: Float[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """The indices of the slowest of each group of points that lie within `apart` of it, and the size of each
    group; points of infinite speed are left out."""
    left = np.isfinite(speed)
    chosen, counts = [], []
    for i in np.argsort(speed, kind="stable"):
        if left[i]:
            near = left & (np.linalg.norm(points - points[i], axis=1) <= apart[i])
            chosen.append(i)
            counts.append(int(near.sum()))
            left &= ~near
    return np.array(chosen, int), np.array(counts, int)


def check_starts(cell: Cell, params: Params, starts: State) -> None:
    """Raises ValueError where the starts aren't N ≥ 1 states of the cell, or these can be written in more ways."""
    expected = jax.eval_shape(cell.initial_state, params)
    shapes = [leaf.shape[1:] for leaf in jax.tree.leaves(starts)]
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(starts)}
    fits = jax.tree.structure(expected) == jax.tree.structure(starts)
    if not fits or shapes != [leaf.shape for leaf in jax.tree.leaves(expected)] or len(counts) != 1:
        raise ValueError(
            f"starts must be N states of {type(cell).__name__}, each leaf with an axis N in front, but are "
            f"{jax.tree.map(lambda leaf: list(leaf.shape), starts)} where one state is "
            f"{jax.tree.map(lambda leaf: list(leaf.shape), expected)}"
        )
    if counts == {0}:
        raise ValueError("there are no starts: give at least one state")
    if not has_unique_coordinates(cell, jax.tree.map(lambda leaf: leaf[0], starts)):
        raise ValueError(
            f"a state of {type(cell).__name__} can be written in more than one way, so that fixed points aren't "
            "those of its numbers: take a cell whose coordinates are its state"
        )


def check_finite(**given: PyTree) -> None:
    """Raises ValueError, naming the argument, where a number in it is NaN or infinite."""
    for name, tree in given.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            if not np.isfinite(leaf).all():
                where = jax.tree_util.keystr(path, simple=True, separator=".")
                raise ValueError(f"{name} must be finite, but {where or 'it'} holds NaN or an infinity")


@one_blas_thread
def principal_axes(
    points: Float[np.ndarray, "... S"], count: int = 2
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "count S"]]:
    """The mean and the `count` orthonormal directions of most variance of `points [..., S]`, states along
    trajectories, say: `(p − mean) @ axes.T` are the coordinates that `figures` draws.

    Raises ValueError for fewer dimensions or points than axes.
    """
    flat = np.asarray(points, np.float64).reshape(-1, points.shape[-1])
    if min(flat.shape) < count:
        raise ValueError(
            f"{count} axes need as many points and dimensions, but points are {list(points.shape)}"
        )
    mean = flat.mean(axis=0)
    _, _, axes = np.linalg.svd(flat - mean, full_matrices=False)
    # A sign for each, so that a figure doesn't flip: the largest entry is positive.
    largest = np.argmax(np.abs(axes), axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return mean, axes[:count]
