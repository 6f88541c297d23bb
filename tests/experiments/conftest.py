"""Small finished runs, made once for all the tests that look at them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.experiments.command import LEAKY, SMALL, command

OPTIONS: dict[str, tuple[str | float, ...]] = {
    "adding": ("--cell", "elman", "--length", 10, *SMALL),
    "copy_memory": ("--cell", "elman", "--length", 5, *SMALL),
    "temporal_order": ("--cell", "elman", "--length", 12, *SMALL),
    "digits": ("--cell", "elman", "--permuted", *SMALL),
    # Gentle inputs: at the default gain a unit of these small nets saturates to a Jacobian of exactly 0.
    "gradients": (*SMALL, "--images", 8, "--trajectories", 2, "--input-gain", 4),
    # Length 2 is solved, 30 is not, and 40 therefore not tried.
    "long_memory": (
        *("--tasks", "adding", "--cells", "elman", "--lengths", 2, 30, 40, *SMALL),
        *("--steps", 300, "--eval-every", 10, "--chunk", 10, "--optimizer.learning-rate", 0.02),
    ),
    "ngram": ("--order", 3),
    # Newton's Jacobians take 512 bytes at length 4, and four times that at 16: too much.
    "speed": (
        *("--cells", "elman", "--methods", "scan", "associative", "newton", "--lengths", 4, 16),
        *("--hidden-size", 4, "--input-size", 2, "--batch-size", 2, "--repeats", 2, "--newton-memory", 1e-6),
    ),
}


@pytest.fixture(scope="session")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cell in a user's own file, as the command line names it."""
    path = tmp_path_factory.mktemp("users") / "mine.py"
    path.write_text(LEAKY)
    return f"{path}:Leaky(alpha=0.3)"


@pytest.fixture(scope="session")
def options(leaky: str) -> dict[str, tuple[str | float, ...]]:
    """The options with which each experiment's small run was made."""
    return OPTIONS | {"gradients": ("--cells", "elman", leaky, *OPTIONS["gradients"])}


@pytest.fixture(scope="session")
def finished(
    options: dict[str, tuple[str | float, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of an experiment's small run, made when first asked for."""

    @cache
    def run(name: str) -> Path:
        folder = tmp_path_factory.mktemp("runs") / name
        assert command(name, *options[name], "--run-dir", folder) == 0
        return folder

    return run
