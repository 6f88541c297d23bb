"""Long short-term memory whose gates see the memory."""

from dataclasses import dataclass

import jax.numpy as jnp

from models.cell import Array, Key, Params, Weights
from models.cells.gates import squash
from models.cells.layer_norm import scale
from models.cells.lstm import LSTM, LSTMState


@dataclass(frozen=True)
class PeepholeLSTM(LSTM):
    """The LSTM with peepholes: every gate sees c through a diagonal weight, the output gate the new c:

        i_t = σ(x_t W_i + h_{t−1} R_i + p_i ∘ c_{t−1} + b_i)
        f_t = σ(x_t W_f + h_{t−1} R_f + p_f ∘ c_{t−1} + b_f)
        g_t = tanh(x_t W_g + h_{t−1} R_g + b_g)
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        o_t = σ(x_t W_o + h_{t−1} R_o + p_o ∘ c_t + b_o)
        h_t = o_t ∘ tanh(c_t),   y_t = h_t

    Gers & Schmidhuber 2000, but with the full gradient. The peepholes are initialised to zero, which is an LSTM.
    Options, state and output are the LSTM's. Parameters: the LSTM's, and `peepholes [3H]`, packed i, f, o.
    """

    def init(self, key: Key, input_size: int) -> Params:
        return super().init(key, input_size) | {"peepholes": jnp.zeros(3 * self.hidden_size)}

    def pointwise(
        self, weights: Weights, state: LSTMState, drive: Array, r: Array
    ) -> tuple[LSTMState, Array]:
        (_, _, o), c = self.gates(weights, state, drive + r)
        h = o * self.memory_output(c)
        return LSTMState(h, c), h

    def gates(self, weights: Weights, state: LSTMState, z: Array) -> tuple[tuple[Array, Array, Array], Array]:
        """Computes i, f and o, and c_t, from `z [*batch, 4H]`, the preactivations without the peepholes."""
        size = self.hidden_size
        before, after = jnp.split(weights["peepholes"], [2 * size])
        peepholes = scale(jnp.concatenate([state.c, state.c], axis=-1), before)
        known, z_o = jnp.split(z, [3 * size], axis=-1)
        known = known + jnp.concatenate([peepholes, jnp.zeros_like(state.c)], axis=-1)
        i, f, g = squash(known, (True, True, False))
        c = f * state.c + i * g
        (o,) = squash(z_o + scale(c, after), (True,))
        return (i, f, o), c

    def observe(self, weights: Weights, state: LSTMState, drive: Array) -> dict[str, Array]:
        """Returns the gates `input` i, `forget` f and `output` o."""
        (i, f, o), _ = self.gates(weights, state, drive + self.product(weights, state))
        return {"input": i, "forget": f, "output": o}
