"""Long short-term memory."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Key, Params, ProductCell, Weights, affine, check_at_least
from models.cells.gates import squash
from models.initializers import Glorot, Initializer, Orthogonal, chrono_bias, gate_blocks

GATES = (True, True, False, True)  # i, f, g, o: True for σ, False for tanh


class LSTMState(NamedTuple):
    """The output h and the memory c: each `[*batch, H]`."""

    h: Array
    c: Array


@dataclass(frozen=True)
class LSTM(ProductCell):
    """Long short-term memory with a forget gate:

        i_t = σ(x_t W_i + h_{t−1} R_i + b_i)        input gate
        f_t = σ(x_t W_f + h_{t−1} R_f + b_f)        forget gate
        g_t = tanh(x_t W_g + h_{t−1} R_g + b_g)     candidate
        o_t = σ(x_t W_o + h_{t−1} R_o + b_o)        output gate
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h_t = o_t ∘ tanh(c_t),   y_t = h_t

    Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000; its bias initialised to 1, so that
    memory is kept until the net learns to forget: Jozefowicz, Zaremba & Sutskever 2015.
    `output_tanh=False` outputs the memory itself, h_t = o_t ∘ c_t. With `max_lag` T the biases are initialised to
    b_f = log U(1, T − 1) and b_i = −b_f in place of `forget_bias`, for memories of up to T steps: chrono
    initialisation, Tallec & Ollivier 2018.
    Parameters, the gates packed i, f, g, o: `kernel [D, 4H]`, `recurrent [H, 4H]`, `bias [4H]`.
    State: (h, c), each `[*batch, H]`. Output: h.

    Examples:
        >>> cell = LSTM(hidden_size=4, max_lag=100)
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> weights = cell.prepare(params)
        >>> state, y = cell.step(weights, cell.initial_state(params), cell.drive(weights, jnp.ones(3)))
        >>> y.shape, sorted(cell.observe(weights, state, cell.drive(weights, jnp.ones(3))))
        ((4,), ['forget', 'input', 'output'])
    """

    additive: ClassVar[bool] = True
    hidden_size: int
    forget_bias: float = 1.0
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    output_tanh: bool = True
    max_lag: int | None = None

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        if self.max_lag is not None:
            check_at_least(2, max_lag=self.max_lag)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_input, key_recurrent = jax.random.split(key)
        size = self.hidden_size
        bias = jnp.zeros(4 * size).at[size : 2 * size].set(self.forget_bias)
        if self.max_lag is not None:
            forget = chrono_bias(jax.random.fold_in(key, 2), size, self.max_lag)  # the third key of the split
            bias = bias.at[: 2 * size].set(jnp.concatenate([-forget, forget]))
        return {
            "kernel": gate_blocks(self.kernel_init, key_input, input_size, size, gates=4),
            "recurrent": gate_blocks(self.recurrent_init, key_recurrent, size, size, gates=4),
            "bias": bias,
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> LSTMState:
        zeros = jnp.zeros((*batch_shape, self.hidden_size), params["recurrent"].dtype)
        return LSTMState(h=zeros, c=zeros)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def recurrent_input(self, weights: Weights, state: LSTMState) -> Array:
        return state.h

    def pointwise(
        self, weights: Weights, state: LSTMState, drive: Array, r: Array
    ) -> tuple[LSTMState, Array]:
        i, f, g, o = squash(drive + r, GATES)
        c = f * state.c + i * g
        h = o * self.memory_output(c)
        return LSTMState(h, c), h

    def memory_output(self, c: Array) -> Array:
        """Returns the memory as the output gate sees it: tanh(c), or c itself."""
        return jnp.tanh(c) if self.output_tanh else c

    def observe(self, weights: Weights, state: LSTMState, drive: Array) -> dict[str, Array]:
        """Returns the gates `input` i, `forget` f and `output` o."""
        i, f, _, o = squash(drive + self.product(weights, state), GATES)
        return {"input": i, "forget": f, "output": o}


def chrono_lstm(hidden_size: int, max_lag: int) -> LSTM:
    """Returns an LSTM whose initial memory lifetimes are spread over 2 to `max_lag` steps. Tallec & Ollivier
    2018."""
    return LSTM(hidden_size, max_lag=max_lag)
