"""Log-mel features of sound. Axes: n samples, T frames, F filters, D = stack · F."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Complex64, Float, Float32

from data.speech.sound import Samples

Normalise = Literal["utterance", "training", "none"]
FLOOR = 1e-8  # power below which a filter hears nothing, about −80 dB of full scale


@dataclass(frozen=True)
class FeaturesConfig:
    """The features of sound."""

    rate: int = 8000
    """Samples a second, to which recordings are converted."""
    window: float = 0.025
    """Seconds of a frame."""
    hop: float = 0.01
    """Seconds from frame to frame."""
    filters: int = 40
    """Filters on the mel scale, F."""
    lowest: float = 60.0
    """Hertz at which the first filter begins; the last one ends at half the rate."""
    centred: bool = True
    """Centre frame t on sample t · hop. A net that listens as sound arrives needs frames that end there."""
    normalise: Normalise = "utterance"
    """Give every filter mean 0 and variance 1 over the utterance, or by the mean and variance of the training
    data."""
    stack: int = 2
    """Frames joined into one step of the net."""

    def __post_init__(self) -> None:
        for name in ("rate", "filters", "stack"):
            if getattr(self, name) < 1:
                raise ValueError(f"features.{name} is {getattr(self, name)}: give 1 or more")
        for name in ("window", "hop"):
            if not 1 <= round(getattr(self, name) * self.rate) <= 2**20:
                raise ValueError(
                    f"features.{name} is {getattr(self, name)} seconds: at {self.rate} samples a second that must "
                    "be at least one sample, and no more than a million"
                )
        if not 0 <= self.lowest < self.rate / 2:
            raise ValueError(
                f"features.lowest is {self.lowest}: it must lie in 0 … {self.rate / 2:g}, half the rate"
            )

    @property
    def size(self) -> int:
        """D, the size of a step."""
        return self.stack * self.filters

    @property
    def hop_samples(self) -> int:
        """Samples from frame to frame."""
        return round(self.hop * self.rate)

    @property
    def window_samples(self) -> int:
        """Samples of a frame."""
        return round(self.window * self.rate)

    @property
    def before(self) -> int:
        """Samples of silence that the first frame begins with."""
        return self.window_samples // 2 if self.centred else 0

    @cached_property
    def matrix(self) -> Float32[np.ndarray, "bins F"]:
        """The filters. Raises ValueError if one of them lies between two frequencies and hears nothing."""
        filters = mel_filters(self.rate, fft_size(self.window_samples), self.filters, self.lowest)
        deaf = np.flatnonzero(~filters.any(axis=0))
        if len(deaf):
            raise ValueError(
                f"features.filters is {self.filters}: filter {deaf[0] + 1} is narrower than the frequencies of a "
                f"window of {self.window} seconds are apart; take fewer, or a longer window"
            )
        return filters

    def frames(self, samples: int) -> int:
        """Returns the number of frames of so many samples: at least one."""
        if self.centred:
            return 1 + samples // self.hop_samples
        return 1 + max(samples - self.window_samples, 0) // self.hop_samples

    def steps(self, samples: int) -> int:
        """Returns the number of steps, of `stack` frames each; the last may be filled up."""
        return -(-self.frames(samples) // self.stack)


def mel(hertz: float | np.ndarray) -> float | np.ndarray:
    """Converts hertz to mel: 2595 log₁₀(1 + f / 700)."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


@lru_cache(maxsize=16)
def mel_filters(rate: int, size: int, count: int, lowest: float) -> Float32[np.ndarray, "bins F"]:
    """Returns triangular filters, `[size / 2 + 1, count]`: each rises from the centre of the one before to its own,
    1, and falls to that of the next; centres are evenly spaced in mel."""
    edges = np.linspace(float(mel(lowest)), float(mel(rate / 2)), count + 2)
    bins = mel(np.arange(size // 2 + 1) * rate / size)
    left, centre, right = (edges[i : count + i] for i in range(3))
    rising = (np.asarray(bins)[:, None] - left) / (centre - left)
    falling = (right - np.asarray(bins)[:, None]) / (right - centre)
    return np.clip(np.minimum(rising, falling), 0, None).astype(np.float32)


@lru_cache(maxsize=16)
def hann(size: int) -> Float32[np.ndarray, " size"]:
    """Returns a Hann window, w_j = ½ − ½ cos(2πj/n)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


def fft_size(window: int) -> int:
    """Returns the power of two from the window's samples on."""
    return 1 << (window - 1).bit_length()


def log_mel(samples: Samples, config: FeaturesConfig) -> Float32[np.ndarray, "T F"]:
    """Computes the logarithm of the power that each filter hears in each frame:

        ln max(10⁻⁸, Σ_k M_kf |Σ_j w_j x_{t·hop + j} e^{−2πi jk/K}|² / (Σ_j w_j)²)

    w is a Hann window of n samples, K the power of two from there on, M the filters. Centred frames reach half a
    window beyond both ends, into silence; others begin at sample t · hop and end within, but a recording that is
    shorter than a window is followed by silence.
    """
    power = np.abs(spectrum(samples, config)) ** 2 / np.float32(hann(config.window_samples).sum() ** 2)
    return np.log(np.maximum(power @ config.matrix, np.float32(FLOOR)))


def spectrum(samples: Samples, config: FeaturesConfig) -> Complex64[np.ndarray, "T bins"]:
    """Computes Σ_j w_j x_{t·hop + j} e^{−2πi jk/K}, the short-time spectrum that `log_mel` hears."""
    window, hop = config.window_samples, config.hop_samples
    before = config.before
    count = config.frames(len(samples))
    needed = (count - 1) * hop + window
    padded = np.zeros(max(needed, before + len(samples)), np.float32)
    padded[before : before + len(samples)] = samples
    shown = np.lib.stride_tricks.sliding_window_view(padded, window)[: (count - 1) * hop + 1 : hop]
    return np.fft.rfft(shown * hann(window), fft_size(window), axis=1).astype(np.complex64)


@dataclass(frozen=True, eq=False)
class FilterStatistics:
    """Mean and standard deviation of each filter, `[F]`."""

    mean: Float[np.ndarray, " F"]
    deviation: Float[np.ndarray, " F"]

    @classmethod
    def of(cls, frames: Float[np.ndarray, "T F"]) -> "FilterStatistics":
        """Computes them; a filter that never changes counts as if it had deviation 10⁻³."""
        return cls(frames.mean(axis=0), np.maximum(frames.std(axis=0), 1e-3))

    def normalise(self, frames: Float32[np.ndarray, "T F"]) -> Float32[np.ndarray, "T F"]:
        """Gives each filter mean 0 and variance 1."""
        return ((frames - self.mean) / self.deviation).astype(np.float32)


def stack_frames(frames: Float32[np.ndarray, "T F"], stack: int) -> Float32[np.ndarray, "steps D"]:
    """Joins every `stack` frames into one step; the last is filled up with zeros."""
    steps = -(-len(frames) // stack)
    padded = np.zeros((steps * stack, frames.shape[1]), np.float32)
    padded[: len(frames)] = frames
    return padded.reshape(steps, stack * frames.shape[1])


@dataclass(frozen=True, eq=False)
class FrontEnd:
    """All that lies between sound and a net: log-mel frames, normalised and stacked.

    Raises ValueError if they are to be normalised by the training data, and `statistics` aren't given."""

    config: FeaturesConfig
    statistics: FilterStatistics | None = None

    def __post_init__(self) -> None:
        if self.config.normalise == "training" and self.statistics is None:
            raise ValueError("features.normalise is training: give the statistics of the training data")

    def normalised(self, frames: Float32[np.ndarray, "T F"]) -> Float32[np.ndarray, "T F"]:
        """Normalises frames as the options say."""
        if self.config.normalise == "none":
            return frames
        known = self.statistics if self.config.normalise == "training" else FilterStatistics.of(frames)
        assert known is not None
        return known.normalise(frames)

    def __call__(self, samples: Samples) -> Float32[np.ndarray, "steps D"]:
        """Computes the steps that a net reads."""
        return stack_frames(self.normalised(log_mel(samples, self.config)), self.config.stack)
