"""Training of one system as a `Task`, and what is measured of it afterwards."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import Pair, PairBatch, ParallelText, SortedBatches, held_out_pairs, pair_batches
from data.batch import Batches
from experiments.corpus_score import CorpusScore, Decoded
from experiments.encoder_decoder.objective import PairEvaluation, PairLoss
from experiments.encoder_decoder.search import search_targets, seconds_to_search
from experiments.encoder_decoder.systems import System
from experiments.harness.processes import process_shard
from experiments.objective import Objective
from experiments.task import Data, Task
from experiments.task_report import training_record
from experiments.translation.alignment import source_attention
from experiments.translation.config import TranslationConfig
from experiments.translation.scoring import METRICS, intervals, score_translations, short
from experiments.translation.trained import VOCABULARY
from models import EncoderDecoder
from models.cell import Params
from train import evaluate

TOGETHER = 100  # sentences of a held-out batch
COARSE = 2.0  # growth of the buckets of held-out pairs: few lengths to compile a search for


class HeldOut(list[PairBatch]):
    """Held-out batches, which know the pairs in them."""

    def __init__(self, pairs: Sequence[Pair], batches: SortedBatches) -> None:
        super().__init__(batches.batches)
        self.pairs, self.sorted = pairs, batches

    @property
    def sources(self) -> list[str]:
        """Returns the sources in the order of the text."""
        return [pair.source for pair in self.pairs]

    @property
    def references(self) -> list[str]:
        """Returns the targets in the order of the text."""
        return [pair.target for pair in self.pairs]


def held_out(config: TranslationConfig, text: ParallelText, split: str) -> HeldOut:
    """Returns a split in batches of sentences of similar length."""
    bounds, _ = config.buckets(text, COARSE)
    pairs, examples = text.split(split)
    return HeldOut(pairs, held_out_pairs(examples, batch_size=TOGETHER, bounds=bounds))


def translation_task(config: TranslationConfig, system: System, text: ParallelText) -> Task:
    """Builds the task of training a system on a text."""
    model = config.build(system, text.source, text.target)
    bounds, sizes = config.buckets(text)

    def train(seed: int, rows: int) -> Batches:
        examples = text.split("train").examples
        return pair_batches(examples, batch_size=sizes, seed=seed, bounds=bounds, **process_shard())

    def shapes(rows: int) -> PairBatch:
        def side(length: int) -> tuple[Any, Any]:
            shape = (length, rows)
            return jax.ShapeDtypeStruct(shape, jnp.int32), jax.ShapeDtypeStruct(shape, jnp.bool_)

        return PairBatch(*side(bounds[-1][0]), *side(bounds[-1][1]))

    def decode(params: Params, batch: PairBatch) -> Iterator[Decoded]:
        best = search_targets(model, params, [batch], config.search)
        targets = targets_of(batch)
        for (found, *_), target in zip(best, targets, strict=True):
            yield Decoded(text.target.decode(found.ids), text.target.decode(target))

    return Task(
        title="translation",
        model=model,
        data=Data(
            train,
            partial(held_out, config, text, "valid"),
            partial(held_out, config, text, text.held_out[-1]),
            shapes=shapes,
        ),
        objective=Objective(PairLoss(model, config.smoothing, config.sampled), PairEvaluation(model)),
        metrics=METRICS,
        select=config.selected,
        report=config.reported,
        score=CorpusScore(decode, short(config.statistics)),
        score_every=config.score_every,
        score_from=1,  # an untrained net ends no sentence, and its search takes longest
        fingerprint={VOCABULARY: text.digest},
    )


def targets_of(batch: PairBatch) -> list[list[int]]:
    """Returns the ids of the targets of a batch, without end marks, and without those that are padding."""
    lengths = np.asarray(batch.target_mask).sum(axis=0)
    ids = np.asarray(batch.targets).T.tolist()
    return [row[: length - 1] for row, length in zip(ids, lengths.tolist(), strict=True) if length]


def measure(
    config: TranslationConfig,
    text: ParallelText,
    task: Task,
    params: Params,
    step: int,
    folder: Path,
) -> dict[str, Any]:
    """Measures a trained system on the test data; `folder` is that of its training.

    Returns `test|METRIC`, `interval|METRIC [2]`, `rate`: sentences translated a second, `parameters` and `step`;
    `translations [N]`; the places `shown [n]` of those that are shown, with their `pieces|PLACE|SIDE` and the
    weights `attention|PLACE|LAYER [heads, T, L]`; `curve|METRIC` and `curve|METRIC/step` of the evaluations."""
    model, held = task.model, task.data.test()
    assert isinstance(model, EncoderDecoder)
    assert isinstance(held, HeldOut)
    best = held.sorted.restore_order(
        [ranked[0].ids for ranked in search_targets(model, params, held, config.search)]
    )
    found = [text.target.decode(ids) for ids in best]
    texts = found, held.references, config.statistics
    test = evaluate(task.objective.evaluate, params, held) | score_translations(*texts)
    seconds = seconds_to_search(model, params, held, config.search)
    places = np.unique(np.linspace(0, len(held.pairs) - 1, config.examples).round().astype(int))
    sources, end = text.split(text.held_out[-1]).examples, model.writer.end
    shown = [(sources[place].inputs, np.array([*best[place], end])) for place in places.tolist()]
    record = training_record(folder)
    return {
        **{f"test|{name}": np.array(value) for name, value in test.items()},
        **{f"interval|{name}": np.array(ends) for name, ends in intervals(*texts).items()},
        "rate": np.array(len(found) / seconds),
        "parameters": np.array(sum(leaf.size for leaf in jax.tree.leaves(params))),
        "step": np.array(step),
        "reported": np.array(task.reported),
        "translations": np.array(found),
        "shown": places,
        **pieces_and_attention(model, params, text, places.tolist(), shown),
        **{
            name.replace("validation/", "curve|"): values
            for name, values in record.items()
            if name.startswith("validation/")
        },
    }


def pieces_and_attention(
    model: EncoderDecoder,
    params: Params,
    text: ParallelText,
    places: Sequence[int],
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Returns the pieces of sources and translations, and the attention of each piece of a translation."""
    found: dict[str, np.ndarray] = {}
    maps = source_attention(model, params, pairs)
    for place, (source, target), layers in zip(places, pairs, maps, strict=True):
        found[f"pieces|{place}|source"] = np.array(text.source.vocabulary.decode(source))
        found[f"pieces|{place}|target"] = np.array(text.target.vocabulary.decode(target))
        found |= {f"attention|{place}|{layer}": weights for layer, weights in layers.items()}
    return found
