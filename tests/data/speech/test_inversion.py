"""Sound of frames: the nearest sound against least squares, phases found, filters undone."""

from typing import Any

import numpy as np
import pytest

from data.speech.features import FeaturesConfig, log_mel, spectrum
from data.speech.inversion import griffin_lim, magnitudes_of, nearest_sound, norm, sound_of

RNG = np.random.default_rng(0)
SMALL = FeaturesConfig(rate=1000, window=0.008, hop=0.003, filters=3, lowest=0.0)


@pytest.mark.parametrize("centred", [True, False])
def test_the_nearest_sound_is_the_least_squares_one(centred: bool) -> None:
    """Against the normal equations of the whole transform as a matrix, for a spectrum that no sound has; the norm
    counts all frequencies; and the sound of a spectrum is the sound."""
    config, size = (
        FeaturesConfig(rate=1000, window=0.008, hop=0.003, filters=3, lowest=0.0, centred=centred),
        20,
    )
    columns = np.stack([spectrum(row, config) for row in np.eye(size, dtype=np.float32)], axis=-1)
    wanted = (RNG.normal(size=columns.shape[:2]) + 1j * RNG.normal(size=columns.shape[:2])).astype(
        np.complex64
    )
    wanted[:, [0, -1]] = wanted[:, [0, -1]].real
    # Frequencies above half the rate are the conjugates of those below.
    both = lambda s: np.concatenate([s, s[:, -2:0:-1].conj()], axis=1)  # noqa: E731
    matrix: Any = both(columns).reshape(-1, size)
    target: Any = both(wanted).ravel()
    real = np.concatenate([matrix.real, matrix.imag]), np.concatenate([target.real, target.imag])
    expected = np.linalg.lstsq(*real, rcond=1e-6)[0]
    np.testing.assert_allclose(nearest_sound(wanted, config, size), expected, atol=1e-5)
    np.testing.assert_allclose(norm(wanted, config), np.linalg.norm(target), rtol=1e-6)
    samples = RNG.normal(size=size).astype(np.float32)
    inner = slice(1, None if centred else (size - 8) // 3 * 3 + 8)  # a window begins with weight 0
    np.testing.assert_allclose(
        nearest_sound(spectrum(samples, config), config, size)[inner], samples[inner], atol=1e-5
    )


def test_phases_are_found() -> None:
    """Of a gliding tone with noise: the error never grows, and the magnitudes of the sound are nearly those."""
    config = FeaturesConfig()
    time = np.arange(2400) / config.rate
    sound = 0.3 * np.sin(2 * np.pi * (400 + 900 * time) * time) + 0.01 * RNG.normal(size=len(time))
    wanted = np.abs(spectrum(sound.astype(np.float32), config))
    found = griffin_lim(wanted, config, samples=len(sound), iterations=100)
    assert (np.diff(found.errors) <= 1e-6).all()
    assert found.errors[-1] < 0.12 < found.errors[0] / 3
    own = norm(np.abs(spectrum(found.samples, config)) - wanted, config) / norm(wanted, config)
    assert own <= found.errors[-1] + 1e-6
    with pytest.raises(ValueError, match="2480 samples have 32 frames, and not 31"):
        griffin_lim(wanted, config, samples=2480)


def test_filters_are_undone() -> None:
    """The filters hear of the magnitudes what they heard of the sound; silence stays silent."""
    config = FeaturesConfig(filters=20)
    time = np.arange(1600) / config.rate
    sound = (0.2 * np.sin(2 * np.pi * 770 * time) + 0.1 * np.sin(2 * np.pi * 1336 * time)).astype(np.float32)
    frames = log_mel(sound, config)
    power = (magnitudes_of(frames, config) / 100) ** 2  # a window of 200 samples weighs 100
    np.testing.assert_allclose(power @ config.matrix, np.exp(frames), rtol=2e-2, atol=1e-7)
    assert not sound_of(np.full((3, 20), np.log(1e-8)), config).any()
    heard = sound_of(frames, config)
    peaks = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert abs(np.argmax(peaks) * config.rate / len(heard) - 770) < 60
