"""The real-gated linear recurrent unit of Griffin."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid, softplus

from models.cell import (
    Array,
    BatchShape,
    Drive,
    Key,
    LinearCell,
    Params,
    Weights,
    add_bias,
    affine,
    check_at_least,
    matmul,
)
from models.initializers import Glorot, Initializer


@dataclass(frozen=True)
class RGLRU(LinearCell):
    """De et al. 2024:

        u_t = x_t W + b
        r_t = σ(u_t W_r + b_r)           recurrence gate
        i_t = σ(u_t W_i + b_i)           input gate
        a_t = σ(Λ)^{c r_t}
        h_t = a_t ∘ h_{t−1} + √(1 − a_t²) ∘ (i_t ∘ u_t),   y_t = h_t

    u is the linear layer before the unit in the paper's block; with `projection=False` u = x, and D must be H. W_r
    and W_i are block-diagonal in `blocks` blocks (16 in the paper). a^c, the decay of an open gate, is initialised
    uniformly in (0.9, 0.999). c is `sharpness`.
    Parameters: `kernel` W `[D, H]` and `projection_bias` b `[H]`; `recurrence_kernel` W_r and `input_kernel` W_i
    `[blocks, H/blocks, H/blocks]`; `bias` b_r, b_i `[2H]`; `decay` Λ `[H]`. State and output: h `[*batch, H]`.

    As a → 1, 1 − a² is lost to rounding and the slope of the root is infinite; here both are computed from
    s = ln(−ln a_t) = ln c + ln softplus(−Λ) + ln r_t, in which the root is smooth: see `complement`.
    """

    hidden_size: int
    blocks: int = 1
    projection: bool = True
    sharpness: float = 8.0
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, blocks=self.blocks)
        if self.hidden_size % self.blocks:
            raise ValueError(f"{self.blocks} blocks don't divide a hidden_size of {self.hidden_size}")
        if not self.sharpness > 0:
            raise ValueError(f"sharpness must be positive, but is {self.sharpness}")

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size = self.hidden_size
        if not self.projection and input_size != size:
            raise ValueError(
                f"without a projection the input size must be the hidden_size, {size}, but D is {input_size}"
            )
        keys = jax.random.split(key, 4)
        width = size // self.blocks

        def gate(key: Key) -> Array:
            return jnp.stack(
                [self.kernel_init(k, (width, width)) for k in jax.random.split(key, self.blocks)]
            )

        open_decay = jax.random.uniform(keys[3], (size,), minval=0.9, maxval=0.999)
        params = {
            "recurrence_kernel": gate(keys[1]),
            "input_kernel": gate(keys[2]),
            "bias": jnp.zeros(2 * size),
            "decay": -jnp.log(jnp.expm1(-jnp.log(open_decay) / self.sharpness)),
        }
        if not self.projection:
            return params
        kernel = self.kernel_init(keys[0], (input_size, size))
        return params | {"kernel": kernel, "projection_bias": jnp.zeros(size)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), params["decay"].dtype)

    def drive(self, weights: Weights, x: Array) -> Drive:
        """Computes `input` u and the preactivations `recurrence_gate` and `input_gate`, each `[..., H]`."""
        u = affine(x, weights["kernel"], weights["projection_bias"]) if self.projection else x
        bias_r, bias_i = jnp.split(weights["bias"], 2)
        return {
            "input": u,
            "recurrence_gate": add_bias(matmul(u, weights["recurrence_kernel"]), bias_r),
            "input_gate": add_bias(matmul(u, weights["input_kernel"]), bias_i),
        }

    def coefficients(self, weights: Weights, drive: Drive) -> tuple[Array, Array]:
        gate = drive["recurrence_gate"]
        open_rate = jnp.log(self.sharpness) + log_softplus(-weights["decay"])
        log_rate = add_bias(log_sigmoid(gate), open_rate)
        return jnp.exp(-jnp.exp(log_rate)), complement(log_rate) * sigmoid(drive["input_gate"]) * drive[
            "input"
        ]

    def observe(self, weights: Weights, state: Array, drive: Drive) -> dict[str, Array]:
        """Returns the gates `recurrence` r and `input` i, and the resulting `decay` a."""
        return {
            "recurrence": sigmoid(drive["recurrence_gate"]),
            "input": sigmoid(drive["input_gate"]),
            "decay": self.coefficients(weights, drive)[0],
        }


def log_softplus(x: Array) -> Array:
    """Computes ln ln(1 + eˣ), also where eˣ underflows: there it is x."""
    small = x < -37.0  # where ln(1 + eˣ) = eˣ even in double precision
    return jnp.where(small, x, jnp.log(softplus(jnp.where(small, 0.0, x))))


@jax.custom_jvp
def complement(log_rate: Array) -> Array:
    """Computes √(1 − a²) from s = ln(−ln a), to full relative accuracy from a = 0 to a = 1."""
    return jnp.sqrt(-jnp.expm1(-2 * jnp.exp(log_rate)))


@complement.defjvp
def _complement_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Computes ∂√(1 − a²)/∂s = √(1 − a²) · L / (e^{2L} − 1) with L = −ln a = eˢ."""
    root = complement(primals[0])
    rate = jnp.exp(primals[0])
    ordinary = (rate > 1e-18) & (rate < 40.0)  # the quotient is ½ below and negligible above
    inside = jnp.where(ordinary, rate, 1.0)
    quotient = jnp.where(ordinary, inside / jnp.expm1(2 * inside), jnp.where(rate < 1.0, 0.5, 0.0))
    return root, root * quotient * tangents[0]
