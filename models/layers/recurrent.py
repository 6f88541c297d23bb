"""The one bridge between cells and Flax: a Linen module that holds a cell's parameters."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from models.cell import Array, Cell
from models.recurrence.unroll import unroll


class Recurrent(nn.Module):
    """A cell as a Linen module: `unroll` over parameters that Flax keeps under the name `cell`.

    In training (`train=True`) the cell's `prepare` gets a key from the RNG stream `recurrent`, where there is one.
    """

    cell: Cell

    @nn.compact
    def __call__(
        self, xs: Array, *args: Any, train: bool = False, through: Callable[..., Any] = unroll, **options: Any
    ) -> Any:
        """Returns what `through` gives of `xs [T, *batch, D]`: `unroll` final state and outputs `[T, *batch, ...]`,
        `last_output` what the sequence ends with, `[*batch, ...]`. Other arguments (state, mask, …) are its own."""
        params = self.param("cell", lambda key: self.cell.init(key, xs.shape[-1]))
        key = self.make_rng("recurrent") if train and self.has_rng("recurrent") else None
        return through(self.cell, params, xs, *args, key=key, train=train, **options)
