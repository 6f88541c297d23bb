"""The Transformer: a stack of attention and feed-forward layers, which is a cell like any other."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from models.cell import Activation, Cell, check_at_least
from models.layers.cross_attention import CrossAttention
from models.layers.dropout import check_rate
from models.layers.pointwise import FeedForward, Norm, Projection
from models.layers.position import BOUNDED, Position
from models.layers.position_code import PositionCode
from models.layers.residual import Residual
from models.layers.self_attention import SelfAttention
from models.layers.stacked import Stacked
from models.layers.wrapper import LayerWrapper

NormPlace = Literal["pre", "post"]


def residual_norm(layer: Cell, norm: NormPlace, dropout: float = 0.0) -> tuple[Cell, ...]:
    """Returns a layer with its residual connection and norm: x + f(norm x) for "pre" (Xiong et al. 2020;
    GPT-2), norm(x + f(x)) for "post" (Vaswani et al. 2017)."""
    if norm == "pre":
        return (Residual(Stacked((Norm(), layer)), dropout),)
    return Residual(layer, dropout), Norm()


@dataclass(frozen=True)
class Transformer(LayerWrapper):
    """A Transformer: `layers` blocks of self-attention and a feed-forward net, each with a residual connection
    and a norm, the inputs projected to `hidden_size` where they have another size. Vaswani et al. 2017.

    - `causal=True`: a decoder without an encoder, as GPT is (Radford et al. 2018); it steps and streams like a
      recurrent cell, its state the caches of its layers. `causal=False`: an encoder, which sees all steps.
    - `memory_size`: adds attention to a memory of that size between the two, as in a decoder with an encoder.
    - `position`: "rotary" and "none" serve sequences of any length, of which each layer sees the last `context`
      steps; "learned" and "sinusoidal" add a code to the projected inputs, for at most `context` steps.
    - `norm="pre"` ends with one more norm.
    - `dropout`: rate, in training, on the attention weights and on what each layer adds.
    - `feed_forward`: hidden units of the feed-forward nets, by default 4 · `hidden_size`, with `activation`.

    Parameters, state and weights are those of `stack`, a `Stacked` of its parts.

    Examples:
        >>> gpt = Transformer(hidden_size=8, layers=1, heads=2, context=16)
        >>> params = gpt.init(jax.random.key(0), input_size=3)
        >>> unroll(gpt, params, jnp.ones((7, 3)))[1].shape
        (7, 8)
        >>> y = stream(gpt, params).step(gpt.initial_state(params), jnp.ones(3))[1]  # as an LSTM steps
    """

    hidden_size: int
    layers: int = 2
    heads: int = 2
    context: int = 64
    position: Position = "rotary"
    norm: NormPlace = "pre"
    feed_forward: int | None = None
    activation: str | Activation = "gelu"
    dropout: float = 0.0
    causal: bool = True  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    memory_size: int | None = None  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, layers=self.layers)
        if self.feed_forward is not None:
            check_at_least(1, feed_forward=self.feed_forward)
        if self.norm not in get_args(NormPlace):
            raise ValueError(f"unknown norm {self.norm!r}: there are {', '.join(get_args(NormPlace))}")
        check_rate(self.dropout)
        self.block()  # its parts check the rest

    @cached_property
    def stack(self) -> Stacked:
        """The layers in their order."""
        ends: tuple[Cell, ...] = (Norm(),) if self.norm == "pre" else ()
        codes: tuple[Cell, ...] = (
            (PositionCode(self.position, self.context),) if self.position in BOUNDED else ()
        )
        return Stacked((Projection(self.hidden_size), *codes, *self.block() * self.layers, *ends))

    @property
    def inner(self) -> Cell:
        return self.stack

    def block(self) -> tuple[Cell, ...]:
        """Returns the layers of one block."""
        return transformer_block(
            self.hidden_size,
            heads=self.heads,
            context=self.context,
            causal=self.causal,
            position="rotary" if self.position == "rotary" else "none",
            norm=self.norm,
            feed_forward=self.feed_forward or 4 * self.hidden_size,
            activation=self.activation,
            dropout=self.dropout,
            memory_size=self.memory_size,
        )


def transformer_block(
    size: int,
    *,
    heads: int,
    feed_forward: int,
    context: int = 64,
    causal: bool = True,
    position: Position = "none",
    norm: NormPlace = "pre",
    activation: str | Activation = "gelu",
    dropout: float = 0.0,
    memory_size: int | None = None,
) -> tuple[Cell, ...]:
    """Returns the layers of one block of a Transformer: self-attention, attention to a memory where there is
    one, and a feed-forward net, each with its residual connection and norm."""
    parts: list[Cell] = [SelfAttention(size, heads, context, causal, position, dropout)]
    if memory_size is not None:
        parts.append(CrossAttention(size, heads, memory_size, dropout))
    parts.append(FeedForward(feed_forward, activation))
    return tuple(layer for part in parts for layer in residual_norm(part, norm, dropout))
