"""Log-mel features against sums written from their equation, in double precision, and SpecAugment's bands."""

import dataclasses

import jax
import numpy as np
import pytest

from data.speech.augmentation import AugmentConfig, hide_bands
from data.speech.features import FeaturesConfig, FilterStatistics, FrontEnd, log_mel, stack_frames

RNG = np.random.default_rng(0)
SOUND = (np.sin(np.arange(1000) / 7) * 0.3 + RNG.normal(size=1000) * 0.01).astype(np.float32)


def slow_log_mel(samples: np.ndarray, config: FeaturesConfig) -> np.ndarray:
    """Frame by frame and filter by filter; triangles by interpolation in mel."""
    window, hop = round(config.window * config.rate), round(config.hop * config.rate)
    size = 1
    while size < window:
        size *= 2
    start = -(window // 2) if config.centred else 0
    hann = np.array([np.sin(np.pi * j / window) ** 2 for j in range(window)])
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(window)) / size)
    hertz = np.arange(size // 2 + 1) * config.rate / size
    to_mel = lambda f: 1127.01048 * np.log1p(f / 700.0)  # noqa: E731
    edges = np.linspace(to_mel(config.lowest), to_mel(config.rate / 2), config.filters + 2)
    rows = []
    place = start
    while place <= (len(samples) + start if config.centred else len(samples) - window):
        frame = np.array([samples[i] if 0 <= i < len(samples) else 0.0 for i in range(place, place + window)])
        power = np.abs(kernel @ (frame * hann)) ** 2 / hann.sum() ** 2
        triangles = [np.interp(to_mel(hertz), edges[i : i + 3], [0, 1, 0]) for i in range(config.filters)]
        rows.append([np.log(max(triangle @ power, 1e-8)) for triangle in triangles])
        place += hop
    return np.array(rows)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("filters", [12, 40])
def test_log_mel_is_its_equation(centred: bool, filters: int) -> None:
    config = FeaturesConfig(
        filters=filters, window=0.032, hop=0.0125, lowest=0.0 if filters == 12 else 60.0, centred=centred
    )
    found, expected = log_mel(SOUND, config), slow_log_mel(SOUND, config)
    assert found.shape == expected.shape == (config.frames(len(SOUND)), filters)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_short_recording_has_a_frame() -> None:
    for centred in (True, False):
        config = FeaturesConfig(centred=centred)
        assert log_mel(SOUND[:10], config).shape == (1, 40) == (config.frames(10), 40)
        assert FrontEnd(config)(SOUND[:10]).shape == (1, 80)


def test_normalised_and_stacked() -> None:
    frames = RNG.normal(3, 2, (7, 4)).astype(np.float32)
    own = FilterStatistics.of(frames)
    normal = FrontEnd(FeaturesConfig(filters=4)).normalised(frames)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(normal.std(axis=0), 1, atol=1e-5)
    config = FeaturesConfig(filters=4, normalise="training")
    np.testing.assert_allclose(FrontEnd(config, own).normalised(frames), normal)
    stacked = stack_frames(frames, 3)
    np.testing.assert_array_equal(stacked[1], frames[3:6].ravel())
    np.testing.assert_array_equal(stacked[2], np.pad(frames[6], (0, 8)))
    with pytest.raises(ValueError, match="give the statistics"):
        FrontEnd(config)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"filters": 0}, "features.filters is 0"),
        ({"hop": 0.0}, "features.hop is 0.0 seconds"),
        ({"lowest": 4000.0}, "features.lowest is 4000.0"),
    ],
)
def test_bad_options_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FeaturesConfig(**options)


def test_too_many_filters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features.filters is 120: filter \d+ is narrower"):
        _ = FeaturesConfig(filters=120).matrix


def test_bands_are_hidden_by_a_key() -> None:
    """At most so many steps and filters, whole bands, the same for the same key, others for another."""
    steps = np.ones((40, 16, 12), np.float32)  # 2 frames of 6 filters
    mask = np.arange(40)[:, None] < np.full(16, 40)[None]
    mask[20:, 0] = False
    config = AugmentConfig(time_masks=1, time_width=6, frequency_masks=1, frequency_width=2)
    key = jax.random.key(0)
    found = np.asarray(hide_bands(key, steps, mask, config, 6))
    np.testing.assert_array_equal(found, hide_bands(key, steps, mask, config, 6))
    assert not np.array_equal(found, hide_bands(jax.random.key(1), steps, mask, config, 6))
    late, heard = (found == 0).all(axis=2), (found == 0).all(axis=0)
    assert late.sum(axis=0).max() == 6
    assert late.sum(axis=0)[0] <= 4 < 20
    np.testing.assert_array_equal(heard[:, :6], heard[:, 6:])
    assert heard[:, :6].sum(axis=1).max() == 2
    np.testing.assert_array_equal(found == 0, late[:, :, None] | heard[None])
    assert all(np.ptp(np.flatnonzero(column)) == column.sum() - 1 for column in late.T if column.any())
    none = dataclasses.replace(config, time_masks=0, frequency_masks=0)
    np.testing.assert_array_equal(hide_bands(key, steps, mask, none, 6), steps)
