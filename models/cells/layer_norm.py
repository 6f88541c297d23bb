"""Gated cells with layer normalisation inside the recurrence."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Key, Params, ProductCell, Weights, add_bias, affine, check_at_least
from models.cells.gates import squash
from models.cells.gru import GRU
from models.cells.lstm import GATES, LSTM, LSTMState
from models.initializers import Glorot, Initializer, Orthogonal


def scale(x: Array, gain: Array) -> Array:
    """Computes x ∘ α over the last axis: `x [..., N]`, α = `gain [N]`."""
    return x * gain.reshape((1,) * (x.ndim - 1) + gain.shape)


def layer_norm(x: Array, gain: Array, epsilon: float) -> Array:
    """Computes LN(x; α) = α ∘ (x − μ) / √(σ² + ε), with mean μ and variance σ² over the last axis of `x [..., N]`,
    in single precision at least."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return scale((centred * jax.lax.rsqrt(variance + epsilon)).astype(x.dtype), gain)


@dataclass(frozen=True)
class LayerNormLSTM(LSTM):
    """The LSTM with its two products and its memory readout normalised, each by itself:

        (i, f, g, o) = LN(x_t W; α_x) + LN(h_{t−1} R; α_h) + b
        c_t = σ(f) ∘ c_{t−1} + σ(i) ∘ tanh(g)
        h_t = σ(o) ∘ tanh(LN(c_t; α_c) + β_c),   y_t = h_t

    with LN(z; α) = α ∘ (z − mean z) / √(var z + ε), over all 4H entries of a product together. Ba, Kiros & Hinton
    2016, supplementary material; b is the sum of the shifts of both products.
    Options, state and output are the LSTM's. Parameters: the LSTM's, `input_gain` α_x `[4H]`, `recurrent_gain` α_h
    `[4H]` and `memory_gain` α_c `[H]`, all initialised to 1, and `memory_bias` β_c `[H]`.
    """

    additive: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    epsilon: float = 1e-5

    def init(self, key: Key, input_size: int) -> Params:
        size = self.hidden_size
        return super().init(key, input_size) | {
            "input_gain": jnp.ones(4 * size),
            "recurrent_gain": jnp.ones(4 * size),
            "memory_gain": jnp.ones(size),
            "memory_bias": jnp.zeros(size),
        }

    def drive(self, weights: Weights, x: Array) -> Array:
        product = affine(x, weights["kernel"])
        return add_bias(layer_norm(product, weights["input_gain"], self.epsilon), weights["bias"])

    def pointwise(
        self, weights: Weights, state: LSTMState, drive: Array, r: Array
    ) -> tuple[LSTMState, Array]:
        i, f, g, o = self.gates(weights, drive, r)
        c = f * state.c + i * g
        normed = layer_norm(c, weights["memory_gain"], self.epsilon)
        h = o * self.memory_output(add_bias(normed, weights["memory_bias"]))
        return LSTMState(h, c), h

    def gates(self, weights: Weights, drive: Array, r: Array) -> list[Array]:
        """Computes i, f, g and o after their nonlinearities."""
        return squash(drive + layer_norm(r, weights["recurrent_gain"], self.epsilon), GATES)

    def observe(self, weights: Weights, state: LSTMState, drive: Array) -> dict[str, Array]:
        """Returns the gates `input` i, `forget` f and `output` o."""
        i, f, _, o = self.gates(weights, drive, self.product(weights, state))
        return {"input": i, "forget": f, "output": o}


@dataclass(frozen=True)
class LayerNormGRU(ProductCell):
    """The GRU, reset after the product, with the products of gates and candidate normalised separately:

        (r_t, z_t) = σ(LN(x_t W_rz; α_x) + LN(h_{t−1} R_rz; α_h) + b_rz)
        n_t = tanh(LN(x_t W_n; α_x) + b_n + r_t ∘ (LN(h_{t−1} R_n; α_h) + b_h))
        h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1},   y_t = h_t

    with LN(z; α) = α ∘ (z − mean z) / √(var z + ε), over the 2H entries of both gates together and the H of the
    candidate. Ba, Kiros & Hinton 2016, supplementary material, where 1 − z is written for z.
    Parameters, packed r, z, n: the GRU's, and `input_gain` α_x and `recurrent_gain` α_h, `[3H]`, initialised to 1.
    State and output: h `[*batch, H]`.
    """

    elementwise: ClassVar[bool] = False
    hidden_size: int
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)

    def init(self, key: Key, input_size: int) -> Params:
        plain = GRU(self.hidden_size, kernel_init=self.kernel_init, recurrent_init=self.recurrent_init)
        gains = jnp.ones(3 * self.hidden_size)
        return plain.init(key, input_size) | {"input_gain": gains, "recurrent_gain": gains}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), params["recurrent"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        product = affine(x, weights["kernel"])
        return add_bias(jnp.concatenate(self.normed(product, weights["input_gain"]), -1), weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def pointwise(self, weights: Weights, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        gates_r, candidate_r = self.normed(r, weights["recurrent_gain"])
        gates, candidate = jnp.split(drive, [2 * self.hidden_size], axis=-1)
        reset, z = squash(gates + gates_r, (True, True))
        n = jnp.tanh(candidate + reset * add_bias(candidate_r, weights["recurrent_bias"]))
        h = (1 - z) * n + z * state
        return h, h

    def normed(self, product: Array, gain: Array) -> list[Array]:
        """Normalises a product `[..., 3H]`: gates `[..., 2H]` and candidate `[..., H]`."""
        parts = zip(*(jnp.split(a, [2 * self.hidden_size], axis=-1) for a in (product, gain)), strict=True)
        return [layer_norm(part, gain, self.epsilon) for part, gain in parts]

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns the gates `reset` r and `update` z."""
        gates_r, _ = self.normed(self.product(weights, state), weights["recurrent_gain"])
        r, z = squash(drive[..., : 2 * self.hidden_size] + gates_r, (True, True))
        return {"reset": r, "update": z}
