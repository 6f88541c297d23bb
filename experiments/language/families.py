"""Compare n-grams, fixed-window nets and recurrent nets on one text.

Scores n-grams with modified Kneser–Ney smoothing for n = 1 to --order, nets with a fixed window (Bengio et
al. 2003) and recurrent nets (Mikolov et al. 2010) on the same tokens of the same held-out text. The nets
differ only in the cell. The best net is also mixed in equal parts with the longest n-gram, because they err
on different tokens. A resumed run skips finished nets.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from data import Corpus
from experiments.cell_spec import parse_cell
from experiments.harness.checks import check_at_least
from experiments.harness.run import Run
from experiments.language import language_model
from experiments.language.corpus import finite_or_none
from experiments.language.families_report import (
    Model,
    draw,
    format_table,
    net_path,
    perplexity,
    samples,
    scores,
    summary_arrays,
)
from experiments.language.report import final_losses, measures, sampled_text
from experiments.language.train import text_options, text_task
from experiments.network import check_cells
from experiments.run_task import Trained, run_tasks
from experiments.task_report import training_record
from experiments.text_files import remember_text, save_tokenizer
from experiments.training import CELL_HELP, Flat
from models import FixedWindow
from models.ngram import smoothed
from models.ngram.counts import NgramCounts
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(language_model.WordTraining):
    """Families."""

    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The nets: {CELL_HELP}.")] = (
        "window(order=3)",
        "window(order=5)",
        "window(order=8)",
        "elman",
        "lstm",
    )
    order: int = 5
    """Longest n-grams."""
    sample_tokens: int = 60
    """Tokens drawn from each model at the end."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=1500, eval_every=100))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="cosine")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, order=self.order)
        check_cells(self.cells)

    def check(self) -> None:
        """Checks the options of every net against the text and the shapes of the model."""
        for cell in self.cells:
            self.with_cell(cell).check_on(self.corpus)

    def with_cell(self, cell: str) -> language_model.Config:
        """Returns the options of one net's training."""
        shared: dict[str, Any] = {
            option.name: getattr(self, option.name) for option in fields(language_model.WordTraining)
        }
        return language_model.Config(**shared, cell=cell)


def main(config: Config, run: Run) -> str:
    """Counts, trains net by net, mixes, tabulates and draws; returns the table."""
    corpus = config.corpus
    remember_text(run.folder, corpus)
    save_tokenizer(run.folder, corpus)
    print(corpus.summary(), flush=True)
    last = corpus.held_out[-1]
    models = [scored_by_counts(corpus, n, config) for n in range(1, config.order + 1)]
    models += scored_nets(config, run, corpus)
    nets, counted = models[config.order :], models[config.order - 1]
    best = min(nets, key=lambda model: model["losses|valid"].mean())
    models.append(mixed(best, counted, f"{best['name']} + {config.order}-gram"))
    run.write_arrays("families", summary_arrays(models, corpus, last))
    text = "\n\n".join([format_table(models, corpus, last), samples(models)])
    run.write_table(text)
    draw(run.folder)
    results = {"sources": dict(corpus.origin)} | {str(m["name"]): scores(m, corpus) for m in models}
    run.finish(finite_or_none(results))
    return text


def scored_by_counts(corpus: Corpus, n: int, config: Config) -> Model:
    """Scores an n-gram model: `name`, `size`, `order`, `sample`, and `losses|SPLIT`, in nats, of the tokens that
    the nets predict."""
    vocabulary = corpus.tokenizer.vocabulary
    counts = NgramCounts.of(corpus.splits["train"], len(vocabulary), n, vocabulary.end_id)
    model = smoothed(counts, "kneser_ney")
    never = [] if vocabulary.unknown_id is None else [vocabulary.unknown_id]
    drawn = model.sample(np.random.default_rng(config.seed), config.sample_tokens, [], never=never)
    found = {"name": np.array(f"{n}-gram, Kneser–Ney"), "order": np.array(n), "size": counts.sizes().sum()}
    found["sample"] = np.array(corpus.tokenizer.decode(drawn))
    # Without end marks a net has nothing to predict the first token from.
    first = 0 if vocabulary.end_id is not None or config.reading == "lines" else 1
    for split in corpus.held_out:
        found[f"losses|{split}"] = -np.log(model.probabilities(corpus.splits[split]))[first:]
    return found


def scored_nets(config: Config, run: Run, corpus: Corpus) -> list[Model]:
    """Trains and scores each cell's net: the same arrays (`order` is 0 for one that sees all tokens before), those
    of `report.measures`, and `curve|…` of its evaluations."""
    split = corpus.held_out[-1]
    configs = {config.network.describe(cell): config.with_cell(cell) for cell in config.cells}
    own = next(iter(configs.values()))
    tasks = {name: text_task(one, corpus) for name, one in configs.items()}

    def measured(name: str, trained: Trained, folder: Path) -> Model:
        return score_net(configs[name], corpus, trained, folder) | {"name": np.array(name)}

    models: list[Model] = []
    paths = {name: net_path(one.cell) for name, one in configs.items()}
    for name, found in run_tasks(run, tasks, text_options(own, corpus), measured, path=paths.__getitem__):
        print(f"{name}: perplexity {perplexity(found, split):.2f} on {split}", flush=True)
        models.append(found)
    return models


def score_net(config: language_model.Config, corpus: Corpus, trained: Trained, folder: Path) -> Model:
    """Measures one net on the held-out splits."""
    model, after = config.model(corpus.tokenizer), trained.after
    parsed = parse_cell(config.cell, config.hidden_size)
    found = {
        "order": np.array(parsed.order if isinstance(parsed, FixedWindow) else 0),
        "size": np.array(sum(leaf.size for leaf in jax.tree.leaves(after))),
        "sample": np.array(sampled_text(model, after, corpus.tokenizer, config.seed, config.sample_tokens)),
    }
    for split in corpus.held_out:
        found[f"losses|{split}"] = final_losses(config, model, after, corpus, split)
    last = corpus.held_out[-1]
    losses = found[f"losses|{last}"]
    found |= measures(config, corpus, model, last, losses, trained.before, after)
    record = training_record(folder)
    found["curve|step"] = record["validation/cross_entropy/step"]
    found["curve|cross_entropy"] = record["validation/cross_entropy"]
    return found


def mixed(one: Model, other: Model, name: str) -> Model:
    """Averages two models' probabilities."""
    found = {"name": np.array(name), "size": one["size"] + other["size"]}
    for key in one:
        if key.startswith("losses|"):
            found[key] = np.log(2) - np.logaddexp(-one[key], -other[key])
    return found
