"""Probe vectors of sentences for grammar and meaning: an autoencoder's beside skip-thought's.

The encoders of both nets are of the same kind and size, and learn from the same sentences: tales made from a seed,
or with --data.dir FOLDER books. One net writes the sentence again from its vector, the other the sentences before
and after. Grammar: tell a sentence from itself with two words swapped, or with one left out. Meaning: find the next
sentence, or one of the same text, by the cosine. Counts of words stand beside. Conneau et al. 2018.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from data.running_text import RunningConfig, RunningText
from experiments.autoencoders import autoencoder, skip_thought
from experiments.autoencoders.probes import (
    GRAMMATICAL,
    MEANING,
    PROBES,
    chance,
    format_probes,
    probe_vectors,
)
from experiments.autoencoders.skip_scores import word_counts
from experiments.autoencoders.vectors import encode_sentences
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.restore import best_params
from experiments.run_task import Trained, run_tasks
from experiments.task import Task
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from experiments.training import CELL_HELP, Flat
from models.sentences.skip_thought import sides
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share
AUTOENCODER, SKIP_THOUGHT = "autoencoder", "skip-thought"
COUNTS, GUESSING = "word counts", "guessing"
SHARED = ("cell", "hidden_size", "embedding_size", "batch_size", "seed", "loop", "optimizer")  # by both nets


@dataclass(frozen=True)
class Config:
    """The options of probes of sentences."""

    data: RunningConfig = field(default_factory=RunningConfig)
    cell: Annotated[str, tyro.conf.arg(help=f"The cell of encoders and decoders: {CELL_HELP}.")] = "gru"
    hidden_size: int = 128
    """Units of the cells, H: with a GRU the size of the vector."""
    embedding_size: int = 64
    """Size of the embedding of a piece."""
    batch_size: int = 64
    """Sentences per step, B."""
    seed: int = 0
    """Seed of parameters and of the order of the training sentences."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=2000, eval_every=500, save_every=500, chunk=1)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=8e-3, schedule="warmup_cosine", warmup_steps=30)
    )

    def __post_init__(self) -> None:
        sizes = ("hidden_size", "embedding_size", "batch_size")
        check_at_least(1, **{name: getattr(self, name) for name in sizes})
        check_seed(self.seed)

    @cached_property
    def text(self) -> RunningText:
        """Returns the sentences and their pieces, loaded when first asked for."""
        return skip_thought.load(self.data)

    def check(self) -> None:
        """Checks the options against the sentences and the shapes of the models, before a run is begun."""
        if self.loop.health.every:
            raise UserError(
                "--health.every", "looks into one recurrence, and each net has more: leave it out"
            )
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for task in self.tasks.values():
            check_task_fits(task, self)

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other sentences."""
        check_same_text(folder, self.text)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Returns the task of either net by its name."""
        written = autoencoder.Config(**self.shared, score_every=self.loop.steps)
        around = skip_thought.Config(data=self.data, groups=1, **self.shared)
        return {
            AUTOENCODER: autoencoder.autoencoder_task(written, self.text),
            SKIP_THOUGHT: skip_thought.skip_task(around, self.text),
        }

    @property
    def shared(self) -> dict[str, Any]:
        """Returns the options of either net."""
        return {name: getattr(self, name) for name in SHARED}


def main(config: Config, run: Run) -> str:
    """Trains both nets, probes their vectors, tabulates and draws; returns the table."""
    text = config.text
    pair = skip_thought.Config(**config.shared).build(text)  # the encoder is alike in both
    remember_text(run.folder, text)
    save_tokenizer(run.folder, text)
    print(text.summary(), flush=True)

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        params = best_params(config.tasks[name], config, folder, run.fingerprint)
        own = sides(params)[1] if name == SKIP_THOUGHT else params

        def vectors(sentences: Sequence[str]) -> np.ndarray:
            return encode_sentences(pair, own, text.encode(sentences))

        return probe_vectors(text, vectors)

    scores: dict[str, Mapping[str, float]] = {
        name: {probe: float(arrays[probe]) for probe in PROBES}
        for name, arrays in run_tasks(run, config.tasks, config, measured)
    }
    scores |= {COUNTS: probe_vectors(text, word_counts(text)), GUESSING: chance(text)}
    run.write_arrays("probes", {name: np.array([found[p] for p in PROBES]) for name, found in scores.items()})
    table = format_probes(scores)
    run.write_table(table)
    draw(run.folder)
    run.finish({"probes": {name: dict(found) for name, found in scores.items()}})
    return table


def draw(folder: Path) -> list[Path]:
    """Draws the probes of a finished run from its arrays."""
    from analysis.figures.labelling import accuracy_by_task
    from analysis.figures.style import save

    scores = read_arrays(folder, "probes")
    names = [*(f"grammar:\n{name}" for name in GRAMMATICAL), *(f"meaning:\n{name}" for name in MEANING)]
    return save(accuracy_by_task(scores, names), folder / "figures", "probes")
