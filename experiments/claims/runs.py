"""The runs that `claims` rests on: which experiments with which options, where they are, and what they found."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.harness.files import CONFIG, RESULTS, read_results, read_run
from experiments.harness.options import describe, option_name
from experiments.registry import read_options
from experiments.sweep.plan import Job
from experiments.training import EnsembleOptions

Arrays = dict[str, np.ndarray]
GAINS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
BIASES = (0.0, 1.0, 2.0, 4.0)
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LAYERS = 6
# Cells that learn the temporal order.
CELLS = {"elman": "elman(recurrent_init=orthogonal(gain=1.1))", "lstm": "lstm"}


@dataclass(frozen=True)
class Config(EnsembleOptions):
    """Claims."""

    length: int = 20
    """Length of the sequences, T."""
    lags: int = 50
    """Steps back over which gradients of untrained nets are measured."""
    runs: Annotated[tuple[Path, ...], tyro.conf.arg(help_behavior_hint="(default: none)")] = ()
    """Folders searched for finished runs, with all below them; what isn't found there is run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(4, length=self.length)
        check_at_least(2, lags=self.lags)
        if self.seeds < 2:
            raise UserError("--seeds", f"must be 2 or more, for one net has no spread, but is {self.seeds}")

    def check(self) -> None:
        """Raises ValueError for a folder of --runs that isn't there, or options that a needed run refuses."""
        for folder in self.runs:
            if not folder.is_dir():
                raise UserError("--runs", f"{folder} is no folder: name one that holds finished runs")
        needed_jobs(self, Path())


# --- which runs


def needed_jobs(config: Config, folder: Path) -> dict[str, Job]:
    """Returns every run that is needed, by its name in the folder's `runs/`, the longest first."""
    jobs = {}
    for name, (experiment, *options) in needed(config).items():
        own = read_options(experiment, options).config
        own.check()
        words = (experiment, *options, "--devices=1")
        jobs[name] = Job(
            (("run", name),), config.seed, words, folder / "runs" / name, describe(experiment, own)
        )
    return jobs


def needed(config: Config) -> dict[str, list[str]]:
    """Returns the experiment and its options, as the command line takes them, by the name of the run."""

    def given(*names: str) -> list[str]:
        return [f"{option_name(name)}={getattr(config, name)}" for name in names]

    nets = given("seeds", "hidden_size", "seed")
    training = [*nets, *given("batch_size", "steps")]
    order = ["--problems", "temporal_order", f"--order-length={config.length}"]
    clipping = ["clipping", *training, *order, "--clips", "none", "global_norm", "--rates", *map(str, RATES)]
    scales = ["--gains", *map(str, GAINS), "--biases", *map(str, BIASES)]
    return {
        "depth": ["elman_depth", *training, f"--layers={LAYERS}"],
        **{f"clipping_{name}": [*clipping, f"--order-cell={cell}"] for name, cell in CELLS.items()},
        "gated_cells": ["gated_cells", *training, *given("length")],
        "initial_gradients": ["initial_gradients", *nets, *given("lags"), *scales],
    }


def find_runs(jobs: Mapping[str, Job], folders: Iterable[Path]) -> dict[str, Path]:
    """Finds the folders of finished runs: each job's own, or one in or below `folders` with the same config.

    Raises ValueError where a job's own folder lacks numbers, as one of an older version may.
    """
    others = {home: described for folder in folders for home, described in finished_below(folder).items()}
    found = {}
    for name, job in jobs.items():
        if job.finished:
            read_numbers(name, job.folder)
            found[name] = job.folder
            continue
        alike = (home for home, described in others.items() if described == job.described)
        home = next((home for home in alike if has_numbers(name, home)), None)
        if home is not None:
            found[name] = home
    return found


def finished_below(folder: Path) -> dict[Path, dict[str, Any]]:
    """Returns the configs of the finished runs in or below a folder, by their folders."""
    found = {}
    for path in sorted(folder.rglob(CONFIG)):
        if (path.parent / RESULTS).is_file():
            with contextlib.suppress(ValueError):  # a damaged one is none
                found[path.parent] = read_run(path.parent)
    return found


# --- what they found


def measured(found: Mapping[str, Path]) -> dict[str, Arrays]:
    """Reads the numbers that the claims are judged by, `{piece: arrays}`, from the results of the needed runs."""
    numbers = {name: read_numbers(name, home) for name, home in found.items()}
    return {
        "gradients": numbers["initial_gradients"],
        "rates": {key: array for name in CELLS for key, array in numbers[f"clipping_{name}"].items()},
        "depth": numbers["depth"],
        "gated": numbers["gated_cells"],
    }


def has_numbers(name: str, folder: Path) -> bool:
    """Tells whether a run holds what is needed: one of an older version may not."""
    try:
        read_numbers(name, folder)
    except ValueError:
        return False
    return True


def read_numbers(name: str, folder: Path) -> Arrays:
    """Reads the arrays of one of the needed runs. Raises ValueError where its results lack some."""
    results = read_results(folder) or {}

    def rows(*keys: str) -> np.ndarray:
        return np.array(
            [[math.inf if x is None else float(x) for x in np.atleast_1d(results[key])] for key in keys]
        )

    try:
        if name == "initial_gradients":
            return slopes(rows)
        if name == "depth":
            return depths(rows)
        return gated(rows) if name == "gated_cells" else rates(name.removeprefix("clipping_"), rows)
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder / RESULTS} lacks numbers that claims needs: delete that folder to run it anew"
        ) from None


Rows = Callable[..., np.ndarray]
"""`names of lists in results.json → [names, N]`."""


def slopes(rows: Rows) -> Arrays:
    """Reads slopes of gradients: `elman`, `lstm [G, N]` against `gain [G]`, `lstm|bias [F, N]` against `bias [F]`,
    and `elman|orthogonal [N]`."""
    against = {"elman": GAINS, "lstm": GAINS, "lstm|bias": BIASES}
    found = {name: rows(*(f"{name}.{x:g}.slopes" for x in values)) for name, values in against.items()}
    (orthogonal,) = rows("elman|orthogonal.slopes")
    return {"gain": np.array(GAINS), "bias": np.array(BIASES), **found, "elman|orthogonal": orthogonal}


def rates(cell: str, rows: Rows) -> Arrays:
    """Reads, against `rate [R]`, of a cell without and with clipping: `…|held_out [R, N]`, infinite for a net that
    wasn't finite to the end, `…|largest` gradient norm, and `…|climbed`, how far ln loss rose in all."""
    keys = {"held_out": "losses", "largest": "largest_norms", "climbed": "climbs"}
    found = {
        f"{cell}{words}|{key}": rows(*(f"temporal_order.{clip}.{rate:g}.{theirs}" for rate in RATES))
        for words, clip in (("", "none"), (", clipped", "global_norm"))
        for key, theirs in keys.items()
    }
    return {"rate": np.array(RATES), **found}


def depths(rows: Rows) -> Arrays:
    """Reads, against `depth [L]`, `held_out`, `first_layer` and `last_layer [L, N]`."""
    depth = range(1, LAYERS + 1)
    keys = {"held_out": "losses", "first_layer": "first_layer", "last_layer": "last_layer"}
    found = {key: rows(*(f"{layers}.{theirs}" for layers in depth)) for key, theirs in keys.items()}
    return {"depth": np.array(depth, float), **found}


def gated(rows: Rows) -> Arrays:
    """Reads, of one LSTM, `lstm|…`, and of GRUs with as many units and as many parameters, `gru|…`:
    `held_out [nets, N]`, `parameters` and `weights [nets]`."""
    return {
        f"{cell}|{key}": rows(*(f"{net}.{theirs}" for net in nets)).reshape(shape)
        for cell, nets in (("lstm", ("lstm",)), ("gru", ("gru", "gru_wide")))
        for key, theirs, shape in (
            ("parameters", "parameters", -1),
            ("weights", "weights", -1),
            ("held_out", "losses", (len(nets), -1)),
        )
    }
