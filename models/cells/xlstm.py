"""Extended long short-term memory: exponential gates, with a scalar memory (sLSTM) or a matrix memory (mLSTM)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Float

from models.cell import (
    Array,
    BatchShape,
    Cell,
    Drive,
    Key,
    Params,
    ProductCell,
    Weights,
    affine,
    check_at_least,
)
from models.initializers import Glorot, Initializer, Orthogonal, gate_blocks

Forget = Literal["sigmoid", "exponential"]


class SLSTMState(NamedTuple):
    """The output h, memory c and normaliser n divided by eᵐ, and m; each `[*batch, H]`."""

    h: Array
    c: Array
    n: Array
    m: Array


class MLSTMState(NamedTuple):
    """Memory C `[*batch, heads, d, d]` (value axis before key axis) and normaliser n `[*batch, heads, d]`,
    divided by eᵐ; and m `[*batch, heads]`."""

    C: Array
    n: Array
    m: Array


@dataclass(frozen=True)
class SLSTM(ProductCell):
    """Beck et al. 2024, with i, f, z, o the sums x_t W + h_{t−1} R + b of the four gates:

        c_t = φ(f) ∘ c_{t−1} + exp(i) ∘ tanh(z)         φ = σ, or exp with forget="exponential"
        n_t = φ(f) ∘ n_{t−1} + exp(i)
        h_t = σ(o) ∘ c_t / n_t,   y_t = h_t

    c and n are stored divided by eᵐ, m_t = max(ln φ(f) + m_{t−1}, i), which gives the same h without overflow, with
    n ≥ 1. R is block-diagonal, with one block for each of `heads` heads of H/heads units.
    Parameters: `kernel [D, 4H]`, `recurrent [heads, H/heads, 4H/heads]`, `bias [4H]`; the columns are packed head
    by head, and within a head i, f, z, o. State: (h, c, n, m), each `[*batch, H]`; m is initialised to ln 0, a
    number so small that the first step forgets the initial state. Output: h.
    """

    additive: ClassVar[bool] = True
    hidden_size: int
    heads: int = 1
    forget: Forget = "sigmoid"
    forget_bias: float = 1.0
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()

    def __post_init__(self) -> None:
        check_heads(self.hidden_size, self.heads, self.forget)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size, heads = self.hidden_size, self.heads
        width = size // heads
        key_input, key_recurrent = jax.random.split(key)
        kernel = gate_blocks(self.kernel_init, key_input, input_size, size, gates=4)
        kernel = kernel.reshape(input_size, 4, heads, width).swapaxes(1, 2)
        blocks = [
            gate_blocks(self.recurrent_init, k, width, width, gates=4)
            for k in jax.random.split(key_recurrent, heads)
        ]
        return {
            "kernel": kernel.reshape(input_size, 4 * size),
            "recurrent": jnp.stack(blocks),
            "bias": jnp.zeros((heads, 4, width)).at[:, 1].set(self.forget_bias).reshape(4 * size),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> SLSTMState:
        zeros = jnp.zeros((*batch_shape, self.hidden_size), params["bias"].dtype)
        return SLSTMState(h=zeros, c=zeros, n=zeros, m=jnp.full_like(zeros, log_zero(zeros.dtype)))

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Float[Array, "heads width columns"]:
        return weights["recurrent"]

    def recurrent_input(self, weights: Weights, state: SLSTMState) -> Array:
        return state.h

    def gates(self, summed: Float[Array, "*batch columns"]) -> list[Float[Array, "*batch H"]]:
        """Splits preactivations into i, ln φ(f), z, o, each with its heads side by side."""
        *batch, _ = summed.shape
        by_head = summed.reshape(*batch, self.heads, 4, self.hidden_size // self.heads)
        i, f, z, o = (by_head[..., g, :].reshape(*batch, self.hidden_size) for g in range(4))
        return [i, log_gate(f, self.forget), z, o]

    def pointwise(
        self, weights: Weights, state: SLSTMState, drive: Array, r: Array
    ) -> tuple[SLSTMState, Array]:
        i, log_f, z, o = self.gates(drive + r)
        m = jnp.maximum(log_f + state.m, i)
        keep, take = jnp.exp(log_f + state.m - m), jnp.exp(i - m)
        c = keep * state.c + take * jnp.tanh(z)
        n = keep * state.n + take
        h = sigmoid(o) * c / n
        return SLSTMState(h, c, n, m), h

    def coordinates(self, state: SLSTMState) -> tuple[Array, Array, Array]:
        """Returns (h, c/n, ln n + m), as (c e⁻ᵃ, n e⁻ᵃ, m + a) is one state for all a; at n = 0 (h, c, m)."""
        n = jnp.where(state.n > 0, state.n, 1)
        return state.h, state.c / n, jnp.log(n) + state.m

    def from_coordinates(self, coordinates: tuple[Array, Array, Array], like: SLSTMState) -> SLSTMState:
        h, ratio, size = coordinates
        n = jnp.where(like.n > 0, like.n, 1)
        return SLSTMState(h, ratio * n, like.n, size - jnp.log(n))

    def has_coordinates(self, state: SLSTMState) -> Array:
        """Returns True if n > 0."""
        return jnp.all(state.n > 0)

    def observe(self, weights: Weights, state: SLSTMState, drive: Array) -> dict[str, Array]:
        """Returns `forget` and `input`, the fractions of the old and the new in n_t, and `output` σ(o)."""
        i, _, _, o = self.gates(drive + self.product(weights, state))
        new, _ = self.step(weights, state, drive)
        share = jnp.exp(i - new.m) / new.n
        return {"forget": 1 - share, "input": share, "output": sigmoid(o)}


@dataclass(frozen=True)
class MLSTM(Cell):
    """Beck et al. 2024: in each of `heads` heads of size d = H/heads, with query q, key k/√d, value v and gates
    i, f (one number per head) and o (d numbers) linear in x_t:

        C_t = φ(f) C_{t−1} + exp(i) v kᵀ             φ = σ, or exp with forget="exponential"
        n_t = φ(f) n_{t−1} + exp(i) k
        h_t = σ(o) ∘ C_t q / max(|n_t · q|, 1),   y_t = the heads' h_t side by side

    C and n are stored divided by eᵐ, m_t = max(ln φ(f) + m_{t−1}, i), so that the 1 becomes e^{−m}: see
    `normalised`. The gates don't depend on the last output: there is no recurrent matrix.
    Parameters: `kernel [D, 4H]` and `bias [4H]`, packed q, k, v, o; `gate_kernel [D, 2·heads]` and `gate_bias
    [2·heads]`, i before f. The forget biases are initialised evenly over `forget_bias`, from the first head to the
    last, as in the authors' code. State: (C `[*batch, heads, d, d]`, n `[*batch, heads, d]`, m `[*batch, heads]`);
    m is initialised to ln 0, as an sLSTM's is. Output: `[*batch, H]`.
    """

    hidden_size: int
    heads: int = 1
    forget: Forget = "sigmoid"
    forget_bias: tuple[float, float] = (3.0, 6.0)
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_heads(self.hidden_size, self.heads, self.forget)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        keys, heads = jax.random.split(key), self.heads
        return {
            "kernel": gate_blocks(self.kernel_init, keys[0], input_size, self.hidden_size, gates=4),
            "bias": jnp.zeros(4 * self.hidden_size),
            "gate_kernel": gate_blocks(self.kernel_init, keys[1], input_size, heads, gates=2),
            "gate_bias": jnp.concatenate([jnp.zeros(heads), jnp.linspace(*self.forget_bias, heads)]),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> MLSTMState:
        d, dtype = self.hidden_size // self.heads, params["bias"].dtype
        shape = (*batch_shape, self.heads)
        return MLSTMState(
            C=jnp.zeros((*shape, d, d), dtype),
            n=jnp.zeros((*shape, d), dtype),
            m=jnp.full(shape, log_zero(dtype), dtype),
        )

    def drive(self, weights: Weights, x: Array) -> Drive:
        """Computes `q`, `k`, `v` `[..., heads, d]`, `input` i and `log_forget` ln φ(f) `[..., heads]`, `output`
        o."""
        d = self.hidden_size // self.heads
        q, k, v, o = jnp.split(affine(x, weights["kernel"], weights["bias"]), 4, axis=-1)
        i, f = jnp.split(affine(x, weights["gate_kernel"], weights["gate_bias"]), 2, axis=-1)
        q, k, v = (part.reshape(*part.shape[:-1], self.heads, d) for part in (q, k, v))
        return {
            "q": q,
            "k": k / d**0.5,
            "v": v,
            "input": i,
            "log_forget": log_gate(f, self.forget),
            "output": o,
        }

    def step(self, weights: Weights, state: MLSTMState, drive: Drive) -> tuple[MLSTMState, Array]:
        q, k, v = drive["q"], drive["k"], drive["v"]
        m = jnp.maximum(drive["log_forget"] + state.m, drive["input"])
        keep = jnp.exp(drive["log_forget"] + state.m - m)[..., None]
        take = jnp.exp(drive["input"] - m)[..., None]
        n = keep * state.n + take * k
        memory = keep[..., None] * state.C + (take * v)[..., :, None] * k[..., None, :]
        read = jnp.einsum("...vk,...k->...v", memory, q)
        read = normalised(read, jnp.sum(n * q, axis=-1), m)
        h = sigmoid(drive["output"]) * read.reshape(drive["output"].shape)
        return MLSTMState(memory, n, m), h

    def coordinates(self, state: MLSTMState) -> tuple[Array, Array]:
        """Returns (C, n) eᵐ in units of its own size, as (C e⁻ᵃ, n e⁻ᵃ, m + a) is one state for all a: a change of
        (C, n) eᵐ is measured relative to ‖(C, n)‖ eᵐ of its head. Neither is formed, since eᵐ overflows."""
        scale = relative_scale(state)
        return state.C * scale[..., None, None], state.n * scale[..., None]

    def from_coordinates(self, coordinates: tuple[Array, Array], like: MLSTMState) -> MLSTMState:
        scale = relative_scale(like)
        return MLSTMState(coordinates[0] / scale[..., None, None], coordinates[1] / scale[..., None], like.m)

    def has_coordinates(self, state: MLSTMState) -> Array:
        """Returns True if m is no longer ln 0."""
        return jnp.all(state.m > log_zero(state.m.dtype) / 2)

    def observe(self, weights: Weights, state: MLSTMState, drive: Drive) -> dict[str, Array]:
        """Returns `log_forget` ln φ(f) and `log_input` i, logarithms since exp is unbounded, and `output` σ(o)."""
        return {
            "log_forget": drive["log_forget"],
            "log_input": drive["input"],
            "output": sigmoid(drive["output"]),
        }


def relative_scale(state: MLSTMState) -> Float[Array, "*batch heads"]:
    """Computes eᵐ over the size ‖(C, n)‖ eᵐ of each head, held constant in derivatives; 1 for a memory of zeros."""
    squares = jnp.sum(state.C**2, axis=(-2, -1)) + jnp.sum(state.n**2, axis=-1)
    size = jax.lax.stop_gradient(jnp.sqrt(jnp.where(squares > 0, squares, 1)))
    return jnp.exp(state.m - jax.lax.stop_gradient(state.m)) / size


def normalised(
    read: Float[Array, "*batch heads d"], dot: Float[Array, "*batch heads"], m: Float[Array, "*batch heads"]
) -> Float[Array, "*batch heads d"]:
    """Computes read / max(|dot|, e^{−m}), in values and gradients without an overflow of e^{−m} at very negative m,
    where it is read · eᵐ, or a division by 0 at very positive m: the divisor is at least the root of the smallest
    normal number, far below the rounding error of |dot|."""
    bounded = jnp.minimum(m, -0.5 * jnp.log(jnp.finfo(m.dtype).tiny))
    larger = jnp.abs(dot) >= jnp.exp(-bounded)
    by_dot = 1 / jnp.where(larger, jnp.abs(dot), 1)
    return read * jnp.where(larger, by_dot, jnp.exp(jnp.where(larger, 0, bounded)))[..., None]


def log_gate(f: Array, kind: Forget) -> Array:
    """Computes ln φ(f)."""
    return log_sigmoid(f) if kind == "sigmoid" else f


def log_zero(dtype: jnp.dtype) -> float:
    """Returns a finite stand-in for ln 0, so that differences of it are numbers."""
    return float(jnp.finfo(dtype).min) / 2


def check_heads(hidden_size: int, heads: int, forget: str) -> None:
    """Raises ValueError if the options of a cell with heads don't fit together."""
    check_at_least(1, hidden_size=hidden_size, heads=heads)
    if hidden_size % heads:
        raise ValueError(f"{heads} heads don't divide a hidden_size of {hidden_size}")
    if forget not in ("sigmoid", "exponential"):
        raise ValueError(f"forget is 'sigmoid' or 'exponential', but is {forget!r}")
