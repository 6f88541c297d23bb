"""Translate with recurrent and Transformer models side by side; BLEU, translations, attention.

By default numbers and dates written in words, English and German, which are made from a key; --data.dir FOLDER
reads pairs of sentences. --system attention trains one of the four models alone. The presets multi30k_fixed,
multi30k_attention and multi30k_transformer, with --data.dir PATH/multi30k, train about 20 minutes on 2 CPU cores;
their names with _60 an hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.encoder_decoder.search import check_search_fits
from experiments.encoder_decoder.systems import NAMES
from experiments.footprint import check_task_fits
from experiments.harness.errors import UserError
from experiments.harness.files import stored_config
from experiments.harness.run import Run
from experiments.run_task import Trained, train_all
from experiments.text_files import remember_text, save_tokenizer
from experiments.translation import report
from experiments.translation.config import TranslationConfig
from experiments.translation.presets import preset_options
from experiments.translation.scoring import compared, score_translations
from experiments.translation.task import TOGETHER, HeldOut, measure, translation_task
from experiments.translation.trained import net_path, tested_params
from models import EncoderDecoder

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(TranslationConfig):
    """Translation."""

    def check(self) -> None:
        """Checks the options against the text and the shapes of the models, before a run is begun."""
        if self.preset is not None and self.generated:
            raise UserError(
                "--data.dir", f"is missing: --preset {self.preset} is for the pairs of Multi30k in a folder"
            )
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        if self.loop.health.every:
            raise UserError(
                "--health.every", "looks into one recurrence, and a translation has two: leave it out"
            )
        check_search_fits(self.search.width, TOGETHER, len(self.text.target.vocabulary))
        for system in self.systems:
            check_task_fits(translation_task(self, system, self.text), self.training(self.text))


PRESETS: Mapping[str, Config] = {name: Config(**options) for name, options in preset_options().items()}


def main(config: Config, run: Run) -> str:
    """Trains system by system, tests, tabulates and draws; returns the report."""
    text = config.text
    remember_text(run.folder, text)
    save_tokenizer(run.folder, text)
    print(text.summary(), flush=True)
    tasks = {NAMES[system]: translation_task(config, system, text) for system in config.systems}
    paths = {NAMES[system]: net_path(system) for system in config.systems}
    held = next(iter(tasks.values())).data.test()
    assert isinstance(held, HeldOut)

    def measured(name: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        del trained  # it may not be the best
        task, model = tasks[name], tasks[name].model
        assert isinstance(model, EncoderDecoder)
        fingerprint = {**run.fingerprint, **task.fingerprint}
        best = config.tested == "best"
        params, step = tested_params(config, model, folder, fingerprint, best=best)
        return measure(config, text, task, params, step, folder)

    found = train_all(run, tasks, config.training(text), measured, config.reported, path=paths.__getitem__)
    baselines = run.cached("baselines", partial(measure_baselines, config, held))
    by_name: dict[str, dict[str, float]] = {}
    for key, value in baselines.items():
        metric, _, name = key.partition("|")
        by_name.setdefault(name, {})[metric] = float(value)
    table = report.format_report(config.title, found, by_name, held.sources, held.references)
    run.write_table(table)
    draw(run.folder)
    run.finish({"reported": config.reported, **report.results(found, by_name)})
    return table


def measure_baselines(config: Config, held: HeldOut) -> dict[str, np.ndarray]:
    """Returns `METRIC|NAME` of translations by methods without a net."""
    return {
        f"{metric}|{name}": np.array(value)
        for name, lines in compared(
            config.text.split("train").pairs, held.sources, generated=config.generated
        ).items()
        for metric, value in score_translations(lines, held.references, config.statistics).items()
    }


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    config = stored_config(Config, folder)
    return report.draw(folder, {system: NAMES[system] for system in config.systems})
