"""Print sentences with their labels, by a trained tagger: slots in brackets and the intent, or each word's tag.

python -m experiments label RUN "show me flights from boston to denver"
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from analysis import iob_spans
from data.text.files import read_file
from data.text.tokenizers import lines_of
from experiments.harness.cell_files import check_trusted
from experiments.harness.command_line import read_command
from experiments.harness.errors import UserError
from experiments.harness.files import stored_config
from experiments.harness.resuming import fingerprint_of
from experiments.labelling.tagged_words import Codes
from experiments.labelling.tagging import CODES, Answer, TaggingConfig, Trained
from experiments.registry import module_of, read_known_run
from experiments.restore import restored_params
from train import create_state

TAGGERS = ("slot_filling", "pos_tagging")
COLOURS = (34, 31, 32, 35, 33, 36, 94, 91, 92, 95, 93, 96)  # of a terminal (ECMA-48)
GREY = 90


@dataclass(frozen=True)
class Config:
    """Label."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of slot_filling or pos_tagging, finished or not. A cell from a Python file is executed."""
    sentence: Annotated[str, tyro.conf.Positional]
    """The sentence, blanks between its words and punctuation, or a text file with one on each line."""
    best: bool = False
    """Use the checkpoint with the best validation result, not the newest."""
    trust: bool = False
    """Execute the cell's Python file even if the run lies elsewhere or the file has changed since training."""


def trained_tagger(folder: Path, *, best: bool = False, trust: bool = False) -> Trained:
    """Restores the tagger of a run.

    Raises ValueError where the folder isn't a run of a tagger that has saved once, or its files were changed."""
    described = read_known_run(folder)
    if described["experiment"] not in TAGGERS:
        raise ValueError(
            f"{folder} is a run of {described['experiment']}, which tags no words: name one of "
            f"{' or '.join(TAGGERS)}"
        )
    kind: Any = module_of(described["experiment"]).Config
    config: TaggingConfig = stored_config(kind, folder)
    if not trust:
        check_trusted(folder, described)
    codes = Codes.load(folder)
    model = config.build(codes)
    words = np.zeros((1, 1, codes.words.columns), np.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), words)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    template = create_state(zeros, config.optimizer, jax.random.key(config.seed))
    fingerprint = fingerprint_of(described) | {CODES: codes.digest}
    return Trained(model, restored_params(folder, template, fingerprint, best=best), codes)


def labelled(config: Config, *, colours: bool) -> Iterator[str]:
    """Yields a line for each sentence. Raises UserError for an empty one, and ValueError as `trained_tagger`."""
    is_file = os.path.isfile(config.sentence)
    lines = lines_of(read_file(Path(config.sentence)).text()) if is_file else [config.sentence]
    sentences = [line.split() for line in lines]
    if not all(sentences):
        where = f"line {sentences.index([]) + 1} of {config.sentence} is" if is_file else "is"
        raise UserError("SENTENCE", f"{where} empty: give words, blanks between them")
    trained = trained_tagger(config.run, best=config.best, trust=config.trust)
    types = list(dict.fromkeys(type_of(tag) for tag in trained.codes.tags.types))
    slots = "O" in trained.codes.tags
    for words, answer in zip(sentences, trained.ask(sentences), strict=True):
        pieces = slot_pieces(words, answer) if slots else list(zip(words, answer[0], strict=True))
        written = []
        for text, name in pieces:
            colour = COLOURS[types.index(name) % len(COLOURS)] if name in types else GREY
            if not name:
                written.append(text)
            elif colours:
                written.append(f"\x1b[{colour}m{text}\x1b[0m\x1b[{GREY}m {name}\x1b[0m")
            else:
                written.append(f"[{text}]{name}" if slots else f"{text}/{name}")
        yield "  ".join([" ".join(written), *([f"intent: {answer[1]}"] if answer[1] else [])])


def slot_pieces(words: Sequence[str], answer: Answer) -> list[tuple[str, str]]:
    """Returns the words of a sentence with no type, and its spans with theirs, in their order."""
    starts = {span.start: span for span in iob_spans(answer[0])}
    pieces, place = [], 0
    while place < len(words):
        span = starts.get(place)
        end = span.end if span else place + 1
        pieces.append((" ".join(words[place:end]), span.type if span else ""))
        place = end
    return pieces


def type_of(tag: str) -> str:
    """Returns the type of an IOB tag, or the tag itself."""
    return tag[2:] if tag[:2] in ("B-", "I-") else tag


def main(arguments: list[str]) -> int:
    """Runs `python -m experiments label RUN "…"`; coloured on a terminal, unless NO_COLOR is set."""
    config = read_command(Config, arguments, "label", __doc__)
    for line in labelled(config, colours=sys.stdout.isatty() and not os.environ.get("NO_COLOR")):
        print(line, flush=True)
    return 0
