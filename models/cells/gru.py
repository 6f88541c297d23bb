"""Gated recurrent units: with one gate, and with two."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from models.cell import (
    Array,
    BatchShape,
    Key,
    Params,
    ProductCell,
    Weights,
    add_bias,
    affine,
    check_at_least,
)
from models.cells.gates import squash
from models.initializers import Glorot, Initializer, Orthogonal, chrono_bias, gate_blocks


@dataclass(frozen=True)
class BasicGRU(ProductCell):
    """The gated unit with an update gate only:

        z_t = σ(x_t W_z + h_{t−1} R_z + b_z)
        n_t = tanh(x_t W_n + h_{t−1} R_n + b_n)
        h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1},   y_t = h_t

    z = 1 keeps the old state, as in Cho et al. 2014; some texts write 1 − z for it.
    Parameters, the gates packed z, n: `kernel [D, 2H]`, `recurrent [H, 2H]`, `bias [2H]`.
    State and output: h `[*batch, H]`. This is the GRU of Cho et al. 2014 with its reset gate fixed open.
    """

    additive: ClassVar[bool] = True
    hidden_size: int
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_input, key_recurrent = jax.random.split(key)
        size = self.hidden_size
        return {
            "kernel": gate_blocks(self.kernel_init, key_input, input_size, size, gates=2),
            "recurrent": gate_blocks(self.recurrent_init, key_recurrent, size, size, gates=2),
            "bias": jnp.zeros(2 * size),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), params["recurrent"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def pointwise(self, weights: Weights, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        z, n = squash(drive + r, (True, False))
        h = (1 - z) * n + z * state
        return h, h

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns `update`, the gate z."""
        z, _ = jnp.split(drive + self.product(weights, state), 2, axis=-1)
        return {"update": sigmoid(z)}


@dataclass(frozen=True)
class GRU(ProductCell):
    """The gated recurrent unit:

        r_t = σ(x_t W_r + h_{t−1} R_r + b_r)
        z_t = σ(x_t W_z + h_{t−1} R_z + b_z)
        n_t = tanh(x_t W_n + b_n + r_t ∘ (h_{t−1} R_n + b_h))      reset="after": cuDNN, PyTorch, Flax
        n_t = tanh(x_t W_n + b_n + (r_t ∘ h_{t−1}) R_n)            reset="before": Cho et al. 2014
        h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1},   y_t = h_t

    z = 1 keeps the old state, as in Cho et al. 2014; some texts write 1 − z for it.
    Parameters, the gates packed r, z, n: `kernel [D, 3H]`, `recurrent [H, 3H]`, `bias [3H]`, and with
    reset="after" also `recurrent_bias` b_h `[H]`. State and output: h `[*batch, H]`.
    Reset after the product takes one product per step; reset before it needs a second one that waits for r_t.
    With `max_lag` T the update gate is initialised to b_z = log U(1, T − 1), for memories of up to T steps: chrono
    initialisation, Tallec & Ollivier 2018.

    Examples:
        >>> sorted(GRU(4).init(jax.random.key(0), input_size=3))
        ['bias', 'kernel', 'recurrent', 'recurrent_bias']
        >>> sorted(GRU(4, reset="before").init(jax.random.key(0), input_size=3))
        ['bias', 'kernel', 'recurrent']
    """

    hidden_size: int
    reset: Literal["before", "after"] = "after"
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()
    max_lag: int | None = None

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        if self.max_lag is not None:
            check_at_least(2, max_lag=self.max_lag)
        if self.reset not in ("before", "after"):
            raise ValueError(f"a GRU's reset is 'before' or 'after' the product, but is {self.reset!r}")

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_input, key_recurrent = jax.random.split(key)
        size = self.hidden_size
        bias = jnp.zeros(3 * size)
        if self.max_lag is not None:
            update = chrono_bias(jax.random.fold_in(key, 2), size, self.max_lag)  # the third key of the split
            bias = bias.at[size : 2 * size].set(update)
        params = {
            "kernel": gate_blocks(self.kernel_init, key_input, input_size, size, gates=3),
            "recurrent": gate_blocks(self.recurrent_init, key_recurrent, size, size, gates=3),
            "bias": bias,
        }
        return params if self.reset == "before" else params | {"recurrent_bias": jnp.zeros(size)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), params["recurrent"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def has_product_form(self) -> bool:
        """Returns True if the reset comes after the product."""
        return self.reset == "after"

    def added_columns(self, columns: int) -> int:
        """Returns the number of gate columns; the candidate uses r and the drive separately."""
        return 2 * self.hidden_size

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def step(self, weights: Weights, state: Array, drive: Array) -> tuple[Array, Array]:
        if self.reset == "after":
            return super().step(weights, state, drive)
        gates, candidate = jnp.split(drive, [2 * self.hidden_size], axis=-1)
        matrix_gates, matrix_candidate = jnp.split(weights["recurrent"], [2 * self.hidden_size], axis=-1)
        r, z = squash(gates + state @ matrix_gates, (True, True))
        n = jnp.tanh(candidate + (r * state) @ matrix_candidate)
        h = (1 - z) * n + z * state
        return h, h

    def pointwise(self, weights: Weights, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        # The third is not used; leaving it out would add slices, for which XLA's code is half as fast on a CPU.
        reset, z, _ = squash(drive + r, (True, True, False))
        candidate, candidate_r = drive[..., 2 * self.hidden_size :], r[..., 2 * self.hidden_size :]
        n = jnp.tanh(candidate + reset * add_bias(candidate_r, weights["recurrent_bias"]))
        h = (1 - z) * n + z * state
        return h, h

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns the gates `reset` r and `update` z."""
        size = 2 * self.hidden_size
        gates = drive[..., :size] + state @ weights["recurrent"][:, :size]
        r, z = jnp.split(sigmoid(gates), 2, axis=-1)
        return {"reset": r, "update": z}


def chrono_gru(hidden_size: int, max_lag: int) -> GRU:
    """Returns a GRU whose initial memory lifetimes are spread over 2 to `max_lag` steps. Tallec & Ollivier 2018."""
    return GRU(hidden_size, max_lag=max_lag)
