"""Train language models of several sizes and kinds for equal time, and compare what they reach.

By default four Transformers and an LSTM learn the characters of the embedded prose, for about twenty seconds each.
--preset minutes, for --data.dir FILE, a text of about a million characters, trains four Transformers and an LSTM
for five minutes each, and a larger one of each kind for thirty. For Transformers of equal time the loss is compared
with a power of the number of parameters (Kaplan et al. 2020). A net's time is its steps times the time of a step,
which is measured at the end, for all nets alike. A resumed run skips finished nets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from data import Corpus, TextConfig
from experiments.budgets import seconds_a_step
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.run import Run
from experiments.language.char_lm import MILLION
from experiments.language.config import TextModelConfig, checked_corpus
from experiments.language.corpus import finite_or_none
from experiments.language.report import final_losses, full_context_scores
from experiments.language.scaling_report import draw, format_table
from experiments.language.sizes import NETS, SIZES, SMALL
from experiments.language.train import text_options, text_task
from experiments.run_task import Trained, run_tasks
from experiments.task_report import training_record
from experiments.text_files import remember_text, save_tokenizer

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config:
    """Scaling."""

    preset: str | None = None
    """Nets and text of a timed setting; options given explicitly override it."""
    nets: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The nets, of {', '.join(NETS)}.")] = tuple(SMALL)
    data: TextConfig = field(default_factory=lambda: TextConfig(unit="character"))
    steps: int | None = None
    """Steps of every net; by default its own."""
    seed: int = 0
    """Seed of parameters, dropout and windows of every net."""

    def __post_init__(self) -> None:
        for name in self.nets:
            if name not in NETS:
                raise UserError("--nets", f"{name!r} is unknown: there are {', '.join(map(repr, NETS))}")
        if not self.nets:
            raise UserError("--nets", "names none: give at least one")
        check_seed(self.seed)
        if self.steps is not None:
            check_at_least(1, steps=self.steps)

    def check(self) -> None:
        """Checks the options of every net against the text and the shapes of the model."""
        corpus = checked_corpus(self.data)
        for one in self.configs().values():
            one.check_on(corpus)

    def configs(self) -> dict[str, TextModelConfig]:
        """Returns the options of every net's training."""
        nets: dict[str, TextModelConfig] = {
            name: replace(NETS[name], data=self.data, seed=self.seed) for name in self.nets
        }
        return nets if self.steps is None else {name: ended(net, self.steps) for name, net in nets.items()}


def ended(net: TextModelConfig, steps: int) -> TextModelConfig:
    """Returns a net's options with another number of steps: as many evaluations, the warm-up a tenth at most."""
    loop, optimizer = net.loop, net.optimizer
    loop = replace(loop, steps=steps, eval_every=max(1, steps * loop.eval_every // loop.steps))
    if optimizer.warmup_steps:
        optimizer = replace(optimizer, warmup_steps=min(optimizer.warmup_steps, max(1, steps // 10)))
    return replace(net, loop=loop, optimizer=optimizer)


PRESETS: Mapping[str, Config] = {
    "minutes": Config(
        preset="minutes",
        data=MILLION,
        nets=(*SIZES, "gpt_five_minutes", "five_minutes", "gpt_thirty_minutes", "thirty_minutes"),
    ),
}


def main(config: Config, run: Run) -> str:
    """Times and trains net by net, tabulates and draws; returns the table."""
    corpus, configs = checked_corpus(config.data), config.configs()
    remember_text(run.folder, corpus)
    save_tokenizer(run.folder, corpus)
    print(corpus.summary(), flush=True)
    tasks = {name: text_task(one, corpus) for name, one in configs.items()}
    options = {name: text_options(one, corpus) for name, one in configs.items()}

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        return scored(configs[name], corpus, trained, folder)

    found: dict[str, dict[str, np.ndarray]] = {}
    for name, arrays in run_tasks(run, tasks, options, measured):
        found[name] = arrays
        print(f"{name}: {float(arrays['cross_entropy']):.4f} nats a token", flush=True)
    for (
        name,
        net,
    ) in found.items():  # one after another, so that all are timed on the same machine as it is now
        net["seconds_a_step"] = np.array(seconds_a_step(tasks[name], options[name], run.devices))
        print(f"{name}: {1e3 * float(net['seconds_a_step']):.1f} ms a step", flush=True)
    run.write_arrays("scaling", {f"{name}|{key}": v for name, one in found.items() for key, v in one.items()})
    text = format_table(found, corpus.held_out[-1])
    run.write_table(text)
    draw(run.folder)
    results = {
        name: {key: float(v) for key, v in one.items() if np.ndim(v) == 0} for name, one in found.items()
    }
    run.finish(finite_or_none({"sources": dict(corpus.origin)} | results))
    return text


def scored(config: TextModelConfig, corpus: Corpus, trained: Trained, folder: Path) -> dict[str, np.ndarray]:
    """Measures one net on the last held-out split: parameters, loss, and its curve over the steps.

    `cross_entropy` is with the state carried through the text, or with full context of a net that reads windows;
    `own_windows` is what such a net reaches in whole windows, as its curve is measured."""
    model, split = config.model(corpus.tokenizer), corpus.held_out[-1]
    own = float(final_losses(config, model, trained.after, corpus, split).mean())
    record = training_record(folder)
    found = {
        "parameters": np.array(sum(leaf.size for leaf in jax.tree.leaves(trained.after))),
        "cross_entropy": np.array(own),
        "steps": np.array(trained.steps),
        "curve|step": record["validation/cross_entropy/step"],
        "curve|cross_entropy": record["validation/cross_entropy"],
    }
    if config.reading == "windows":
        full = full_context_scores(config, model, trained.after, corpus, split)["full_context_cross_entropy"]
        found |= {"cross_entropy": np.array(full), "own_windows": np.array(own)}
    return found
