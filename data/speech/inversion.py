"""Sound of log-mel frames: the filters undone, and phases found by the algorithm of Griffin & Lim (1984)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Float32

from data.position import random_words
from data.speech.features import FLOOR, FeaturesConfig, fft_size, hann, spectrum
from data.speech.sound import Samples


class Heard(NamedTuple):
    """Samples whose spectrum has nearly the magnitudes that were asked for, and ‖|S| − M‖ / ‖M‖ before each
    iteration."""

    samples: Samples
    errors: Float[np.ndarray, " iterations"]


def sound_of(frames: Float[np.ndarray, "T F"], config: FeaturesConfig, iterations: int = 60) -> Samples:
    """Returns sound whose log-mel frames are nearly these, as far as filters and phases let it."""
    return griffin_lim(magnitudes_of(frames, config), config, iterations=iterations).samples


def magnitudes_of(frames: Float[np.ndarray, "T F"], config: FeaturesConfig) -> Float32[np.ndarray, "T bins"]:
    """Returns magnitudes ≥ 0 of a spectrum whose power the filters hear as these frames, nearly: of each frame the
    least squares of M^T p = e^x over p ≥ 0. What lies at the floor is silent."""
    from scipy.optimize import nnls  # slow to import, and a list of options waits for this module

    heard = np.where(frames <= np.log(FLOOR), 0, np.exp(np.asarray(frames, np.float64)))
    filters = np.asarray(config.matrix.T, np.float64)
    power = np.stack([nnls(filters, one / max(one.max(), FLOOR))[0] * max(one.max(), FLOOR) for one in heard])
    return (np.sqrt(power) * hann(config.window_samples).sum()).astype(np.float32)


def griffin_lim(
    magnitudes: Float[np.ndarray, "T bins"],
    config: FeaturesConfig,
    *,
    samples: int | None = None,
    iterations: int = 60,
    seed: int = 0,
) -> Heard:
    """Finds sound whose spectrum has given magnitudes M. From random phases,

        x ← the sound whose spectrum is nearest to M e^{iφ}        φ ← the phases of the spectrum of x

    so that ‖|S(x)| − M‖ never grows. `samples` is the length of the sound, by default the least that has so many
    frames. Raises ValueError for a length that has other frames."""
    least = (len(magnitudes) - 1) * config.hop_samples + (0 if config.centred else config.window_samples)
    size = max(least, 1) if samples is None else samples
    if config.frames(size) != len(magnitudes):
        raise ValueError(f"{size} samples have {config.frames(size)} frames, and not {len(magnitudes)}")
    draws = random_words(magnitudes.size, seed, stream=0) * (2 * np.pi * 2.0**-64)
    phases = np.exp(1j * draws.reshape(magnitudes.shape))
    total, errors = max(norm(magnitudes, config), 1e-12), []
    found = nearest_sound(magnitudes * phases, config, size)
    for _ in range(iterations):
        own = spectrum(found, config)
        errors.append(norm(np.abs(own) - magnitudes, config) / total)
        phases = np.exp(1j * np.angle(own))
        found = nearest_sound(magnitudes * phases, config, size)
    return Heard(found, np.array(errors))


def nearest_sound(wanted: Complex[np.ndarray, "T bins"], config: FeaturesConfig, size: int) -> Samples:
    """Returns the sound of `size` samples whose spectrum is nearest to `wanted` by `norm`: frames overlapped and
    added, x = Σ w y / Σ w² over the frames y of `wanted` that hold a sample, 0 where no window reaches."""
    window, hop = config.window_samples, config.hop_samples
    weights = hann(window).astype(np.float64)
    frames = np.fft.irfft(wanted, fft_size(window), axis=1)[:, :window] * weights
    end = max((len(frames) - 1) * hop + window, config.before + size)
    added, overlap = np.zeros(end), np.zeros(end)
    for place, frame in enumerate(frames):
        added[place * hop : place * hop + window] += frame
        overlap[place * hop : place * hop + window] += weights**2
    found = np.divide(added, overlap, out=np.zeros(end), where=overlap > 1e-12)
    return found[config.before : config.before + size].astype(np.float32)


def norm(
    values: Complex[np.ndarray, "T bins"] | Float[np.ndarray, "T bins"], config: FeaturesConfig
) -> float:
    """Computes the norm of a spectrum over all K frequencies, of which `values` are those up to half the rate."""
    counted = np.full(values.shape[1], 2.0)
    counted[0] = 1
    if fft_size(config.window_samples) > 1:
        counted[-1] = 1
    return float(np.sqrt(np.sum(np.abs(values.astype(np.complex128)) ** 2 * counted)))
