"""Models are tested as they are compiled for their users."""

from collections.abc import Iterator

import pytest

from tests.compilation import optimizations


@pytest.fixture(autouse=True, scope="module")
def as_users_compile() -> Iterator[None]:
    with optimizations(True):
        yield
