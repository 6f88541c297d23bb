"""Trained translation models, restored from a run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data import load_tokenizers, vocabulary_digest
from data.text.tokenizers import SentencePiece
from experiments.encoder_decoder.systems import System
from experiments.harness.cell_files import check_trusted
from experiments.harness.errors import UserError
from experiments.harness.files import read_run, stored_config
from experiments.harness.resuming import fingerprint_of
from experiments.registry import module_of
from experiments.restore import restored_params
from experiments.translation.config import TranslationConfig
from models import EncoderDecoder
from models.cell import Params
from train import Checkpoints, TrainState, create_state

VOCABULARY = "the vocabularies"  # their digest in checkpoints, beside the options


class TrainedTranslation(NamedTuple):
    """A trained model with its parameters, the tokenizers of both languages, and the config of its run."""

    system: System
    model: EncoderDecoder
    params: Params
    source: SentencePiece
    target: SentencePiece
    config: TranslationConfig


def net_path(system: System) -> str:
    """Returns where a system trains within a run's folder."""
    return f"nets/{system}"


def trained_translation(
    folder: Path, system: System | None = None, *, best: bool | None = None, trust: bool = False
) -> TrainedTranslation:
    """Restores a model of a translation run.

    Args:
        folder: of the run, finished or not.
        system: which of its models; by default the last of those trained.
        best: take the checkpoint with the best evaluation, or the newest; by default as the run tests its models.
        trust: execute a cell's Python file even if the run lies elsewhere or the file has changed.

    Raises ValueError where the folder is not such a run, has not trained the system, or config and vocabularies are
    not those of the checkpoint.
    """
    described = read_run(folder)
    if described["experiment"] != "translation":
        raise ValueError(
            f"{folder} is a run of {described['experiment']}, not of translation: name one of that"
        )
    kind: Any = module_of("translation").Config
    config: TranslationConfig = stored_config(kind, folder)
    if not trust:
        check_trusted(folder, described)
    trained: list[System] = [
        one for one in config.systems if (folder / net_path(one) / "checkpoints").is_dir()
    ]
    if not trained:
        raise ValueError(f"{folder} has no checkpoint yet: let it train until it has saved once")
    system = system or trained[-1]
    if system not in trained:
        raise UserError("--system", f"{system} isn't trained in {folder}: it has {', '.join(trained)}")
    source, target = load_tokenizers(folder)
    model = config.build(system, source, target)
    fingerprint = fingerprint_of(described) | {VOCABULARY: vocabulary_digest(source, target)}
    best = config.tested == "best" if best is None else best
    params = tested_params(config, model, folder / net_path(system), fingerprint, best=best)[0]
    return TrainedTranslation(system, model, params, source, target, config)


def tested_params(
    config: TranslationConfig,
    model: EncoderDecoder,
    folder: Path,
    fingerprint: Mapping[str, Any],
    *,
    best: bool,
) -> tuple[Params, int]:
    """Restores the parameters of a training, and their step: of the best checkpoint, if one was evaluated and
    `best` asks for it, else of the newest."""
    checkpoints = Checkpoints(folder / "checkpoints", config=fingerprint)
    step = checkpoints.best() if best else None
    template = first_state(config, model)
    params = restored_params(folder, template, fingerprint, best=step is not None)
    return params, step if step is not None else checkpoints.steps()[-1]


def first_state(config: TranslationConfig, model: EncoderDecoder) -> TrainState:
    """Returns a state of the form of those in checkpoints; its parameters are zeros."""
    ids = jnp.zeros((1, 1), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), ids)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    optimizer = config.optimizer.for_run(config.loop.steps, config.loop.eval_every)
    return create_state(zeros, optimizer, jax.random.key(config.seed))
