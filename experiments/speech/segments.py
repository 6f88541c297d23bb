"""Segments of speech, each a word or a few: their frames, what they say and who says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from analysis.speech.nearest import chance_at_1, cosine_distances, precision_at_1
from analysis.speech.warping import warped_distances
from data import Batch, Example
from data.batch import Batches
from data.buckets import bucket_batches, length_bounds, sorted_batches
from data.examples import array_digest
from data.speech.batches import round_up
from data.speech.corpus import Speech, SpeechConfig, load_speech
from data.speech.features import FeaturesConfig, FilterStatistics, FrontEnd, log_mel
from data.speech.joined import JoinConfig, JoinedUtterances
from data.speech.recordings import Recording
from experiments.harness.processes import process_shard

TOGETHER = 100  # segments of a held-out batch
WARPING, MEANS, CHANCE = "dynamic time warping", "mean frames", "chance"
_SEEDS = {
    "train": 2**32 + 4,
    "valid": 2**32 + 5,
    "test": 2**32 + 6,
}  # of joined segments: no --seed is one of them


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments by split, and how they become frames."""

    speech: Speech
    front: FrontEnd
    splits: Mapping[str, Sequence[Recording]]

    @property
    def origin(self) -> Mapping[str, str]:
        """Returns the checksums of the files."""
        return self.speech.origin

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns none: a segment isn't made of tokens."""
        return {}

    @cached_property
    def digest(self) -> str:
        """Returns a digest of the statistics of the filters, which a resumed run must have."""
        known = self.front.statistics
        return "none" if known is None else array_digest([known.mean, known.deviation])

    @cached_property
    def texts(self) -> list[str]:
        """Returns all that is said, sorted; its place is a segment's class."""
        return sorted({one.text for found in self.splits.values() for one in found})

    @cached_property
    def examples(self) -> dict[str, list[Example]]:
        """Returns the steps of each segment, and the class of what it says."""
        places = {text: place for place, text in enumerate(self.texts)}
        return {
            split: [Example(self.front(one.samples), places[one.text]) for one in found]
            for split, found in self.splits.items()
        }

    @cached_property
    def bounds(self) -> list[int]:
        """Returns the bounds of buckets; each is compiled by itself."""
        longest = max(len(one.inputs) for found in self.examples.values() for one in found)
        return length_bounds(round_up(longest, 4), least=32)

    def batches(self, seed: int, rows: int) -> Batches:
        """Returns endless training batches."""
        return bucket_batches(
            self.examples["train"], batch_size=rows, seed=seed, bounds=self.bounds, **process_shard()
        )

    @cached_property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Returns the scores of the test segments without a net: by dynamic time warping of their frames, by the
        cosine of their mean frames, whose error is that of writing it at every step, and by chance."""
        frames = [one.inputs for one in self.examples["test"]]
        means = np.stack([one.mean(axis=0) for one in frames])
        error = np.concatenate([(one - mean) ** 2 for one, mean in zip(frames, means, strict=True)]).mean()
        found, test = nearest_scores, self.splits["test"]
        return {
            WARPING: found(warped_distances(frames, frames), test),
            MEANS: {"mean_square_error": float(error)} | found(cosine_distances(means), test),
            CHANCE: nearest_scores(None, test),
        }

    def frames_of(self, steps: Float[np.ndarray, "steps D"], count: int) -> Float[np.ndarray, "T F"]:
        """Returns the `count` log-mel frames that steps of the net stand for."""
        frames = steps.reshape(-1, self.front.config.filters)[:count]
        known = self.front.statistics
        return frames if known is None else frames * known.deviation + known.mean


class HeldOut(list[Batch]):
    """Held-out batches, which know the segments in them, in their order."""

    def __init__(self, segments: Segments, split: str) -> None:
        examples = segments.examples[split]
        together = min(TOGETHER, len(examples))
        batches = sorted_batches(examples, batch_size=together, bounds=segments.bounds)
        super().__init__(batches.batches)
        order: list[int] = batches.order.tolist()
        self.segments = [segments.splits[split][place] for place in order]


def nearest_scores(
    distances: Float[np.ndarray, "N N"] | None, segments: Sequence[Recording]
) -> dict[str, float]:
    """Computes how often the nearest other segment says the same, and with several speakers the same among the
    segments of other speakers; without distances, by chance."""
    said, speakers = (
        np.array(found) for found in zip(*((one.text, one.speaker) for one in segments), strict=True)
    )
    allowed: dict[str, Bool[np.ndarray, "N N"]] = {"nearest": np.ones((len(said), len(said)), bool)}
    if len(set(speakers.tolist())) > 1:
        allowed["across"] = speakers[:, None] != speakers[None]
    return {
        name: chance_at_1(said, among) if distances is None else precision_at_1(distances, said, among)
        for name, among in allowed.items()
    }


@lru_cache(maxsize=2)
def load_segments(
    data: SpeechConfig, join: JoinConfig, features: FeaturesConfig, count: int, held_out: int
) -> Segments:
    """Loads recordings of single words, and joins them to `count` segments of training and `held_out` of validation
    and of test; where a segment is one word, the recordings are the segments as they are.

    Raises ValueError for every fault of the files and of the features."""
    _ = features.matrix
    speech = load_speech(data, features.rate)
    splits: dict[str, Sequence[Recording]] = dict(speech.splits)
    if join.most > 1:
        counts = {"train": count, "valid": held_out, "test": held_out}
        splits = {
            split: joined_segments(
                JoinedUtterances(found, join, speech.rate, _SEEDS[split], counts[split], speech.separator)
            )
            for split, found in speech.splits.items()
        }
    known = None
    if features.normalise == "training":
        known = FilterStatistics.of(
            np.concatenate([log_mel(one.samples, features) for one in splits["train"]])
        )
    return Segments(speech, FrontEnd(features, known), splits)


def joined_segments(source: JoinedUtterances) -> list[Recording]:
    """Returns joined utterances as recordings of their speakers."""

    def segment(index: int) -> Recording:
        utterance, (words, _) = source[index], source.plan(index)
        return Recording(utterance.samples, utterance.text, words[0].speaker, utterance.name)

    return [segment(index) for index in range(len(source))]


def check_words(segments: Segments, location: Any) -> None:
    """Raises ValueError for recordings that aren't of single words."""
    if not segments.speech.words:
        raise ValueError(f"--data.dir {location} must hold single spoken words, as FSDD does")
