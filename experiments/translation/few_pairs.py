"""Translate with few pairs: translations back of one-sided text, and no pairs at all; beside word by word.

By default numbers in German and English words, part by part, of which few are given with their translation, and the
rest in one language alone. Nets side by side: few learns from the pairs; back from the pairs and from sentences of
the target language, which reverse, a net of the other direction, has translated; unsupervised from sentences of
both languages and a dictionary of their words, by denoising and translating back; all from every pair, as a
ceiling. The preset multi30k, with --data.dir PATH/multi30k, gives 2,000 pairs and 27,000 sentences of the target
language.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data import PairExample
from data.synthetic.pairs import part_dictionary
from experiments.footprint import check_task_fits
from experiments.harness.errors import UserError
from experiments.harness.files import stored_config
from experiments.harness.run import Run
from experiments.run_task import Trained, run_tasks
from experiments.text_files import remember_text, save_tokenizer
from experiments.translation import report
from experiments.translation.back_translation import back_translated, pack, unpack
from experiments.translation.few_pairs_nets import NAMES, FewPairsConfig, net_task, text_of
from experiments.translation.presets import ATTENTION, loop
from experiments.translation.scoring import METRICS, compared, score_translations
from experiments.translation.task import HeldOut, measure
from experiments.translation.trained import tested_params
from models import EncoderDecoder
from models.cell import Params

SEVERAL_NETS = True  # one after another: what several processes can't share
WORDS = "word by word"


@dataclass(frozen=True)
class Config(FewPairsConfig):
    """Few pairs."""

    def check(self) -> None:
        """Checks the options against the text and the shapes of the models, before a run is begun."""
        if self.preset is not None and self.generated:
            raise UserError(
                "--data.dir", f"is missing: --preset {self.preset} is for the pairs of Multi30k in a folder"
            )
        if self.loop.health.every:
            raise UserError(
                "--health.every", "looks into one recurrence, and a translation has two: leave it out"
            )
        if self.unsupervised and (not self.generated or self.data.kind != "parts"):
            raise UserError(
                "--nets", "unsupervised needs a dictionary, which --data.kind parts alone has: leave it out"
            )
        if self.unsupervised and not self.text.shared:
            raise UserError("--data.vocabulary", "must be shared: unsupervised writes both languages")
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        have = len(self.text.split("train").pairs)
        if self.pairs + 2 > have:
            raise UserError("--pairs", f"{self.pairs} leaves no text of one side: there are {have:,} pairs")
        for net in self.trained:
            check_task_fits(net_task(self, net), self.training(self.text))


MULTI30K: dict[str, Any] = ATTENTION | {
    "nets": ("few", "back"),
    "pairs": 2000,
    "score_every": 1,
    "loop": loop(4000),
}
PRESETS: Mapping[str, Config] = {"multi30k": Config(preset="multi30k", **MULTI30K)}


def main(config: Config, run: Run) -> str:
    """Trains net by net, tests, tabulates and draws; returns the report."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.text)
    print(config.text.summary(), flush=True)

    def params_of(net: str) -> tuple[Params, int]:
        task = tasks[net]
        assert isinstance(task.model, EncoderDecoder)
        best = config.tested == "best" and net != "unsupervised"
        fingerprint = {**run.fingerprint, **task.fingerprint}
        return tested_params(config, task.model, run.folder / "nets" / net, fingerprint, best=best)

    def made() -> list[PairExample]:
        def translated() -> dict[str, np.ndarray]:
            model: Any = tasks["reverse"].model
            targets = [pair.targets for pair in config.one_sided]
            return pack(back_translated(model, params_of("reverse")[0], targets, config.bound[0]))

        return unpack(run.cached("back_translations", translated))

    tasks = {net: net_task(config, net, made) for net in config.trained}

    def measured(net: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        del trained  # it may not be the best
        params, step = params_of(net)
        return measure(config, text_of(config, net), tasks[net], params, step, folder)

    found: dict[str, dict[str, np.ndarray]] = {}
    metric = METRICS[config.reported]
    for net, arrays in run_tasks(
        run, tasks, config.training(config.text), measured, path=lambda n: f"nets/{n}"
    ):
        found[net] = arrays
        score = report.scores_of(arrays)[config.reported]
        print(f"{NAMES[net]}: {metric.label} {score:{metric.format}}", flush=True)
    held = tasks[config.nets[0]].data.test()
    assert isinstance(held, HeldOut)
    baselines = run.cached("baselines", partial(measure_baselines, config, held))
    by_name: dict[str, dict[str, float]] = {}
    for key, value in baselines.items():
        name_of, _, name = key.partition("|")
        by_name.setdefault(name, {})[name_of] = float(value)
    forward = {NAMES[net]: arrays for net, arrays in found.items() if net != "reverse"}
    table = report.format_report(config.title, forward, by_name, held.sources, held.references)
    if "reverse" in found:
        score = report.scores_of(found["reverse"])
        direction = f"{config.data.target} → {config.data.source}"
        table += f"\n\nthe net {direction} of the given pairs: " + ", ".join(
            f"{METRICS[name].label} {score[name]:{METRICS[name].format}}"
            for name in ("exact", "bleu_lowercased")
        )
    run.write_table(table)
    draw(run.folder)
    run.finish({"reported": config.reported, **report.results(forward, by_name)})
    return table


def measure_baselines(config: Config, held: HeldOut) -> dict[str, np.ndarray]:
    """Returns `METRIC|NAME` of translations by methods without a net: word by word with the dictionary or, of pairs
    in files, with one learned from the pairs given."""
    found = compared(config.few.split("train").pairs, held.sources, generated=False)
    if config.generated and config.data.kind == "parts":
        names: Any = (config.data.source, config.data.target)
        known = part_dictionary(*names)
        found[WORDS] = [" ".join(known[word] for word in source.split()) for source in held.sources]
        del found["word for word"]
    return {
        f"{metric}|{name}": np.array(value)
        for name, lines in found.items()
        for metric, value in score_translations(lines, held.references).items()
    }


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays: the held-out score against the step."""
    config = stored_config(Config, folder)
    return report.draw_training(folder, {net: NAMES[net] for net in config.nets})
