"""A trained recogniser: it hears a whole recording, or sound as it arrives."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data.speech.features import FeaturesConfig, FrontEnd, log_mel, stack_frames
from data.speech.labels import AnyLabels, labels_digest
from data.speech.sound import Samples
from experiments.harness.cell_files import check_trusted
from experiments.harness.files import stored_config
from experiments.harness.resuming import fingerprint_of
from experiments.registry import module_of, read_known_run
from experiments.restore import restored_params
from experiments.speech.config import SystemsConfig
from experiments.speech.task import LABELS, tagger
from experiments.speech.text import read_front
from models import SequenceTagger, ctc_greedy, ctc_prefix_beam, stream
from models.cell import Params
from train import Checkpoints, create_state


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A trained net, and what lies between sound and it, and between it and text. `streams` tells that it can
    listen as sound arrives."""

    model: SequenceTagger
    params: Params
    front: FrontEnd
    labels: AnyLabels
    streams: bool

    def recognise(self, samples: Samples, width: int = 1) -> str:
        """Returns the text of a whole recording, of the likeliest path or by prefix search."""
        inputs = jnp.asarray(self.front(samples))[:, None]
        logits: Any = jax.jit(self.model.apply)(self.params, inputs)
        if width == 1:
            found, count = ctc_greedy(logits)
            return self.labels.decode(np.asarray(found[: int(count[0]), 0]))
        beams = ctc_prefix_beam(logits, width=width)
        return self.labels.decode(np.asarray(beams.tokens[0, 0, : int(beams.lengths[0, 0])]))

    def listen(self, pieces: Iterator[Samples]) -> Iterator[str]:
        """Yields the text that each piece of sound adds, and at the end what is left: the same labels as of the
        whole. The net keeps its state from piece to piece, and each frame is computed once.

        Raises ValueError if the net is not causal, or its features wait for the end of the sound.
        """
        if not self.streams:
            raise ValueError(
                "this net can't listen as sound arrives: train one with --direction forward, "
                "--features.no-centred and --features.normalise training"
            )
        stack, frames, written = (
            self.front.config.stack,
            FrameBuffer(self.front.config),
            _Written(self.labels),
        )
        own: Any = self.params["params"]
        online = stream(self.model.cell, own["recurrent"]["cell"], (1,))
        kernel, bias = np.asarray(own["readout"]["kernel"]), np.asarray(own["readout"]["bias"])
        state, last = online.initial_state, 0
        waiting = np.zeros((0, self.front.config.filters), np.float32)
        for piece in _with_end(pieces):
            new = frames.end() if piece is None else frames.add(piece)
            waiting = np.concatenate([waiting, self.front.normalised(new)])
            ready = len(waiting) if piece is None else len(waiting) // stack * stack
            added = []
            for step in stack_frames(waiting[:ready], stack):
                state, y = online.step(state, jnp.asarray(step)[None])
                label = int(np.argmax(np.asarray(y)[0] @ kernel + bias))
                if label not in (0, last):
                    added.append(label)
                last = label
            waiting = waiting[ready:]
            yield written.add(added)


class FrameBuffer:
    """Frames that begin and end within the sound so far; uncentred."""

    def __init__(self, config: FeaturesConfig) -> None:
        self._config = config
        self._samples = np.zeros(0, np.float32)
        self._heard = False

    def add(self, piece: Samples) -> np.ndarray:
        """Returns the frames that the piece completes, `[n, F]`."""
        config = self._config
        self._samples = np.concatenate([self._samples, piece])
        if len(self._samples) < config.window_samples:
            return np.zeros((0, config.filters), np.float32)
        frames = log_mel(self._samples, config)
        self._samples = self._samples[len(frames) * config.hop_samples :]
        self._heard = True
        return frames

    def end(self) -> np.ndarray:
        """Returns the frame of a sound that was shorter than a window, which silence follows; else none."""
        if self._heard:
            return np.zeros((0, self._config.filters), np.float32)
        return log_mel(self._samples, self._config)


class _Written:
    """The text so far; pieces of words add to it what their whole text adds."""

    def __init__(self, labels: AnyLabels) -> None:
        self._labels = labels
        self._ids: list[int] = []

    def add(self, ids: list[int]) -> str:
        """Returns what these labels add to the text."""
        if not ids:
            return ""
        before = self._labels.decode(self._ids)
        self._ids += ids
        return self._labels.decode(self._ids)[len(before) :]


def _with_end(pieces: Iterator[Samples]) -> Iterator[Samples | None]:
    yield from pieces
    yield None


def trained_recogniser(folder: Path, *, trust: bool = False) -> Recogniser:
    """Restores the net ctc of a run: the best checkpoint, or the newest where none was saved right after an
    evaluation.

    Raises ValueError where the folder isn't a run of speech that has saved that net once, or its files changed.
    """
    described = read_known_run(folder)
    if described["experiment"] != "speech":
        raise ValueError(
            f"{folder} is a run of {described['experiment']}, which hears nothing: name one of speech"
        )
    kind: Any = module_of("speech").Config
    config: SystemsConfig = stored_config(kind, folder)
    if "ctc" not in config.systems:
        raise ValueError(f"{folder} trains {', '.join(config.systems)}: name a run that trains ctc")
    if not trust:
        check_trusted(folder, described)
    front, labels = read_front(folder, config.features)
    model = tagger(config, labels.classes)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 1, config.features.size), np.float32))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    optimizer = config.optimizer.for_run(config.loop.steps, config.loop.eval_every)
    template = create_state(zeros, optimizer, jax.random.key(config.seed))
    made_by = fingerprint_of(described) | {LABELS: labels_digest(labels)}
    net = folder / "nets" / "ctc"
    best = Checkpoints(net / "checkpoints", config=made_by).best() is not None
    params = restored_params(net, template, made_by, best=best)
    return Recogniser(model, params, front, labels, config.streams)
