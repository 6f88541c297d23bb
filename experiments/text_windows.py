"""The problem of predicting each token of a text from those before it in its window."""

import jax
import jax.numpy as jnp
import numpy as np

from data import Batch, Corpus, evaluation_batches, train_batches, windows
from data.batch import Batches
from experiments.harness.processes import process_shard
from experiments.objective import tagging
from experiments.problems import Problem
from experiments.task import Data


def text_problem(corpus: Corpus, length: int) -> Problem:
    """Returns the problem of predicting each token of windows of text, each read from the initial state."""
    size, last = len(corpus.tokenizer.vocabulary), corpus.held_out[-1]

    def train(seed: int, batch_size: int) -> Batches:
        source = windows(corpus.split("train"), length, stride=max(1, length // 4))
        return train_batches(source, batch_size=batch_size, seed=seed, **process_shard())

    def held_out(split: str) -> list[Batch]:
        text = corpus.split(split)
        source = windows(text, length, stride=max(length, len(text) // 300))
        return list(evaluation_batches(source, batch_size=100))

    def shapes(examples: int) -> Batch:
        tokens = jax.ShapeDtypeStruct((length, examples), jnp.int32)
        return Batch(tokens, tokens, jax.ShapeDtypeStruct(tokens.shape, jnp.bool_))  # pyright: ignore

    counts = np.bincount(corpus.split("train"), minlength=size) + 1
    return Problem(
        title=f"text, windows of {length}",
        data=Data(
            train,
            lambda: held_out("valid"),
            lambda: held_out(last),
            "held-out windows",
            shapes=shapes,
            held_out=300,
        ),
        measure=tagging,
        classes=size,
        metric="cross_entropy",
        baseline=float(-np.log(counts / counts.sum())[corpus.split(last)].mean()),
        trivial="frequencies",
        each_step=True,
    )
