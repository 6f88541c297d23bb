"""A search for the first number that isn't finite: the step and quantity at which a sequence overflows."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from analysis.gradients import Loss, state_gradients
from models.cell import Array, Cell, Drive, Params, State, Weights, check_hashable
from models.checks import checked
from models.layers.self_attention import holds_cache
from models.recurrence.scan import states_before
from models.state import ravel_coordinates

Direction = Literal["parameters", "forward", "loss", "backward"]
# First words of the names of quantities.
ORDER = ("initial", "input", "drive", "gate", "state", "output", "gradient")


@dataclass(frozen=True)
class FirstNonfinite:
    """The first quantity that is NaN or infinite.

    `direction`: found in the parameters, in the forward pass, in the loss, or in the backward pass. `step` t counts
    from 1 (None outside time), `example` is the index into the batch axes, `quantity` a name such as "drive",
    "gate forget", "state .c", "output" or "gradient in state .h". `fault` is "nan" or "inf". `singular_value` is
    the largest of the step Jacobian ∂s_t/∂s_{t−1} there (NaN if it isn't finite), and `singular_value_before`
    that of the nearest step before it in that pass where it is finite (NaN if there is none), which shows the
    growth. Both are None outside time, and for a state that is or holds a key–value cache, whose Jacobian says
    nothing of attention: see `influence`.
    """

    direction: Direction
    step: int | None
    example: tuple[int, ...]
    quantity: str
    fault: Literal["nan", "inf"]
    singular_value: float | None = None
    singular_value_before: float | None = None

    def __str__(self) -> str:
        """Describes it in one sentence."""
        where = "" if self.step is None else f" at time step {self.step}"
        which = f" of example {', '.join(map(str, self.example))}" if self.example else ""
        phrase = {
            "parameters": "in the parameters",
            "forward": "in the forward pass",
            "loss": "in the loss, after a finite forward pass,",
            "backward": "in the backward pass, after a finite forward pass,",
        }[self.direction]
        sentence = (
            f"the first value that is not finite {phrase} is {self.quantity}{where}{which}: {self.fault}"
        )
        for value, place in (
            (self.singular_value, "there"),
            (self.singular_value_before, "at the nearest step where it is finite"),
        ):
            if value is not None and not np.isnan(value):
                return f"{sentence}; the largest singular value of the step Jacobian {place} is {value:.4g}"
        return sentence


def first_nonfinite(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *batch D"],
    loss: Loss | None = None,
    state: State | None = None,
) -> FirstNonfinite | None:
    """Finds what first isn't finite when the cell runs over this batch; None if everything is finite.

    Checks in this order: the parameters, the state before the first step; then for each step the input, the drive,
    the diagnostics of the cell's `observe` (gates), the state, the output; with a `loss` of the final state and the
    outputs (as for `gradient_by_lag`) the loss, and the gradients ∂L/∂s_t from the last state to the first.

    Raises ValueError if parameters, inputs or state don't fit.
    """
    check_hashable(cell)
    checked.eval_shape(cell, params, xs, state)
    for path, leaf in jax.tree.leaves_with_path(params):
        if not np.isfinite(leaf).all():
            return FirstNonfinite(
                "parameters", None, (), f"parameter {leaf_name(path)}", classify(np.asarray(leaf))
            )
    batch_shape = xs.shape[1:-1]
    if state is None:
        state = cell.initial_state(params, batch_shape)
    weights = cell.prepare(params, batch_shape=batch_shape)
    drive = cell.drive(weights, xs)
    axes = len(batch_shape)

    def step(state: State, inputs: tuple[Array, Drive]) -> tuple[State, dict[str, Array]]:
        x, drive = inputs
        stepped, output = cell.step(weights, state, drive)
        seen = {"input": x, "drive": drive, "gate": cell.observe(weights, state, drive)}
        return stepped, find_faults(seen | {"state": stepped, "output": output}, axes)

    initial = find_faults({"initial state": state}, axes)
    found = first_fault({name: np.asarray(codes)[None] for name, codes in initial.items()}, range(1))
    if found is not None:
        _, example, quantity, fault = found
        return FirstNonfinite("forward", None, example, quantity, fault)
    final, codes = jax.lax.scan(step, state, (xs, drive))
    found = first_fault({name: np.asarray(series) for name, series in codes.items()}, range(len(xs)))
    if found is not None:
        return report_at(cell, weights, state, drive, "forward", *found)
    if loss is None:
        return None
    value = np.asarray(loss(final, jax.lax.scan(lambda s, d: cell.step(weights, s, d), state, drive)[1]))
    if not np.isfinite(value).all():
        return FirstNonfinite("loss", None, (), "the loss", classify(value))
    gradients = find_faults({"gradient in state": state_gradients(cell, params, xs, loss, state)}, axes + 1)
    # Entry t is the gradient in s_t, computed by step t + 1.
    found = first_fault({k: np.asarray(v) for k, v in gradients.items()}, range(len(xs) - 1, -1, -1))
    return None if found is None else report_at(cell, weights, state, drive, "backward", *found)


def find_faults(quantities: dict[str, Any], axes: int) -> dict[str, Array]:
    """Returns for every array, by name, a code per example: 0 if it is finite, 1 with an infinity, 2 with a NaN;
    the first `axes` axes are kept. Integers are always finite."""
    named: dict[str, Array] = {}
    for kind, tree in quantities.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            rest = tuple(range(axes, jnp.ndim(leaf)))
            nan, finite = jnp.isnan(leaf).any(rest), jnp.isfinite(leaf).all(rest)
            named[f"{kind} {leaf_name(path)}".strip()] = jnp.where(nan, 2, jnp.where(finite, 0, 1))
    return named


def first_fault(
    codes: dict[str, np.ndarray], order: range
) -> tuple[int, tuple[int, ...], str, Literal["nan", "inf"]] | None:
    """Returns time index, example, name and fault of the first code above zero, with `codes[name] [T, *batch]`,
    in the given order of time and, within a step, of `ORDER`."""
    # Sorted by kind, since a scan returns a dictionary in alphabetical order.
    in_order = sorted(codes.items(), key=lambda item: ORDER.index(item[0].split()[0]))
    for t in order:
        for name, code in in_order:
            if code[t].any():
                example = tuple(int(i) for i in np.argwhere(code[t])[0])
                return t, example, name, "nan" if code[t][example] == 2 else "inf"
    return None


def report_at(
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    direction: Direction,
    t: int,
    example: tuple[int, ...],
    quantity: str,
    fault: Literal["nan", "inf"],
) -> FirstNonfinite:
    """Reports the fault; unless the state holds a cache, with the singular values at step t + 1 and at the nearest
    step before it in that pass."""
    if holds_cache(cell):
        return FirstNonfinite(direction, t + 1, example, quantity, fault)
    example_steps = jax.tree.map(
        lambda leaf: leaf[(slice(None), *example)], (states_before(cell, weights, state, drive), drive)
    )
    length = jax.tree.leaves(drive)[0].shape[0]

    @jax.jit
    def jacobian(state: State, drive: Drive) -> Array:
        vector, restore = ravel_coordinates(cell, state)
        return jax.jacfwd(lambda v: ravel_coordinates(cell, cell.step(weights, restore(v), drive)[0])[0])(
            vector
        )

    def largest(t: int) -> float:
        matrix = np.asarray(jacobian(*jax.tree.map(lambda leaf: leaf[t], example_steps)), np.float64)
        return float(np.linalg.norm(matrix, 2)) if np.isfinite(matrix).all() and matrix.size else float("nan")

    earlier = range(t - 1, -1, -1) if direction == "forward" else range(t + 1, length)
    before = next((value for value in map(largest, earlier) if not np.isnan(value)), float("nan"))
    return FirstNonfinite(direction, t + 1, example, quantity, fault, largest(t), before)


def classify(values: np.ndarray) -> Literal["nan", "inf"]:
    return "nan" if np.isnan(values).any() else "inf"


def leaf_name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
