"""The network around a cell: layers, directions, what joins them, and the way through time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

import jax
import jax.numpy as jnp
import tyro

from experiments.cell_spec import label, parse_cell
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.harness.options import folder_name
from models import (
    CELLS,
    Backward,
    Bidirectional,
    Cell,
    CrossAttention,
    Dropout,
    Scan,
    SelfAttention,
    SequenceClassifier,
    SequenceTagger,
    Stacked,
    Transformer,
)
from models.layers.layer import Layer
from models.layers.pointwise import Pointwise
from models.layers.position_code import PositionCode
from models.layers.stacked import Connection
from models.layers.wrapper import LayerWrapper
from models.recurrence.associative import can_associate
from models.recurrence.fused import can_fuse
from models.recurrence.methods import Method
from models.recurrence.newton import can_newton

Direction = Literal["forward", "backward", "both"]
MethodName = Literal["scan", "fused", "associative", "newton"]
MethodOption = Literal["auto", "scan", "fused", "associative", "newton"]
CONNECTIONS_HELP = (
    "How stacked layers are connected. plain: each layer reads the output of the layer below; residual: the same, "
    "and its input is added to its output; dense: each layer reads the input and the outputs of all layers below; "
    "highway: a learned gate mixes each layer's output with its input."
)
METHOD_HELP = (
    "How the cell is unrolled over time; all give the same numbers. scan: step by step; fused: a scan with a "
    "hand-written backward pass, for cells made of one matrix product; associative: all steps at once, for cells "
    "linear in their state; newton: all steps at once, by repeated linearisation; auto: usually "
    "the fastest."
)


@dataclass(frozen=True)
class NetworkConfig:
    """The network built of a cell, and its method through time."""

    depth: int = 1
    """Stacked layers of the cell."""
    direction: Direction = "forward"
    """Direction in which each layer reads; both concatenates the outputs of two cells, and makes attention see all
    steps."""
    connections: Annotated[Connection, tyro.conf.arg(help=CONNECTIONS_HELP)] = "plain"
    dropout: float = 0.0
    """Dropout rate between layers during training, drawn anew at every step."""
    method: Annotated[MethodOption, tyro.conf.arg(help=METHOD_HELP)] = "auto"
    checkpoint_every: int | None = None
    """With --method scan: keep every K-th state and recompute the others; less memory, more time."""

    def __post_init__(self) -> None:
        check_at_least(1, depth=self.depth)
        if self.checkpoint_every is not None:
            check_at_least(1, checkpoint_every=self.checkpoint_every)
            if self.method != "scan":
                raise UserError("--checkpoint-every", "belongs to --method scan: give both, or neither")
        if not 0 <= self.dropout < 1:
            raise UserError("--dropout", f"must be at least 0 and below 1, but is {self.dropout}")
        if self.depth == 1 and self.connections != "plain":
            raise UserError(
                "--connections", f"{self.connections} joins layers, and there is one: give --depth 2 or more"
            )

    def build(self, expression: str, hidden_size: int) -> Cell:
        """Builds the layer of the cell that an expression names; the cell itself if there is one, forward.

        Both directions of attention are one layer that sees all steps.

        Raises ValueError, one sentence, for a cell that doesn't exist, that the method can't run, or that doesn't
        fit the depth, the dropout or the connections.
        """
        cell = parse_cell(expression, hidden_size, steps=False)
        if self.depth > 1 and any(isinstance(part, Transformer) for part in parts(cell)):
            raise UserError(
                "--depth",
                f"{self.depth} stacks layers, and {expression} has its own: give transformer(layers={self.depth})",
            )
        if self.depth == 1 and self.dropout:
            instead = dropout_instead(cell, self.dropout)
            raise UserError(
                "--dropout", f"{self.dropout} falls between layers, and there is one: give {instead}"
            )
        if self.method != "auto" and not supports(cell, self.method):
            raise UserError("--method", refusal(self.method, expression, cell))
        layer = both_directions(cell) if self.direction == "both" else cell
        if self.depth > 1:
            dropout = Dropout(self.dropout) if self.dropout else None
            layer = Stacked((layer,) * self.depth, self.connections, dropout)
            jax.eval_shape(lambda: layer.init(jax.random.key(0), 2))  # it knows whether the sizes fit
        return Backward(layer) if self.direction == "backward" else layer

    def classifier(self, layer: Cell, classes: int) -> SequenceClassifier:
        """Builds a model with one answer per sequence, from where each direction has read all of it."""
        return SequenceClassifier(layer, classes, method=self.way)

    def tagger(self, layer: Cell, classes: int) -> SequenceTagger:
        """Builds a model with one answer per step."""
        return SequenceTagger(layer, classes, method=self.way)

    @property
    def way(self) -> Method:
        """Returns the method with its option."""
        return self.method if self.checkpoint_every is None else Scan(self.checkpoint_every)

    def describe(self, expression: str) -> str:
        """Names the network as figures and tables do: `lstm, 2 layers, residual, both directions`."""
        words = [label(expression)]
        if self.depth > 1:
            words.append(f"{self.depth} layers")
        if self.connections != "plain":
            words.append(self.connections)
        if self.direction != "forward":
            words.append("both directions" if self.direction == "both" else "backward")
        return ", ".join(words)


def check_cells(expressions: Sequence[str]) -> None:
    """Raises ValueError where a list names no cell, or two whose results would share a name."""
    if not expressions:
        raise UserError("--cells", "names no cell: give at least one")
    if len({folder_name(label(cell)) for cell in expressions}) < len(expressions):
        raise UserError(
            "--cells", f"names a cell twice, or two that would share a name: {' '.join(expressions)}"
        )


def both_directions(cell: Cell) -> Cell:
    """Returns a layer that reads in both directions: attention to all steps, or two cells."""
    attends = isinstance(cell, Transformer | SelfAttention)
    return replace(cell, causal=False) if attends else Bidirectional(cell)


def dropout_instead(cell: Cell, rate: float) -> str:
    """Says where dropout falls in a cell that is one layer to the options."""
    match cell:
        case Transformer():
            return f"transformer(dropout={rate})"
        case Stacked():
            return f"stacked(…, dropout=dropout({rate}))"
    return "--depth 2"


def parts(cell: Cell) -> Iterator[Cell]:
    """Yields a cell and all cells inside it."""
    yield cell
    for inside in parts_of(cell):
        yield from parts(inside)


def parts_of(cell: Cell) -> list[Cell]:
    """Returns the cells of which a cell is made."""
    values = [cell.inner] if isinstance(cell, LayerWrapper) else list(vars(cell).values())
    return [
        part
        for value in values
        for part in (value if isinstance(value, tuple) else (value,))
        if isinstance(part, Cell)
    ]


def supported_methods(cell: Cell, *, masked: bool = True) -> list[MethodName]:
    """Lists the methods that can run a cell."""
    return [name for name in get_args(MethodName) if supports(cell, name, masked=masked)]


def supports(cell: Cell, method: MethodName, *, masked: bool = True) -> bool:
    """Tells whether a method can run a cell, all parts of a layer, from shapes alone."""
    if isinstance(cell, SelfAttention | CrossAttention):
        return False  # all steps at once, by no method
    if isinstance(cell, Layer):
        inside = [part for part in parts_of(cell) if not isinstance(part, Pointwise | PositionCode)]
        return all(supports(part, method, masked=masked) for part in inside)
    answers: list[bool] = []

    def ask() -> None:
        params = cell.init(jax.random.key(0), 2)
        state = cell.initial_state(params, (2,))
        match method:
            case "fused":
                weights = cell.prepare(params, batch_shape=(2,))
                answers.append(can_fuse(cell, weights, state, jnp.zeros((3, 2, 2))))
            case "associative":
                answers.append(can_associate(cell, jnp.ones((3, 2), bool) if masked else None))
            case "newton":
                answers.append(can_newton(state))
            case "scan":
                answers.append(True)

    jax.eval_shape(ask)
    return answers[0]


def refusal(method: MethodName, expression: str, cell: Cell) -> str:
    """Says that a method can't run a cell; names the cells that it runs and the methods that the cell supports."""
    if any(isinstance(part, SelfAttention | CrossAttention) for part in parts(cell)):
        return (
            f"{method} can't run the cell {expression}: its attention computes all steps at once, where {method} "
            "would keep a cache for every step of the way back: leave --method out"
        )
    others = [name for name in CELLS if supports(parse_cell(name, hidden_size=4), method)]
    return (
        f"{method} can't run the cell {expression}: of the cells here it runs {', '.join(others)}; "
        f"{expression} supports auto, {', '.join(supported_methods(cell))}"
    )
