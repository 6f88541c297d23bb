"""The linear recurrent unit."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex

from models.cell import Array, BatchShape, Drive, Key, LinearCell, Params, Weights, affine, check_at_least
from models.cells.complex_parts import complex_affine, complex_type, real_affine, to_complex
from models.initializers import Glorot, Initializer


@dataclass(frozen=True)
class LRU(LinearCell):
    """Orvieto et al. 2023:

        s_t = λ ∘ s_{t−1} + γ ∘ (x_t B),   λ = exp(−exp(ν) + i exp(θ))
        y_t = Re(s_t C) + x_t D

    |λ| < 1 for any ν. λ is initialised uniformly on the ring `least_radius` ≤ |λ| ≤ `most_radius` with phases up
    to `most_phase`, and γ to √(1 − |λ|²), so that white input gives a state of the same variance.
    Parameters, N = `state_size` (H where None): `log_decay` ν, `log_phase` θ, `log_scale` ln γ, each `[N]`;
    `input_real`, `input_imag` of B `[D, N]`; `output_real`, `output_imag` of C `[N, H]`; `skip` D `[D, H]`.
    State: s complex `[*batch, N]`. Output: real `[*batch, H]`.

    Examples:
        >>> cell = LRU(hidden_size=4, state_size=8)
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> _, ys = unroll(cell, params, jnp.ones((100, 3)), method="associative")  # parallel over time
        >>> ys.shape
        (100, 4)
    """

    hidden_size: int
    state_size: int | None = None
    least_radius: float = 0.0
    most_radius: float = 1.0
    most_phase: float = 2 * np.pi
    skip_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, state_size=self.states)
        if not 0 <= self.least_radius < self.most_radius <= 1:
            raise ValueError(
                "the ring must have 0 <= least_radius < most_radius <= 1, "
                f"but they are {self.least_radius} and {self.most_radius}"
            )
        if not self.most_phase > 0:
            raise ValueError(f"most_phase must be positive, but is {self.most_phase}")

    @property
    def states(self) -> int:
        """The state size N."""
        return self.hidden_size if self.state_size is None else self.state_size

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size, states = self.hidden_size, self.states
        keys = jax.random.split(key, 5)
        # Keeps the draws away from 0 and 1, where log(decay) is infinite.
        eps = float(jnp.finfo(jnp.zeros(0).dtype).eps)
        radius, phase = jax.random.uniform(keys[0], (2, states), minval=eps, maxval=1 - eps)
        inner, outer = self.least_radius**2, self.most_radius**2
        decay = -jnp.log(inner + (outer - inner) * radius) / 2
        matrix_in = jax.random.normal(keys[1], (2, input_size, states)) / max(2 * input_size, 1) ** 0.5
        matrix_out = jax.random.normal(keys[2], (2, states, size)) / states**0.5
        return {
            "log_decay": jnp.log(decay),
            "log_phase": jnp.log(self.most_phase * phase),
            "log_scale": jnp.log(-jnp.expm1(-2 * decay)) / 2,
            "input_real": matrix_in[0],
            "input_imag": matrix_in[1],
            "output_real": matrix_out[0],
            "output_imag": matrix_out[1],
            "skip": self.skip_init(keys[3], (input_size, size)),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Complex[Array, "*batch N"]:
        return jnp.zeros((*batch_shape, self.states), complex_type(params["log_decay"].dtype))

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Returns the parameters with `decay` λ `[N]` and with γ multiplied into B."""
        scale = jnp.exp(params["log_scale"])[None, :]
        rate = to_complex(-jnp.exp(params["log_decay"]), jnp.exp(params["log_phase"]))
        scaled = {name: params[name] * scale for name in ("input_real", "input_imag")}
        return params | scaled | {"decay": jnp.exp(rate)}

    def drive(self, weights: Weights, x: Array) -> Drive:
        """Computes `state` γ ∘ (x B) `[..., N]` and `output` x D `[..., H]`."""
        return {
            "state": complex_affine(x, weights["input_real"], weights["input_imag"]),
            "output": affine(x, weights["skip"]),
        }

    def coefficients(self, weights: Weights, drive: Drive) -> tuple[Array, Array]:
        return jnp.broadcast_to(weights["decay"], drive["state"].shape), drive["state"]

    def readout(self, weights: Weights, state: Complex[Array, "... N"], drive: Drive) -> Array:
        return real_affine(state, weights["output_real"], weights["output_imag"]) + drive["output"]
