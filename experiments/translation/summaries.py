"""Write the title of a text: ROUGE-L beside the first words of the text.

By default passages of Python's language reference with their headings, of which there are few; --preset inspec with
--data.dir PATH/inspec takes 2,000 abstracts with their titles. The baseline is as many first words of the text as
titles have on average in training.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from analysis import Statistics, corpus_score
from analysis.scores.rouge import RougeL
from data import PairBatch, ParallelConfig, ParallelText
from experiments.corpus_score import CorpusScore, Decoded
from experiments.encoder_decoder.search import SearchConfig, search_targets
from experiments.encoder_decoder.systems import ModelConfig, System
from experiments.footprint import check_task_fits
from experiments.harness.errors import UserError
from experiments.harness.run import Run
from experiments.run_task import run_task
from experiments.task import Metric, Task
from experiments.task_report import draw_task
from experiments.text_files import remember_text, save_tokenizer
from experiments.training import Flat
from experiments.translation.config import TranslationConfig
from experiments.translation.task import targets_of, translation_task
from models import EncoderDecoder
from models.cell import Params
from train import LoopConfig, OptimizerConfig

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a piece)"),
    "rouge_l": Metric("ROUGE-L", ".3f", "higher"),
}
STATISTICS: Mapping[str, Statistics[str]] = {"rouge_l": RougeL()}


@dataclass(frozen=True)
class Config(TranslationConfig):
    """Summaries."""

    system: System = "attention"
    """The model, as in translation."""
    data: ParallelConfig = field(
        default_factory=lambda: ParallelConfig(kind="titles", longest=400, types=600)
    )
    model: Annotated[ModelConfig, Flat] = field(
        default_factory=lambda: ModelConfig(hidden_size=64, attention="outputs", score="general", dropout=0.3)
    )
    search: Annotated[SearchConfig, Flat] = field(
        default_factory=lambda: SearchConfig(width=3, normalise="average")
    )
    batch_size: int = 16
    """Pairs per step, B."""
    score_every: int = 1
    """Write the titles of validation at every N-th evaluation, and at the last."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=300, eval_every=100, save_every=100)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.kind != "titles":
            raise UserError("--data.kind", "must be titles: other pairs are for translation")

    def check(self) -> None:
        """Checks the options against the text and the shapes of the model, before a run is begun."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for abstracts in a folder")
        if self.loop.health.every:
            raise UserError("--health.every", "looks into one recurrence, and there are two: leave it out")
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        check_task_fits(summaries_task(self), self.training(self.text))


INSPEC: dict[str, Any] = {
    "data": ParallelConfig(kind="titles", longest=400, types=2000),
    "model": ModelConfig(hidden_size=128, attention="outputs", score="general", dropout=0.4),
    "loop": LoopConfig(steps=1500, eval_every=250, save_every=250, log_every=50),
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="warmup_cosine", warmup_steps=100),
    "batch_size": 32,
}
PRESETS: Mapping[str, Config] = {"inspec": Config(preset="inspec", **INSPEC)}


def summaries_task(config: Config) -> Task:
    """Builds the task."""
    text = config.text
    task = translation_task(config, config.system, text)
    model = task.model
    assert isinstance(model, EncoderDecoder)

    def decode(params: Params, batch: PairBatch) -> Iterator[Decoded]:
        best = search_targets(model, params, [batch], config.search)
        for (found, *_), target in zip(best, targets_of(batch), strict=True):
            yield Decoded(text.target.decode(found.ids), text.target.decode(target))

    return replace(
        task,
        title="summaries",
        metrics=METRICS,
        select="rouge_l",
        report="rouge_l",
        baselines=baselines(text),
        score=CorpusScore(decode, STATISTICS),
    )


def baselines(text: ParallelText) -> dict[str, dict[str, float]]:
    """Returns the scores of the first words of each test text, and of the words that most titles have."""
    train, test = text.split("train").pairs, text.split("test").pairs
    words = [pair.target.lower().split() for pair in train]
    length = round(sum(map(len, words)) / len(words))
    common = [word for word, _ in Counter(word for title in words for word in title).most_common(length)]
    answers = {
        f"the first {length} words": [" ".join(pair.source.split()[:length]) for pair in test],
        "the commonest words": [" ".join(common)] * len(test),
    }
    true = [pair.target for pair in test]
    return {name: {"rouge_l": corpus_score(RougeL(), found, true)} for name, found in answers.items()}


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.text)
    print(config.text.summary(), flush=True)
    task = summaries_task(config)
    return run_task(run, task, config.training(config.text), label=config.model.describe(config.system))


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    return draw_task(folder, METRICS, "rouge_l")
