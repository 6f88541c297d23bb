"""How XLA compiles what is tested."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def optimizations(wanted: bool) -> Iterator[None]:
    """With most of XLA's optimizations or without them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", not wanted)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
