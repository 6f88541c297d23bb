"""The systems side by side: encoder–decoder models that differ in how the decoder sees the source."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import tyro

from experiments.cell_spec import parse_cell
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.network import Direction
from experiments.training import CELL_HELP
from models import (
    AttentionCell,
    AttentionReadout,
    Backward,
    Bidirectional,
    Cell,
    Dense,
    Dropout,
    EncoderDecoder,
    FedContext,
    Projection,
    Stacked,
    TokenReader,
    TokenWriter,
    Transformer,
)
from models.layers.attention import SCORES
from models.layers.dropout import check_rate
from models.recurrence.unroll import output_size

System = Literal["fixed", "fed", "attention", "transformer"]
NAMES: Mapping[System, str] = {
    "fixed": "fixed context",
    "fed": "fed context",
    "attention": "attention",
    "transformer": "Transformer",
}
ScoreName = Literal["additive", "general", "scaled_dot", "dot"]


@dataclass(frozen=True)
class ModelConfig:
    """The parts and sizes of the models.

    Raises ValueError for a number outside its range.
    """

    cell: Annotated[str, tyro.conf.arg(help=f"The cell of recurrent encoders and decoders: {CELL_HELP}.")] = (
        "gru"
    )
    transformer: str = "transformer(layers=2, heads=4, context=32)"
    """The encoder of the Transformer. Its decoder is the same, but causal, and attends to the encoder."""
    hidden_size: int = 128
    """Units of each layer, H."""
    embedding_size: int | None = None
    """Size of the embedding of a token, and of what recurrent decoders predict from; by default H."""
    depth: int = 1
    """Stacked layers of the cell, in the encoder and in the decoder, where the first one attends."""
    direction: Direction = "both"
    """Direction in which recurrent encoders read; both concatenates the outputs of two cells."""
    attention: Literal["recurrence", "outputs"] = "recurrence"
    """In the system attention, attend in the recurrence, the context an input of the next step (Bahdanau et al.
    2015), or with the outputs of the cell, all steps at once, which is faster (Luong et al. 2015)."""
    score: ScoreName = "additive"
    """The score of the system attention."""
    tied: bool = True
    """Share one matrix between the target's embedding and the output layer."""
    dropout: float = 0.0
    """Dropout rate on embeddings and outputs, between layers, and within the Transformer."""

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, depth=self.depth)
        if self.embedding_size is not None:
            check_at_least(1, embedding_size=self.embedding_size)
        check_rate(self.dropout)

    @property
    def size(self) -> int:
        """Returns the size of the embedding of a token, E."""
        return self.embedding_size or self.hidden_size

    def build(
        self, system: System, source_types: int, target_types: int, end: int, *, shared: bool = False
    ) -> EncoderDecoder:
        """Builds the model of a system.

        Args:
            system: which one.
            source_types: the size of the source's vocabulary.
            target_types: the size of the target's.
            end: the id of the end mark among the target's.
            shared: both languages have one vocabulary, and one embedding.

        Raises ValueError for a cell that doesn't exist, or that can't be a part of such a model.
        """
        transformer = system == "transformer"
        encoder, decoder = self.transformers() if transformer else self.recurrent(system)
        return EncoderDecoder(
            encoder,
            decoder,
            TokenReader(source_types, self.size, scale=transformer),
            TokenWriter(target_types, self.size, scale=transformer, end=end, tied=self.tied),
            bridge="none" if transformer else "state",
            shared=shared,
            dropout=self.dropout,
        )

    def transformers(self) -> tuple[Cell, Cell]:
        """Returns the encoder and the decoder of the Transformer. Raises UserError for another cell."""
        cell = parse_cell(self.transformer, self.hidden_size, steps=False)
        if not isinstance(cell, Transformer):
            raise UserError(
                "--transformer",
                f"must be a transformer, such as transformer(layers=2), but is {self.transformer}",
            )
        cell = dataclasses.replace(cell, dropout=cell.dropout or self.dropout)
        decoder: Cell = dataclasses.replace(cell, causal=True, memory_size=cell.hidden_size)
        if self.tied and cell.hidden_size != self.size:
            decoder = Stacked((decoder, Projection(self.size)))
        return dataclasses.replace(cell, causal=False), decoder

    def recurrent(self, system: System) -> tuple[Cell, Cell]:
        """Returns the encoder and the decoder of a recurrent system; the decoder ends in a tanh layer of size E.

        Raises UserError for a cell that couples a batch."""
        cell = parse_cell(self.cell, self.hidden_size)
        if cell.couples_batch:
            raise UserError("--cell", f"{self.cell} couples the sentences of a batch: take another")
        encoder = self.stacked((ENCODERS[self.direction](cell),) * self.depth)
        params = jax.eval_shape(lambda: encoder.init(jax.random.key(0), self.size))
        memory = output_size(encoder, params, self.size, "the encoder")
        cells: tuple[Cell, ...] = (cell,) * self.depth
        last: tuple[Cell, ...] = (Dense(self.size),)
        score: Any = SCORES[self.score]()
        match system, self.attention:
            case "fed", _:
                summary = "last" if self.direction == "forward" else "ends"
                cells = (FedContext(self.stacked(cells), memory, summary),)
            case "attention", "recurrence":
                cells = (AttentionCell(cell, score, memory_size=memory), *cells[1:])
            case "attention", "outputs":
                last = (AttentionReadout(memory, score), *last)
        return encoder, Stacked((self.stacked(cells), *last))

    def stacked(self, cells: tuple[Cell, ...]) -> Cell:
        """Returns cells as one layer, with dropout between them."""
        if len(cells) == 1:
            return cells[0]
        return Stacked(cells, dropout=Dropout(self.dropout) if self.dropout else None)

    def describe(self, system: System) -> str:
        """Names a system as tables and figures do."""
        return NAMES[system]


ENCODERS: Mapping[Direction, Callable[[Cell], Cell]] = {
    "forward": lambda cell: cell,
    "backward": Backward,
    "both": Bidirectional,
}
