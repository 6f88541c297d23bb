"""Diagonal state-space models, discretised: S4D, one small system per channel, and S5, one system for all."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from models.cell import Array, BatchShape, Drive, Key, LinearCell, Params, Weights, affine, check_at_least
from models.cells.complex_parts import complex_affine, complex_type, real_affine, to_complex
from models.initializers import Glorot, Initializer

Discretisation = Literal["zoh", "bilinear"]


@dataclass(frozen=True)
class S4D(LinearCell):
    """Gu, Gupta, Goel & Ré 2022: every channel h filters its input u_h with its own diagonal system,

        s' = A s + B u,   y = 2 Re(C s) + D u        in steps of length Δ:
        s_t = Ā ∘ s_{t−1} + B̄ u_t
        y_t = 2 Re Σ_n C_n s_{t,n} + D u_t

        Ā = exp(Δ A),                 B̄ = (exp(Δ A) − 1)/A ∘ B      discretisation="zoh": u held for a step
        Ā = (1 + Δ A/2)/(1 − Δ A/2),  B̄ = Δ/(1 − Δ A/2) ∘ B         discretisation="bilinear": Tustin's

    u_t = x_t W + b; with `projection=False` u = x, and D must be H. `state_size` N counts complex numbers, each
    for a conjugate pair: the paper's N is twice that. `spectrum` is the initialisation of A, "lin" for S4D-Lin,
    A_n = −½ + iπn, or "inv" for S4D-Inv, A_n = −½ + i (2N/π) (2N/(2n + 1) − 1); B is initialised to 1, C normal,
    Δ log-uniform in (`least_step`, `most_step`). Norms, activations, mixing and residuals are left to the model.
    Parameters: `kernel` W `[D, H]`, `bias` b `[H]`; `log_decay` ln(−Re A) and `frequency` Im A `[H, N]`;
    `input_real`, `input_imag` of B and `output_real`, `output_imag` of C `[H, N]`; `log_step` `[H]`; `skip` `[H]`.
    State: s complex `[*batch, H, N]`. Output: real `[*batch, H]`.
    """

    hidden_size: int
    state_size: int = 32
    spectrum: Literal["lin", "inv"] = "lin"
    projection: bool = True
    least_step: float = 0.001
    most_step: float = 0.1
    kernel_init: Initializer = Glorot()
    discretisation: Discretisation = "zoh"

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, state_size=self.state_size)
        check_steps(self.least_step, self.most_step)
        check_discretisation(self.discretisation)
        if self.spectrum not in ("lin", "inv"):
            raise ValueError(f"an S4D's spectrum is 'lin' or 'inv', but is {self.spectrum!r}")

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size, states = self.hidden_size, self.state_size
        if not self.projection and input_size != size:
            raise ValueError(
                f"without a projection the input size must be the number of channels, {size}, but D is {input_size}"
            )
        keys = jax.random.split(key, 4)
        n = np.arange(states)
        lin, inv = np.pi * n, 2 * states / np.pi * (2 * states / (2 * n + 1) - 1)
        frequency = jnp.asarray(lin if self.spectrum == "lin" else inv, jnp.zeros(0).dtype)
        output = jax.random.normal(keys[0], (2, size, states)) / 2**0.5
        params = {
            "log_decay": jnp.full((size, states), np.log(0.5)),
            "frequency": jnp.broadcast_to(frequency, (size, states)),
            "input_real": jnp.ones((size, states)),
            "input_imag": jnp.zeros((size, states)),
            "output_real": output[0],
            "output_imag": output[1],
            "log_step": log_uniform(keys[1], size, self.least_step, self.most_step),
            "skip": jax.random.normal(keys[2], (size,)),
        }
        if not self.projection:
            return params
        return params | {"kernel": self.kernel_init(keys[3], (input_size, size)), "bias": jnp.zeros(size)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Complex[Array, "*batch H N"]:
        shape = (*batch_shape, self.hidden_size, self.state_size)
        return jnp.zeros(shape, complex_type(params["skip"].dtype))

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Adds the discrete-time system to the parameters: `decay` Ā and `input` B̄ `[H, N]`."""
        steps = jnp.broadcast_to(jnp.exp(params["log_step"])[:, None], (self.hidden_size, self.state_size))
        decay, factor = discretised(self.discretisation, params, steps)
        return params | {
            "decay": decay,
            "input": factor * to_complex(params["input_real"], params["input_imag"]),
        }

    def drive(self, weights: Weights, x: Array) -> Float[Array, "... H"]:
        return affine(x, weights["kernel"], weights["bias"]) if self.projection else x

    def coefficients(self, weights: Weights, drive: Float[Array, "... H"]) -> tuple[Array, Array]:
        shape = (*drive.shape, self.state_size)
        b = jnp.broadcast_to(weights["input"], shape) * drive[..., None]
        return jnp.broadcast_to(weights["decay"], shape), b

    def readout(
        self, weights: Weights, state: Complex[Array, "... H N"], drive: Float[Array, "... H"]
    ) -> Float[Array, "... H"]:
        c = (jnp.broadcast_to(weights[name], state.shape) for name in ("output_real", "output_imag"))
        real, imaginary = c
        of_state = 2 * jnp.sum(real * state.real - imaginary * state.imag, axis=-1)
        return of_state + jnp.broadcast_to(weights["skip"], drive.shape) * drive


@dataclass(frozen=True)
class S5(LinearCell):
    """Smith, Warrington & Linderman 2023: one diagonal system driven by all inputs and read by all outputs,

        s_t = Ā ∘ s_{t−1} + x_t B̄
        y_t = 2 Re(s_t C) + x_t D

    Ā and B̄ are those of `S4D`, with the same `discretisation`, "zoh" (zero-order hold) or "bilinear".

    `state_size` N counts complex numbers, each for a conjugate pair: the paper's P is twice that. A is
    initialised to the eigenvalues of HiPPO-N, the normal part of HiPPO-LegS, in `blocks` equal blocks, and B and
    C are drawn in its eigenbasis; Δ is initialised log-uniformly in (`least_step`, `most_step`), one per state.
    The paper's skip D is diagonal, as its D = H. Norms, activations, mixing and residuals are left to the model.
    Parameters: `log_decay` ln(−Re A), `frequency` Im A and `log_step` ln Δ `[N]`; `input_real`, `input_imag` of B
    `[D, N]`; `output_real`, `output_imag` of C `[N, H]`; `skip` D `[D, H]`.
    State: s complex `[*batch, N]`. Output: real `[*batch, H]`.
    """

    hidden_size: int
    state_size: int = 32
    blocks: int = 1
    least_step: float = 0.001
    most_step: float = 0.1
    skip_init: Initializer = Glorot()
    discretisation: Discretisation = "zoh"

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, state_size=self.state_size, blocks=self.blocks)
        check_steps(self.least_step, self.most_step)
        check_discretisation(self.discretisation)
        if self.state_size % self.blocks:
            raise ValueError(f"{self.blocks} blocks don't divide a state_size of {self.state_size}")

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size, states = self.hidden_size, self.state_size
        keys = jax.random.split(key, 4)
        frequency, vectors = hippo_normal(states // self.blocks)
        dtype = jnp.zeros(0).dtype
        vectors = np.kron(np.eye(self.blocks), vectors)
        real, imaginary = jnp.asarray(vectors.real, dtype), jnp.asarray(vectors.imag, dtype)
        b = jax.random.normal(keys[0], (input_size, 2 * states)) / max(input_size, 1) ** 0.5
        c = jax.random.normal(keys[1], (size, 2 * states)) / (2 * states) ** 0.5
        return {
            "log_decay": jnp.full(states, np.log(0.5)),
            "frequency": jnp.asarray(np.tile(frequency, self.blocks), dtype),
            "input_real": b @ real,  # B V̄ for the rows that are inputs, V C for the columns that are outputs
            "input_imag": -b @ imaginary,
            "output_real": (c @ real).T,
            "output_imag": (c @ imaginary).T,
            "log_step": log_uniform(keys[2], states, self.least_step, self.most_step),
            "skip": self.skip_init(keys[3], (input_size, size)),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Complex[Array, "*batch N"]:
        return jnp.zeros((*batch_shape, self.state_size), complex_type(params["log_step"].dtype))

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Adds the discrete-time system to the parameters: `decay` Ā, and `factor` B̄/B, `[N]`."""
        decay, factor = discretised(self.discretisation, params, jnp.exp(params["log_step"]))
        return params | {"decay": decay, "factor": factor}

    def drive(self, weights: Weights, x: Array) -> Drive:
        """Computes `state` x B̄ `[..., N]` and `output` x D `[..., H]`."""
        b = complex_affine(x, weights["input_real"], weights["input_imag"])
        return {
            "state": b * jnp.broadcast_to(weights["factor"], b.shape),
            "output": affine(x, weights["skip"]),
        }

    def coefficients(self, weights: Weights, drive: Drive) -> tuple[Array, Array]:
        return jnp.broadcast_to(weights["decay"], drive["state"].shape), drive["state"]

    def readout(
        self, weights: Weights, state: Complex[Array, "... N"], drive: Drive
    ) -> Float[Array, "... H"]:
        return 2 * real_affine(state, weights["output_real"], weights["output_imag"]) + drive["output"]


def discretised(kind: Discretisation, params: Params, steps: Float[Array, "..."]) -> tuple[Array, Array]:
    """Computes Ā and the factor B̄/B, in steps of length Δ."""
    return zero_order_hold(params, steps) if kind == "zoh" else bilinear(params, steps)


def zero_order_hold(params: Params, steps: Float[Array, "..."]) -> tuple[Array, Array]:
    """Computes exp(ΔA) and (exp(ΔA) − 1)/A for A = −exp(`log_decay`) + i `frequency`."""
    a = to_complex(-jnp.exp(params["log_decay"]), params["frequency"])
    z = a * steps
    # exp(x + iy) − 1 without cancellation at small steps: (eˣ − 1) cos y − 2 sin²(y/2) + i eˣ sin y
    real = jnp.expm1(z.real) * jnp.cos(z.imag) - 2 * jnp.sin(z.imag / 2) ** 2
    imaginary = jnp.exp(z.real) * jnp.sin(z.imag)
    return jnp.exp(z), to_complex(real, imaginary) / a


def bilinear(params: Params, steps: Float[Array, "..."]) -> tuple[Array, Array]:
    """Computes (1 + ΔA/2)/(1 − ΔA/2) and Δ/(1 − ΔA/2) for A = −exp(`log_decay`) + i `frequency`: the trapezoidal
    rule with the input held over the step, which maps Re A < 0 into the unit circle for any Δ. Tustin 1947."""
    half = to_complex(-jnp.exp(params["log_decay"]), params["frequency"]) * steps / 2
    return (1 + half) / (1 - half), steps / (1 - half)


def log_uniform(key: Key, size: int, least: float, most: float) -> Float[Array, " size"]:
    """Draws logarithms, uniform between those of `least` and `most`."""
    return jax.random.uniform(key, (size,), minval=np.log(least), maxval=np.log(most))


def hippo_normal(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes the `size` positive imaginary parts of the eigenvalues of HiPPO-N and their eigenvectors
    `[2·size, size]`. HiPPO-N with 2·size states is −½ I + S with S_nk = −½ √(2n+1) √(2k+1) sign(n − k).
    Gu et al. 2020, 2022."""
    n = np.arange(2 * size)
    root = np.sqrt(2 * n + 1)
    skew = -np.outer(root, root) * np.sign(n[:, None] - n[None, :]) / 2
    frequencies, vectors = np.linalg.eigh(-1j * skew)
    return frequencies[size:], vectors[:, size:]


def check_steps(least: float, most: float) -> None:
    """Raises ValueError if the range of initial step sizes is empty."""
    if not 0 < least < most:
        raise ValueError(f"step sizes need 0 < least_step < most_step, but they are {least} and {most}")


def check_discretisation(kind: str) -> None:
    """Raises ValueError for an unknown discretisation."""
    if kind not in ("zoh", "bilinear"):
        raise ValueError(f"discretisation is 'zoh' or 'bilinear', but is {kind!r}")
