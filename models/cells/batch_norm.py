"""Long short-term memory with batch normalisation inside the recurrence, with statistics for every step."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from models.cell import (
    Array,
    BatchShape,
    Cell,
    Drive,
    Key,
    Params,
    ProductCell,
    State,
    Weights,
    add_bias,
    affine,
    check_at_least,
)
from models.cells.gates import squash
from models.cells.layer_norm import scale
from models.cells.lstm import GATES, LSTM
from models.checks import check_arguments
from models.initializers import Glorot, Initializer, Orthogonal
from models.memory import Memory, check_memory, memory_argument
from models.recurrence.scan import compute_drive, keep_valid

NORMED = ("input", "recurrent", "memory")  # the normalised quantities: x W, h R and c


class BatchNormState(NamedTuple):
    """The LSTM's h and c, each `[*batch, H]`, and the number of steps taken, int32 `[*batch]`."""

    h: Array
    c: Array
    steps: Array


class BatchNormDrive(NamedTuple):
    """x W `[*batch, 4H]`, and which examples are valid at this step, bool `[*batch]`; None if all are."""

    z: Array
    valid: Array | None


@dataclass(frozen=True)
class BatchNormLSTM(ProductCell):
    """The LSTM with its two products and its memory readout normalised over the batch:

        (i, f, g, o) = BN_t(x_t W; γ_x) + BN_t(h_{t−1} R; γ_h) + b
        c_t = σ(f) ∘ c_{t−1} + σ(i) ∘ tanh(g)
        h_t = σ(o) ∘ tanh(BN_t(c_t; γ_c) + β_c),   y_t = h_t

        BN_t(z; γ) = γ ∘ (z − mean) / √(variance + ε)

    Cooijmans, Ballas, Laurent, Gülçehre & Courville 2017. Mean and variance of a unit are

    - in training (`train=True`) those of the batch at this step, so that the examples of a batch are coupled;
    - in evaluation running averages of these, one for every step of the sequence up to `max_steps`; later steps,
      and steps that training has not reached, use the last one.

    The γ are initialised to `gain` (0.1 keeps tanh from saturating and the gradient from vanishing), the β to 0.
    Parameters: the LSTM's; `input_gain` γ_x and `recurrent_gain` γ_h `[4H]`; `memory_gain` γ_c and `memory_bias`
    β_c `[H]`; and `averages`, which have no gradient: `seen [max_steps]`, 1 where a step has been averaged, and for
    each normalised quantity (input, recurrent, memory) `…_mean` and `…_variance` `[max_steps, 4H or H]`. Update
    them after each update of the other parameters by

        observed = observe_sequence(cell, params, xs, train=True)
        params = update_averages(cell, params, observed)

    An optimizer that changes parameters without a gradient (weight decay) must exclude `averages`.
    State: (h, c, steps); each example counts its own steps. Output: h.

    If a batch is sharded over devices (or `jax.vmap`), set `axis_name` to that axis: statistics are then taken over
    all of it, however uneven the shards. Masked examples count neither there nor in `update_averages`.
    If the first inputs of all examples are equal (black pixels), the variance is 0: use a random initial state.
    """

    couples_batch: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False
    hidden_size: int
    max_steps: int = 100
    forget_bias: float = 1.0
    gain: float = 0.1
    epsilon: float = 1e-5
    momentum: float = 0.9
    axis_name: str | None = None
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, max_steps=self.max_steps)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), but is {self.momentum}")

    def init(self, key: Key, input_size: int) -> Params:
        size = self.hidden_size
        plain = LSTM(size, self.forget_bias, self.kernel_init, self.recurrent_init).init(key, input_size)
        averages = {"seen": jnp.zeros(self.max_steps)}
        for name, units in zip(NORMED, (4 * size, 4 * size, size), strict=True):
            averages[f"{name}_mean"] = jnp.zeros((self.max_steps, units))
            averages[f"{name}_variance"] = jnp.ones((self.max_steps, units))
        return plain | {
            "input_gain": self.gain * jnp.ones(4 * size),
            "recurrent_gain": self.gain * jnp.ones(4 * size),
            "memory_gain": self.gain * jnp.ones(size),
            "memory_bias": jnp.zeros(size),
            "averages": averages,
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> BatchNormState:
        zeros = jnp.zeros((*batch_shape, self.hidden_size), params["recurrent"].dtype)
        return BatchNormState(h=zeros, c=zeros, steps=jnp.zeros(batch_shape, jnp.int32))

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Returns the parameters, in training without the averages, in evaluation with those of the last step seen
        repeated to the end. Steps use averages if and only if the weights hold them.

        Raises ValueError in training on a single example, which has no variance.
        """
        weights = {name: leaf for name, leaf in params.items() if name != "averages"}
        if train:
            if self.axis_name is None and math.prod(batch_shape) < 2:
                raise ValueError(
                    "BatchNormLSTM computes statistics over a batch, but got a batch of shape "
                    f"{list(batch_shape)} in training: give two examples or more, or train=False"
                )
            return weights
        averages = jax.lax.stop_gradient(params["averages"])
        steps = jnp.arange(self.max_steps)
        last = jnp.max(jnp.where(averages["seen"] > 0, steps, 0))
        return weights | {"averages": jax.tree.map(lambda leaf: leaf[jnp.minimum(steps, last)], averages)}

    def drive(self, weights: Weights, x: Array) -> BatchNormDrive:
        return BatchNormDrive(affine(x, weights["kernel"]), None)

    def masked(self, drive: BatchNormDrive, mask: Array) -> BatchNormDrive:
        return drive._replace(valid=mask)

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def recurrent_input(self, weights: Weights, state: BatchNormState) -> Array:
        return state.h

    def pointwise(
        self, weights: Weights, state: BatchNormState, drive: BatchNormDrive, r: Array
    ) -> tuple[BatchNormState, Array]:
        (_, _, o), c = self.gates(weights, state, drive, r)
        normed = self.normed(weights, "memory", c, state.steps, drive.valid)
        h = o * jnp.tanh(add_bias(normed, weights["memory_bias"]))
        return BatchNormState(h, c, state.steps + 1), h

    def gates(
        self, weights: Weights, state: BatchNormState, drive: BatchNormDrive, r: Array
    ) -> tuple[tuple[Array, Array, Array], Array]:
        """Computes i, f and o, and c_t."""
        of_input = self.normed(weights, "input", drive.z, state.steps, drive.valid)
        of_state = self.normed(weights, "recurrent", r, state.steps, drive.valid)
        i, f, g, o = squash(add_bias(of_input + of_state, weights["bias"]), GATES)
        return (i, f, o), f * state.c + i * g

    def normed(self, weights: Weights, name: str, z: Array, steps: Array, valid: Array | None) -> Array:
        """Computes BN_t(z; γ) of the quantity `name`: `z [*batch, N]`; `steps` taken before and `valid`,
        `[*batch]`."""
        wide = z.astype(jnp.promote_types(z.dtype, jnp.float32))
        if "averages" in weights:
            at = jnp.minimum(steps, self.max_steps - 1)
            mean, variance = (weights["averages"][f"{name}_{kind}"][at] for kind in ("mean", "variance"))
        else:
            mean = self.batch_mean(wide, valid)
            variance = self.batch_mean((wide - mean) ** 2, valid)
        normed = (wide - mean) * jax.lax.rsqrt(variance + self.epsilon)
        return scale(normed.astype(z.dtype), weights[f"{name}_gain"])

    def batch_mean(self, z: Array, valid: Array | None) -> Array:
        """Computes the mean over the valid examples of the batch, on all devices; 0 if there are none:
        `z [*batch, N]` → `[1 …, N]`."""
        valid = jnp.ones(z.shape[:-1], bool) if valid is None else valid
        count = jnp.sum(valid, dtype=z.dtype)
        summed = jnp.sum(jnp.where(valid[..., None], z, 0), axis=tuple(range(z.ndim - 1)), keepdims=True)
        if self.axis_name is not None:
            summed, count = jax.lax.psum((summed, count), self.axis_name)
        return summed / jnp.maximum(count, 1)

    def observe(self, weights: Weights, state: BatchNormState, drive: BatchNormDrive) -> dict[str, Array]:
        """Returns the gates `input`, `forget` and `output`; and for `update_averages` the `steps` taken before and
        the quantities before normalisation: `before_input` x W, `before_recurrent` h R and `before_memory` c."""
        r = self.product(weights, state)
        (i, f, o), c = self.gates(weights, state, drive, r)
        before = {f"before_{name}": z for name, z in zip(NORMED, (drive.z, r, c), strict=True)}
        return {"input": i, "forget": f, "output": o, "steps": state.steps} | before


def update_averages(
    cell: BatchNormLSTM,
    params: Params,
    observed: dict[str, Array],
    *,
    mask: Bool[Array, "T *batch"] | None = None,
) -> Params:
    """Updates the running averages with one batch, and returns the parameters:

        a_k ← momentum · a_k + (1 − momentum) · statistic_k        (a_k ← statistic_k the first time)

    where statistic_k is the mean or the variance over all examples that took their k-th step; steps that none took
    keep theirs. `observed` is returned by `observe_sequence(cell, params, xs, train=True)`, leaves `[T, *batch,
    …]`; `mask [T, *batch]` is False at padding, which is ignored. With an `axis_name` it sums over that axis.
    """
    averages, size = params["averages"], cell.max_steps
    slots = observed["steps"].reshape(-1)
    valid = slots < size if mask is None else (slots < size) & mask.reshape(-1)
    slots = jnp.where(valid, slots, size)  # one extra slot for ignored steps

    def segment_total(x: Array) -> Array:
        summed = jax.ops.segment_sum(x, slots, num_segments=size + 1)[:size]
        return summed if cell.axis_name is None else jax.lax.psum(summed, cell.axis_name)

    count = segment_total(valid.astype(averages["seen"].dtype))
    rate = jnp.where(averages["seen"] > 0, 1 - cell.momentum, 1.0) * (count > 0)
    share = 1 / jnp.maximum(count, 1)
    updated = {"seen": jnp.maximum(averages["seen"], (count > 0).astype(averages["seen"].dtype))}
    for name in NORMED:
        z = observed[f"before_{name}"]
        z = jnp.where(valid[:, None], z.reshape(-1, z.shape[-1]), 0)
        mean = share[:, None] * segment_total(z)
        centred = z - mean[jnp.minimum(slots, size - 1)]
        variance = share[:, None] * segment_total(jnp.where(valid[:, None], centred, 0) ** 2)
        for kind, statistic in (("mean", mean), ("variance", variance)):
            old = averages[f"{name}_{kind}"]
            updated[f"{name}_{kind}"] = (old + rate[:, None] * (statistic - old)).astype(old.dtype)
    return params | {"averages": updated}


def observe_sequence(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    key: Key | None = None,
    train: bool = False,
    memory: Memory | None = None,
) -> dict[str, Array]:
    """Returns the diagnostics of a cell's `observe` at every step of a sequence: `xs [T, *batch, D]` → leaves
    `[T, *batch, …]`. Arguments as for `unroll`; values at masked steps are finite and meaningless.

    Raises ValueError if the shapes of parameters, inputs, state, mask or memory don't fit.
    """
    batch_shape = check_arguments(cell, params, xs, state, mask)
    check_memory(cell, memory, batch_shape)
    if mask is not None:
        xs = jnp.where(mask[..., None], xs, 0)
    given = memory_argument(cell, memory)
    weights = cell.prepare(params, key=key, train=train, batch_shape=batch_shape, **given)

    def step(state: State, inputs: tuple[Drive, Array | None]) -> tuple[State, dict[str, Array]]:
        drive, valid = inputs
        seen = cell.observe(weights, state, drive)
        stepped, y = cell.step(weights, state, drive)
        return (stepped if valid is None else keep_valid(valid, stepped, state, y)[0]), seen

    start = cell.initial_state(params, batch_shape) if state is None else state
    return jax.lax.scan(step, start, (compute_drive(cell, weights, xs, mask), mask))[1]
