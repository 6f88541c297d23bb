"""Training of a recogniser as a `Task`."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from data.speech.batches import SpeechBatch, collate_speech, speech_lengths
from data.speech.features import log_mel
from data.speech.labels import AnyLabels
from experiments.corpus_score import CorpusScore
from experiments.objective import Objective
from experiments.speech.config import RecognitionConfig, System
from experiments.speech.objective import RecognitionEvaluation, RecognitionLoss
from experiments.speech.scoring import METRICS, Decoder, statistics_of
from experiments.speech.text import SpokenText
from experiments.task import Data, Task
from experiments.task_report import training_record
from models import GRU, Additive, AttentionCell, Dense, SequenceTagger, Stacked, TokenWriter
from models.cell import Params
from models.readers import FrameReader
from models.recurrence.unroll import output_size
from models.speech.attention_recogniser import AttentionRecogniser
from train import evaluate

LABELS = "the labels"  # their digest in checkpoints, beside the options
NAMES: Mapping[System, str] = {
    "ctc": "CTC",
    "trimming": "frame by frame, trimmed",
    "attention": "attention",
    "joint": "attention and CTC",
}


def build(config: RecognitionConfig, labels: AnyLabels, system: System, share: float) -> nn.Module:
    """Builds the net of a system, on the same layer; without blank there is a class less. `share` is that of CTC in
    the loss of the system joint."""
    if system not in ("attention", "joint"):
        return tagger(config, labels.classes - (system == "trimming"))
    encoder, size, width = config.layer(), config.features.size, config.hidden_size
    params = jax.eval_shape(lambda: encoder.init(jax.random.key(0), size))
    memory = output_size(encoder, params, size, "the encoder")
    decoder = Stacked((AttentionCell(GRU(width), Additive(width), memory_size=memory), Dense(width)))
    return AttentionRecogniser(
        encoder,
        decoder,
        FrameReader(size),
        TokenWriter(labels.classes, width, tied=True),
        bridge="mean",
        dropout=config.network.dropout,
        method=config.network.way,
        share=share if system == "joint" else 0.0,
    )


def tagger(config: RecognitionConfig, classes: int) -> SequenceTagger:
    """Builds a net that gives each step its classes."""
    return SequenceTagger(config.layer(), classes, method=config.network.way)


def recognition_task(
    config: RecognitionConfig, system: System, share: float = 0.0, text: SpokenText | None = None
) -> Task:
    """Builds the task of training one of the systems; `share` is that of CTC in the loss of the system joint.
    `text` is what is said and what is written, by default the config's."""
    text = config.text if text is None else text
    model, aligned = build(config, text.labels, system, share), system == "trimming"
    statistics = statistics_of(text)

    def shapes(rows: int) -> Any:
        labels = (
            16
            if text.speech.words
            else max(len(text.labels.encode(one.text)) for one in text.held_out["test"])
        )

        def array(size: int, *more: int, kind: Any = jnp.int32) -> Any:
            return jax.ShapeDtypeStruct((size, rows, *more), kind)

        return SpeechBatch(
            array(config.pad, config.features.size, kind=jnp.float32),
            array(config.pad, kind=jnp.bool_),
            array(labels),
            array(labels, kind=jnp.bool_),
            array(config.pad),
        )

    return Task(
        title="speech",
        model=model,
        data=Data(
            lambda seed, rows: text.batches(seed, rows, config.pad),
            lambda: text.held_out_batches("valid"),
            lambda: text.held_out_batches("test"),
            f"{len(text.held_out['test']):,} test utterances",
            shapes=shapes,
        ),
        objective=Objective(
            RecognitionLoss(model, aligned, config.augment, config.features.filters),
            RecognitionEvaluation(model, aligned),
        ),
        metrics={name: metric for name, metric in METRICS.items() if name in {"loss", *statistics}},
        select="cer",
        score=CorpusScore(Decoder(model, text.labels, aligned), statistics, examples=0),
        fingerprint={LABELS: text.digest},
    )


def measure(
    config: RecognitionConfig, system: System, task: Task, params: Params, folder: Path
) -> dict[str, Any]:
    """Measures a trained system on the test utterances: `test|METRIC`, of CTC `beam|METRIC` by prefix search too;
    what it writes; of the utterances shown the probabilities of all classes; its curve."""
    text, batches, model = config.text, task.data.test(), task.model
    assert isinstance(task.score, CorpusScore)
    scored = evaluate(task.objective.evaluate, params, batches) | dict(task.score(params, batches).figures)
    found: dict[str, Any] = {f"test|{name}": value for name, value in scored.items()}
    if system != "trimming" and config.width > 1:
        beam = CorpusScore(Decoder(model, text.labels, width=config.width), statistics_of(text))
        figures = beam.figures(beam.totals(params, batches))
        found |= {f"beam|{name}": value for name, value in figures.items()}
    utterances = shown_utterances(config)
    examples = [text.encoder(one) for one in utterances]
    decoder = Decoder(model, text.labels, system == "trimming")
    bound = tuple(max(sizes) for sizes in zip(*map(speech_lengths, examples), strict=True))
    batch = collate_speech(examples, (bound[0], bound[1]))
    found["written"] = np.array([one.prediction for one in decoder(params, batch)])
    record = training_record(folder)
    found |= {"curve|step": record["validation/cer/step"], "curve|value": record["validation/cer"]}
    found["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(params))
    if not isinstance(model, SequenceTagger):
        return found
    logits = np.asarray(model.apply(params, jnp.asarray(batch.inputs), mask=jnp.asarray(batch.mask)))
    for place, (one, example) in enumerate(zip(utterances, examples, strict=True)):
        p = jax.nn.softmax(logits[: len(example.inputs), place], axis=-1)
        found[f"probabilities|{place}"] = np.asarray(p)
        found[f"frames|{place}"] = log_mel(one.samples, config.features)
    return found


def shown_utterances(config: RecognitionConfig) -> Sequence[Any]:
    """Returns the test utterances that are drawn and written out: the first, and those with doubled letters
    before others."""
    held = config.text.held_out["test"]

    def doubled(text: str) -> int:
        return sum(a == b for a, b in itertools.pairwise(text))

    return sorted(held[:20], key=lambda one: -min(doubled(one.text), 2))[: config.shown]
