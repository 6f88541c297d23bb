"""Windows of a text, beside loops over its words: contexts, subsampling, noise, positions."""

from typing import Any

import jax
import numpy as np
import pytest

from data import WordText, WordTextConfig, WordWindows
from data.words.text import word_text
from data.words.windows import BLOCK, alias_table, draw

OPTIONS: dict[str, Any] = {"window": 3, "sample": 0.0, "power": 0.75, "centres": 64, "shared": 64}
OPTIONS |= {"noise": 4, "small_batches": 2, "seed": 5}


def text(count: int = 40) -> WordText:
    """Sentences of 1 to 9 words of 20."""
    rng = np.random.default_rng(0)
    lines = [" ".join(f"w{n}" for n in rng.zipf(1.5, rng.integers(1, 10)) % 20) for _ in range(count)]
    return word_text(["\n".join(lines)], WordTextConfig(min_count=1), {})


def test_contexts() -> None:
    """Every word is a centre once in an epoch, in the text's order; contexts end at sentences, 1 … H words."""
    one = text()
    total = len(one.ids)
    batch = WordWindows(one, **OPTIONS).take(-(-total // 128))
    words = batch.words.reshape(-1, BLOCK + 6)
    centres = words[:, 3:-3].reshape(-1)[:total]
    np.testing.assert_array_equal(centres, one.ids)
    place = np.concatenate([np.arange(length) for length in one.lengths])
    after = np.repeat(one.lengths, one.lengths) - 1 - place
    left, right = (leaf.reshape(-1)[:total].astype(int) for leaf in (batch.left, batch.right))
    assert (left <= np.minimum(place, 3)).all()
    assert (right <= np.minimum(after, 3)).all()
    free = (place >= 3) & (after >= 3)
    np.testing.assert_array_equal(left[free], right[free])
    assert set(left[free].tolist()) == {1, 2, 3}
    for number in range(40, 60):  # the words around a centre are its neighbours in the text
        block, i = divmod(number, BLOCK)
        around = words[block, i + 3 - left[number] : i + 4 + right[number]]
        np.testing.assert_array_equal(around, one.ids[number - left[number] : number + right[number] + 1])


def test_epochs_follow_one_another() -> None:
    """Batches that span two epochs go on with the next: all words again, with other reaches."""
    one = text()
    total = len(one.ids)
    batch = WordWindows(one, **OPTIONS).take(1 + 2 * total // 128)
    centres = batch.words[..., 3:-3].reshape(-1)
    np.testing.assert_array_equal(centres[: 2 * total], np.tile(one.ids, 2))
    left = batch.left.reshape(-1)
    assert (left[:total] != left[total : 2 * total]).any()


def test_subsampling() -> None:
    """A word of frequency f is kept with probability √(t/f) + t/f, at most 1: counted over 60 epochs."""
    one, sample = text(), 0.02
    counts = np.array(one.vocabulary.counts)
    share = counts / counts.sum()
    wanted = np.minimum(1, np.sqrt(sample / share) + sample / share) * counts
    windows = WordWindows(one, **{**OPTIONS, "sample": sample})
    assert WordWindows.kept_words(one, sample) == pytest.approx(wanted.sum())
    kept = windows.take(round(60 * wanted.sum() / 128)).words[..., 3:-3]
    found = np.bincount(kept.reshape(-1), minlength=len(counts)) / 60
    assert np.all(np.abs(found - wanted) < 4.5 * np.sqrt(wanted / 60) + 0.1)


def test_noise() -> None:
    """Frequencies to the power 0.75, drawn by Walker's table: counted over 200,000 draws."""
    one = text()
    powers = np.array(one.vocabulary.counts) ** 0.75
    windows = WordWindows(one, **OPTIONS)
    np.testing.assert_allclose(windows.noise_probability, powers / powers.sum())
    own, other = alias_table(windows.noise_probability)
    exact = np.bincount(other, 1 - own, len(own)) + own
    np.testing.assert_allclose(exact / len(own), windows.noise_probability, atol=1e-12)
    drawn = draw((own, other), np.random.Philox(key=1).random_raw(200_000))
    found = np.bincount(drawn, minlength=len(own)) / 200_000
    assert np.abs(found - windows.noise_probability).max() < 5 * np.sqrt(0.25 / 200_000)


def test_position_and_shards() -> None:
    """A restored position gives the same batches; two processes' shares together are the whole batch."""
    one = text()
    whole = WordWindows(one, **OPTIONS, rate=0.1, last_rate=0.02, steps=10)
    whole.take(3)
    state = whole.get_state()
    batch = whole.take(9)
    np.testing.assert_allclose(
        batch.rate[:, 0], np.maximum(0.1 - 0.08 * np.arange(3, 12) / 10, 0.02), rtol=1e-6
    )
    again = WordWindows(one, **OPTIONS, rate=0.1, last_rate=0.02, steps=10)
    again.set_state(state)
    jax.tree.map(np.testing.assert_array_equal, again.take(9), batch)
    shares = [WordWindows(one, **OPTIONS, process_index=p, process_count=2) for p in range(2)]
    joined = np.concatenate([share.take(2).words for share in shares], axis=1)
    np.testing.assert_array_equal(joined, WordWindows(one, **OPTIONS).take(2).words)
    with pytest.raises(ValueError, match="another text or seed"):
        WordWindows(one, **{**OPTIONS, "seed": 6}).set_state(state)
    with pytest.raises(ValueError, match="is not that of windows"):
        whole.set_state(b"{}")
    with pytest.raises(ValueError, match="take multiples of 32"):
        WordWindows(one, **{**OPTIONS, "centres": 96})
