"""Damaged sentences: pieces left out and moved, as far as they may be."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.autoencoders.corrupted import drop_steps, shuffle_nearby

LENGTHS = np.array([9, 4, 1, 0])
MASK = jnp.asarray(np.arange(9)[:, None] < LENGTHS)
IDS = jnp.asarray(np.where(MASK, np.arange(9)[:, None] + 10, 0))


def test_dropped() -> None:
    """About the share asked for, never the end mark, and padding stays padding."""
    masks = jax.vmap(lambda key: drop_steps(MASK, 0.3, key))(jax.random.split(jax.random.key(0), 400))
    kept = np.asarray(masks.mean(axis=0))
    np.testing.assert_allclose(kept[:8, 0], 0.7, atol=0.1)
    assert kept[8, 0] == kept[3, 1] == kept[0, 2] == 1
    assert not np.any(kept[~np.asarray(MASK)])
    np.testing.assert_array_equal(drop_steps(MASK, 0.0, jax.random.key(0)), MASK)


def test_shuffled() -> None:
    """The same tokens, each moved by at most two places, the end mark and padding by none; some do move."""
    keys = jax.random.split(jax.random.key(0), 200)
    found = np.asarray(jax.vmap(lambda key: shuffle_nearby(IDS, MASK, 2, key))(keys))
    for column, length in enumerate(LENGTHS):
        for one in found[:, :, column]:
            assert sorted(one[:length]) == sorted(np.asarray(IDS)[:length, column])
            assert not one[length:].any()
            moved = np.abs(one[:length] - 10 - np.arange(length))
            assert moved.max(initial=0) <= 2
            assert not moved[length - 1 :].any()
    assert (found[:, :, 0] != np.asarray(IDS)[:, 0]).any(axis=0)[:8].all()
    np.testing.assert_array_equal(shuffle_nearby(IDS, MASK, 0, jax.random.key(0)), IDS)
