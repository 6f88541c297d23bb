"""Translate with a trained model, by beam search.

python -m experiments generate RUN --source "…"
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from data import PairExample, encode_sentence, held_out_pairs, pair_bounds
from data.text.files import read_file
from data.text.tokenizers import lines_of
from experiments.encoder_decoder.search import Hypothesis, SearchConfig, search_targets
from experiments.encoder_decoder.systems import System
from experiments.harness.checks import check_at_least, check_not_negative
from experiments.harness.command_line import read_command
from experiments.harness.errors import UserError
from experiments.harness.options import given_options
from experiments.translation.alignment import source_attention
from experiments.translation.trained import TrainedTranslation, trained_translation

TOGETHER = 50  # sentences of a batch


@dataclass(frozen=True)
class Config:
    """Generate."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of translation, finished or not. A cell from a Python file is executed."""
    source: str
    """The sentence to translate, or a text file with one on each line."""
    system: System | None = None
    """One of the run's models; by default the last that it has trained."""
    width: int | None = None
    """Hypotheses that the search keeps of each sentence; 1 is greedy. Default: that of the run."""
    normalise: Literal["wu", "average", "none"] | None = None
    """Compare hypotheses by this. Default: as the run does."""
    alpha: float | None = None
    """The exponent of --normalise wu. Default: that of the run."""
    n_best: int = 1
    """Translations of each sentence; with more than one each has its log-probability in front."""
    best: bool | None = None
    """Use the checkpoint with the best validation result, or (--no-best) the newest. Default: as the run does."""
    figure: Path | None = None
    """Draw what the best translation of the first sentence attends to, into this file without its ending."""
    trust: bool = False
    """Execute the cell's Python file even if the run lies elsewhere or the file has changed since training."""

    def __post_init__(self) -> None:
        check_at_least(1, n_best=self.n_best)
        if self.width is not None:
            check_at_least(1, width=self.width)
        if self.alpha is not None:
            check_not_negative(alpha=self.alpha)

    def search(self, default: SearchConfig) -> SearchConfig:
        """Returns the options of the search, those not given from the run's. Raises UserError for an `n_best`
        above the width."""
        given = {"width": self.width, "normalise": self.normalise, "alpha": self.alpha}
        values = {**vars(default), **{name: value for name, value in given.items() if value is not None}}
        if self.n_best > values["width"]:
            raise UserError(
                "--n-best", f"{self.n_best} is more than the --width {values['width']} of the search"
            )
        return SearchConfig(**values)


def translated(config: Config) -> Iterator[str]:
    """Yields the lines to print: the translations of each sentence.

    Raises ValueError where the folder isn't a run of translation that has been trained, or a sentence holds what
    the pieces can't spell, or is empty."""
    trained = trained_translation(config.run, config.system, best=config.best, trust=config.trust)
    search = config.search(trained.config.search)
    data = trained.config.data
    encoding = None if data.encoding == "utf-8" else data.encoding  # no option of this command says it
    encoded = [
        encode_sentence(trained.source, sentence, data.longest_held_out)
        for sentence in read_sentences(config.source, encoding)
    ]
    found = translate_encoded(trained, encoded, search, config.n_best)
    for hypotheses in found:
        for hypothesis in hypotheses:
            text = trained.target.decode(hypothesis.ids)
            yield text if config.n_best == 1 else f"{hypothesis.score:9.3f}  {text}"
    if config.figure is not None:
        yield from map(str, draw_attention(trained, encoded[0], found[0][0], config.figure))


def read_sentences(source: str, encoding: str | None) -> Sequence[str]:
    """Returns the lines of a file, or the sentence itself. Raises UserError for an empty one, and ValueError as
    `read_file` does."""
    is_file = os.path.isfile(source)
    lines = lines_of(read_file(Path(source)).text(encoding)) if is_file else [source]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            where = f"line {number} of {source} is" if is_file else "is"
            raise UserError("--source", f"{where} empty: give a sentence")
    if not lines:
        raise UserError("--source", f"{source} is an empty file: give one with a sentence on each line")
    return lines


def translate_encoded(
    trained: TrainedTranslation, sources: Sequence[np.ndarray], search: SearchConfig, n_best: int
) -> list[list[Hypothesis]]:
    """Returns the hypotheses of each sentence, in the order given."""
    none = np.array([trained.model.writer.end], np.int32)
    examples = [PairExample(source, none) for source in sources]
    rows = min(TOGETHER, len(examples))
    held = held_out_pairs(examples, batch_size=rows, bounds=pair_bounds(examples))
    found = search_targets(trained.model, trained.params, held.batches, search, n_best)
    return held.restore_order(found)


def draw_attention(
    trained: TrainedTranslation, source: np.ndarray, best: Hypothesis, path: Path
) -> list[Path]:
    """Draws the attention of a translation to its source. Raises UserError for a model that attends to nothing."""
    from analysis.figures.attention import attention_figure
    from analysis.figures.style import save

    target = [*best.ids, trained.model.writer.end]
    (maps,) = source_attention(trained.model, trained.params, [(source, target)])
    if not maps:
        raise UserError(
            "--figure", f"shows attention, and the system {trained.system} has none: leave it out"
        )
    named = {f"layer {i}": weights for i, weights in enumerate(maps.values(), 1)} if len(maps) > 1 else maps
    labels = trained.target.vocabulary.decode(target), trained.source.vocabulary.decode(source)
    return save(attention_figure(named, *labels), path.parent, path.name)


def main(arguments: list[str]) -> int:
    """Runs `python -m experiments generate RUN …`."""
    if "--prompt" in given_options(arguments):
        raise UserError(
            "--prompt",
            "begins a text for a language model to continue, and this run translates: give --source",
        )
    config = read_command(Config, arguments, "generate", __doc__)
    for line in translated(config):
        print(line, flush=True)
    return 0
