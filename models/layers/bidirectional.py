"""Layers that read time backward, or in both directions."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Output, Params, State
from models.layers.layer import Layer, check_parts, split_or_none
from models.layers.pooling import last_valid
from models.memory import Memory, common_memory_size, memory_argument, memory_size
from models.recurrence.unroll import last_output, output_size, unroll

Merge = Literal["concatenate", "sum", "mean"]


class Directions(NamedTuple):
    """A pair of values, one for the forward and one for the backward direction."""

    forward: Any
    backward: Any


@dataclass(frozen=True)
class Backward(Layer):
    """A cell that reads from the last step to the first; outputs are aligned with their inputs.

    Parameters and state are the cell's own. The final state is the one after the first valid step, which is read
    last. As it isn't causal, it has no step.
    """

    cell: Cell

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the cell couples a batch."""
        return self.cell.couples_batch

    @property
    def reads_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the cell reads a memory."""
        return self.cell.reads_memory

    @property
    def memory_size(self) -> int | None:
        """The size of the memory that the cell reads."""
        return memory_size(self.cell)

    def init(self, key: Key, input_size: int) -> Params:
        return self.cell.init(key, input_size)

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return self.cell.initial_state(params, batch_shape)

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
        memory: Memory | None = None,
    ) -> tuple[State, Output]:
        """Runs the cell with `reverse` flipped."""
        turned = not reverse
        options: Any = {"mask": mask, "reverse": turned, "method": method, "key": key, "train": train}
        return unroll(self.cell, params, xs, state, memory=memory, **options)

    def last_output(
        self,
        params: Params,
        xs: Array,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        method: Any = "auto",
        key: Key | None = None,
        train: bool = False,
        memory: Memory | None = None,
    ) -> Output:
        """Returns the cell's output at the first valid step, which it reads last."""
        turned = not reverse
        options: Any = {"mask": mask, "reverse": turned, "method": method, "key": key, "train": train}
        return last_output(self.cell, params, xs, memory=memory, **options)


@dataclass(frozen=True)
class Bidirectional(Layer):
    """Two cells, one reading from the first step to the last, the other from the last to the first:

        y_t = [f_t, b_t]           merge="concatenate"
        y_t = f_t + b_t            merge="sum"
        y_t = (f_t + b_t) / 2      merge="mean"

    with f the outputs of `forward` and b those of `backward` (by default an equal cell with its own parameters).
    Schuster & Paliwal 1997. Either may be a layer, for instance a stack.

    Under a mask the backward cell starts at the last valid step, not in the padding after it. State: the pair
    (forward, backward); the final one is the forward cell's after the last valid step, and the backward cell's
    after the first. Parameters: `forward`, `backward`. As it isn't causal, it has no step.

    Examples:
        >>> net = Bidirectional(GRU(4))
        >>> _, ys = unroll(net, net.init(jax.random.key(0), 3), jnp.ones((7, 2, 3)))
        >>> ys.shape
        (7, 2, 8)
    """

    forward: Cell
    backward: Cell | None = None
    merge: Merge = "concatenate"

    def __post_init__(self) -> None:
        if self.merge not in get_args(Merge):
            raise ValueError(
                f"unknown merge {self.merge!r} of two directions: there are {', '.join(get_args(Merge))}"
            )

    def cells(self) -> Directions:
        """Returns the two cells."""
        return Directions(self.forward, self.forward if self.backward is None else self.backward)

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if one of the cells couples a batch."""
        return any(cell.couples_batch for cell in self.cells())

    @property
    def reads_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if one of the cells reads a memory."""
        return any(cell.reads_memory for cell in self.cells())

    @property
    def memory_size(self) -> int | None:
        """The size of the memory that the cells read; None if none does. Raises ValueError if they differ."""
        return common_memory_size(self.cells())

    def init(self, key: Key, input_size: int) -> Params:
        cells, keys = self.cells(), jax.random.split(key)
        params = [cell.init(key, input_size) for cell, key in zip(cells, keys, strict=True)]
        sizes = []
        for name, cell, own in zip(Directions._fields, cells, params, strict=True):
            sizes.append(output_size(cell, own, input_size, f"the {name} cell of a Bidirectional"))
        if self.merge != "concatenate" and sizes[0] != sizes[1]:
            raise ValueError(
                f"the {self.merge} of two directions needs outputs of equal size, but the forward cell has "
                f"{sizes[0]} and the backward cell {sizes[1]}: give both one size, or use merge='concatenate'"
            )
        return Directions(*params)._asdict()

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Directions:
        forward, backward = self.cells()
        return Directions(
            forward.initial_state(params["forward"], batch_shape),
            backward.initial_state(params["backward"], batch_shape),
        )

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
        memory: Memory | None = None,
    ) -> tuple[Directions, Output]:
        """Runs both directions and merges their outputs; `reverse` flips both."""
        states = (None, None) if state is None else state
        check_parts(self, states, Directions._fields)
        cells, keys = self.cells(), split_or_none(key, 2)
        ends = [
            unroll(
                cell,
                params[name],
                xs,
                own,
                mask=mask,
                reverse=reverse != (name == "backward"),
                method=method,
                key=key,
                train=train,
                **memory_argument(cell, memory),
            )
            for name, cell, own, key in zip(Directions._fields, cells, states, keys, strict=True)
        ]
        (final_forward, f), (final_backward, b) = ends
        return Directions(final_forward, final_backward), self.merged(f, b)

    def last_output(
        self,
        params: Params,
        xs: Array,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        method: Any = "auto",
        key: Key | None = None,
        train: bool = False,
        memory: Memory | None = None,
    ) -> Output:
        """Returns the forward cell's output at the last valid step and the backward cell's at the first, merged:
        there each has read the whole sequence."""
        cells, keys = self.cells(), split_or_none(key, 2)
        ends = [
            last_output(
                cell,
                params[name],
                xs,
                mask=mask,
                reverse=reverse != (name == "backward"),
                method=method,
                key=key,
                train=train,
                **memory_argument(cell, memory),
            )
            for name, cell, key in zip(Directions._fields, cells, keys, strict=True)
        ]
        return self.merged(*ends)

    def ends(self, ys: Array, mask: Array | None = None, *, reverse: bool = False) -> Array:
        """Picks from concatenated outputs `[T, *batch, 2N]` each direction's half at the step it reads last:
        `[*batch, 2N]`. Raises ValueError if the directions aren't concatenated or differ in size."""
        if self.merge != "concatenate" or self.backward not in (None, self.forward):
            raise ValueError(
                "a residual or highway connection around two directions has a last output only if both use the "
                "same cell and merge='concatenate': pool the mean, or choose 'plain' or 'dense' connections"
            )
        f, b = jnp.split(ys, 2, axis=-1)
        halves = last_valid(f, mask, reverse=reverse), last_valid(b, mask, reverse=not reverse)
        return jnp.concatenate(halves, axis=-1)

    def merged(self, f: Array, b: Array) -> Array:
        """Merges the outputs of both directions, `[..., N]` and `[..., M]`."""
        match self.merge:
            case "concatenate":
                return jnp.concatenate([f, b], axis=-1)
            case "sum":
                return f + b
            case "mean":
                return (f + b) / 2
