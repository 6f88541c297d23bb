"""A layer that adds position codes to a sequence."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Output, Params, State, Weights, check_at_least
from models.checks import check_given
from models.layers.layer import Layer, cells_inside
from models.layers.position import (
    BOUNDED,
    Position,
    add_codes,
    check_length,
    check_position,
    count_valid,
    initial_codes,
)
from models.layers.self_attention import SelfAttention
from models.layers.wrapper import LayerWrapper


@dataclass(frozen=True)
class PositionCode(Layer):
    """y_t = x_t + p_t, with `context` codes p, "learned" (Gehring et al. 2017; GPT) or "sinusoidal" (Vaswani et
    al. 2017).

    Positions count valid steps, in reverse from the end. A sequence longer than the context is refused; a step
    beyond it gives NaN. State: the number of steps read, `[*batch]`, an integer. Parameters: `codes [C, D]`, or
    none."""

    position: Position = "learned"
    context: int = 64

    def __post_init__(self) -> None:
        check_at_least(1, context=self.context)
        check_position(self.position)
        if self.position not in BOUNDED:
            raise ValueError(
                f"positions of kind {self.position!r} add no code: take 'learned' or 'sinusoidal', or leave it out"
            )

    @property
    def causal(self) -> bool:
        """True: a position counts the steps before it."""
        return True

    def init(self, key: Key, input_size: int) -> Params:
        return initial_codes(self.position, key, self.context, input_size)

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return jnp.zeros(batch_shape, jnp.int32)

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
        """Adds the codes to all steps, whatever the method. Raises ValueError if there are more steps than
        codes."""
        check_given(self, params, xs, state)
        check_length(self.position, xs.shape[0], self.context, type(self).__name__)
        start = self.initial_state(params, xs.shape[1:-1]) if state is None else state
        if mask is not None:
            xs = jnp.where(mask[..., None], xs, 0)
        counted = None if mask is None else mask[::-1] if reverse else mask
        positions = count_valid(xs.shape[0], start, counted)
        ys = add_codes(self.position, params, xs, positions[::-1] if reverse else positions, self.context)
        read = xs.shape[0] if mask is None else jnp.sum(mask, axis=0, dtype=start.dtype)
        return start + read, ys if mask is None else jnp.where(mask[..., None], ys, 0)

    def step(self, weights: Weights, state: State, drive: Array) -> tuple[State, Output]:
        """Adds the code of this step; the drive is the input itself."""
        return state + 1, add_codes(self.position, weights, drive, state, self.context)


def max_steps(cell: Cell) -> int | None:
    """Returns the most steps that a cell can read from its initial state: the smallest context of learned or
    sinusoidal codes in it; None without such codes, when a sequence may be of any length."""
    if isinstance(cell, PositionCode | SelfAttention):
        return cell.context if cell.position in BOUNDED else None
    parts = [cell.inner] if isinstance(cell, LayerWrapper) else cells_inside(cell)
    bounds = map(max_steps, parts)
    return min((bound for bound in bounds if bound is not None), default=None)
