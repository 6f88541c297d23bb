"""Training a language model: its parameters, the run of `fit`, the text that a run remembers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data import Batch, Corpus, pairs
from experiments.health import draw_health, explainer, health_probe
from experiments.processes import mine, only_first_goes_on, several
from experiments.run import Run
from experiments.text import VOCABULARY, save_tokenizer, vocabulary_digest
from experiments.text_batches import held_out, training_batches
from experiments.text_config import TextModelConfig
from experiments.text_loss import StreamLoss, TextLoss, every_token, last_token
from experiments.training import Stopped
from models import LanguageModel
from models.cell import Params
from models.language_model import uniform_like
from train import (
    OptimizerConfig,
    Probe,
    TrainState,
    batch_mesh,
    create_state,
    evaluated_params,
    fit,
    stop_on_signals,
)


def initial(config: TextModelConfig, model: LanguageModel) -> Params:
    """Fresh parameters; the same seed gives the same ones on every machine."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    params = jax.jit(model.init)(key, jnp.zeros((1, 1), jnp.int32))
    return params if config.init_scale is None else uniform_like(params, key, config.init_scale)


def train_text_model(
    run: Run, config: TextModelConfig, corpus: Corpus, folder: Path | None = None
) -> tuple[Params, Params]:
    """Trains a fresh model, or goes on with the one in the folder, by default the run's: its parameters before and
    after.

    Raises Stopped where a signal asked to stop, ValueError where the text isn't the one that a run was begun with.
    """
    save_tokenizer(run.folder, corpus)
    model = config.model(corpus)
    batches = training_batches(
        corpus, config.reading, config.batch_size, config.length, config.seed, **mine()
    )
    loop, optimizer = config.resolved(batches.batches_per_epoch)
    loss, params = StreamLoss(model, config.loss_per, config.sampled_inputs), initial(config, model)
    with stop_on_signals() as stop:
        result = fit(
            first_state(config, model, params, optimizer),
            loss_fn=loss,
            eval_fn=TextLoss(model),
            mesh=batch_mesh(sharing(config.batch_size // several(), run.devices), processes="all"),
            optimizer=optimizer,
            batches=batches,
            validation=held_out(corpus, "valid", config.reading, config.eval_rows, config.length),
            config=loop,
            folder=run.folder if folder is None else folder,
            resume=run.resumed,
            stop=stop,
            about={**run.about, VOCABULARY: vocabulary_digest(corpus.tokenizer)},
            label=config.network.describe(config.cell),
            probe=text_probe(config, model, corpus),
            explain=explainer(model.cell, model, every_token, "predictions"),
        )
    if loop.health.every:
        draw_health(run.folder)
    if stop.requested:
        raise Stopped(run.folder, result.step, stop.signal)
    only_first_goes_on()
    # On one device: what is measured of them next would else be computed on each.
    return params, jax.device_put(evaluated_params(result.state), jax.local_devices()[0])


def first_state(
    config: TextModelConfig, model: LanguageModel, params: Params, optimizer: OptimizerConfig
) -> TrainState:
    """Makes the state that training begins with; of a checkpoint, the form."""
    carry = StreamLoss(model, config.loss_per, config.sampled_inputs).first_carry(params, config.batch_size)
    return create_state(params, optimizer, jax.random.key(config.seed), carry)


def text_probe(config: TextModelConfig, model: LanguageModel, corpus: Corpus) -> Probe | None:
    """Builds what measures the net's health, where that is asked for: on `length` tokens from so many places of the
    validation text, always the same, from states of zero."""
    health = config.loop.health
    if not health.every:
        return None
    seen, following = pairs(corpus.split("valid"), corpus.tokenizer.vocabulary.end_id)
    length = min(config.length, len(seen))
    starts = np.linspace(0, len(seen) - length, health.examples).round().astype(int)
    places = starts[None] + np.arange(length)[:, None]
    batch = Batch(seen[places], following[places], np.ones(places.shape, bool))
    return health_probe(model.cell, model, last_token, batch, health, "predictions")


def sharing(rows: int, devices: int) -> int:
    """Returns the number of devices that share a batch: as many as its rows divide over, for a carried state has no
    room for rows that are none. Where that isn't all, says so."""
    chosen = max(count for count in range(1, devices + 1) if rows % count == 0)
    if chosen < devices:
        print(f"{rows} rows are shared by {chosen} of {devices} devices, over which they divide", flush=True)
    return chosen
