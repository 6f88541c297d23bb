"""Tones of a telephone's keypad: two frequencies a digit (ITU-T Q.23)."""

import numpy as np

from data.position import random_words
from data.speech.recordings import Recording

KEYPAD_RATE = 8000
_ROWS, _COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)  # hertz
_PLACES = {digit: divmod(place, 3) for place, digit in enumerate("123456789")} | {"0": (3, 1)}
FREQUENCIES = {digit: (_ROWS[row], _COLUMNS[column]) for digit, (row, column) in _PLACES.items()}
_SHORTEST, _LONGEST, _RAMP = 0.05, 0.2, 0.005  # seconds


def keypad_tones(seed: int, count: int, rate: int = KEYPAD_RATE) -> list[Recording]:
    """Makes `count` tones of each digit: 50 to 200 ms long, the lower frequency up to 6 dB above or below the
    higher, at random phases.

    Raises ValueError for a count below 1, and a rate that is too low for the frequencies.
    """
    if count < 1:
        raise ValueError(f"count is {count}: make at least 1 tone of each digit.")
    if rate <= 2 * max(_COLUMNS):
        raise ValueError(
            f"rate is {rate}: tones of {max(_COLUMNS)} hertz need more than {2 * max(_COLUMNS)}."
        )
    found = []
    for place, (digit, frequencies) in enumerate(sorted(FREQUENCIES.items())):
        draws = (random_words(4 * count, seed, stream=place) >> np.uint64(11)) * 2.0**-53
        for number, (length, balance, *phases) in enumerate(draws.reshape(count, 4).tolist()):
            size = round((_SHORTEST + length * (_LONGEST - _SHORTEST)) * rate)
            time = np.arange(size) / rate
            low, high = (
                np.sin(2 * np.pi * (hertz * time + phase))
                for hertz, phase in zip(frequencies, phases, strict=True)
            )
            ramp = np.minimum(1, np.minimum(time, time[::-1]) / _RAMP)  # without clicks
            tone = ramp * (low * 10 ** (0.3 * (2 * balance - 1)) + high)
            name = f"tone {number} of {digit}"
            found.append(Recording((0.3 * tone).astype(np.float32), digit, speaker="keypad", name=name))
    return found
