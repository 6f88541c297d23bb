"""Recognise speech without alignment (CTC); beside it the same net trained frame by frame, its neighbours trimmed.

By default numbers dialled as the tones of a telephone's keypad; --data.dir FOLDER reads recordings: FSDD,
LibriSpeech, Common Voice, or train.csv with the columns file and text. --systems ctc attention joint sets decoders
that attend beside them. The presets fsdd, fsdd_trimming, fsdd_attention and fsdd_causal (a net that can listen as
sound arrives), with --data.dir PATH/fsdd, take about 8 minutes a net on 2 CPU cores; --data.left-out NAME tests on
a speaker who is left out of training. keypad_causal is a causal net for tones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.speech.augmentation import AugmentConfig
from data.speech.features import FeaturesConfig
from data.speech.joined import JoinConfig
from experiments.corpus_score import CorpusScore
from experiments.footprint import check_task_fits
from experiments.harness.files import stored_config
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.restore import best_params
from experiments.run_task import Trained, train_all
from experiments.speech import report
from experiments.speech.config import System, SystemsConfig
from experiments.speech.scoring import perfectly_trimmed, statistics_of
from experiments.speech.task import NAMES, measure, recognition_task
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(SystemsConfig):
    """Speech."""

    def check(self) -> None:
        """Raises ValueError for faults of options and recordings, before a run is begun."""
        super().check()
        for system in self.systems:
            check_task_fits(recognition_task(self, system, self.share), self)

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other recordings."""
        check_same_text(folder, self.text)


CAUSAL: Any = {
    "network": NetworkConfig(direction="forward"),
    "features": FeaturesConfig(centred=False, normalise="training"),
}
FSDD: Any = {
    "join": JoinConfig(),
    "augment": AugmentConfig(speeds=(0.9, 1.0, 1.1), time_masks=2, frequency_masks=2),
    "hidden_size": 128,
    "network": NetworkConfig(depth=2, direction="both", dropout=0.2),
    "batch_size": 32,
    "pad": 64,
    "systems": ("ctc",),
    "loop": LoopConfig(steps=1500, eval_every=150, save_every=150, chunk=1),
    "optimizer": OptimizerConfig(learning_rate=4e-3, schedule="warmup_cosine", warmup_steps=100),
}
PRESETS: Mapping[str, Config] = {
    "keypad_causal": Config(preset="keypad_causal", systems=("ctc",), **CAUSAL),
    "fsdd": Config(preset="fsdd", **FSDD),
    "fsdd_trimming": Config(preset="fsdd_trimming", **{**FSDD, "systems": ("trimming",)}),
    "fsdd_attention": Config(preset="fsdd_attention", **{**FSDD, "systems": ("attention", "joint")}),
    "fsdd_causal": Config(
        preset="fsdd_causal",
        **{**FSDD, **CAUSAL, "hidden_size": 192, "network": NetworkConfig(depth=2, dropout=0.2)},
    ),
}


def main(config: Config, run: Run) -> str:
    """Trains system by system, tests, tabulates and draws; returns the report."""
    text = config.text
    remember_text(run.folder, text)
    save_tokenizer(run.folder, text)
    print(text.speech.summary(), flush=True)
    tasks = {NAMES[system]: recognition_task(config, system, config.share) for system in config.systems}
    by_name: dict[str, System] = {NAMES[system]: system for system in config.systems}

    def measured(name: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        del trained  # it may not be the best
        params = best_params(tasks[name], config, folder, run.fingerprint)
        return measure(config, by_name[name], tasks[name], params, folder)

    paths = {name: f"nets/{system}" for name, system in by_name.items()}
    found = train_all(run, tasks, config, measured, "cer", path=paths.__getitem__)
    bound = run.cached("baselines", lambda: trimming_bound(config))
    table = report.format_report(config, found, {name: float(value) for name, value in bound.items()})
    run.write_table(table)
    draw(run.folder)
    run.finish(report.results(found, bound))
    return table


def trimming_bound(config: Config) -> dict[str, np.ndarray]:
    """Returns the scores that trimming reaches at best: those of a net without an error at any step."""
    text = config.text
    statistics = statistics_of(text)
    score = CorpusScore(lambda _, batch: perfectly_trimmed(text.labels, batch), statistics)
    figures = score.figures(score.totals({}, text.held_out_batches("test")))
    return {name: np.array(value) for name, value in figures.items()}


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    config = stored_config(Config, folder)
    return report.draw(folder, config)
