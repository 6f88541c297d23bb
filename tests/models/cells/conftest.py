"""For tests that are nearly all compilation."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder belongs to `make test-slow`: twenty cells are many programs to compile."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """XLA compiles in half the time what then runs somewhat slower."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
