"""A recurrent network whose recurrent matrix stays orthogonal during training."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from models.cell import (
    Activation,
    Array,
    BatchShape,
    Key,
    Params,
    ProductCell,
    Weights,
    activation,
    affine,
    check_at_least,
)
from models.cells.complex_parts import modrelu
from models.initializers import Glorot, Initializer


@dataclass(frozen=True)
class OrthogonalRNN(ProductCell):
    """h_t = φ(x_t W + h_{t−1} Q + b),   y_t = h_t,   Q orthogonal:

        Q = (I + A)⁻¹ (I − A) D      parametrisation="cayley": Helfrich, Willmott & Ye 2018 (scoRNN)
        Q = exp(A) D                 parametrisation="exponential": Lezcano-Casado & Martínez-Rubio 2019 (expRNN)

    A = −Aᵀ is learned, D is fixed: the first H·`flipped` of its diagonal are −1, the others 1. The Cayley transform
    needs it, as it can't reach an eigenvalue −1 otherwise; the default of ½ holds for the exponential too, so the
    paper's expRNN is `parametrisation="exponential", flipped=0.0`. φ is modReLU, sign(z) max(|z| + b, 0), as in
    both papers, or any activation of Elman's, with b inside as there.
    Parameters: `kernel` W `[D, H]`, `skew` `[H(H−1)/2]`, A above its diagonal row by row, `bias` b `[H]`.
    State and output: h `[*batch, H]`. `prepare` computes Q, once per sequence.

    A is initialised to H/2 rotations by angles from U(0, π/2) for Cayley, from U(−π, π) for the exponential. In
    single precision Q is orthogonal to rounding (‖QᵀQ − I‖₂ < 1e-6) for any A: see `orthogonalised`.
    """

    additive: ClassVar[bool] = True
    hidden_size: int
    parametrisation: Literal["cayley", "exponential"] = "cayley"
    activation: str | Activation = "modrelu"
    flipped: float = 0.5
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        if self.parametrisation not in ("cayley", "exponential"):
            raise ValueError(f"parametrisation is 'cayley' or 'exponential', but is {self.parametrisation!r}")
        if not 0 <= self.flipped <= 1:
            raise ValueError(f"flipped is a fraction between 0 and 1, but is {self.flipped}")
        if self.activation != "modrelu":
            activation(self.activation)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size = self.hidden_size
        key_input, key_angle = jax.random.split(key)
        if self.parametrisation == "cayley":
            # The Cayley transform turns tan(t/2) into a rotation by t.
            blocks = jnp.tan(jax.random.uniform(key_angle, (size // 2,), maxval=np.pi / 2) / 2)
        else:
            blocks = jax.random.uniform(key_angle, (size // 2,), minval=-np.pi, maxval=np.pi)
        first = 2 * np.arange(size // 2)
        upper = jnp.zeros((size, size)).at[first, first + 1].set(blocks)
        return {
            "kernel": self.kernel_init(key_input, (input_size, size)),
            "skew": upper[np.triu_indices(size, 1)],
            "bias": jnp.zeros(size),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), params["bias"].dtype)

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Adds Q `recurrent [H, H]` to the parameters."""
        return params | {"recurrent": self.orthogonal_matrix(params["skew"])}

    def orthogonal_matrix(self, skew: Float[Array, " entries"]) -> Float[Array, "H H"]:
        """Computes Q from A's entries above the diagonal."""
        size = self.hidden_size
        entries = skew.astype(jnp.promote_types(skew.dtype, jnp.float32))  # solvers need single precision
        upper = jnp.zeros((size, size), entries.dtype).at[np.triu_indices(size, 1)].set(entries)
        a, eye = upper - upper.T, jnp.eye(size, dtype=entries.dtype)
        with jax.default_matmul_precision("highest"):
            cayley = self.parametrisation == "cayley"
            q = orthogonalised(jnp.linalg.solve(eye + a, eye - a) if cayley else jax.scipy.linalg.expm(a))
        signs = np.where(np.arange(size) < round(self.flipped * size), -1, 1)
        return (q * jnp.asarray(signs, q.dtype)[None, :]).astype(skew.dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], None if self.activation == "modrelu" else weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def pointwise(self, weights: Weights, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        z = drive + r
        h = modrelu(z, weights["bias"]) if self.activation == "modrelu" else activation(self.activation)(z)
        return h, h

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns `hidden`, the units after the step."""
        return {"hidden": self.step(weights, state, drive)[0]}


def orthogonalised(q: Float[Array, "H H"]) -> Float[Array, "H H"]:
    """Removes the rounding error of an almost orthogonal matrix, by two Newton steps Q ← Q (3I − QᵀQ) / 2 towards
    the nearest orthogonal one.

    A solve has an error of ε·cond(I + A), and A grows in training: 1e-5 at ‖A‖ = 100 in single precision. Each step
    squares that error. The correction is rounding alone, so no gradient passes through it.
    """
    exact = jax.lax.stop_gradient(q)
    for _ in range(2):
        exact = exact + exact @ (jnp.eye(len(q), dtype=q.dtype) - exact.T @ exact) / 2
    return q + jax.lax.stop_gradient(exact - q)
