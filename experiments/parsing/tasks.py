"""Training of either parser as a `Task`, and the trees that it gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import Batch, PairBatch, Tree, bucket_batches, held_out_pairs, pair_batches, sorted_batches
from data.batch import Batches
from experiments.encoder_decoder.objective import PairEvaluation, PairLoss
from experiments.encoder_decoder.search import Space, search_targets
from experiments.harness.processes import process_shard
from experiments.objective import Objective, measured_by, tagging
from experiments.parsing.codes import HeldOut, TreeCodes
from experiments.parsing.config import ParsingConfig, System
from experiments.parsing.scores import METRICS, score_trees
from experiments.task import Data, Scores, Task
from models import EncoderDecoder, Tagged, Tagger, TreeAutomaton, WordReader
from models.cell import Array, Params
from train import SumCount

TOGETHER = 100  # sentences of a held-out batch
RATIO, MORE = 4, 10  # a tree has at most so many tokens a word, and so many more
CODES = "the words, brackets and labels"  # their digest in checkpoints, beside the options
Parse = Callable[[Params, HeldOut], list[Tree]]
"""`(params, batches) → trees`, in the order of the batches."""


@dataclass(frozen=True)
class Parser:
    """A parser to be trained, and the function by which it parses."""

    task: Task
    parse: Parse


def build_parser(config: ParsingConfig, system: System, codes: TreeCodes) -> Parser:
    """Builds the task of training a parser."""
    return label_parser(config, codes) if system == "labels" else sequence_parser(config, codes)


def label_parser(config: ParsingConfig, codes: TreeCodes) -> Parser:
    """Builds the parser that gives each word a label."""
    model, bounds = config.model.tagger(codes), config.bounds("labels")

    def train(seed: int, rows: int) -> Batches:
        examples = [codes.labelled(tree) for tree in codes.text.splits["train"]]
        return bucket_batches(examples, batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def held_out(split: str) -> HeldOut:
        trees = codes.text.splits[split]
        examples = [codes.labelled(tree) for tree in trees]
        return HeldOut(trees, sorted_batches(examples, batch_size=min(TOGETHER, len(trees)), bounds=bounds))

    def shapes(rows: int) -> Batch:
        def array(*more: int, kind: Any = jnp.int32) -> Any:
            return jax.ShapeDtypeStruct((bounds[-1], rows, *more), kind)

        return Batch(array(2), array(), array(kind=jnp.bool_))

    def parse(params: Params, held: HeldOut) -> list[Tree]:
        ids = (row for batch in held for row in valid_rows(predict(model, params, batch), batch.mask))
        return [codes.tree_of_labels(row, tree) for row, tree in zip(ids, held.trees, strict=True)]

    objective = measured_by(model, label_measure)
    return finish(config, codes, "labels", Parts(model, train, held_out, shapes, objective, parse))


def label_measure(outputs: Tagged, batch: Batch) -> dict[str, SumCount]:
    """Measures the cross entropy of the labels of words."""
    return {"cross_entropy": tagging(outputs.tags, batch)["cross_entropy"]}


@partial(jax.jit, static_argnames="model")
def predict(model: Tagger, params: Params, batch: Batch) -> Array:
    """Returns the likeliest label of each word `[T, B]`, compiled once for equal models."""
    labels, _ = model.apply(params, batch.inputs, mask=batch.mask, method="predict")  # type: ignore[misc]
    return labels


def valid_rows(values: Array, mask: Any) -> Iterator[list[int]]:
    """Yields the values of each example of a batch, without those that are padding."""
    for row, length in zip(np.asarray(values).T, np.asarray(mask).sum(axis=0).tolist(), strict=True):
        if length:
            yield row[:length].tolist()


def sequence_parser(config: ParsingConfig, codes: TreeCodes) -> Parser:
    """Builds the parser that writes brackets. Its search is held to trees over exactly the words given."""
    model, bounds = config.model.encoder_decoder(codes), config.bounds("sequence")
    space = Space(RATIO, MORE, TreeGrammar(codes.kinds))

    def train(seed: int, rows: int) -> Batches:
        examples = [codes.pair(tree) for tree in codes.text.splits["train"]]
        return pair_batches(examples, batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def held_out(split: str) -> HeldOut:
        trees = codes.text.splits[split]
        examples = [codes.pair(tree) for tree in trees]
        return HeldOut(trees, held_out_pairs(examples, batch_size=min(TOGETHER, len(trees)), bounds=bounds))

    def shapes(rows: int) -> PairBatch:
        def array(*shape: int, kind: Any = jnp.int32) -> Any:
            return jax.ShapeDtypeStruct(shape, kind)

        longest, most = bounds[-1]
        masks = (array(longest, rows, kind=jnp.bool_), array(most, rows, kind=jnp.bool_))
        return PairBatch(array(longest, rows, 2), masks[0], array(most, rows), masks[1])

    def parse(params: Params, held: HeldOut) -> list[Tree]:
        best = search_targets(model, params, held, config.search, space=space)
        return [
            codes.tree_of_symbols(found[0].ids, tree) for found, tree in zip(best, held.trees, strict=True)
        ]

    objective = Objective(WordDropoutLoss(PairLoss(model)), PairEvaluation(model))
    return finish(config, codes, "sequence", Parts(model, train, held_out, shapes, objective, parse))


@dataclass(frozen=True)
class TreeGrammar:
    """The grammar of a search: trees over the tags that stand beside the words of the sources. `kinds` are those of
    the symbols."""

    kinds: tuple[int, ...]

    def __call__(self, inputs: Array, mask: Array, limits: Array) -> TreeAutomaton:
        """Returns the automaton of sources `[L, B, 2]`."""
        return TreeAutomaton(jnp.array(self.kinds), inputs[..., 1], jnp.sum(mask, axis=0), limits)


@dataclass(frozen=True)
class WordDropoutLoss:
    """The loss of an encoder–decoder whose source has some words replaced by the unknown one."""

    loss: PairLoss

    def __call__(
        self, params: Params, carry: Any, batch: PairBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        reader = self.loss.model.reader
        assert isinstance(reader, WordReader)
        inputs = reader.drop_words(jnp.asarray(batch.inputs), jax.random.fold_in(key, 3))
        return self.loss(params, carry, batch._replace(inputs=inputs), key)


@dataclass(frozen=True)
class Parts:
    """The parts in which the two parsers differ."""

    model: Tagger | EncoderDecoder
    train: Callable[[int, int], Batches]
    held_out: Callable[[str], HeldOut]
    shapes: Callable[[int], Any]
    objective: Objective
    parse: Parse


def finish(config: ParsingConfig, codes: TreeCodes, system: System, parts: Parts) -> Parser:
    """Builds the task of what differs."""

    def score(params: Params, batches: Sequence[Any]) -> Scores:
        assert isinstance(batches, HeldOut)
        return Scores(score_trees(parts.parse(params, batches), batches.trees))

    task = Task(
        title=f"parsing by {system}",
        model=parts.model,
        data=Data(
            parts.train,
            partial(parts.held_out, "valid"),
            partial(parts.held_out, "test"),
            "test sentences",
            shapes=parts.shapes,
        ),
        objective=parts.objective,
        metrics=METRICS,
        select="f1",
        score=score,
        score_every=config.score_every,
        score_from=1,
        fingerprint={CODES: codes.digest},
    )
    return Parser(task, parts.parse)
