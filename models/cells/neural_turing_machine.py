"""The Neural Turing machine: a controller beside a memory that it reads and writes. Graves, Wayne & Danihelka
2014."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from models.cell import (
    Array,
    BatchShape,
    Cell,
    Drive,
    Key,
    Output,
    Params,
    State,
    Weights,
    affine,
    check_at_least,
)
from models.cells.lstm import LSTM
from models.initializers import Glorot, Initializer
from models.layers.heads import packed
from models.layers.layer import check_causal, check_output

CLIP = 20.0  # of what the heads are made from, as in Collier & Beel 2018
SMALL = 1e-6  # the constant memory to begin with (there too), and the norm below which a row has no direction


class TuringState(NamedTuple):
    """The state of the controller, the memory M `[*batch, N, M]`, the weights of all heads, those that read first,
    `[*batch, R + W, N]`, and what was read last `[*batch, R, M]`."""

    controller: State
    memory: Array
    heads: Array
    reads: Array


class TuringWeights(NamedTuple):
    """The controller's weights, and the parameters of the heads."""

    controller: Weights
    params: Params


@dataclass(frozen=True)
class NeuralTuringMachine(Cell):
    """A controller with R = `reads` heads that read and W = `writes` that write a memory M of N = `slots` rows of M
    = `width` numbers:

        h_t = controller(s_{t−1}, [x_t, r_{t−1}])
        M_t = M_{t−1} ∘ Π_write (1 − w_t e_tᵀ) + Σ_write w_t a_tᵀ        r_t = w_tᵀ M_t of each head that reads
        output [h_t, r_t]

    The weights w_t of a head over the rows come from its last ones and from numbers that h_t gives it through one
    linear map, clipped to ±20: a key k = tanh, its strength β = softplus, a gate g = σ, shifts s = softmax, and a
    sharpness γ = 1 + softplus; a head that writes has an erasure e = σ and an addition a = tanh too:

        c = softmax_i(β cos(k, M_{t−1,i}))          by content
        v = g c + (1 − g) w_{t−1}                   or from where it was
        u_i = Σ_j s_j v_{i−j},  |j| ≤ `shift`       moved, around the ends
        w_t = u^γ / Σ u^γ                           and sharpened

    The paper leaves open whether reading comes before writing; here, as its M_t and w_t say, after it. The memory
    begins as the constant 1e-6 or is learned (`memory_start`), weights and reads at the start are learned; equal
    weights could never differ, so they are drawn. `controller` is any cell, such as `Dense(100)` for one without a
    state, by default `LSTM(hidden_size)`. `hidden_size` is of no account where one is given.

    Parameters: `controller`, for inputs of size D + R·M; `heads` with `kernel [H, …]`, `bias`; `start` with `heads
    [R + W, N]`, before their softmax, `reads [R, M]`, and where learned `memory [N, M]`. State: `TuringState`;
    every entry counts in the Jacobian.

    Raises ValueError for a size below 1, more heads of a kind than rows, a shift that reaches round the whole
    memory, and a controller that couples a batch, reads a memory or the future."""

    hidden_size: int
    controller: Cell | None = None
    slots: int = 32
    width: int = 20
    reads: int = 1
    writes: int = 1
    shift: int = 1
    memory_start: Literal["constant", "learned"] = "constant"
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, slots=self.slots, width=self.width, reads=self.reads, writes=self.writes)
        check_at_least(0, shift=self.shift)
        for name in ("reads", "writes"):
            if getattr(self, name) > self.slots:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, more heads than the {self.slots} rows of the memory: give "
                    "fewer heads or more slots"
                )
        if 2 * self.shift + 1 > self.slots:
            raise ValueError(
                f"shift is {self.shift}, which moves a head to {2 * self.shift + 1} places, but the memory has "
                f"{self.slots} rows: give fewer shifts or more slots"
            )
        if self.memory_start not in ("constant", "learned"):
            raise ValueError(f"memory_start must be constant or learned, but is {self.memory_start!r}")
        if self.controller is None:
            object.__setattr__(self, "controller", LSTM(self.hidden_size))
        if not isinstance(self.controller, Cell):
            raise ValueError(f"controller must be a cell, such as LSTM(100), but is {self.controller!r}")
        check_causal(self.controller)
        if self.controller.couples_batch or self.controller.reads_memory:
            does = (
                "couples the examples of a batch" if self.controller.couples_batch else "attends to a memory"
            )
            raise ValueError(
                f"a {type(self.controller).__name__} {does}, and can't control a memory: take another cell"
            )

    @property
    def inner(self) -> Cell:
        """The controller."""
        assert self.controller is not None
        return self.controller

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_controller, key_heads, key_start, key_memory = jax.random.split(key, 4)
        size = input_size + self.reads * self.width
        own = self.inner.init(key_controller, size)

        def one_step(params: Params) -> Output:
            weights = self.inner.prepare(params)
            drive = self.inner.drive(weights, jnp.zeros(size))
            return self.inner.step(weights, self.inner.initial_state(params), drive)[1]

        output = check_output(
            self.inner, jax.eval_shape(one_step, own), "the controller of a Neural Turing machine"
        )
        start = {
            "heads": jax.random.normal(key_start, (self.reads + self.writes, self.slots)),
            "reads": jnp.zeros((self.reads, self.width)),
        }
        if self.memory_start == "learned":
            start["memory"] = 0.1 * jax.random.normal(key_memory, (self.slots, self.width))
        return {
            "controller": own,
            "heads": packed(self.kernel_init, key_heads, output, self.head_size, 1),
            "start": start,
        }

    @property
    def head_size(self) -> int:
        """The numbers that all heads are given."""
        heads, places = self.reads + self.writes, 2 * self.shift + 1
        return heads * (self.width + 3 + places) + 2 * self.writes * self.width

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> TuringState:
        """Returns the controller's own initial state, the memory, weights and reads at the start."""
        start = params["start"]
        heads = start["heads"]
        memory = start.get("memory", jnp.full((self.slots, self.width), SMALL, heads.dtype))

        def everywhere(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape))

        return TuringState(
            self.inner.initial_state(params["controller"], batch_shape),
            everywhere(memory),
            everywhere(jax.nn.softmax(heads, axis=-1)),
            everywhere(start["reads"]),
        )

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> TuringWeights:
        own = self.inner.prepare(params["controller"], key=key, train=train, batch_shape=batch_shape)
        return TuringWeights(own, params)

    def step(self, weights: TuringWeights, state: TuringState, drive: Drive) -> tuple[TuringState, Output]:
        controller, h = self.inner.step(
            weights.controller, state.controller, self.read_drive(weights, state, drive)
        )
        # The way back computes the access again: keeping all its parts would take four times as long as that.
        access = jax.checkpoint(self.access, prevent_cse=False)
        memory, heads, reads, _ = access(weights.params["heads"], state, h)
        output = jnp.concatenate([h, reads.reshape(*reads.shape[:-2], -1)], axis=-1)
        return TuringState(controller, memory, heads, reads), output

    def read_drive(self, weights: TuringWeights, state: TuringState, x: Array) -> Drive:
        """Returns the controller's drive of the input and what was read last."""
        reads = state.reads.reshape(*state.reads.shape[:-2], -1)
        return self.inner.drive(weights.controller, jnp.concatenate([x, reads], axis=-1))

    def access(
        self, params: Params, state: TuringState, h: Array
    ) -> tuple[Array, Array, Array, dict[str, Array]]:
        """Moves the heads, writes and reads: the memory, the weights of all heads, what was read, and what the
        controller said. Outer products are einsums, whose gradients are products of matrices; those of products
        under a sum are not, and take ten times as long."""
        said = self.said(params, h)
        content = jax.nn.softmax(said["strength"][..., None] * cosines(said["key"], state.memory), axis=-1)
        gate = said["gate"][..., None]
        mixed = gate * content + (1 - gate) * state.heads
        heads = sharpened(moved(mixed, said["shift"]), said["sharpness"])
        writing = heads[..., self.reads :, :]
        added = jnp.einsum("...wn,...wm->...nm", writing, said["add"])
        kept = math.prod(
            1 - jnp.einsum("...n,...m->...nm", writing[..., i, :], said["erase"][..., i, :])
            for i in range(self.writes)
        )
        memory = state.memory * kept + added
        return memory, heads, heads[..., : self.reads, :] @ memory, said

    def said(self, params: Params, h: Array) -> dict[str, Array]:
        """Returns what the controller says to the heads `[*batch, R + W, …]`; `erase` and `add [*batch, W, M]`."""
        z = jnp.clip(affine(h, params["kernel"], params["bias"]), -CLIP, CLIP)
        count, places = self.reads + self.writes, 2 * self.shift + 1
        own, written = jnp.split(z, [count * (self.width + 3 + places)], axis=-1)
        own = own.reshape(*own.shape[:-1], count, self.width + 3 + places)
        written = written.reshape(*written.shape[:-1], 2, self.writes, self.width)
        return {
            "key": jnp.tanh(own[..., : self.width]),
            "strength": jax.nn.softplus(own[..., self.width]),
            "gate": jax.nn.sigmoid(own[..., self.width + 1]),
            "sharpness": 1 + jax.nn.softplus(own[..., self.width + 2]),
            "shift": jax.nn.softmax(own[..., self.width + 3 :], axis=-1),
            "erase": jax.nn.sigmoid(written[..., 0, :, :]),
            "add": jnp.tanh(written[..., 1, :, :]),
        }

    def coordinates(self, state: TuringState) -> State:
        """Returns the controller's coordinates beside memory, weights and reads."""
        return state._replace(controller=self.inner.coordinates(state.controller))

    def from_coordinates(self, coordinates: TuringState, like: TuringState) -> TuringState:
        own = self.inner.from_coordinates(coordinates.controller, like.controller)
        return coordinates._replace(controller=own)

    def has_coordinates(self, state: TuringState) -> Array:
        return self.inner.has_coordinates(state.controller)

    def observe(self, weights: TuringWeights, state: TuringState, drive: Drive) -> dict[str, Array]:
        """Returns what the controller says (`key`, `strength`, `gate`, `shift`, `sharpness`, `erase`, `add`), the
        weights after the step, `read_weights [*batch, R, N]` and `write_weights [*batch, W, N]`, and the
        `memory`."""
        own = self.read_drive(weights, state, drive)
        seen: dict[str, Any] = self.inner.observe(weights.controller, state.controller, own)
        h = self.inner.step(weights.controller, state.controller, own)[1]
        memory, heads, _, said = self.access(weights.params["heads"], state, h)
        moved_to = {"read_weights": heads[..., : self.reads, :], "write_weights": heads[..., self.reads :, :]}
        return (
            {f"controller.{name}": value for name, value in seen.items()}
            | said
            | moved_to
            | {"memory": memory}
        )


def cosines(keys: Array, memory: Array) -> Array:
    """Computes k · m_i / (|k| |m_i| + ε) of `keys [..., K, M]` and the rows of `memory [..., N, M]`: `[..., K, N]`.
    The norms are √(Σ v² + ε²), which have a gradient at zero."""

    def norm(v: Array) -> Array:
        return jnp.sqrt(jnp.sum(v**2, axis=-1) + SMALL**2)

    products = keys @ jnp.swapaxes(memory, -1, -2)
    return products / (norm(keys)[..., None] * norm(memory)[..., None, :] + SMALL)


def moved(w: Array, shifts: Array) -> Array:
    """Moves weights `[..., N]` along the memory, around its ends: Σ_j s_j w_{i−j} over j = −shift … shift, whose
    weights are `shifts [..., 2·shift + 1]`."""
    reach = shifts.shape[-1] // 2
    turned = (shifts[..., reach + j, None] * jnp.roll(w, j, axis=-1) for j in range(-reach, reach + 1))
    return sum(turned, jnp.zeros_like(w))


def sharpened(w: Array, gamma: Array) -> Array:
    """Computes w_i^γ / Σ w^γ of weights `[..., N]` for `gamma [...]`. As a softmax of γ ln w, it can't underflow in
    all places; a weight of zero stays zero, and gets no gradient."""
    positive = w > 0
    logs = jnp.where(positive, jnp.log(jnp.where(positive, w, 1)), -1e30)
    return jax.nn.softmax(gamma[..., None] * logs, axis=-1)
