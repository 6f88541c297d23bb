"""Recordings as utterances with labels: what a recogniser trains on and is tested on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.batch import Batches
from data.buckets import bucket_batches, length_bounds, sorted_batches
from data.speech.batches import (
    SpeechBatch,
    SpeechEncoder,
    SpeechExample,
    collate_speech,
    joined_batches,
    round_up,
    speech_lengths,
)
from data.speech.corpus import Speech, SpeechConfig, check_bad, load_speech
from data.speech.features import FeaturesConfig, FilterStatistics, FrontEnd, log_mel
from data.speech.joined import JoinConfig, JoinedUtterances, Utterance, single_utterance
from data.speech.labels import (
    AnyLabels,
    LabelKind,
    labels_as_text,
    labels_digest,
    labels_from_text,
    learn_labels,
)
from data.speech.recordings import Recording
from data.speech.sound import change_speed
from experiments.harness.processes import process_shard
from train.files import read_json

FRONT = "recogniser.json"  # in the run's folder: labels, and statistics of the filters
ENDLESS = 2**60
EVALUATED = 50  # utterances of a held-out batch
ONE_BUCKET = 150  # steps up to which a second shape saves less than compiling it costs
_STATISTICS = 200  # utterances that mean and variance of the filters are computed of
_SEEDS = {"valid": 2**32 + 1, "test": 2**32 + 2}  # of joined utterances: no --seed is one of them
Utterances = JoinedUtterances | Sequence[Utterance]


@dataclass(frozen=True, eq=False)
class SpokenText:
    """Recordings, their labels, and how both become numbers; `held_out` are utterances by split."""

    speech: Speech
    join: JoinConfig
    speeds: tuple[float, ...]
    labels: AnyLabels
    encoder: SpeechEncoder
    held_out: Mapping[str, list[Utterance]]

    @property
    def digest(self) -> str:
        """Returns a digest of the labels, which a resumed run must have."""
        return labels_digest(self.labels)

    @property
    def origin(self) -> Mapping[str, str]:
        """Returns the checksums of the files."""
        return self.speech.origin

    def train(self, seed: int, block: int) -> Utterances:
        """Returns the utterances of training, of words joined anew for each seed."""
        return training_utterances(self.speech, self.join, self.speeds, seed, block)

    def batches(self, seed: int, rows: int, pad: int) -> Batches:
        """Returns endless training batches."""
        source = self.train(seed, rows)
        if isinstance(source, JoinedUtterances):
            multiple = (pad, 16)
            return joined_batches(source, self.encoder, batch_size=rows, multiple=multiple, **process_shard())
        examples = [self.encoder(utterance) for utterance in source]
        return bucket_batches(
            examples,
            batch_size=rows,
            seed=seed,
            bounds=bounds_of(examples),
            lengths=speech_lengths,
            collate=collate_speech,
            **process_shard(),
        )

    def held_out_batches(self, split: str) -> list[SpeechBatch]:
        """Returns every held-out utterance once, in batches of similar length."""
        examples = [self.encoder(utterance) for utterance in self.held_out[split]]
        rows = min(EVALUATED, len(examples))
        bounds = bounds_of(examples)
        return sorted_batches(
            examples, batch_size=rows, bounds=bounds, lengths=speech_lengths, collate=collate_speech
        ).batches

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns what a run needs to hear and to write: labels, and the statistics of the filters."""
        known = self.encoder.front.statistics
        statistics = (
            None if known is None else {"mean": known.mean.tolist(), "deviation": known.deviation.tolist()}
        )
        stored = {"labels": labels_as_text(self.labels), "statistics": statistics}
        return {FRONT: (json.dumps(stored) + "\n").encode()}


def read_front(folder: Path, config: FeaturesConfig) -> tuple[FrontEnd, AnyLabels]:
    """Reads what `SpokenText.tokenizer_files` holds. Raises ValueError if it is missing or damaged."""
    path = folder / FRONT
    try:
        stored = read_json(path)
        statistics, labels = stored["statistics"], labels_from_text(stored["labels"])
        known = None
        if statistics is not None:
            mean, deviation = (np.array(statistics[name], np.float32) for name in ("mean", "deviation"))
            known = FilterStatistics(mean, deviation)
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is missing or damaged: restore it, or train anew") from None
    return FrontEnd(config, known), labels


@lru_cache(maxsize=2)
def spoken_text(
    data: SpeechConfig,
    join: JoinConfig,
    features: FeaturesConfig,
    speeds: tuple[float, ...],
    kind: LabelKind,
    pieces: int,
    held_out: int,
) -> SpokenText:
    """Loads recordings, learns the labels of their texts, and leaves out recordings too short for theirs.

    Raises ValueError for every fault of the files, and of the features."""
    _ = features.matrix
    speech = load_speech(data, features.rate)
    joint = [speech.separator] if speech.words and speech.separator else []
    texts = [*(one.text for one in speech.splits["train"]), *joint]
    labels = learn_labels(kind, texts, data.letters if data.dir is not None else "0123456789", pieces)
    speech = without_short(speech, features, labels, data.skip_bad)
    known = None
    if features.normalise == "training":
        source = training_utterances(speech, join, speeds, 2**32 + 3, 1)
        count = min(_STATISTICS, len(source))
        known = FilterStatistics.of(
            np.concatenate([log_mel(source[i].samples, features) for i in range(count)])
        )
    held: dict[str, list[Utterance]] = {}
    for split, seed in _SEEDS.items():
        recordings = speech.splits[split]
        if speech.words:
            joined = JoinedUtterances(recordings, join, speech.rate, seed, held_out, speech.separator)
            held[split] = [joined[index] for index in range(held_out)]
        else:
            held[split] = [single_utterance(one) for one in recordings]
    return SpokenText(
        speech, join, speeds, labels, SpeechEncoder(FrontEnd(features, known), labels.encode), held
    )


def training_utterances(
    speech: Speech, join: JoinConfig, speeds: tuple[float, ...], seed: int, block: int
) -> Utterances:
    """Returns the utterances of training at each of the speeds, those of single words joined without an end."""
    recordings = [
        one._replace(samples=change_speed(one.samples, speed))
        for speed in speeds
        for one in speech.splits["train"]
    ]
    if speech.words:
        return JoinedUtterances(recordings, join, speech.rate, seed, ENDLESS, speech.separator, block)
    return [single_utterance(one) for one in recordings]


def needed_steps(labels: np.ndarray) -> int:
    """Returns the fewest steps in which CTC can write labels: one each, and a blank between equal neighbours."""
    return len(labels) + int(np.sum(labels[1:] == labels[:-1]))


def without_short(speech: Speech, features: FeaturesConfig, labels: AnyLabels, limit: int) -> Speech:
    """Leaves out recordings with fewer steps than their labels need, and lists them. Raises ValueError if they
    are more than `limit`."""
    bad: list[str] = []

    def fits(one: Recording) -> bool:
        steps, ids = features.steps(len(one.samples)), labels.encode(one.text)
        if needed_steps(ids) <= steps:
            return True
        bad.append(
            f"{one.name} is too short: it has {steps} steps, and its {len(ids)} labels need {needed_steps(ids)}; "
            "take a smaller --features.stack or --features.hop, or leave it out"
        )
        return False

    splits = {split: [one for one in found if fits(one)] for split, found in speech.splits.items()}
    check_bad(bad, limit)
    for sentence in bad:
        print(f"left out: {sentence}", flush=True)
    return speech._replace(splits=splits)


def bounds_of(examples: Sequence[SpeechExample]) -> list[tuple[int, int]]:
    """Returns bounds of buckets: of steps, the longest and, where that is long, 2/3 and 4/9 of it; and the most
    labels of any."""
    steps, most = (max(sizes) for sizes in zip(*map(speech_lengths, examples), strict=True))
    longest = round_up(steps, 8)
    least = longest if longest <= ONE_BUCKET else longest // 2
    return [(bound, most) for bound in length_bounds(longest, least=least, growth=1.5)]
