"""Parse sentences into trees: brackets one after another, or a label a word; bracket F1, trees drawn.

By default sentences of a small grammar, which are made from a key; --data.dir FOLDER reads trees in brackets. The
tags of words are given. A right-branching tree and a grammar counted in the training trees stand beside the nets.
The presets gum_labels and gum_sequence, with --data.dir PATH/gum-const, train up to 30 minutes on 2 CPU cores.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data import Tree, format_tree
from experiments.footprint import check_task_fits
from experiments.harness.files import arrays_with_prefix, stored_config
from experiments.harness.run import Run
from experiments.parsing import report
from experiments.parsing.codes import HeldOut
from experiments.parsing.config import NAMES, ParsingConfig
from experiments.parsing.presets import GUM_LABELS, GUM_SEQUENCE
from experiments.parsing.scores import METRICS, f1_by_length, score_trees, trees_without_a_net
from experiments.parsing.tasks import Parser, build_parser
from experiments.run_task import Trained, train_all
from experiments.task_report import training_record
from experiments.text_files import remember_text, save_tokenizer
from train import evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(ParsingConfig):
    """Parsing."""

    def check(self) -> None:
        """Checks the options against the trees and the shapes of the models, before a run is begun."""
        self.check_options()
        for system in self.systems:
            check_task_fits(build_parser(self, system, self.codes).task, self.training())


PRESETS: Mapping[str, Config] = {
    "gum_labels": Config(preset="gum_labels", **GUM_LABELS),
    "gum_sequence": Config(preset="gum_sequence", **GUM_SEQUENCE),
}


def main(config: Config, run: Run) -> str:
    """Trains parser by parser, tests, tabulates and draws; returns the report."""
    codes = config.codes
    remember_text(run.folder, codes)
    save_tokenizer(run.folder, codes)
    print(codes.text.summary(), flush=True)
    gold = codes.text.splits["test"]
    baselines = run.cached("baselines", partial(measure_baselines, codes.text.splits["train"], gold))
    parsers = {NAMES[system]: build_parser(config, system, codes) for system in config.systems}
    paths = {NAMES[system]: f"nets/{system}" for system in config.systems}

    def measured(name: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        return measure(config, parsers[name], trained, folder)

    tasks = {name: parser.task for name, parser in parsers.items()}
    found = train_all(run, tasks, config.training(), measured, "f1", path=paths.__getitem__)
    by_name: dict[str, dict[str, float]] = {}
    for metric in METRICS:
        for name, value in arrays_with_prefix(metric, baselines).items():
            by_name.setdefault(name, {})[metric] = float(value)
    note = f"The grammar has no parse of {int(baselines['unparsed'])} of {len(gold)} test sentences."
    table = report.format_report(found, by_name, baselines["gold"].tolist(), note)
    run.write_table(table)
    draw(run.folder)
    run.finish({"reported": "f1", **report.results(found, by_name)})
    return table


def measure_baselines(train: Sequence[Tree], gold: Sequence[Tree]) -> dict[str, np.ndarray]:
    """Returns `METRIC|NAME` and `by_length|NAME` of methods without a net, how many sentences the grammar doesn't
    parse as `unparsed`, and the right trees as `gold [N]`."""
    methods, unparsed = trees_without_a_net(train, gold)
    found = {"gold": np.array([format_tree(tree) for tree in gold]), "unparsed": np.array(unparsed)}
    for name, trees in methods.items():
        found |= {f"{metric}|{name}": np.array(value) for metric, value in score_trees(trees, gold).items()}
        found[f"by_length|{name}"] = f1_by_length(trees, gold)
    return found


def measure(config: Config, parser: Parser, trained: Trained, folder: Path) -> dict[str, Any]:
    """Measures a trained parser on the test sentences; `folder` is that of its training.

    Returns `test|METRIC`, `by_length [n]`, `trees [N]` in brackets, the places `shown [n]` of those that are drawn,
    `rate`: sentences parsed a second, `parameters` and `step`; `curve|METRIC` and `curve|METRIC/step`."""
    held, params = parser.task.data.test(), trained.after
    assert isinstance(held, HeldOut)
    parser.parse(params, held)  # compiles
    start = time.monotonic()
    trees = held.sorted.restore_order(parser.parse(params, held))
    seconds = time.monotonic() - start
    gold = held.sorted.restore_order(held.trees)
    test = evaluate(parser.task.objective.evaluate, params, held) | score_trees(trees, gold)
    record = training_record(folder)
    return {
        **{f"test|{name}": np.array(value) for name, value in test.items()},
        "by_length": f1_by_length(trees, gold),
        "trees": np.array([format_tree(tree) for tree in trees]),
        "shown": chosen(gold, config.examples),
        "rate": np.array(len(trees) / seconds),
        "parameters": np.array(sum(leaf.size for leaf in jax.tree.leaves(params))),
        "step": np.array(trained.steps),
        **{
            name.replace("validation/", "curve|"): values
            for name, values in record.items()
            if name.startswith("validation/")
        },
    }


MOST_DRAWN = 14  # words of a sentence that is drawn


def chosen(gold: Sequence[Tree], count: int) -> np.ndarray:
    """Returns the places of sentences to draw, evenly spaced: of 5 to 14 words if there are any."""
    fitting = [n for n, tree in enumerate(gold) if 5 <= len(tree.words) <= MOST_DRAWN]
    fitting = fitting or sorted(range(len(gold)), key=lambda n: len(gold[n].words))[:count]
    return np.array(fitting)[np.unique(np.linspace(0, len(fitting) - 1, count).round().astype(int))]


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    config = stored_config(Config, folder)
    return report.draw(folder, {system: NAMES[system] for system in config.systems})
