"""Vectors of speech segments, their nearest ones, and what is written again from them: spectrograms and sounds."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from analysis.speech.nearest import nearest_others
from analysis.words.vectors import places_in_plane
from data import Batch
from data.speech.features import log_mel
from data.speech.inversion import sound_of
from experiments.speech.segments import HeldOut, Segments
from models.cell import Array, Params
from models.speech.segment_autoencoder import SegmentAutoencoder

LISTED = 12  # test segments listed with their nearest ones


@partial(jax.jit, static_argnames=("model", "method"))
def applied(model: SegmentAutoencoder, params: Params, inputs: Array, mask: Array, method: str) -> Array:
    """Applies a method of the model to segments."""
    return model.apply(params, inputs, mask=mask, method=method)  # type: ignore[return-value]


def vectors_of(model: SegmentAutoencoder, params: Params, batches: Sequence[Batch]) -> np.ndarray:
    """Returns the vector of each segment, `[N, S]`, without those that are padding."""
    found = [
        np.asarray(applied(model, params, batch.inputs, batch.mask, "encode"))[np.any(batch.mask, axis=0)]
        for batch in batches
    ]
    return np.concatenate(found)


def nearest_table(distances: np.ndarray, held: HeldOut) -> str:
    """Lists some segments with the nearest other one."""
    found = nearest_others(distances, np.ones(distances.shape, bool))
    chosen = np.linspace(0, len(found) - 1, min(LISTED, len(found))).astype(int)
    said = [one.text for one in held.segments]
    rows = [f"{said[i]:<10}  {said[found[i]]:<10}  {1 - distances[i, found[i]]:.3f}" for i in chosen]
    return "\n".join([f"{'segment':<10}  {'nearest':<10}  cosine", *rows])


def measure(
    shown: int, segments: Segments, model: SegmentAutoencoder, params: Params, batches: Sequence[Batch]
) -> dict[str, np.ndarray]:
    """Measures the test segments: their places in a plane and what they say; of those shown the frames, those
    written again, and the sound of the recording, of its frames and of the written ones."""
    assert isinstance(batches, HeldOut)
    features = segments.front.config
    found: dict[str, Any] = {
        "places": places_in_plane(vectors_of(model, params, batches)),
        "said": np.array([one.text for one in batches.segments]),
    }
    rows = [(batch, column) for batch in batches for column in np.flatnonzero(np.any(batch.mask, axis=0))]
    for place, index in enumerate(shown_segments(batches, shown)):
        (batch, column), one = rows[index], batches.segments[index]
        steps = np.asarray(applied(model, params, batch.inputs, batch.mask, "__call__"))[:, column]
        frames = log_mel(one.samples, features)
        written = segments.frames_of(steps, len(frames))
        found |= {
            f"title|{place}": np.array(one.text),
            f"frames|{place}": frames,
            f"written|{place}": written,
        }
        found[f"sound|{place}|said"] = one.samples
        found[f"sound|{place}|heard"] = sound_of(frames, features)
        found[f"sound|{place}|written"] = sound_of(written, features)
    return found


def shown_segments(held: HeldOut, count: int) -> list[int]:
    """Returns the places of the segments that are drawn: evenly over the lengths, each of another text."""
    found: dict[str, int] = {}
    for index in np.linspace(len(held.segments) // 2, len(held.segments) - 1, 4 * count).astype(int):
        found.setdefault(held.segments[index].text, int(index))
    return list(found.values())[:count]
