"""The bridge between cells and Flax: a Linen module that holds a cell's parameters."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from models.cell import Array, Cell
from models.recurrence.unroll import unroll


class Recurrent(nn.Module):
    """A cell as a Linen module: `unroll` with parameters that Flax stores under the name `cell`.

    In training (`train=True`) the cell's `prepare` gets a key from the RNG stream `recurrent`, if there is one.
    """

    cell: Cell

    @nn.compact
    def __call__(
        self, xs: Array, *args: Any, train: bool = False, run: Callable[..., Any] = unroll, **options: Any
    ) -> Any:
        """Applies `run` to `xs [T, *batch, D]`: `unroll` returns final state and outputs `[T, *batch, ...]`,
        `last_output` the last output `[*batch, ...]`. Other arguments (state, mask, …) are passed on."""
        params = self.param("cell", lambda key: self.cell.init(key, xs.shape[-1]))
        key = self.make_rng("recurrent") if train and self.has_rng("recurrent") else None
        return run(self.cell, params, xs, *args, key=key, train=train, **options)
