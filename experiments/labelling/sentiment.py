"""Tell whether a sentence praises or blames, with attention over its words; a forward net beside one of both ways.

By default sentences of a grammar, whose polarity turns on negation, "but" and "terribly"; --data.dir FOLDER reads
SST-2 (train.tsv, dev.tsv, test.tsv) or MR (NAME.neg, NAME.pos; --all-folds tests on all ten). The presets sst2 and
mr train on them, and sst2_from on SST-2 with the encoder of another run, --from RUN (Devlin et al. 2019).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments.footprint import check_task_fits
from experiments.harness.errors import UserError
from experiments.harness.files import stored_config
from experiments.harness.run import Run
from experiments.labelling import sentiment_report as report
from experiments.labelling.sentiment_config import SentimentConfig
from experiments.labelling.sentiment_task import (
    encoder_of,
    measure,
    measure_baselines,
    model_of,
    sentiment_task,
    text_of,
)
from experiments.labelling.words import WordsConfig
from experiments.pretrained.encoder_run import WORDS
from experiments.run_task import Trained, train_all
from train import LoopConfig, OptimizerConfig
from train.files import write_file

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(SentimentConfig):
    """Sentiment."""

    def check(self) -> None:
        """Raises ValueError for faults of options and sentences, before a run is begun."""
        super().check()
        if self.preset == FINE_TUNED and self.from_ is None:
            raise UserError("--from", f"is missing: --preset {self.preset} begins with the encoder of a run")
        if self.all_folds and not text_of(self, 1).folded:
            raise UserError("--all-folds", "is for sentences in NAME.neg and NAME.pos, which have no splits")
        fold = self.folds[0]
        train = [sentence.words for sentence in text_of(self, fold).splits["train"]]
        self.check_words(encoder_of(self, fold), model_of(self, fold), train)
        for forward in self.nets.values():
            check_task_fits(sentiment_task(self, self.folds[0], forward=forward), self)


REAL: dict[str, Any] = {
    "hidden_size": 128,
    "model": WordsConfig(embedding_size=100, characters="none", word_dropout=0.1, vector_dropout=0.5),
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="warmup_cosine", warmup_steps=100),
}
FINE_TUNED = "sst2_from"  # the preset that begins with the encoder of a run
PRESETS: Mapping[str, Config] = {
    "sst2": Config(preset="sst2", loop=LoopConfig(steps=700, eval_every=140, save_every=350), **REAL),
    "mr": Config(
        preset="mr",
        all_folds=True,
        compare_forward=False,
        loop=LoopConfig(steps=850, eval_every=170, save_every=425),
        **REAL,
    ),
    FINE_TUNED: Config(
        preset=FINE_TUNED,
        compare_forward=False,
        batch_size=32,
        model=WordsConfig(word_dropout=0.1, vector_dropout=0.3),
        loop=LoopConfig(steps=1000, eval_every=100, save_every=100),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=3e-4, schedule="warmup_cosine", warmup_steps=100
        ),
    ),
}


def main(config: Config, run: Run) -> str:
    """Trains net by net and fold by fold, tests, tabulates and draws; returns the report."""
    print(text_of(config, config.folds[0]).summary(), flush=True)
    pairs = {
        f"{label}, fold {fold}" if config.all_folds else label: (fold, forward)
        for label, forward in config.nets.items()
        for fold in config.folds
    }
    tasks = {name: sentiment_task(config, fold, forward=forward) for name, (fold, forward) in pairs.items()}

    def measured(name: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        return measure(config, pairs[name][0], tasks[name], trained, folder)

    loop = config.loop if config.data.dir is None else replace(config.loop, chunk=1)
    paths = {name: report.net_path(fold, forward=forward) for name, (fold, forward) in pairs.items()}
    first = config.folds[0]
    train = [sentence.words for sentence in text_of(config, first).splits["train"]]
    config.tell_known(encoder_of(config, first), train)
    for name, (fold, _) in pairs.items():
        (run.folder / paths[name]).mkdir(parents=True, exist_ok=True)
        write_file(run.folder / paths[name] / WORDS, encoder_of(config, fold).to_json())
    train_all(run, tasks, replace(config, loop=loop), measured, "accuracy", path=paths.__getitem__)
    for fold in config.folds:
        run.cached(f"baselines/{fold}", partial(measure_baselines, config, fold))
    table = report.format_report(run.folder, config.nets, config.folds, text_of(config, config.folds[0]))
    run.write_table(table)
    draw(run.folder)
    run.finish(report.results(run.folder, config.nets, config.folds))
    return table


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    config = stored_config(Config, folder)
    return report.draw(folder, config.nets, config.folds)
