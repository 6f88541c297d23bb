"""The one bridge between cells and Flax: a Linen module that holds a cell's parameters."""

from flax import linen as nn

from models.cell import Array, Cell, Output, State
from models.recurrence import Method, unroll


class Recurrent(nn.Module):
    """A cell as a Linen module: `unroll` over parameters that Flax keeps under the name `cell`.

    In training (`train=True`) the cell's `prepare` gets a key from the RNG stream `recurrent`, where there is one.
    """

    cell: Cell

    @nn.compact
    def __call__(
        self,
        xs: Array,
        state: State | None = None,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        method: Method = "auto",
        train: bool = False,
    ) -> tuple[State, Output]:
        """`xs [T, *batch, D]`, `mask [T, *batch]` → final state, outputs `[T, *batch, ...]`; see `unroll`."""
        params = self.param("cell", lambda key: self.cell.init(key, xs.shape[-1]))
        key = self.make_rng("recurrent") if train and self.has_rng("recurrent") else None
        return unroll(
            self.cell, params, xs, state, mask=mask, reverse=reverse, method=method, key=key, train=train
        )
