"""Train stacks of one to many layers at equal parameters and at equal time; loss, gradients and token rank.

LSTMs, plain and with residual connections, and Transformers, with norms before and after their layers, learn to
predict the next character of the embedded prose. At equal parameters a deeper net is narrower, and all nets take as
many steps; at equal time all are equally wide, and train until their seconds are over, deeper ones for fewer steps.
--preset hours trains 1, 2, 4, 6 and 8 layers for two hours in all, and takes --data.dir FILE.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal, get_args

import jax
import numpy as np

from data import Batch, Corpus, TextConfig, load_corpus
from experiments.budgets import train_within
from experiments.depth.measure import measure
from experiments.depth.nets import KINDS, Kind, Net, net_of_size
from experiments.depth.report import FOUR, Found, draw, format_table, results
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct, check_positive, check_seed
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.problems import Problem, text_problem
from experiments.task import TrainingOptions
from experiments.text_files import check_same_text, remember_text
from train import LoopConfig, OptimizerConfig, evaluate

__all__ = ["Config", "draw", "main"]

SEVERAL_NETS = True  # one after another: what several processes can't share
Comparison = Literal["equal_parameters", "equal_time"]
MEASURED = 32  # held-out windows on which layers are measured
ENDLESS = 1_000_000_000  # steps over which the rate falls again, which no training takes


@dataclass(frozen=True)
class Config:
    """Depth."""

    preset: str | None = None
    """Depths, sizes and times of a longer setting; options given explicitly override it."""
    comparisons: tuple[Comparison, ...] = get_args(Comparison)
    """equal_parameters: nets of as many parameters take as many steps; equal_time: nets of one width train for as
    many seconds."""
    kinds: tuple[Kind, ...] = KINDS
    """Kinds of layers: LSTMs whose layers are connected plainly or residually, Transformers with norms before or
    after their layers."""
    depths: tuple[int, ...] = (1, 4)
    """Numbers of layers."""
    parameters: int = 30_000
    """Parameters of each net at equal parameters, about; at equal time all are as wide as those of four layers
    here."""
    steps: int = 150
    """Updates of each net at equal parameters."""
    seconds: float = 2.0
    """Seconds of training of each net at equal time."""
    rates: tuple[float, ...] = (0.004,)
    """Learning rates; of several a net's best is reported, by its validation loss."""
    warmup: int = 20
    """Steps over which the rate rises; half of --steps at most."""
    data: TextConfig = field(default_factory=lambda: TextConfig(unit="character"))
    window: int = 48
    """Tokens of a window of text, T."""
    batch_size: int = 16
    """Windows per step, B."""
    seed: int = 0
    """Seed of parameters and of the order of the windows."""

    def __post_init__(self) -> None:
        check_at_least(2, steps=self.steps, window=self.window)
        check_at_least(1, warmup=self.warmup)
        check_at_least(1, parameters=self.parameters, batch_size=self.batch_size)
        check_distinct(comparisons=self.comparisons, kinds=self.kinds, depths=self.depths, rates=self.rates)
        for layers in self.depths:
            check_at_least(1, depths=layers)
        for rate in self.rates:
            check_positive(rates=rate)
        check_positive(seconds=self.seconds)
        check_seed(self.seed)

    def check(self) -> None:
        """Raises ValueError where training the deepest net of a kind needs more memory than is free."""
        deepest = [one for one in self.trainings if one.net.layers == max(self.depths)]
        for one in deepest[:: len(self.rates)]:
            check_task_fits(self.problem.task(one.net.model()), self.options(one.rate))

    def check_resumed(self, folder: Any) -> None:
        """Raises ValueError where the run in a folder was begun on another text."""
        check_same_text(folder, self.corpus)

    @cached_property
    def corpus(self) -> Corpus:
        """Returns the corpus, loaded when first asked for. Raises ValueError if there is nothing to validate on."""
        corpus = load_corpus(self.data)
        corpus.split("valid")
        return corpus

    @cached_property
    def problem(self) -> Problem:
        """Returns the problem of predicting each token of a window."""
        return text_problem(self.corpus, self.window)

    @cached_property
    def trainings(self) -> list["Training"]:
        """Returns every training: of each comparison, kind and depth one for each rate."""
        return [
            Training(comparison, self.net(comparison, kind, layers), rate)
            for comparison in self.comparisons
            for kind in self.kinds
            for layers in self.depths
            for rate in self.rates
        ]

    def net(self, comparison: Comparison, kind: Kind, layers: int) -> Net:
        """Returns the net of a comparison."""
        types = len(self.corpus.tokenizer.vocabulary)
        if comparison == "equal_parameters":
            return net_of_size(kind, layers, self.parameters, types, self.window)
        return replace(net_of_size(kind, FOUR, self.parameters, types, self.window), layers=layers)

    def options(self, rate: float) -> TrainingOptions:
        """Returns the options of a training: the rate rises at first, and stays."""
        optimizer = OptimizerConfig(
            learning_rate=rate,
            schedule="warmup_cosine",
            warmup_steps=max(1, min(self.warmup, self.steps // 2)),
            decay_steps=ENDLESS,
        )
        return TrainingOptions(self.seed, self.batch_size, LoopConfig(steps=self.steps), optimizer)


@dataclass(frozen=True)
class Training:
    """One net of a comparison at one learning rate."""

    comparison: Comparison
    net: Net
    rate: float

    @property
    def name(self) -> str:
        """Returns its name in progress lines, with underscores that of its arrays."""
        comparison = self.comparison.replace("_", " ")
        return f"{comparison}, {self.net.kind}, {self.net.layers} layers, rate {self.rate:g}"


PRESETS: Mapping[str, Config] = {
    "hours": Config(
        preset="hours",
        depths=(1, 2, 4, 6, 8),
        parameters=400_000,
        steps=1200,
        seconds=120.0,
        rates=(0.001, 0.004),
        warmup=100,
        window=64,
    ),
}


def main(config: Config, run: Run) -> str:
    """Trains and measures net by net, tabulates and draws; returns the table. A resumed run keeps finished nets."""
    remember_text(run.folder, config.corpus)
    print(config.corpus.summary(), flush=True)
    found: list[Found] = []
    for one in config.trainings:
        arrays = run.cached(f"nets/{folder_name(one.name)}", partial(of_net, config, one, run.devices))
        found.append(Found(one.comparison, one.net.kind, one.net.layers, arrays))
        print(f"{one.name}: {float(arrays['test']):.4f} nats, {int(arrays['steps'])} steps", flush=True)
    run.write_arrays("depth", {f"{one.key}|{name}": v for one in found for name, v in one.arrays.items()})
    table = format_table(found, config.problem.baseline)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(found, config.problem.baseline))
    return table


def of_net(config: Config, training: Training, devices: int) -> dict[str, Any]:
    """Trains a net; returns its size, steps and rate, its losses on validation and test data, infinite if it
    diverged, and of nets of equal width the measures of their layers before and after."""
    net = training.net
    task = config.problem.task(net.model())
    seconds = config.seconds if training.comparison == "equal_time" else None
    trained = train_within(task, config.options(training.rate), devices, seconds)
    found: dict[str, Any] = {
        "parameters": net.parameters(),
        "width": net.width,
        "steps": trained.steps,
        "rate": training.rate,
    }
    test = task.data.test()
    for split, batches in (("valid", task.data.validation()), ("test", test)):
        loss = evaluate(task.objective.evaluate, trained.after, batches)["cross_entropy"]
        found[split] = loss if trained.finite and np.isfinite(loss) else np.inf
    if training.comparison == "equal_time":
        batch: Batch = jax.tree.map(lambda leaf: np.asarray(leaf)[:, :MEASURED], test[0])
        for moment, params in (("before", trained.before), ("after", trained.after)):
            found |= {f"{moment}|{name}": values for name, values in measure(net, params, batch).items()}
    return found
