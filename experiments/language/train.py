"""Training a language model: its parameters, the run of `fit`, the text that a run remembers."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data import Batch, Corpus, pairs, vocabulary_digest
from experiments.embedding import with_embedding
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.language.batches import TrainingText, training_batches
from experiments.language.config import ENDLESS, TextModelConfig, init_params
from experiments.language.corpus import VOCABULARY
from experiments.language.held_out import held_out
from experiments.language.objective import StreamLoss, TextLoss, every_token, last_token
from experiments.objective import Objective
from experiments.pretrained.beginning import begin_with
from experiments.pretrained.encoder_run import read_encoder_run
from experiments.run_task import Trained, train_task
from experiments.task import Data, Metric, Recurrence, Task, TrainingOptions
from experiments.text_files import save_tokenizer
from models import LanguageModel
from models.cell import Params
from models.language_model import uniform_like
from train import OptimizerConfig, TrainState, create_state


def initial(config: TextModelConfig, model: LanguageModel) -> Params:
    """Initialises parameters; the same seed gives the same ones on every machine."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    params = init_params(model, key)
    return params if config.init_scale is None else uniform_like(params, key, config.init_scale)


def with_pretrained(config: TextModelConfig, corpus: Corpus, params: Params) -> Params:
    """Returns parameters with the vectors of --embedding or the weights of --from where it is given, and says how
    many there are."""
    if config.from_ is not None:
        params, text = begin_with(params, read_encoder_run(config.from_), whole=True)
        print(text, flush=True)
        return params
    pretrained = config.pretrained(corpus.tokenizer)
    if pretrained is None:
        return params
    print(pretrained.text, flush=True)
    return with_embedding(params, pretrained.matrix)


def train_text_model(
    run: Run, config: TextModelConfig, corpus: Corpus, folder: Path | None = None
) -> Trained:
    """Trains a fresh model, or resumes the one in the folder, by default the run's: its parameters before and
    after.

    Raises Stopped where a signal asked to stop, ValueError where the text isn't the one that a run was begun with.
    """
    save_tokenizer(run.folder, corpus)
    task, label = text_task(config, corpus), config.network.describe(config.cell)
    return train_task(run, task, text_options(config, corpus), label=label, folder=folder)


def text_options(config: TextModelConfig, corpus: Corpus) -> TrainingOptions:
    """Returns the options of training, with the length of the run and the schedule fitted to the text.

    If both --steps and --epochs are given, it prints which of them ends the run.
    """
    batches = training_text(config, corpus).batches_per_epoch
    loop, optimizer = config.resolved(batches)
    if config.epochs is not None and config.loop.steps != ENDLESS:
        first, second = "--epochs", "--steps"
        if loop.steps == config.loop.steps:
            first, second = second, first
        print(f"{first} ends the run before {second}, at step {loop.steps:,}", flush=True)
    return TrainingOptions(config.seed, config.batch_size, loop, optimizer)


def text_task(config: TextModelConfig, corpus: Corpus) -> Task:
    """Builds the task of predicting each token of a text from those before it."""
    model = config.model(corpus.tokenizer)
    loss = training_loss(config, model)
    first_carry = partial(loss.first_carry, rows=config.batch_size)

    def held(split: str) -> list[Any]:
        return list(held_out(corpus, split, config.reading, config.eval_rows, config.length))

    return Task(
        title="language model",
        model=model,
        data=Data(
            train=lambda seed, rows: training_text(config, corpus, rows, seed),
            validation=partial(held, "valid"),
            test=partial(held, corpus.held_out[-1]),
        ),
        objective=Objective(
            loss, TextLoss(model), first_carry=first_carry if loss.carries_anything else None
        ),
        metrics={"cross_entropy": Metric("cross entropy (nats a token)")},
        select="cross_entropy",
        initial=lambda seed: with_pretrained(config, corpus, initial(config, model)),
        recurrent=Recurrence(
            model.cell,
            every_token,
            "predictions",
            probed=last_token,
            batch=partial(probed_text, config, corpus),
        ),
        fingerprint={VOCABULARY: vocabulary_digest(corpus.tokenizer)},
    )


def training_loss(config: TextModelConfig, model: LanguageModel) -> StreamLoss:
    """Returns the loss, which carries a state only with --reading stream."""
    return StreamLoss(model, config.loss_per, config.sampled_inputs, carries=config.reading == "stream")


def training_text(
    config: TextModelConfig, corpus: Corpus, rows: int | None = None, seed: int | None = None
) -> TrainingText:
    """Returns the training text as batches, or those of this process; rows and seed by default those of the
    config."""
    rows, seed = rows or config.batch_size, config.seed if seed is None else seed
    return training_batches(corpus, config.reading, rows, config.length, seed, **process_shard())


def first_state(
    config: TextModelConfig, model: LanguageModel, params: Params, optimizer: OptimizerConfig
) -> TrainState:
    """Makes the state that training begins with; of a checkpoint, the form."""
    carry = training_loss(config, model).first_carry(params, config.batch_size)
    return create_state(params, optimizer, jax.random.key(config.seed), carry)


def probed_text(config: TextModelConfig, corpus: Corpus) -> Batch:
    """Returns the batch on which health is measured: `length` tokens from each of `health.examples` evenly spaced
    places of the validation text, always the same ones, read from a state of zero."""
    seen, following = pairs(corpus.split("valid"), corpus.tokenizer.vocabulary.end_id)
    length = min(config.length, len(seen))
    starts = np.linspace(0, len(seen) - length, config.loop.health.examples).round().astype(int)
    places = starts[None] + np.arange(length)[:, None]
    return Batch(seen[places], following[places], np.ones(places.shape, bool))
