"""Generate text from a trained language model, token by token.

python -m experiments generate RUN --prompt "…"
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from data import Tokenizer, load_tokenizer, vocabulary_digest
from experiments.harness.cell_files import check_trusted
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.command_line import read_command
from experiments.harness.files import read_run, stored_config
from experiments.harness.resuming import fingerprint_of
from experiments.language.config import TextModelConfig
from experiments.language.corpus import VOCABULARY, encoded_prompt
from experiments.language.report import line_start
from experiments.language.train import first_state, initial
from experiments.registry import generator_of, module_of
from experiments.restore import restored_params
from models import LanguageModel, Sampling, generate
from models.cell import Params


@dataclass(frozen=True)
class Config:
    """Generate."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of language_model or char_lm, finished or not. A cell from a Python file is executed."""
    prompt: str = ""
    """Text to continue; by default the beginning of a line."""
    tokens: int = 500
    """Number of tokens to draw."""
    temperature: float = 0.8
    """Below 1 favours likely tokens; 0 always takes the likeliest."""
    top_k: int | None = None
    """Draw only from the k likeliest tokens."""
    top_p: float | None = None
    """Draw only from the likeliest tokens whose probabilities sum to p."""
    best: bool = False
    """Use the saved checkpoint with the best validation result instead of the newest."""
    seed: int = 0
    """Seed of the draws."""
    trust: bool = False
    """Execute the cell's Python file even if the run lies elsewhere or the file has changed since training."""

    def __post_init__(self) -> None:
        check_at_least(1, tokens=self.tokens)
        check_seed(self.seed)
        self.sampling()

    def sampling(self, never: tuple[int, ...] = ()) -> Sampling:
        """Builds the rule by which tokens are drawn. Raises ValueError for numbers outside their ranges."""
        return Sampling(self.temperature, self.top_k, self.top_p, never)


def generated_text(config: Config) -> Iterator[str]:
    """Yields the prompt and the model's continuation, piece by piece as it is drawn.

    Raises ValueError where the folder isn't a run of a language model that has been trained at all, or the prompt
    holds what the vocabulary doesn't.
    """
    model, params, tokenizer = trained_model(config.run, best=config.best, trust=config.trust)
    prompt = encoded_prompt(tokenizer, config.prompt) if config.prompt else np.array([], np.int32)
    beginning = [line_start(tokenizer), *map(int, prompt)]
    unknown = tokenizer.vocabulary.unknown_id
    sampling = config.sampling(() if unknown is None else (unknown,))
    drawn = generate(model, params, beginning, sampling, jax.random.key(config.seed))
    yield config.prompt
    tokens = itertools.chain(beginning[1:], itertools.islice(drawn, config.tokens))
    yield from itertools.islice(tokenizer.decode_stream(tokens), len(prompt), None)


def trained_model(
    folder: Path, *, best: bool = False, trust: bool = False
) -> tuple[LanguageModel, Params, Tokenizer]:
    """Restores the model of a run with its parameters at the newest or best checkpoint, and its tokenizer.

    Raises ValueError where config or vocabulary are not those of the checkpoint, or a Python file is not to be
    executed without `trust`.
    """
    described = read_run(folder)
    name = described["experiment"]
    generator_of(name, folder)
    kind: Any = module_of(name).Config
    config: TextModelConfig = stored_config(kind, folder)
    if not trust:
        check_trusted(folder, described)
    tokenizer = load_tokenizer(folder, config.data.unit)
    model = config.model(tokenizer)
    params = initial(config, model)
    # The form of its state depends neither on the length of an epoch nor on that of the run.
    template = first_state(config, model, params, config.fitted_optimizer(1))
    fingerprint = fingerprint_of(described) | {VOCABULARY: vocabulary_digest(tokenizer)}
    params = restored_params(folder, template, fingerprint, best=best)
    return model, params, tokenizer


def main(arguments: list[str]) -> int:
    """Runs `python -m experiments generate RUN …`."""
    config = read_command(Config, arguments, "generate", __doc__)
    for piece in generated_text(config):
        print(piece, end="", flush=True)
    print()
    return 0
