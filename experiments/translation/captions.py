"""Describe images in words: canvases of handwritten digits, "a three left of an eight above a one".

An encoder reads the canvas row by row, or with --data.read patches patch by patch, and a decoder that attends
writes the caption. By default the digits are scikit-learn's; the preset mnist, with --data.dir PATH/mnist, takes
MNIST's. No image of a test canvas occurs in training. The figure shows where the decoder looks as it names a digit.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import ExactMatch, Statistics, corpus_score
from analysis.scores.texts import WordAccuracy
from data import PairBatch, held_out_pairs, pair_batches
from data.batch import Batches
from data.pairs.captions import (
    LABELS,
    LONGEST,
    NUMERALS,
    Canvases,
    CaptionsConfig,
    load_canvases,
    over_canvas,
)
from experiments.corpus_score import CorpusScore, Decoded
from experiments.encoder_decoder.attention import memory_maps
from experiments.encoder_decoder.objective import PairEvaluation, PairLoss
from experiments.encoder_decoder.search import SearchConfig, Space, search_targets
from experiments.encoder_decoder.systems import ModelConfig, System
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, stored_config
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.objective import Objective
from experiments.run_task import run_task
from experiments.task import Data, Metric, Task
from experiments.task_report import draw_task
from experiments.training import Flat
from models import EncoderDecoder
from models.cell import Params
from models.readers import LinearReader
from train import LoopConfig, OptimizerConfig

TOGETHER = 100  # canvases of a held-out batch
STATISTICS: Mapping[str, Statistics[str]] = {"exact": ExactMatch(), "words": WordAccuracy()}
METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a word)", scale="log"),
    "exact": Metric("exact captions", ".1%", "higher"),
    "words": Metric("words in place", ".1%", "higher"),
}


@dataclass(frozen=True)
class Config:
    """Captions."""

    preset: str | None = None
    """Options of a timed setting on MNIST; options given explicitly override it."""
    system: System = "attention"
    """The model that sees the canvas, as in translation."""
    data: CaptionsConfig = field(default_factory=CaptionsConfig)
    model: Annotated[ModelConfig, Flat] = field(default_factory=lambda: ModelConfig(dropout=0.1))
    search: Annotated[SearchConfig, Flat] = field(
        default_factory=lambda: SearchConfig(width=1, normalise="none")
    )
    shown: int = 4
    """Test canvases that the figure shows with the decoder's attention."""
    batch_size: int = 64
    """Canvases per step, B."""
    seed: int = 0
    """Seed of parameters and of the order of the training canvases."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1200, eval_every=200, save_every=200)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=3e-3, schedule="warmup_cosine", warmup_steps=100
        )
    )

    def __post_init__(self) -> None:
        check_at_least(1, shown=self.shown, batch_size=self.batch_size)
        check_seed(self.seed)

    def check(self) -> None:
        """Checks the options against the canvases and the shapes of the model, before a run is begun."""
        if self.preset is not None and self.data.dir is None:
            raise UserError(
                "--data.dir", f"is missing: --preset {self.preset} is for MNIST's files in a folder"
            )
        if self.loop.health.every:
            raise UserError("--health.every", "looks into one recurrence, and there are two: leave it out")
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        check_task_fits(captions_task(self), self)

    def build(self) -> EncoderDecoder:
        """Builds the model, whose encoder reads vectors."""
        model = self.model.build(self.system, 1, LABELS.classes, end=0)
        return model.clone(reader=LinearReader(self.data.sizes[1], self.model.size))

    def label(self) -> str:
        """Names the model and the canvases as reports do."""
        images = "digits" if self.data.dir is None else "MNIST"
        return f"{self.model.describe(self.system)}, {images} in {self.data.read}"


MNIST: dict[str, Any] = {
    "data": CaptionsConfig(count=50_000, held_out=1000),
    "model": ModelConfig(hidden_size=192, dropout=0.1),
    "loop": LoopConfig(steps=4000, eval_every=500, save_every=500, log_every=50),
}
PRESETS: Mapping[str, Config] = {"mnist": Config(preset="mnist", **MNIST)}


@lru_cache(maxsize=1)
def load(data: CaptionsConfig) -> dict[str, Canvases]:
    """Makes the canvases once for equal options."""
    return load_canvases(data)


def captions_task(config: Config) -> Task:
    """Builds the task."""
    model, canvases = config.build(), load(config.data)
    steps, numbers = config.data.sizes
    bounds = [(steps, LONGEST)]

    def train(seed: int, rows: int) -> Batches:
        examples = canvases["train"].examples
        return pair_batches(examples, batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def held_out(split: str) -> list[PairBatch]:
        examples = canvases[split].examples
        together = min(TOGETHER, len(examples))
        return held_out_pairs(examples, batch_size=together, bounds=bounds).batches

    def shapes(rows: int) -> PairBatch:
        masks = [jax.ShapeDtypeStruct((length, rows), jnp.bool_) for length in bounds[0]]
        inputs = jax.ShapeDtypeStruct((steps, rows, numbers), jnp.float32)
        return PairBatch(inputs, masks[0], jax.ShapeDtypeStruct((LONGEST, rows), jnp.int32), masks[1])  # type: ignore[arg-type]

    def decode(params: Params, batch: PairBatch) -> Iterator[Decoded]:
        best = search_targets(model, params, [batch], config.search, space=Space(0, LONGEST))
        ids = np.asarray(batch.targets).T[np.asarray(batch.mask).any(axis=0)]
        for (found, *_), target in zip(best, ids, strict=True):
            yield Decoded(LABELS.decode(found.ids), LABELS.decode(target.tolist()))

    return Task(
        title="captions",
        model=model,
        data=Data(
            train,
            partial(held_out, "validation"),
            partial(held_out, "test"),
            f"{config.data.held_out:,} test canvases",
            shapes=shapes,
        ),
        objective=Objective(PairLoss(model), PairEvaluation(model)),
        metrics=METRICS,
        select="exact",
        baselines=baselines(canvases["train"], canvases["test"]),
        score=CorpusScore(decode, STATISTICS, examples=8),
        score_from=1,
        measure=lambda params, _: attended(config, model, params, canvases["test"]),
        fingerprint={"the canvases": canvases["train"].digest},
    )


def baselines(train: Canvases, test: Canvases) -> dict[str, dict[str, float]]:
    """Returns the scores of the commonest caption, and of that of the training canvas with the nearest pixels."""
    common = Counter(train.captions).most_common(1)[0][0]
    known, asked = (part.images.reshape(len(part.images), -1) for part in (train, test))
    places = (asked @ known.T - (known**2).sum(axis=1) / 2).argmax(axis=1).tolist()
    answers = {
        "the commonest caption": [common] * len(asked),
        "the nearest canvas": [train.captions[place] for place in places],
    }
    return {
        label: {name: corpus_score(scores, found, test.captions) for name, scores in STATISTICS.items()}
        for label, found in answers.items()
    }


def attended(config: Config, model: EncoderDecoder, params: Params, test: Canvases) -> dict[str, np.ndarray]:
    """Returns of test canvases with the most digits the `canvas|I [S, S]`, the `digits|I [n]` named in their
    captions and, where the decoder attends, the mean weights of its layers and heads, `weights|I [n, S, S]`, while
    it writes each of them, the words before it given."""
    counts = [sum(word in NUMERALS for word in caption.split()) for caption in test.captions]
    places = np.argsort(-np.array(counts), kind="stable")[: config.shown]
    found: dict[str, np.ndarray] = {}
    for number, place in enumerate(places.tolist()):
        words = test.captions[place].split()
        naming = [step for step, word in enumerate(words) if word in NUMERALS]
        found[f"canvas|{number}"] = test.images[place]
        found[f"digits|{number}"] = np.array([words[step] for step in naming])
        ids = np.append(LABELS.encode(test.captions[place]), 0).astype(np.int32)
        targets = np.pad(ids, (0, LONGEST - len(ids)))
        maps: Mapping[str, Any] = {}
        if config.system in ("attention", "transformer"):
            steps = test.steps[place]
            masks = np.ones(len(steps), bool), np.arange(LONGEST) < len(ids)
            maps = memory_maps(model, params, steps, masks[0], targets, masks[1])
        if maps:
            weights = np.mean([np.asarray(layer).mean(axis=0) for layer in maps.values()], axis=0)
            found[f"weights|{number}"] = over_canvas(weights[naming], config.data)
    return found


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    report = run_task(run, captions_task(config), config, label=config.label())
    draw_attention(run.folder)
    return report


def draw_attention(folder: Path) -> Sequence[Path]:
    """Draws the canvases with the attention to them, where the decoder attends."""
    from analysis.figures.style import save
    from analysis.pairs.figures import Described, described_figure

    found = read_arrays(folder, "measured")
    shown = [
        Described(found[f"canvas|{i}"], found[f"digits|{i}"].tolist(), found[f"weights|{i}"])
        for i in range(stored_config(Config, folder).shown)
        if f"weights|{i}" in found
    ]
    return save(described_figure(shown), folder / "figures", "attention") if shown else []


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return [*draw_task(folder, METRICS, "exact"), *draw_attention(folder)]
