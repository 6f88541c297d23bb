"""The layer: what goes through a sequence in a way of its own, as stacks and directions do.

The second layer of a stack has no drive before the first has run, and a bidirectional layer has no step at all. So
a layer writes `unroll`; `models.unroll` hands over to it. A causal layer steps too, and is then a cell to all else;
any other refuses `prepare`, and with it whatever goes step by step.
"""

from dataclasses import dataclass
from typing import Any

import jax

from models.cell import Array, BatchShape, Cell, Drive, Key, Output, Params, State, Weights
from models.layers.pooling import last_valid


@dataclass(frozen=True)
class Layer(Cell):
    """A cell with a way of its own through a sequence: writes `init`, `initial_state` and `unroll`; where it is
    causal also `prepare`, `drive` and `step`, which then give what `unroll` gives."""

    @property
    def causal(self) -> bool:
        """True where no output depends on a later input, so that the layer steps."""
        return False

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
        """As `models.unroll`, which calls it: final state `[*batch, ...]`, outputs `[T, *batch, ...]`."""
        raise NotImplementedError(f"{type(self).__name__} has no unroll(params, xs, state, …)")

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
    ) -> Output:
        """As `models.recurrence.unroll.last_output`, which calls it: `[*batch, ...]`."""
        _, ys = self.unroll(params, xs, mask=mask, reverse=reverse, method=method, key=key, train=train)
        return last_valid(ys, mask, reverse=reverse)

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        check_causal(self)
        return params

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        check_causal(self)
        return super().step(weights, state, drive)


def is_causal(cell: Cell) -> bool:
    """Tells whether no output depends on a later input: true of every cell, not of every layer."""
    return cell.causal if isinstance(cell, Layer) else True


def check_causal(cell: Cell) -> None:
    """Raises ValueError for a layer that reads the future. What needs a step calls it, or `prepare`, which does."""
    if not is_causal(cell):
        raise ValueError(
            f"a {type(cell).__name__} that reads from the end knows the future, so it has no step and can't be "
            "taken by what goes step by step (streaming, decoding, Jacobians): use layers that read forward only"
        )


def check_parts(cell: Cell, state: State, names: tuple[str, ...]) -> None:
    """Raises ValueError where a layer's state is not a tuple with one entry for each of its parts."""
    if not isinstance(state, tuple) or len(state) != len(names):
        found = f"{len(state)} entries" if isinstance(state, tuple) else type(state).__name__
        raise ValueError(
            f"the state of a {type(cell).__name__} of {len(names)} parts must be a tuple with one entry for each "
            f"({', '.join(names)}), but is {found}"
        )


def check_output(cell: Cell, output: Any, where: str) -> int:
    """The size N of an output `[..., N]` that another layer is to read, from its shape alone.

    Raises ValueError where the output is no single array with such an axis.
    """
    leaves = jax.tree.leaves(output)
    if len(leaves) != 1 or jax.tree.structure(output) != jax.tree.structure(0) or not leaves[0].ndim:
        raise ValueError(
            f"{where}, {type(cell).__name__}, must give one array [..., N] a step, but gives {output}"
        )
    return leaves[0].shape[-1]


def split_or_none(key: Key | None, count: int) -> tuple[Key | None, ...]:
    """As many keys, or as many times None where there is none."""
    return (None,) * count if key is None else tuple(jax.random.split(key, count))
