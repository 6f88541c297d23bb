"""A net that listens in pieces beside the same net on the whole; the loss, and what trimming reaches."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.speech.batches import SpeechBatch
from data.speech.corpus import SpeechConfig
from data.speech.features import FeaturesConfig, FilterStatistics, FrontEnd
from data.speech.joined import JoinConfig
from data.speech.labels import Labels
from experiments.speech.objective import ctc_sum, spread_sum
from experiments.speech.recogniser import Recogniser
from experiments.speech.scoring import perfectly_trimmed
from experiments.speech.text import needed_steps, spoken_text
from models import LSTM, SequenceTagger, Stacked

LABELS = Labels(tuple("abcdefg "))


def recogniser(*, streams: bool = True, **options) -> Recogniser:
    """A net with random parameters, large enough that it writes much."""
    config = FeaturesConfig(filters=8, centred=False, normalise="training", **options)
    statistics = FilterStatistics(np.full(8, -9.0), np.full(8, 3.0))
    model = SequenceTagger(Stacked((LSTM(6), LSTM(5))), LABELS.classes)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1, config.size)))
    params = jax.tree.map(lambda leaf: 4 * leaf, params)
    return Recogniser(model, params, FrontEnd(config, statistics), LABELS, streams)


@pytest.mark.parametrize(("size", "total"), [(7, 1201), (80, 4000), (1000, 4321), (5000, 3000), (50, 90)])
def test_pieces_say_what_the_whole_says(size: int, total: int) -> None:
    """Whatever their size, also of a sound that is shorter than a window or that leaves half a step."""
    found, rng = recogniser(), np.random.default_rng(total)
    samples = (rng.normal(size=total) * np.sin(np.arange(total) / 300) * 0.3).astype(np.float32)
    whole = found.recognise(samples)
    pieces = list(found.listen(samples[i : i + size] for i in range(0, total, size)))
    assert "".join(pieces) == whole
    assert len(whole) >= (1 if total == 90 else 2)
    if size == 80:  # letters come as soon as they are heard
        assert sum(map(bool, pieces)) > 3
        early = "".join(found.listen(iter([samples[:2000]])))
        assert whole.startswith(early[:-1])


def test_a_net_that_waits_for_the_end_does_not_listen() -> None:
    with pytest.raises(ValueError, match="can't listen as sound arrives: train one with --direction forward"):
        list(recogniser(streams=False).listen(iter([])))


def batch(texts: list[str], steps: list[int], spread: list[str]) -> SpeechBatch:
    def padded(rows: list[np.ndarray], size: int) -> np.ndarray:
        return np.stack([np.pad(row, (0, size - len(row))) for row in rows], axis=1)

    ids = [LABELS.encode(text) for text in texts]
    most, longest = max(map(len, ids)), max(steps)
    mask = padded([np.ones(size, bool) for size in steps], longest)
    label_mask = padded([np.ones(len(row), bool) for row in ids], most)
    told = padded([LABELS.encode(text) for text in spread], longest)
    inputs = np.zeros((longest, len(texts), 2), np.float32)
    return SpeechBatch(inputs, mask, padded(ids, most), label_mask, told)


def test_impossible_labels_and_padding_cost_nothing() -> None:
    """ "aa" in two steps has no path; of the others the sum and the labels count, and the gradient is finite."""
    given = batch(["ab", "aa", ""], [3, 2, 0], ["aab", "aa", ""])
    logits = jax.random.normal(jax.random.key(0), (3, 3, LABELS.classes))
    alone = batch(["ab"], [3], ["aab"])
    (total, count), (expected, _) = ctc_sum(logits, given), ctc_sum(logits[:, :1], alone)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    assert count == 2
    gradient = jax.grad(lambda z: ctc_sum(z, given)[0])(logits)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[:, 0]).max() > 0
    assert not np.asarray(gradient[:, 1:]).any()
    # A net without blank: class k is label k + 1.
    total, count = spread_sum(logits[..., 1:], given)
    logp = jax.nn.log_softmax(logits[..., 1:])
    expected = -(logp[0, 0, 0] + logp[1, 0, 0] + logp[2, 0, 1] + logp[0, 1, 0] + logp[1, 1, 0])
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    assert count == 5


def test_trimming_spells_no_doubled_letter() -> None:
    given = batch(["abba", "cab"], [8, 3], ["aabbbbaa", "cab"])
    decoded = list(perfectly_trimmed(LABELS, given))
    assert [(one.prediction, one.reference) for one in decoded] == [("aba", "abba"), ("cab", "cab")]
    assert needed_steps(LABELS.encode("abbb")) == 6


def test_keypad_text() -> None:
    """Numbers without blanks; held-out ones don't depend on the seed; statistics only where they are asked for."""

    def text(**options):
        join = JoinConfig(fewest=2, most=3)
        features = FeaturesConfig(filters=8, **options)
        return spoken_text(SpeechConfig(), join, features, (1.0,), "letters", 60, 5)

    found = text()
    assert found.labels.types == tuple("0123456789")
    assert {len(one.text) for one in found.held_out["test"]} == {2, 3}
    assert [one.text for one in found.held_out["test"]] != [one.text for one in found.held_out["valid"]]
    batches = found.held_out_batches("valid")
    assert sum(int(one.mask.any(axis=0).sum()) for one in batches) == 5
    assert found.encoder.front.statistics is None
    known = text(normalise="training", centred=False).encoder.front.statistics
    assert known is not None
    assert known.mean.shape == (8,)
    first: Iterator = iter([found.batches(0, 4, 16).take(1), found.batches(1, 4, 16).take(1)])
    assert not np.array_equal(next(first).labels, next(first).labels)
