"""Answer a turn of a dialogue by the next one; perplexity with the right turn before it and with another.

By default questions and answers that are made from a seed; --preset plays with --data.dir PATH/tinyshakespeare
reads the turns of plays, in blocks of 40 turns for training, validation or test. What a net makes of the turn
before shows in how much higher the perplexity is when the turns before are shuffled.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from data import PairExample, ParallelConfig, ParallelText, held_out_pairs
from experiments.encoder_decoder.search import SearchConfig, search_targets
from experiments.encoder_decoder.systems import ModelConfig, System
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.harness.run import Run
from experiments.run_task import run_task
from experiments.task import Metric, Scores, Task
from experiments.task_report import draw_task
from experiments.text_files import remember_text, save_tokenizer
from experiments.training import Flat
from experiments.translation.config import TranslationConfig
from experiments.translation.task import HeldOut, translation_task
from models import EncoderDecoder
from models.cell import Params
from train import LoopConfig, OptimizerConfig, evaluate

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a piece)"),
    "perplexity": Metric("perplexity a piece", ".2f"),
    "shuffled": Metric("perplexity, turns before shuffled", ".2f"),
    "lower": Metric("lower with the right turn", ".1%", "higher"),
}
UNIGRAM = "frequencies of pieces"
SHOWN = 8  # test turns whose answers are shown


@dataclass(frozen=True)
class Config(TranslationConfig):
    """Dialogue."""

    system: System = "attention"
    """The model, as in translation."""
    data: ParallelConfig = field(
        default_factory=lambda: ParallelConfig(kind="turns", count=4000, held_out=400)
    )
    model: Annotated[ModelConfig, Flat] = field(
        default_factory=lambda: ModelConfig(hidden_size=96, attention="outputs", score="general", dropout=0.2)
    )
    search: Annotated[SearchConfig, Flat] = field(
        default_factory=lambda: SearchConfig(width=3, normalise="average")
    )
    score_every: int = 1
    """Compare with shuffled turns at every N-th evaluation, and at the last."""
    shuffles: int = 3
    """Random orders of the turns before, whose mean loss gives the perplexity without the right one."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=400, eval_every=100, save_every=100)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, shuffles=self.shuffles)
        if self.data.kind != "turns":
            raise UserError("--data.kind", "must be turns: other pairs are for translation")

    def check(self) -> None:
        """Checks the options against the text and the shapes of the model, before a run is begun."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for the text of plays")
        if self.loop.health.every:
            raise UserError("--health.every", "looks into one recurrence, and there are two: leave it out")
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        check_task_fits(dialogue_task(self), self.training(self.text))


PLAYS: dict[str, Any] = {
    "data": ParallelConfig(kind="turns", types=2000),
    "model": ModelConfig(hidden_size=192, attention="outputs", score="general", dropout=0.4),
    "loop": LoopConfig(steps=1600, eval_every=200, save_every=200, log_every=50),
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="warmup_cosine", warmup_steps=100),
}
PRESETS: Mapping[str, Config] = {"plays": Config(preset="plays", **PLAYS)}


def dialogue_task(config: Config) -> Task:
    """Builds the task. Perplexities are measured of the test turns at the end."""
    text = config.text
    task = translation_task(config, config.system, text)
    return Task(
        title="dialogue",
        model=task.model,
        data=task.data,
        objective=task.objective,
        metrics=METRICS,
        select="cross_entropy",
        report="perplexity",
        baselines={UNIGRAM: unigram(text)},
        score=partial(compare, config, task),
        score_every=config.score_every,
        score_from=1,
        fingerprint=task.fingerprint,
    )


def compare(config: Config, task: Task, params: Params, batches: Sequence[Any]) -> Scores:
    """Returns the perplexity with the right turn before and with shuffled ones, the share by which the first is
    lower, and answers written by the net."""
    assert isinstance(batches, HeldOut)
    model, name = task.model, split_of(config.text, batches)
    assert isinstance(model, EncoderDecoder)

    def loss(batches: Sequence[Any]) -> float:
        return evaluate(task.objective.evaluate, params, batches)["cross_entropy"]

    right = loss(batches)
    shuffled = np.mean([loss(shuffled_batches(config, name, seed)) for seed in range(config.shuffles)])
    found = search_targets(model, params, batches[:1], config.search)
    order = batches.sorted.order.tolist()
    places = np.unique(np.linspace(0, len(found) - 1, SHOWN).round().astype(int)).tolist()
    lines = []
    for place in places:
        pair, (best, *_) = batches.pairs[order[place]], found[place]
        lines += ["", f"said      {pair.source}", f"answered  {config.text.target.decode(best.ids)}"]
        lines += [f"in truth  {pair.target}"]
    return Scores(
        {
            "perplexity": float(np.exp(right)),
            "shuffled": float(np.exp(shuffled)),
            "lower": float(1 - np.exp(right - shuffled)),
        },
        "\n".join(lines[1:]),
    )


def split_of(text: ParallelText, held: HeldOut) -> str:
    """Returns the name of the split that held-out batches are of."""
    return next(name for name in text.held_out if text.split(name).pairs == held.pairs)


def shuffled_batches(config: Config, split: str, seed: int) -> list[Any]:
    """Returns the pairs of a split, each target after the turn before another one."""
    examples = config.text.split(split).examples
    order = np.random.default_rng(seed).permutation(len(examples)).tolist()
    partner = dict(zip(order, [*order[1:], order[0]], strict=True))  # a cycle: none keeps its own
    pairs = [PairExample(examples[partner[place]].inputs, one.targets) for place, one in enumerate(examples)]
    bounds, _ = config.buckets(config.text, 2.0)
    return held_out_pairs(pairs, batch_size=100, bounds=bounds).batches


def unigram(text: ParallelText) -> dict[str, float]:
    """Returns the cross entropy of the test targets by the frequencies of pieces in training, one added to each."""
    counts = Counter(int(i) for pair in text.split("train").examples for i in pair.targets)
    types = len(text.target.vocabulary)
    total = sum(counts.values()) + types
    losses = [
        -np.log((counts[int(i)] + 1) / total) for pair in text.split("test").examples for i in pair.targets
    ]
    loss = float(np.mean(losses))
    return {"cross_entropy": loss, "perplexity": float(np.exp(loss))}


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.text)
    print(config.text.summary(), flush=True)
    task = dialogue_task(config)
    return run_task(run, task, config.training(config.text), label=config.model.describe(config.system))


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    return draw_task(folder, METRICS, "perplexity")
