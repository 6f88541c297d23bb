"""The layer: a cell that implements its own unroll, as stacks and directions do.

The second layer of a stack has no drive before the first has run, and a bidirectional layer has no step at all.
So a layer implements `unroll`, which `models.unroll` calls. A causal layer steps too, and can be used like any
cell; any other refuses `prepare`, and with it everything that works step by step.
"""

from dataclasses import dataclass, fields
from typing import Any

import jax

from models.cell import Array, BatchShape, Cell, Drive, Key, Output, Params, State, Weights
from models.layers.pooling import last_valid


@dataclass(frozen=True)
class Layer(Cell):
    """A cell that implements its own unroll: a subclass defines `init`, `initial_state` and `unroll`. A causal one
    also returns True from `causal` and defines `step` (where needed `prepare` and `drive`), with the same results
    as `unroll`."""

    @property
    def causal(self) -> bool:
        """True if no output depends on a later input, so that the layer can step."""
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
        """Implements `models.unroll`: final state `[*batch, ...]`, outputs `[T, *batch, ...]`."""
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
        memory: Any = None,
    ) -> Output:
        """Implements `models.recurrence.unroll.last_output`: `[*batch, ...]`."""
        options: Any = {"mask": mask, "reverse": reverse, "method": method, "key": key, "train": train}
        _, ys = self.unroll(params, xs, **options, **({} if memory is None else {"memory": memory}))
        return last_valid(ys, mask, reverse=reverse)

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        check_causal(self)
        return params

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        check_causal(self)
        return super().step(weights, state, drive)


def cells_inside(cell: Cell) -> list[Cell]:
    """Returns the cells that a cell's fields hold, alone or in a tuple."""
    values = [getattr(cell, field.name) for field in fields(cell)]
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return [part for part in flat if isinstance(part, Cell)]


def is_causal(cell: Cell) -> bool:
    """Returns True if no output depends on a later input, as in every cell that is not a layer."""
    return cell.causal if isinstance(cell, Layer) else True


def check_causal(cell: Cell) -> None:
    """Raises ValueError for a layer that isn't causal. Everything that needs a step calls it, or `prepare`."""
    if not is_causal(cell):
        raise ValueError(
            f"a {type(cell).__name__} that reads from the end knows the future, so it has no step and can't be "
            "used step by step (streaming, decoding, Jacobians): use layers that read forward only"
        )


def check_whole(cell: Cell, method: Any) -> None:
    """Raises ValueError for a method other than "auto", given to a layer that computes all steps at once."""
    if method != "auto":
        raise ValueError(
            f"a {type(cell).__name__} computes all steps at once, so method must be 'auto', but is {method!r}: a "
            "scan over self-attention would keep a cache for every step of the way back"
        )


def check_parts(cell: Cell, state: State, names: tuple[str, ...]) -> None:
    """Raises ValueError if a layer's state is not a tuple with one entry for each of its parts."""
    if not isinstance(state, tuple) or len(state) != len(names):
        found = f"{len(state)} entries" if isinstance(state, tuple) else type(state).__name__
        raise ValueError(
            f"the state of a {type(cell).__name__} of {len(names)} parts must be a tuple with one entry for each "
            f"({', '.join(names)}), but is {found}"
        )


def check_output(cell: Cell, output: Any, where: str) -> int:
    """Returns the size N of an output `[..., N]` that another layer reads, from its shape alone.

    Raises ValueError if the output is not a single array with such an axis.
    """
    leaves = jax.tree.leaves(output)
    if len(leaves) != 1 or jax.tree.structure(output) != jax.tree.structure(0) or not leaves[0].ndim:
        raise ValueError(
            f"{where}, {type(cell).__name__}, must return one array [..., N] per step, but returns {output}"
        )
    return leaves[0].shape[-1]


def split_or_none(key: Key | None, count: int) -> tuple[Key | None, ...]:
    """Splits a key into `count` keys; `count` times None if there is none."""
    return (None,) * count if key is None else tuple(jax.random.split(key, count))
