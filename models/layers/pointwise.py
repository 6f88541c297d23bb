"""Layers that map each step by itself: norm, dense, feed-forward, projection."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import (
    Activation,
    Array,
    BatchShape,
    Key,
    Output,
    Params,
    State,
    Weights,
    activation,
    add_bias,
    check_at_least,
)
from models.cells.layer_norm import layer_norm
from models.checks import check_given
from models.initializers import Glorot, Initializer
from models.layers.heads import packed, project
from models.layers.layer import Layer


@dataclass(frozen=True)
class Pointwise(Layer):
    """A layer y_t = apply(x_t) without a state: a subclass defines `init` and `apply`."""

    @property
    def causal(self) -> bool:
        """True: an output depends on the input of its own step only."""
        return True

    def apply(self, params: Params, xs: Array) -> Array:
        """Maps inputs `[..., D]` to outputs `[..., N]`."""
        raise NotImplementedError(f"{type(self).__name__} has no apply(params, xs)")

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return ()

    def unroll(
        self,
        params: Params,
        xs: Array,
        state: State | None = None,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        method: Any = "auto",
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[State, Output]:
        """Maps all steps at once, whatever the direction and the method; masked steps give zeros."""
        check_given(self, params, xs, state)
        if mask is None:
            return (), self.apply(params, xs)
        ys = self.apply(params, jnp.where(mask[..., None], xs, 0))
        return (), jnp.where(mask[..., None], ys, 0)

    def step(self, weights: Weights, state: State, drive: Array) -> tuple[State, Output]:
        """Maps one input; the drive is the input itself."""
        return (), self.apply(weights, drive)


@dataclass(frozen=True)
class Norm(Pointwise):
    """Layer norm, y = α ∘ (x − mean x) / √(var x + ε) + β over the entries of x. Ba, Kiros & Hinton 2016.

    Parameters: `gain [D]` α, initialised to 1, and `bias [D]` β, to 0.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < float("inf"):
            raise ValueError(f"epsilon must be 0 or more and finite, but is {self.epsilon}")

    def init(self, key: Key, input_size: int) -> Params:
        return {"gain": jnp.ones(input_size), "bias": jnp.zeros(input_size)}

    def apply(self, params: Params, xs: Array) -> Array:
        return add_bias(layer_norm(xs, params["gain"], self.epsilon), params["bias"])


@dataclass(frozen=True)
class FeedForward(Pointwise):
    """y = φ(x W_1 + b_1) W_2 + b_2, of the size of x, with `hidden_size` units between. Vaswani et al. 2017.

    Parameters: `input` with `kernel [D, F]`, `bias [F]`; `output` with `kernel [F, D]`, `bias [D]`.
    """

    hidden_size: int
    activation: str | Activation = "gelu"
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        activation(self.activation)

    def init(self, key: Key, input_size: int) -> Params:
        key_input, key_output = jax.random.split(key)
        return {
            "input": packed(self.kernel_init, key_input, input_size, self.hidden_size, 1),
            "output": packed(self.kernel_init, key_output, self.hidden_size, input_size, 1),
        }

    def apply(self, params: Params, xs: Array) -> Array:
        return project(params["output"], activation(self.activation)(project(params["input"], xs)))


@dataclass(frozen=True)
class Projection(Pointwise):
    """y = x W + b where the size of x is not `size`; x itself where it is.

    Parameters: `kernel [D, N]`, `bias [N]`, or none.
    """

    size: int
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, size=self.size)

    def init(self, key: Key, input_size: int) -> Params:
        return {} if input_size == self.size else packed(self.kernel_init, key, input_size, self.size, 1)

    def apply(self, params: Params, xs: Array) -> Array:
        return project(params, xs) if params else xs


@dataclass(frozen=True)
class Dense(Pointwise):
    """y = φ(x W + b), of `size` N. Between a decoder that attends and the softmax it is the attentional vector of
    Luong, Pham & Manning 2015, tanh([c_t, s_t] W).

    Parameters: `kernel [D, N]`, `bias [N]`.
    """

    size: int
    activation: str | Activation = "tanh"
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, size=self.size)
        activation(self.activation)

    def init(self, key: Key, input_size: int) -> Params:
        return packed(self.kernel_init, key, input_size, self.size, 1)

    def apply(self, params: Params, xs: Array) -> Array:
        return activation(self.activation)(project(params, xs))
