"""The cell: one step of a recurrent network as pure functions over pytrees.

Axis legend, used by every docstring and annotation:

    T  time            B  batch             D  input size
    H  hidden size     G  gates packed side by side (G·H columns)
    V  vocabulary      S  the whole state flattened

Every leaf of a state, a drive and an output begins with the batch axes (`*batch`: any number, none for one
example); what follows is the cell's own. Sequences are time-major: `xs: [T, *batch, D]`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

Array = jax.Array
Key = jax.Array  # a key of jax.random
Params = PyTree[Array]  # trained by the optimizer; real leaves
Weights = PyTree[Array]  # returned by `prepare` for one sequence
State = PyTree[Array]  # real, complex or integer leaves [*batch, ...]
Drive = PyTree[Array]  # the part of a step that depends on the input alone [*batch, ...]
Output = PyTree[Array]  # [*batch, ...]
BatchShape = tuple[int, ...]
Activation = Callable[[Array], Array]


@dataclass(frozen=True)
class Cell:
    """A recurrent cell: hyperparameters as fields, one step of the recurrence as `step`.

    A new cell is a frozen dataclass that derives from this class and implements `init`, `initial_state` and `step`;
    the other methods have defaults. Equal cells hash alike, so `jax.jit` compiles them once. To JAX a cell is a
    static pytree without leaves, so it can be an argument of `jit`, `grad`, `vmap` and `checkpoint`. NumPy
    scalars in fields become Python numbers; a field that can't be hashed (a list, an array) raises ValueError.

    `couples_batch = True` declares that the examples of a batch depend on one another in training, as in batch
    norm. `reads_memory = True` declares that `prepare` takes a keyword `memory`, a `models.Memory` of the size
    `memory_size`, and needs it.
    """

    couples_batch: ClassVar[bool] = False
    reads_memory: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        jax.tree_util.register_static(cls)
        if "__post_init__" in vars(cls):
            cls.__post_init__ = after_fields(cls.__post_init__)

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self, key: Key, input_size: int) -> Params:
        """Returns parameters for inputs of size D = `input_size`; D = 0 means no input."""
        raise NotImplementedError(f"{type(self).__name__} has no init(key, input_size)")

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        """Returns the state before the first step; leaves `[*batch, ...]`."""
        raise NotImplementedError(f"{type(self).__name__} has no initial_state(params, batch_shape)")

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Computes, once per sequence, the weights that the steps use: an orthogonal matrix from its
        parametrisation, say, or a dropout mask that is constant in time. Default: the parameters unchanged."""
        return params

    def drive(self, weights: Weights, x: Array) -> Drive:
        """Computes the part of a step that does not need the state, for all steps at once: `x [..., D]` → leaves
        `[..., ...]`. Default: the input unchanged."""
        return x

    def masked(self, drive: Drive, mask: Array) -> Drive:
        """Adds to the drive of a sequence which steps are valid, `mask [T, *batch]`, so that a cell that couples a
        batch can ignore padding. Default: the drive unchanged, since the result of a masked step is discarded."""
        return drive

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        """Computes s_t, y_t = step(s_{t−1}, drive_t): the body of the scan."""
        raise NotImplementedError(f"{type(self).__name__} has no step(weights, state, drive)")

    def coordinates(self, state: State) -> State:
        """Returns coordinates of the state without redundancy, in which Jacobians, spectra and gradients by lag are
        measured. States with the same coordinates give the same outputs from then on. Only derivatives are taken,
        so a scale may be held fixed by `stop_gradient`. Default: the state itself."""
        return state

    def from_coordinates(self, coordinates: State, like: State) -> State:
        """Returns a state with these coordinates, which are close to those of `like`, in the same representation as
        `like`. A cell that implements `coordinates` implements this too. Default: the coordinates themselves."""
        return coordinates

    def has_coordinates(self, state: State) -> Array:
        """Returns True if the state has coordinates, one answer for all examples. Default: True.

        It is False for an initial state that holds nothing yet; the step from there is left out of spectra.
        """
        return jnp.array(True)

    def observe(self, weights: Weights, state: State, drive: Drive) -> dict[str, Array]:
        """Returns diagnostics of the step that starts from `state`: gates, heads, statistics `[*batch, ...]`."""
        return {}


@dataclass(frozen=True)
class ProductCell(Cell):
    """A cell whose step is one matrix product followed by a local function:

        r = recurrent_input(s_{t−1}) R        s_t, y_t = pointwise(s_{t−1}, drive_t, r)

    Such a cell implements `recurrent_matrix`, `recurrent_input` and `pointwise` in place of `step`. The drive and r
    are separate arguments because some cells (a GRU that resets after the product) treat them differently. A cell
    that uses only their sum sets `additive = True`, which halves the residuals of the backward pass; one that uses
    the sum in some columns only implements `added_columns`.
    `elementwise = True` declares that the local function mixes no units (layer norm does).
    """

    additive: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True

    def has_product_form(self) -> bool:
        """Returns True if `step` has this form with the options chosen; otherwise the cell implements `step`."""
        return True

    def added_columns(self, columns: int) -> int:
        """Returns in how many of the first of the drive's G·H = `columns` the local function uses only the sum with
        r: there pointwise(d, r) = pointwise(d + r, 0). Default: all for an additive cell, else none."""
        return columns if self.additive else 0

    def recurrent_matrix(self, weights: Weights) -> Array:
        """Returns R: `[H, G·H]`, or block-diagonal in N blocks `[N, H/N, G·H/N]`."""
        raise NotImplementedError(f"{type(self).__name__} has no recurrent_matrix(weights)")

    def recurrent_input(self, weights: Weights, state: State) -> Array:
        """Returns the part of the state that R multiplies: `[*batch, H]`. Default: the state itself."""
        return state

    def pointwise(self, weights: Weights, state: State, drive: Drive, r: Array) -> tuple[State, Output]:
        """Computes s_t, y_t from s_{t−1}, the drive and r = recurrent_input(s_{t−1}) R `[*batch, G·H]`."""
        raise NotImplementedError(f"{type(self).__name__} has no pointwise(weights, state, drive, r)")

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        """Applies the product, then the local function."""
        return self.pointwise(weights, state, drive, self.product(weights, state))

    def product(self, weights: Weights, state: State) -> Array:
        """Computes r = recurrent_input(s_{t−1}) R `[*batch, G·H]`."""
        return matmul(self.recurrent_input(weights, state), self.recurrent_matrix(weights))


@dataclass(frozen=True)
class LinearCell(Cell):
    """A cell that is linear in its state, unit by unit:

        s_t = a_t ∘ s_{t−1} + b_t        y_t = readout(s_t, drive_t)

    Such a cell implements `coefficients` and `readout` in place of `step`, and can run in parallel over time.
    """

    def coefficients(self, weights: Weights, drive: Drive) -> tuple[State, State]:
        """Returns a_t and b_t, each shaped like the state; for one step or, with a leading time axis, for all."""
        raise NotImplementedError(f"{type(self).__name__} has no coefficients(weights, drive)")

    def readout(self, weights: Weights, state: State, drive: Drive) -> Output:
        """Computes y_t from s_t; for one step or, with a leading time axis, for all. Default: the state."""
        return state

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        """Computes s_t and its readout."""
        a, b = self.coefficients(weights, drive)
        state = jax.tree.map(lambda a, s, b: a * s + b, a, state, b)
        return state, self.readout(weights, state, drive)


def matmul(x: Array, matrix: Array) -> Array:
    """Computes x R for `x [..., H]` and R `[H, M]`, or block-diagonal `[N, H/N, M/N]`, whose blocks map consecutive
    slices of H/N numbers to slices of M/N."""
    if matrix.ndim == 2:
        return x @ matrix
    blocks, rows, columns = matrix.shape
    y = jnp.einsum("...nh,nhm->...nm", x.reshape(*x.shape[:-1], blocks, rows), matrix)
    return y.reshape(*x.shape[:-1], blocks * columns)


def affine(x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """Computes x W + b for `x [..., D]`, W = `kernel [D, N]`, b = `bias [N]`: `[..., N]`.

    Raises ValueError if the inputs' D is not the kernel's.
    """
    if x.ndim == 0 or x.shape[-1] != kernel.shape[0]:
        size = x.shape[-1] if x.ndim else "no axis"
        raise ValueError(
            f"the input axis D is {size} in the inputs {list(x.shape)} but {kernel.shape[0]} in the parameters"
        )
    if kernel.shape[0] == 1:
        # A product over one element is slower than broadcasting.
        product = x * kernel.reshape((1,) * (x.ndim - 1) + kernel.shape[1:])
    else:
        # One two-dimensional product, whatever the number of leading axes.
        rows = math.prod(x.shape[:-1])
        product = (x.reshape(rows, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[1])
    return product if bias is None else add_bias(product, bias)


def add_bias(x: Array, bias: Array) -> Array:
    """Computes x + b over the last axis: `x [..., N]`, `bias [N]`. Explicit, as implicit rank promotion hides
    errors."""
    return x + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


def check_at_least(least: int, **sizes: Any) -> None:
    """Raises ValueError, naming the field, for a size that is not an integer (NumPy's included) ≥ `least`."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, but is {size!r}")


def after_fields(post_init: Callable[..., None]) -> Callable[..., None]:
    """Returns a `__post_init__` that checks the fields first, so that a cell's own need not call that of `Cell`."""

    @wraps(post_init)
    def checked(self: Cell, *arguments: Any) -> None:
        check_fields(self)
        post_init(self, *arguments)

    return checked


def check_fields(cell: Cell) -> None:
    """Converts NumPy scalars to Python numbers, so that 64 and `numpy.int64(64)` make equal cells of the same name.

    Raises ValueError for a field that can't be hashed (`check_hashable`).
    """
    for name, value in vars(cell).items():
        if isinstance(value, np.generic):
            object.__setattr__(cell, name, value.item())
    if not all(map(is_hashable, vars(cell).values())):
        check_hashable(cell)


def check_hashable(cell: Cell) -> None:
    """Raises ValueError, naming the field, if a cell can't be hashed: the hash is JAX's compilation key."""
    try:
        hash(cell)
    except TypeError:
        wrong = [name for name, value in vars(cell).items() if not is_hashable(value)]
        reason = (
            f"its field {wrong[0]!r} holds a {type(vars(cell)[wrong[0]]).__name__}"
            if wrong
            else "it defines no hash"
        )
        raise ValueError(
            f"{type(cell).__name__} can't be hashed, since {reason}: make it a frozen dataclass whose fields are "
            "numbers, strings, functions or tuples, and pass arrays as parameters"
        ) from None


def is_hashable(value: Any) -> bool:
    """Returns True if `hash` accepts the value."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def gelu(x: Array) -> Array:
    """Computes x Φ(x), Φ the standard normal distribution function. Hendrycks & Gimpel 2016.

    By erf, which is exact to the rounding of Φ and faster than the erfc of `jax.nn.gelu`.
    """
    return x * (0.5 + 0.5 * jax.lax.erf(x * math.sqrt(0.5)))


ACTIVATIONS: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "gelu": gelu,
    "identity": lambda x: x,
}


def activation(name: str | Activation) -> Activation:
    """Returns the function of that name (tanh, relu, sigmoid, gelu, identity), or the function itself.

    Raises ValueError for an unknown name.
    """
    if callable(name):
        return name
    if name not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {name!r}: choose one of {', '.join(ACTIVATIONS)} or give a function"
        )
    return ACTIVATIONS[name]
