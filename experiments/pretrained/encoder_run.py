"""The encoder of a finished run: the words that it reads, the layer that reads them, and their weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jax import Array

from data import SentenceEncoder, TokenEncoder, load_encoder
from data.text.cache import load_tokenizer
from data.text.masked import MARKS
from experiments.harness.errors import UserError
from experiments.harness.files import read_results
from experiments.registry import read_known_run
from train import Checkpoints

WORDS = "words.json"  # the encoder of the words, in the folder of a training
MASKED, LANGUAGE_MODELS = "bert", ("language_model", "char_lm")
LABELLING = ("slot_filling", "pos_tagging", "sentiment", "key_terms")
ENCODERS = (MASKED, *LANGUAGE_MODELS, *LABELLING)
EMBEDDING, SPANS = "reader/words/embedding", "spans/embedding"


@dataclass(frozen=True, eq=False)
class EncoderRun:
    """The words, the options and the weights that a run hands on.

    Attributes:
        folder: of the run.
        experiment: its name.
        config: its options, as `config.json` holds them.
        words: how it reads a sentence.
        arrays: all its parameters by their names, the embedding of its words as `reader/words/embedding`.
        step: after how many updates.
    """

    folder: Path
    experiment: str
    config: Mapping[str, Any]
    words: SentenceEncoder
    arrays: Mapping[str, Array]
    step: int

    @property
    def embedding_size(self) -> int:
        """Returns the size of the embedding of a word."""
        return self.arrays[EMBEDDING].shape[1]

    @property
    def characters(self) -> str:
        """Returns the net that reads the characters of a word."""
        return self.config["model"]["characters"] if self.words.alphabet is not None else "none"

    def described(self) -> str:
        """Names the run in a sentence."""
        return f"{self.folder} ({self.experiment}, step {self.step:,})"


@lru_cache(maxsize=2)  # asked for the options, their check, and each of several nets
def read_encoder_run(folder: Path) -> EncoderRun:
    """Reads the encoder of a finished run, at the best checkpoint, or the newest if none was evaluated.

    Raises UserError where the folder isn't a finished run of a text experiment; ValueError where its files are
    damaged.
    """
    try:
        described = read_known_run(folder)
    except ValueError as error:
        raise UserError("--from", f"{error}") from None
    experiment, config = described["experiment"], described["config"]
    if experiment not in ENCODERS:
        raise UserError(
            "--from",
            f"{folder} is a run of {experiment}, which has no encoder of text: name one of "
            f"{', '.join(ENCODERS[:-1])} or {ENCODERS[-1]}",
        )
    if read_results(folder) is None:
        raise UserError("--from", f"{folder} is not finished: resume it with --resume {folder} first")
    home = home_of(folder)
    checkpoints = Checkpoints(home / "checkpoints")
    step = checkpoints.best() or max(checkpoints.steps(), default=None)
    if step is None:
        raise UserError("--from", f"{folder} has no checkpoint: it was not saved, or its files were removed")
    arrays = {name.removeprefix("params/"): leaf for name, leaf in checkpoints.restore_params(step).items()}
    if "embedding/embedding" in arrays:
        arrays[EMBEDDING] = arrays.pop("embedding/embedding")
    return EncoderRun(folder, experiment, config, words_of(experiment, config, folder, home), arrays, step)


def home_of(folder: Path) -> Path:
    """Returns the folder in which a run trained: its own, or that of the first of its nets, by name."""
    nets = sorted(path.parent for path in folder.glob("nets/*/checkpoints"))
    return folder if (folder / "checkpoints").is_dir() or not nets else nets[0]


def words_of(experiment: str, config: Mapping[str, Any], folder: Path, home: Path) -> SentenceEncoder:
    """Reads how a run reads a sentence. Raises ValueError where the file of it is missing or damaged."""
    if experiment in LABELLING:
        return load_encoder(home / WORDS)
    tokenizer = load_tokenizer(folder, config["data"]["unit"])
    masked = experiment == MASKED
    return TokenEncoder(tokenizer, marks=MARKS if masked else 0, framed=masked)
