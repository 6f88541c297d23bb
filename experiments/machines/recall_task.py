"""Spoken words of which one is asked for again as a `Task`: the word that came after it, and what is heard on the
way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import Batch, collate
from data.batch import Batches
from data.buckets import bucket_batches, length_bounds
from data.examples import Example
from data.speech.corpus import Speech
from data.speech.features import FeaturesConfig, FrontEnd, log_mel
from data.speech.joined import JoinConfig
from data.speech.recall import TONE, RecallEncoder, RecallUtterances, recall_examples
from data.speech.sound import change_speed
from experiments.cell_view import CellView
from experiments.harness.processes import process_shard
from experiments.machines.heads import diagnostics
from experiments.machines.story_task import padded
from experiments.network import NetworkConfig
from experiments.objective import measured_by
from experiments.task import Data, Metric, Recurrence, Task
from models import Cell
from models.cell import Array, Params
from train import SumCount, accuracy, cross_entropy

ONE_BUCKET = 48  # steps up to which a second shape saves less than compiling it costs
GUESS = "any other word said"
SEEDS = {"valid": 2**32 + 1, "test": 2**32 + 2}  # of joined utterances: no --seed is one of them
METRICS: Mapping[str, Metric] = {
    "loss": Metric("loss (nats an answer)", scale="log"),
    "exact": Metric("exact answers", ".1%", "higher"),
    "heard": Metric("words told apart, a step", ".1%", "higher"),
}


@dataclass(frozen=True)
class Answered:
    """The measure of an answer at the last step, and of the words heard before it:

        loss = −ln p(answer) + told · mean_t −ln p(word said at t)

    Outputs are logits `[T, B, K]`, targets `[T, B]` as `RecallEncoder` makes them."""

    told: float

    def __call__(self, logits: Array, batch: Batch) -> dict[str, SumCount]:
        mask, targets = jnp.asarray(batch.mask), jnp.asarray(batch.targets)
        real, steps = jnp.any(mask, axis=0), jnp.arange(len(mask))[:, None]
        last = mask & (steps == jnp.sum(mask, axis=0)[None] - 1)
        heard = mask & ~last
        answered, count = cross_entropy(logits, targets, last)
        said, said_count = cross_entropy(logits, targets, heard)
        told = self.told * said / jnp.maximum(said_count, 1) * jnp.sum(real, dtype=jnp.float32)
        return {
            "loss": (answered + told, count),
            "exact": accuracy(logits, targets, last),
            "heard": accuracy(logits, targets, heard),
        }


@dataclass(frozen=True, eq=False)
class SpokenRecall:
    """Joined words with questions by split, and how they become numbers."""

    splits: Mapping[str, RecallUtterances]
    encoder: RecallEncoder

    @cached_property
    def examples(self) -> dict[str, list[Example]]:
        """The examples of each split, made when first asked for."""
        return {split: recall_examples(source, self.encoder) for split, source in self.splits.items()}

    @cached_property
    def longest(self) -> int:
        """The most steps of a training example."""
        source = self.splits["train"]
        return max(self.encoder.steps(source.samples(index)) for index in range(len(source)))


def spoken_recall(
    speech: Speech,
    join: JoinConfig,
    features: FeaturesConfig,
    speeds: Sequence[float],
    seed: int,
    blanks: int,
    counts: Mapping[str, int],
) -> SpokenRecall:
    """Joins the words of recordings to so many utterances of each split; those of training at each of the speeds.

    Raises ValueError as `RecallUtterances`, and for too many filters."""
    _ = features.matrix
    seeds = {"train": seed, **SEEDS}
    splits = {}
    for split, count in counts.items():
        words = [
            one._replace(samples=change_speed(one.samples, speed))
            for speed in (speeds if split == "train" else (1.0,))
            for one in speech.splits[split]
        ]
        splits[split] = RecallUtterances(words, join, speech.rate, seeds[split], count)
    words = tuple(sorted({one.text for one in speech.splits["train"]}))
    return SpokenRecall(splits, RecallEncoder(FrontEnd(features), words, blanks))


def guessing(source: RecallUtterances) -> float:
    """Returns the expected share of exact answers of one who draws among the words said, but never the first or the
    one asked for, which can't be the answer."""
    shares = []
    for index in range(len(source)):
        *told, _, asked = (word.text for word in source.plan(index)[0])
        shares.append(1 / len({*told[1:]} - {asked}))
    return float(np.mean(shares))


def recall_task(recall: SpokenRecall, cell: Cell, network: NetworkConfig, told: float) -> Task:
    """Builds the task of a cell."""
    model = network.tagger(cell, 1 + len(recall.encoder.words))
    measure = Answered(told)

    longest = recall.longest

    def train(seed: int, rows: int) -> Batches:
        bounds = length_bounds(longest, least=ONE_BUCKET, growth=1.5)
        examples = recall.examples["train"]
        return bucket_batches(examples, batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def shapes(examples: int) -> Batch:
        axes = (longest, examples)
        size = recall.encoder.front.config.size
        return jax.eval_shape(
            lambda: Batch(jnp.zeros((*axes, size)), jnp.zeros(axes, int), jnp.ones(axes, bool))
        )

    return Task(
        title="spoken recall",
        model=model,
        data=Data(
            train,
            lambda: padded(recall.examples["valid"]),
            lambda: padded(recall.examples["test"]),
            f"{len(recall.splits['test']):,} test utterances",
            shapes=shapes,
            held_out=len(recall.splits["valid"]),
        ),
        objective=measured_by(model, measure),
        metrics=METRICS,
        select="exact",
        baselines={GUESS: {"exact": guessing(recall.splits["test"])}},
        recurrent=Recurrence(cell, measure),
        fingerprint={"the words": list(recall.encoder.words)},
    )


def watched_utterance(recall: SpokenRecall, task: Task, params: Params) -> dict[str, np.ndarray]:
    """Returns what a machine does with the first test utterance: where it writes and reads `[T, heads, N]`, the
    frames of its steps, and what is said at each of them, under names that begin with `watched|`."""
    source = recall.splits["test"]
    utterance, example = source[0], recall.examples["test"][0]
    batch = collate([example], len(example.inputs))
    recurrent = task.recurrent
    assert recurrent is not None
    own, xs = CellView(task.model, recurrent.measure).entry(params, batch)
    seen: Any = diagnostics(recurrent.cell, own, xs[:, 0])
    front = recall.encoder.front.config
    frames = log_mel(utterance.samples, front)
    middle = (np.arange(len(example.inputs)) + 0.5) * front.stack * front.hop_samples
    said = ["" for _ in middle]
    for part in utterance.parts:
        if part.text:
            said[int(np.argmin(abs(middle - (part.start + part.end) / 2)))] = (
                "?" if part.text == TONE else part.text
            )
    said[-1] = f"→ {source.answer(0)}"
    heard = np.zeros((len(middle), front.filters))
    for step in range(len(middle) - recall.encoder.blanks):
        heard[step] = frames[step * front.stack : (step + 1) * front.stack].mean(axis=0)
    heard[len(middle) - recall.encoder.blanks :] = frames.min()
    return {
        "watched|writes": np.asarray(seen["write_weights"]),
        "watched|reads": np.asarray(seen["read_weights"]),
        "watched|heard": heard - frames.min(),
        "watched|said": np.array(said),
    }
