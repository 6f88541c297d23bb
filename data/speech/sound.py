"""Sound files: reading, resampling and writing. Axis: n samples."""

import io
import math
import struct
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32
from scipy.io import wavfile

Samples = Float32[np.ndarray, " n"]
COMPRESSED = (".flac", ".mp3", ".ogg", ".opus")  # endings of the files that `soundfile` reads


class Sound(NamedTuple):
    """One channel of sound, −1 … 1, at so many samples a second."""

    samples: Samples
    rate: int


def read_sound(path: Path) -> Sound:
    """Reads a file of sound as `decode_sound` does. Raises ValueError if there is none."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}: name one that exists")
    return decode_sound(path.read_bytes(), str(path))


def decode_sound(content: bytes, name: str) -> Sound:
    """Decodes the bytes of a WAV file of 8, 16, 24 or 32 bits, or of floating-point numbers; others by `soundfile`,
    which need not be installed. Several channels become their mean.

    Raises ValueError, naming the file, if it is another kind of file, damaged, cut off or empty.
    """
    if content[:4] in (b"RIFF", b"RIFX", b"RF64"):
        rate, found = _decode_wav(content, name)
    elif name.lower().endswith(COMPRESSED):
        rate, found = _decode_compressed(content, name)
    else:
        raise ValueError(
            f"{name} is no WAV file, as its first bytes show: give WAV, or FLAC or MP3 by their endings"
        )
    if not found.size:
        raise ValueError(f"{name} is empty: it has a header and no sample; record it anew, or leave it out")
    samples = _scaled(found)
    if not np.isfinite(samples).all():
        raise ValueError(f"{name} has samples that are no numbers: write it anew, or leave it out")
    return Sound(samples if samples.ndim == 1 else samples.mean(axis=1), rate)


def _decode_wav(content: bytes, name: str) -> tuple[int, np.ndarray]:
    """Returns the rate and the samples `[n]` or `[n, channels]`, in the file's own type."""
    place = content.find(b"fmt ") + 12
    if 12 <= place <= len(content) - 4 and not any(content[place : place + 4]):
        raise ValueError(f"{name} says that it has 0 samples a second: correct its header")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            rate, found = wavfile.read(io.BytesIO(content))
        except (ValueError, struct.error, EOFError, TypeError, ZeroDivisionError, UnboundLocalError) as error:
            if "reshape" in str(error):
                raise ValueError(
                    f"{name} has channels of different lengths: its samples don't divide into them; write it anew"
                ) from None
            raise ValueError(
                f"{name} has a broken header, or is no WAV file of samples: write it anew"
            ) from None
    if any("EOF" in str(warning.message) for warning in said):
        raise ValueError(f"{name} is cut off: its header promises more samples than it has; copy it again")
    return int(rate), np.asarray(found)


def _decode_compressed(content: bytes, name: str) -> tuple[int, np.ndarray]:
    """Returns the rate and the samples of FLAC, MP3 or Ogg."""
    try:
        import soundfile  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            f"{name} is no WAV file: install soundfile (pip install soundfile), or convert it"
        ) from None
    library: Any = soundfile
    try:
        found, rate = library.read(io.BytesIO(content), dtype="float32")
    except library.LibsndfileError:
        raise ValueError(
            f"{name} can't be read: it is damaged, or of another kind than its ending says"
        ) from None
    return int(rate), found


def _scaled(found: np.ndarray) -> np.ndarray:
    """Returns samples in −1 … 1, float32; those of 8 bits have no sign."""
    if found.dtype == np.uint8:
        return (found.astype(np.float32) - 128) / 128
    if found.dtype.kind == "i":
        return (found / -float(np.iinfo(found.dtype).min)).astype(np.float32)
    return found.astype(np.float32)


def resample(samples: Samples, rate: int, to: int) -> Float32[np.ndarray, "_"]:
    """Converts samples to another rate, by a polyphase filter."""
    if rate == to:
        return samples
    common = math.gcd(rate, to)
    return _resample(samples, to // common, rate // common)


def change_speed(samples: Samples, factor: int | float) -> Float32[np.ndarray, "_"]:
    """Plays samples `factor` times as fast, and as much higher: speed perturbation, Ko et al. 2015. Raises
    ValueError for a factor outside 0.5 … 2."""
    if not 0.5 <= factor <= 2:
        raise ValueError(f"the speed is {factor}: give a factor from 0.5 to 2")
    exact = Fraction(factor).limit_denominator(100)
    if exact == 1:
        return samples
    return _resample(samples, exact.denominator, exact.numerator)


def _resample(samples: Samples, up: int, down: int) -> Float32[np.ndarray, "_"]:
    from scipy.signal import resample_poly  # slow to import, and a list of options waits for this module

    return resample_poly(samples, up, down).astype(np.float32)


def wav_bytes(sound: Sound) -> bytes:
    """Writes sound as a WAV file of 16 bits; louder than 1 is cut."""
    content = io.BytesIO()
    steps = np.clip(np.rint(sound.samples * 32768), -32768, 32767).astype(np.int16)
    wavfile.write(content, sound.rate, steps)
    return content.getvalue()
