"""The nets that `depth` compares: stacks of layers of four kinds, of a given width or of a given size."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from experiments.budgets import width_of_size
from models import LSTM, Cell, SequenceTagger, Stacked
from models.layers.pointwise import Norm
from models.layers.transformer import transformer_block

Kind = Literal["lstm", "residual_lstm", "pre_norm", "post_norm"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LABELS: dict[Kind, str] = {
    "lstm": "LSTM, plain",
    "residual_lstm": "LSTM, residual",
    "pre_norm": "Transformer, pre-norm",
    "post_norm": "Transformer, post-norm",
}
HEADS = 2
STEP = 2 * HEADS  # widths are multiples of it: rotary positions turn pairs of entries of a head


@dataclass(frozen=True)
class Net:
    """A stack of `layers` layers of one kind and width between an embedding and an output layer of that width, on
    windows of `window` of `types` tokens. A layer of a Transformer is a block: attention and a feed-forward net."""

    kind: Kind
    layers: int
    width: int
    types: int
    window: int

    def stack(self) -> Stacked:
        """Returns the layers; those with norms before them are followed by one more norm."""
        if self.kind in ("lstm", "residual_lstm"):
            connection = "residual" if self.kind == "residual_lstm" else "plain"
            return Stacked((LSTM(self.width),) * self.layers, connection)
        norm = "pre" if self.kind == "pre_norm" else "post"
        block: Cell = Stacked(
            transformer_block(
                self.width,
                heads=HEADS,
                feed_forward=4 * self.width,
                context=self.window,
                position="rotary",
                norm=norm,
            )
        )
        return Stacked((block,) * self.layers + ((Norm(),) if norm == "pre" else ()))

    def model(self) -> SequenceTagger:
        """Builds the model that predicts each token of a window from those before it."""
        return SequenceTagger(self.stack(), self.types, self.types, self.width)

    def parameters(self) -> int:
        """Returns the number of parameters, embedding and output layer included."""
        return count(self)


@cache
def count(net: Net) -> int:
    """Counts the parameters of a net."""
    ids = jax.ShapeDtypeStruct((net.window, 1), jnp.int32)
    shapes: Any = jax.eval_shape(net.model().init, jax.random.key(0), ids)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def net_of_size(kind: Kind, layers: int, parameters: int, types: int, window: int) -> Net:
    """Returns the net whose number of parameters is nearest to the one given, of widths that are multiples of
    `STEP`."""

    def of_width(width: int) -> Net:
        return Net(kind, layers, width, types, window)

    return of_width(width_of_size(lambda width: of_width(width).parameters(), parameters, STEP))
