"""Learn word vectors by skip-gram or CBOW; neighbours, analogies, similarity sets, a map of words.

By default on the prose of Python's language reference; with --data.dir on text files and folders of them. The
vectors are written as vectors.txt in word2vec's text format, which --embedding FILE of the experiments on text
reads. --tests names a file or a folder of similarity sets (word, word, score) and analogies (four words under lines
": section"). `neighbours RUN WORD …` and `analogy RUN a b c` ask a finished run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.words.vectors import Vectors, analogies, map_of_words
from data import WordTests, WordText, format_vectors
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.run_task import run_task
from experiments.task import Data, Scores, Task
from experiments.task_report import draw_task
from experiments.text_files import remember_text, save_tokenizer
from experiments.words.config import WordVectorConfig
from experiments.words.objective import word_objective
from experiments.words.scores import (
    COUNTS,
    LISTED,
    format_analogies,
    format_coverage,
    format_neighbours,
    metrics_of,
    score_vectors,
    share,
    telling_words,
    vectors_from_counts,
)
from models.cell import Params
from models.words.vectors import WordModel
from train import LoopConfig
from train.files import write_file

VECTORS = "vectors.txt"
HELD = 8  # small batches of windows on which the loss is measured
OTHER_SEED = 2**31  # of those windows, beside the seed of training


@dataclass(frozen=True)
class Config(WordVectorConfig):
    """Word vectors."""


# For a text of a few million words, such as WikiText-2 with nine novels and PTB; gensim's settings.
PRESETS: Mapping[str, Config] = {
    "four_million": Config(
        preset="four_million",
        sample=1e-4,
        epochs=5.0,
        batch_size=64,
        words=("king", "france", "music", "water", "monday", "walked", "better", "he"),
        drawn=250,
        loop=LoopConfig(steps=1_000_000_000, eval_every=60, save_every=60, log_every=6, chunk=6),
    )
}


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of vectors on a text: what `Task.score` and `Task.measure` call."""

    config: WordVectorConfig

    @property
    def text(self) -> WordText:
        """The text."""
        return self.config.text

    @property
    def tests(self) -> WordTests:
        """Similarity sets and analogies."""
        return self.config.word_tests

    @cached_property
    def counted(self) -> Vectors:
        """Vectors from counts."""
        config = self.config
        return vectors_from_counts(self.text, config.size, config.window, config.seed)

    @cached_property
    def listed(self) -> Sequence[str]:
        """The words of the table of neighbours."""
        return self.config.words or telling_words(self.text, LISTED)

    def vectors(self, params: Params) -> Vectors:
        """Returns the word vectors of parameters."""
        return Vectors(self.text.vocabulary.types, np.asarray(params["params"]["inputs"]))

    def score(self, params: Params, batches: Sequence[Any]) -> Scores:
        """Computes the scores, and formats neighbours and analogies."""
        del batches
        vectors = self.vectors(params)
        figures = score_vectors(vectors, self.tests, self.counted)
        parts = [format_neighbours(vectors, self.listed)]
        if self.tests.analogies:
            columns = {self.config.label: vectors, COUNTS: self.counted}
            found = {name: analogies(v, self.tests.analogies) for name, v in columns.items()}
            parts.append(format_analogies(found))
        if self.tests.similarity:
            parts.append(format_coverage(vectors, self.tests))
        return Scores(figures, "\n\n".join(parts))

    def measure(self, params: Params, batches: Sequence[Any]) -> dict[str, np.ndarray]:
        """Returns `vectors [V, D]`; the words of the map, `words [N]`, at `map [N, 2]`; and the share of analogies
        answered, `shares|NAME [sections]`, by `sections`."""
        del batches
        vectors, types = self.vectors(params), self.text.vocabulary.types
        drawn = np.array(telling_words(self.text, self.config.drawn))
        drawn = drawn if len(drawn) > 2 else np.array(types[: self.config.drawn])
        found: dict[str, np.ndarray] = {
            "vectors": vectors.matrix,
            "words": drawn,
            "map": map_of_words(vectors, vectors.rows(drawn.tolist()), self.config.seed),
            "sections": np.array(list(self.tests.analogies)),
        }
        for name, one in ((self.config.label, vectors), (COUNTS, self.counted)):
            if self.tests.analogies:
                shares = [share(section) for section in analogies(one, self.tests.analogies).values()]
                found[f"shares|{name}"] = np.array(shares)
        return found


def task(config: WordVectorConfig) -> Task:
    """Builds the task of learning the vectors of a text."""
    scored, vocabulary = Scored(config), config.text.vocabulary
    model = WordModel(len(vocabulary), config.size)
    log_noise = jnp.log(jnp.asarray(config.windows(0).noise_probability, jnp.float32))
    objective, on_devices = word_objective(config.architecture, config.loss, config.negatives, log_noise)

    def held() -> list[Any]:
        windows = config.windows(config.seed + OTHER_SEED, HELD).take(1)
        return [type(windows)(*(leaf[0] for leaf in windows))]

    return Task(
        title="word vectors",
        model=model,
        data=Data(lambda seed, rows: config.windows(seed), held, held, "other windows of the text"),
        objective=objective,
        on_devices=on_devices,
        metrics=metrics_of(scored.tests),
        select="loss",
        baselines={COUNTS: score_vectors(scored.counted, scored.tests, None)},
        score=scored.score,
        score_every=10
        ** 9,  # at the last evaluation alone: the scores cost seconds, and the loss tells as much
        score_from=1,
        measure=scored.measure,
        initial=lambda seed: initial(model, seed),
        fingerprint={"words": len(vocabulary)},
    )


def initial(model: WordModel, seed: int) -> Params:
    """Initialises parameters; the same seed gives the same ones on every machine."""
    return jax.jit(model.init)(jax.random.fold_in(jax.random.key(seed), 1))


def main(config: Config, run: Run) -> str:
    """Trains, tests, draws, writes the vectors; returns the report."""
    text = config.text
    remember_text(run.folder, text)
    save_tokenizer(run.folder, text)
    print(text.summary(), flush=True)
    # Its products use every core; devices would each learn from old vectors of the others.
    run = replace(run, devices=1)
    report = run_task(run, task(config), config.training, label=config.label)
    matrix = read_arrays(run.folder, "measured")["vectors"]
    write_file(run.folder / VECTORS, format_vectors(text.vocabulary.types, matrix))
    draw(run.folder)
    return f"{report}\n\nvectors: {run.folder / VECTORS}"


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.style import save
    from analysis.words.figures import analogy_bars, word_map
    from experiments.harness.files import arrays_with_prefix, read_run

    found = read_arrays(folder, "measured")
    figures = folder / "figures"
    tests = read_run(folder)["config"].get("tests")
    paths = draw_task(folder, metrics_of(WordTests()), "loss")
    paths += save(word_map(found["map"], found["words"].tolist()), figures, "word_map")
    if tests and len(found["sections"]):
        shares: Any = arrays_with_prefix("shares", found)
        paths += save(analogy_bars(shares, found["sections"].tolist()), figures, "analogies")
    return paths
