"""The error surface: loss and gradient over a plane in the space of parameters, and the paths that descend on
it.

    L(α, β) = L(θ + α d₁ + β d₂)

For any loss that is a function of a pytree of parameters. The directions d are pytrees like θ: two single
parameters, two random directions with the scale of each unit's weights (Li et al. 2018), or those of largest
curvature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from analysis.threads import one_blas_thread
from models.cell import Array, Key, Params

LossOf = Callable[[Params], Array]


@dataclass(frozen=True)
class ErrorSurface:
    """A surface at points (α_i, β_j): `loss [n, m]`, `gradient_norm [n, m]` of all parameters, and
    `slopes [n, m, 2]`, the derivatives ∂L/∂α and ∂L/∂β along the two directions."""

    first: Float[np.ndarray, " n"]
    second: Float[np.ndarray, " m"]
    loss: Float[np.ndarray, "n m"]
    gradient_norm: Float[np.ndarray, "n m"]
    slopes: Float[np.ndarray, "n m 2"]


def loss_surface(
    loss: LossOf,
    params: Params,
    directions: tuple[Params, Params],
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " m"],
    *,
    chunk: int = 64,
) -> ErrorSurface:
    """Computes the surface around `params` at distances α = `first` and β = `second` along the two directions, for
    `chunk` points in parallel.

    Raises ValueError for directions whose structure is not that of the parameters.
    """
    for direction in directions:
        check_direction(params, direction)
    grid = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)
    points = jnp.asarray(grid, jax.tree.leaves(params)[0].dtype)
    values, norms, slopes = (
        np.asarray(a, np.float64) for a in evaluate_on_plane(loss, chunk, params, directions, points)
    )
    shape = (len(first), len(second))
    return ErrorSurface(
        np.asarray(first, np.float64),
        np.asarray(second, np.float64),
        values.reshape(shape),
        norms.reshape(shape),
        slopes.reshape(*shape, 2),
    )


@partial(jax.jit, static_argnums=(0, 1))
def evaluate_on_plane(
    loss: LossOf, chunk: int, params: Params, directions: tuple[Params, Params], points: Array
) -> tuple[Array, Array, Array]:
    """Computes loss `[N]`, norm of the gradient `[N]` and its two slopes `[N, 2]` at `points [N, 2]`."""

    def evaluate(point: Array) -> tuple[Array, Array, Array]:
        point_params = jax.tree.map(lambda p, a, b: p + point[0] * a + point[1] * b, params, *directions)
        value, gradient = jax.value_and_grad(loss)(point_params)
        slopes = jnp.stack([inner_product(gradient, direction) for direction in directions])
        return value, optax.tree.norm(gradient), slopes

    return jax.lax.map(evaluate, points, batch_size=chunk)


def inner_product(a: Params, b: Params) -> Array:
    """Computes ⟨a, b⟩ over all leaves."""
    return sum(
        (jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)), jnp.zeros(())
    )


# --- directions


def one_parameter(params: Params, name: str, index: tuple[int, ...] = ()) -> Params:
    """Returns the direction of a single parameter: one at `index` of the leaf `name` ("cell.bias"), zero elsewhere.

    Raises ValueError if there is no such leaf or entry.
    """
    names = [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, _ in jax.tree.leaves_with_path(params)
    ]
    if name not in names:
        raise ValueError(f"no parameter {name!r}: there are {', '.join(names)}")
    leaves, structure = jax.tree.flatten(params)
    shape = leaves[names.index(name)].shape
    if len(index) != len(shape) or any(not 0 <= i < size for i, size in zip(index, shape, strict=True)):
        raise ValueError(f"index {index} is outside {name!r}, which is {list(shape)}")
    leaves = [jnp.zeros_like(leaf) for leaf in leaves]
    leaves[names.index(name)] = leaves[names.index(name)].at[index].set(1)
    return jax.tree.unflatten(structure, leaves)


def random_direction(key: Key, params: Params) -> Params:
    """Draws a Gaussian direction with the scale of each unit's weights: d_j ← d_j ‖θ_j‖ / ‖d_j‖ for the weights
    into unit j (a column `[..., j]`), so that surfaces of different nets are comparable. Zero for biases and other
    vectors, as in the authors' code. "Filter normalisation", Li et al. 2018."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))

    def scaled(key: Key, leaf: Array) -> Array:
        if leaf.ndim < 2:
            return jnp.zeros_like(leaf)
        drawn = jax.random.normal(key, leaf.shape, leaf.dtype)
        axes = tuple(range(leaf.ndim - 1))
        ratio = jnp.sqrt(jnp.sum(leaf**2, axes, keepdims=True) / jnp.sum(drawn**2, axes, keepdims=True))
        return drawn * ratio

    return jax.tree.unflatten(structure, [scaled(k, leaf) for k, leaf in zip(keys, leaves, strict=True)])


@one_blas_thread
def hessian_directions(
    loss: LossOf, params: Params, count: int = 2
) -> tuple[Float[np.ndarray, " k"], list[Params]]:
    """Computes the `count` eigenvalues of the Hessian of largest modulus, largest first, and their unit
    eigenvectors.

    By Lanczos (SciPy's `eigsh`) from products H v = ∂⟨∇L, v⟩; the Hessian is never formed. In the parameters' own
    precision: in float32 eigenvalues below 1e-6 of the largest are rounding errors.

    Raises ValueError unless there are more parameters than directions.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    flat, restore = ravel_pytree(params)
    size = len(flat)
    if not 1 <= count < size:
        raise ValueError(f"count must lie in 1 … {size - 1}, one less than the parameters, but is {count}")
    gradient = jax.grad(lambda vector: loss(restore(vector)))
    product = jax.jit(lambda v: jax.jvp(gradient, (flat,), (v,))[1])

    def matvec(v: np.ndarray) -> np.ndarray:
        return np.asarray(product(jnp.asarray(v.ravel(), flat.dtype)), np.float64)

    operator = LinearOperator((size, size), matvec=matvec, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).normal(size=size)  # the same vectors every time
    tolerance = 10 * float(jnp.finfo(flat.dtype).eps)
    values, vectors = eigsh(operator, count, which="LM", v0=start, tol=tolerance)  # pyright: ignore[reportArgumentType]
    order = np.argsort(-np.abs(values))
    return values[order], [restore(jnp.asarray(vectors[:, i], flat.dtype)) for i in order]


def coordinates(
    points: Params, origin: Params, directions: tuple[Params, Params]
) -> Float[np.ndarray, "N 2"]:
    """Projects N sets of parameters (leaves `[N, ...]`), such as a path, onto the plane: (α, β) of the nearest
    points."""
    rows = jax.vmap(lambda p: ravel_pytree(p)[0])(points)
    offsets = np.asarray(rows, np.float64) - np.asarray(ravel_pytree(origin)[0], np.float64)
    basis = np.stack([np.asarray(ravel_pytree(d)[0], np.float64) for d in directions], axis=1)
    return np.linalg.lstsq(basis, offsets.T, rcond=None)[0].T


def check_direction(params: Params, direction: Params) -> None:
    """Raises ValueError for a direction whose shapes are not those of the parameters."""
    shapes = [jax.tree.map(lambda leaf: list(jnp.shape(leaf)), tree) for tree in (params, direction)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"a direction must have the parameters' shapes {shapes[0]}, but has {shapes[1]}")
