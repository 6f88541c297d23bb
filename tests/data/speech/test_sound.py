"""Sound files as the standard library writes them, byte by byte, and every way in which one can be bad."""

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from data.speech.sound import Sound, change_speed, decode_sound, read_sound, resample, wav_bytes


def written(samples: np.ndarray, width: int, rate: int = 8000) -> bytes:
    """A WAV file of integers `[n]` or `[n, channels]`, by `wave`."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim == 2 else 1)
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 3:
            file.writeframes(b"".join(int(v).to_bytes(3, "little", signed=True) for v in samples.ravel()))
        else:
            file.writeframes(samples.astype({1: np.uint8, 2: "<i2", 4: "<i4"}[width]).tobytes())
    return content.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_those_written(width: int, channels: int) -> None:
    """8 bits have no sign; channels become their mean."""
    top = 2 ** (8 * width - 1)
    values = np.array([-top, -top // 2, 0, top // 4, top - 1, 1]).reshape(-1, channels)
    found = decode_sound(written((values + (128 if width == 1 else 0)).squeeze(), width, 11025), "a.wav")
    assert found.rate == 11025
    np.testing.assert_allclose(found.samples, (values / top).mean(axis=1), atol=1e-7)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    samples = np.array([0, 0.5, -1, 2], np.float32)
    (tmp_path / "a.wav").write_bytes(wav_bytes(Sound(samples, 16000)))
    found = read_sound(tmp_path / "a.wav")
    np.testing.assert_array_equal(found.samples, np.array([0, 0.5, -1, 1 - 2**-15], np.float32))
    assert found.rate == 16000


GOOD = written(np.arange(100), 2)
NO_RATE = GOOD[:24] + struct.pack("<I", 0) + GOOD[28:]
# Stereo of an odd number of samples.
UNEQUAL = written(np.arange(8).reshape(4, 2), 2)
UNEQUAL = UNEQUAL[:40] + struct.pack("<I", 14) + UNEQUAL[44:58]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello, this is text", "is no WAV file"),
        (b"", "is no WAV file"),
        (GOOD[:20], "broken header"),
        (b"RIFF" + bytes(60), "broken header"),
        (GOOD[:150], "is cut off"),
        (written(np.zeros(0), 2), "is empty"),
        (NO_RATE, "has 0 samples a second"),
        (UNEQUAL, "channels of different lengths"),
    ],
    ids=["text", "nothing", "short header", "zeros", "cut", "empty", "no rate", "unequal"],
)
def test_a_bad_file_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=f"^f/b.wav .*{said}") as refused:
        decode_sound(content, "f/b.wav")
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        read_sound(tmp_path / "none.wav")


def test_a_tone_stays_a_tone_at_another_rate_and_rises_with_the_speed() -> None:
    def tone(hertz: float, rate: int, size: int) -> np.ndarray:
        return np.sin(2 * np.pi * hertz * np.arange(size) / rate).astype(np.float32)

    inner = slice(200, 1800)  # the filter reaches beyond the ends
    found = resample(tone(440, 11025, 11025), 11025, 8000)
    np.testing.assert_allclose(found[inner], tone(440, 8000, 8000)[inner], atol=3e-3)
    fast = change_speed(tone(440, 8000, 8000), 1.1)
    assert len(fast) == -(-8000 * 10 // 11)
    np.testing.assert_allclose(fast[inner], tone(484, 8000, 8000)[inner], atol=3e-3)
    with pytest.raises(ValueError, match="the speed is 3"):
        change_speed(fast, 3)


@pytest.mark.peers
def test_flac_is_read_by_soundfile() -> None:
    soundfile = pytest.importorskip("soundfile")
    content, samples = io.BytesIO(), np.array([0, 0.25, -0.5], np.float32)
    soundfile.write(content, samples, 8000, format="FLAC")
    np.testing.assert_array_equal(decode_sound(content.getvalue(), "a.flac").samples, samples)
    with pytest.raises(ValueError, match=r"a\.flac can't be read"):
        decode_sound(b"fLaC" + bytes(50), "a.flac")
