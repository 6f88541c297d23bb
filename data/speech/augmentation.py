"""Augmentation of features: bands of time and of frequency are hidden (SpecAugment, Park et al. 2019)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from data.batch import Array


@dataclass(frozen=True)
class AugmentConfig:
    """The ways in which training hears an utterance differently each time."""

    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which each recording is played; 0.9 1 1.1 makes three of each, slower and lower to faster and
    higher."""
    time_masks: int = 0
    """Bands of time to hide in each utterance."""
    time_width: int = 8
    """Steps of a band, at most, and no more than a fifth of the utterance."""
    frequency_masks: int = 0
    """Bands of frequency to hide in each utterance."""
    frequency_width: int = 8
    """Filters of a band, at most."""

    def __post_init__(self) -> None:
        for name in ("time_masks", "time_width", "frequency_masks", "frequency_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"augment.{name} is {getattr(self, name)}: give 0 or more")
        if not self.speeds or not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise ValueError("augment.speeds must be one or more factors from 0.5 to 2, such as 0.9 1 1.1")


def hide_bands(
    key: jax.Array,
    steps: Float[Array, "T B D"],
    mask: Bool[Array, "T B"],
    config: AugmentConfig,
    filters: int,
) -> Float[Array, "T B D"]:
    """Sets bands to 0, the mean of normalised features. Each has a width uniform in 0 … the most, and a place
    uniform where it fits; a band of frequency is the same in all frames of a step. The same key hides the same
    bands."""
    length, batch, size = steps.shape
    time_key, frequency_key = jax.random.split(key)
    valid = jnp.sum(mask, axis=0)  # [B]
    most = jnp.minimum(config.time_width, valid // 5)
    late = bands(time_key, config.time_masks, most, valid, jnp.arange(length))  # [B, T]
    widest = jnp.full(batch, min(config.frequency_width, filters))
    heard = bands(
        frequency_key, config.frequency_masks, widest, jnp.full(batch, filters), jnp.arange(size) % filters
    )  # [B, D]
    hidden = late.T[:, :, None] | heard[None]
    return jnp.where(hidden, 0, steps)


def bands(
    key: jax.Array, count: int, widest: jax.Array, size: jax.Array, places: jax.Array
) -> Bool[Array, "B P"]:
    """Draws `count` bands for each of B examples, `widest [B]` and `size [B]`; True where a place lies in one."""
    width_key, start_key = jax.random.split(key)
    shape = (count, len(size))
    width = jnp.floor(jax.random.uniform(width_key, shape) * (widest + 1)[None])
    start = jnp.floor(jax.random.uniform(start_key, shape) * (size[None] - width + 1))
    inside = (places[None, None] >= start[..., None]) & (places[None, None] < (start + width)[..., None])
    return jnp.any(inside, axis=0)
