"""The command line in this process, a user's cell file, and what a run leaves, to be compared."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from experiments.__main__ import main
from train import Checkpoints, read_metrics

LEAKY = '''
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from models import Cell


@dataclass(frozen=True)
class Leaky(Cell):
    """h_t = (1 − α) h_{t−1} + α tanh(x_t W + h_{t−1} R)"""

    hidden_size: int
    alpha: float = 0.5

    def init(self, key, input_size):
        w, r = jax.random.split(key)
        size = self.hidden_size
        return {
            "kernel": jax.random.normal(w, (input_size, size)),
            "recurrent": jax.random.normal(r, (size, size)) / size**0.5,
        }

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden_size), params["kernel"].dtype)

    def step(self, weights, state, drive):
        new = jnp.tanh(drive @ weights["kernel"] + state @ weights["recurrent"])
        h = (1 - self.alpha) * state + self.alpha * new
        return h, h
'''

SMALL = ("--hidden-size", 6, "--batch-size", 10, "--steps", 100, "--eval-every", 50, "--save-every", 50)


def command(*arguments: Any) -> int:
    """`python -m experiments …` in this process: its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as left:  # how tyro refuses an option, or shows help
        return int(left.code or 0)


def prepared_apart(folder: Path, name: str, *options: Any) -> Path:
    """A finished run of an experiment on text, whose cache lies beside its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        assert command(name, *options, "--run-dir", folder) == 0
    return folder


def untimed(folder: Path) -> list[dict[str, Any]]:
    """The metrics without the clock."""
    return [{k: v for k, v in record.items() if k != "seconds"} for record in read_metrics(folder)]


def saved_state(folder: Path, step: int) -> dict[str, Any]:
    """Every leaf of a checkpoint by its name: parameters, optimizer, keys, as Orbax alone reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it wasn't told the sharding
        return ocp.load_checkpointables(str(folder.absolute() / "checkpoints" / str(step)))["state"]  # type: ignore


def newest_checkpoint(folder: Path) -> tuple[int, dict[str, bytes]]:
    """The step, and the bytes of every leaf of the state."""
    step = Checkpoints(folder / "checkpoints").steps()[-1]
    return step, {name: np.asarray(leaf).tobytes() for name, leaf in saved_state(folder, step).items()}


def arrays_bytes(folder: Path) -> dict[str, bytes]:
    """Every array that a run wrote, but for the clock's."""
    found = {}
    for path in sorted((folder / "arrays").glob("*.npz")):
        with np.load(path) as arrays:
            found |= {
                f"{path.stem}/{k}": v.tobytes() for k, v in arrays.items() if not k.endswith("/seconds")
            }
    return found


def unboxed(text: str) -> str:
    """Tyro's text without its frames, in one line."""
    return " ".join(re.sub("[─│╭╮╰╯]", " ", text).split())
