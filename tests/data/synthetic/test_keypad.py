"""Keypad tones against the table of ITU-T Q.23, by their spectra."""

import numpy as np
import pytest

from data.synthetic.keypad import keypad_tones

TABLE = {
    "1": (697, 1209), "2": (697, 1336), "3": (697, 1477),
    "4": (770, 1209), "5": (770, 1336), "6": (770, 1477),
    "7": (852, 1209), "8": (852, 1336), "9": (852, 1477), "0": (941, 1336),
}  # fmt: skip


def test_each_digit_has_its_two_frequencies() -> None:
    tones = keypad_tones(0, 3)
    assert sorted(one.text for one in tones) == sorted(list(TABLE) * 3)
    for one in tones:
        power = np.abs(np.fft.rfft(one.samples * np.hanning(len(one.samples)), 8000))  # a bin a hertz
        low, high = np.argmax(power[:1075]), 1075 + np.argmax(power[1075:])
        assert np.abs(np.array(TABLE[one.text]) - (low, high)).max() <= 8, one
        assert 0.049 < len(one.samples) / 8000 < 0.201
        assert abs(20 * np.log10(power[low] / power[high])) < 8
    lengths = {len(one.samples) for one in tones}
    assert len(lengths) > 20
    np.testing.assert_array_equal(keypad_tones(0, 3)[7].samples, tones[7].samples)
    assert len(keypad_tones(1, 3)[7].samples) != len(tones[7].samples)


@pytest.mark.parametrize(("count", "rate", "said"), [(0, 8000, "count is 0"), (1, 2000, "rate is 2000")])
def test_bad_sizes_are_refused(count: int, rate: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        keypad_tones(0, count, rate)
