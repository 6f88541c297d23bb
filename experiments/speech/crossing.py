"""Attention of a decoder to a recording, while it writes a number whose units stand before its tens."""

from typing import Any

import numpy as np

from data.speech.features import FeaturesConfig, log_mel
from experiments.encoder_decoder.attention import memory_maps
from experiments.speech.translated import TranslatedText
from models.cell import Params
from models.speech.attention_recogniser import AttentionRecogniser

CROSSED = 100  # test utterances, at most, in which attention is looked at
MOST_LABELS = 10  # of a number below 10,000, with the end mark


def attended(
    text: TranslatedText, features: FeaturesConfig, shown: int, model: AttentionRecogniser, params: Params
) -> dict[str, Any]:
    """Returns `weights|I` of the test utterances that are shown, while the true answer is written, and of all whose
    units stand before tens the share in which the units are looked for later than the tens."""
    crossing = [one for one in text.held_out["test"] if " und " in one.text]
    found: dict[str, Any] = {}
    later = []
    longest = max((len(text.encoder(one).inputs) for one in crossing), default=0)
    for place, one in enumerate(crossing[: max(shown, CROSSED)]):
        example = text.encoder(one)
        steps, labels = len(example.inputs), np.append(example.labels, 0)
        inputs = np.pad(example.inputs, ((0, longest - steps), (0, 0)))
        targets = np.pad(labels, (0, MOST_LABELS - len(labels)))
        maps = memory_maps(
            model,
            params,
            inputs,
            np.arange(longest) < steps,
            targets,
            np.arange(MOST_LABELS) < len(labels),
        )
        (weights,) = maps.values()
        weights = np.asarray(weights)[0, : len(example.labels), :steps]
        units, tens = centres(weights)[[-3, -1]]
        later.append(units > tens)
        if place < shown:
            found[f"weights|{place}"] = weights
            found[f"frames|{place}"] = log_mel(one.samples, features)
            found[f"said|{place}"] = np.array(one.text)
    return found | ({"crossed": np.mean(later), "crossings": len(later)} if later else {})


def centres(weights: np.ndarray) -> np.ndarray:
    """Computes the mean step that each label attends to, `[N, S] → [N]`."""
    return weights @ np.arange(weights.shape[1]) / weights.sum(axis=1)
