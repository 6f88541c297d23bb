"""Forecast time series: one step ahead, and free-running with forecasts as inputs.

By default the delay equation of Mackey and Glass and Lorenz's system, generated; --data.file FILE --data.columns
NAME takes columns of your own CSV file. The net gives the distribution of the next value, hence quantile bands;
beside it stand persistence (the last value) and a linear autoregression by least squares. Of the generated systems
the largest Lyapunov exponent is measured from their equations, and errors are shown against the horizon in Lyapunov
times. --preset long trains about four times as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import jax
import numpy as np
import tyro

from data import (
    Batch,
    Series,
    SeriesConfig,
    array_digest,
    collate_gaps,
    evaluation_batches,
    load_series,
    next_values,
    train_batches,
)
from data.batch import Batches
from data.series import SYSTEMS
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import stored_config
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.health import check_health
from experiments.network import NetworkConfig
from experiments.restore import best_params
from experiments.run_task import Trained, run_tasks
from experiments.series import forecast_report
from experiments.series.flows import leading_exponent
from experiments.series.forecast_measure import forecasts
from experiments.series.objective import by_likelihood
from experiments.task import Data, Metric, Task
from experiments.training import CELL_HELP, Flat
from models import Cell, GaussianMixture, SequenceDensity
from models.layers.layer import check_causal
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share
EXPONENT_STEPS = 10_000  # sampling intervals over which the Lyapunov exponent is measured
SystemName = Literal["mackey_glass", "lorenz"]
METRICS = {
    "nll": Metric("negative log-likelihood (nats a step)", ".3f"),
    "mean_square_error": Metric("squared error of one step (in variances)", ".2e", scale="log"),
}


@dataclass(frozen=True)
class Config:
    """Forecasting."""

    preset: str | None = None
    """Options of a timed setting; options given explicitly override it."""
    series: tuple[SystemName, ...] = get_args(SystemName)
    """The systems to generate, without --data.file."""
    data: SeriesConfig = field(default_factory=SeriesConfig)
    cell: Annotated[str, tyro.conf.arg(help=CELL_HELP)] = "gru"
    hidden_size: int = 64
    """Units of the cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    components: int = 1
    """Normal distributions in the mixture that is the distribution of the next value."""
    length: int = 100
    """Steps of a training sequence, T, and of what is read before a forecast."""
    horizon: int = 150
    """Steps of a free-running forecast."""
    starts: int = 50
    """Places of the test part from which it runs."""
    samples: int = 100
    """Sampled continuations for the bands of a free-running forecast."""
    batch_size: int = 32
    """Sequences per step, B."""
    seed: int = 0
    """Seed of parameters, of the order of training sequences, and of generated series."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1500, eval_every=150, save_every=150)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        check_at_least(
            1,
            hidden_size=self.hidden_size,
            components=self.components,
            horizon=self.horizon,
            starts=self.starts,
            samples=self.samples,
            batch_size=self.batch_size,
        )
        check_at_least(2, length=self.length)
        check_seed(self.seed)
        check_distinct(series=self.series)

    def check(self) -> None:
        """Raises ValueError for a series that can't be read and a network that can't be built, before the run's
        folder is made."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        layer = self.layer()
        check_health(layer, self.loop)
        for name in self.names:
            series = self.load(name)
            tested = len(series.values) - series.ends[1]
            if self.horizon + 1 >= tested:
                raise UserError(
                    "--horizon", f"{self.horizon} must be less than the {tested} values of the test part"
                )
            task = forecast_task(self, name, series)
            check_task_fits(task, self)
            task.data.train(self.seed, self.batch_size)  # too few sequences are refused

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the series to forecast, by name."""
        return self.series if self.data.file is None else (self.data.file.name.split(".")[0],)

    def load(self, name: str) -> Series:
        """Returns a series."""
        return load_series(self.data, name, self.seed)

    def layer(self) -> Cell:
        """Builds the layer of the cell. Raises UserError for one that can't forecast."""
        layer = self.network.build(self.cell, self.hidden_size)
        if self.network.direction != "forward":
            raise UserError(
                "--direction", f"{self.network.direction} reads the future, and it is asked for: take forward"
            )
        if layer.couples_batch:
            raise UserError("--cell", f"{self.cell} couples the sequences of a batch: take another")
        check_causal(layer)
        return layer


PRESETS: Mapping[str, Config] = {
    "long": Config(
        preset="long",
        hidden_size=128,
        loop=LoopConfig(steps=6000, eval_every=500, save_every=500),
        optimizer=OptimizerConfig(learning_rate=4e-3, schedule="warmup_cosine", warmup_steps=100),
    )
}


def forecast_task(config: Config, name: str, series: Series) -> Task:
    """Builds the task of forecasting a series; its units are standard deviations of the training part."""
    values, size = series.standardised, series.values.shape[1]
    model = SequenceDensity(
        config.layer(), GaussianMixture(size, config.components), method=config.network.way
    )

    def train(seed: int, rows: int) -> Batches:
        examples = next_values(values, 0, series.ends[0], config.length, max(1, config.length // 20))
        return train_batches(examples, batch_size=rows, seed=seed, collate=collate_gaps, **process_shard())

    def held_out(start: int, end: int) -> list[Batch]:
        """The part as one sequence, after `length` steps before it, which aren't scored."""
        before = min(config.length, start)
        examples = next_values(values, start - before, end, end - start + before - 1, 1)
        (batch,) = evaluation_batches(examples, batch_size=1, collate=collate_gaps)
        targets = np.array(batch.targets)
        targets[: max(before - 1, 0)] = np.nan
        return [batch._replace(targets=targets)]

    def shapes(rows: int) -> Any:
        steps = (config.length, rows)
        vectors = jax.ShapeDtypeStruct((*steps, size), np.float32)
        return Batch(vectors, vectors, jax.ShapeDtypeStruct(steps, np.bool_))  # type: ignore[arg-type]

    return Task(
        title=f"forecast of {name}",
        model=model,
        data=Data(
            train,
            lambda: held_out(*series.ends),
            lambda: held_out(series.ends[1], len(series.values)),
            "the last part of the series",
            shapes=shapes,
            held_out=len(series.values) // config.length,
        ),
        objective=by_likelihood(model),
        metrics=METRICS,
        select="nll",
        report="mean_square_error",
        fingerprint={"the series": array_digest([series.values])},
    )


def main(config: Config, run: Run) -> str:
    """Trains series by series, forecasts, tabulates and draws; returns the report."""
    loaded = {name: config.load(name) for name in config.names}
    tasks = {name: forecast_task(config, name, series) for name, series in loaded.items()}

    def measured(name: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        del trained  # it may not be the best
        params = best_params(tasks[name], config, folder, run.fingerprint)
        model: Any = tasks[name].model
        return forecasts(config, loaded[name], model, params) | {
            "rate": exponent(config, run, name),
            "names": np.array(loaded[name].names),
        }

    found: dict[str, dict[str, np.ndarray]] = {}
    for name, arrays in run_tasks(run, tasks, config, measured):
        found[name] = arrays
        print(forecast_report.sentence(name, arrays), flush=True)
    table = forecast_report.format_table(config.network.describe(config.cell), found)
    run.write_table(table)
    draw(run.folder)
    run.finish(forecast_report.results(found))
    return table


def exponent(config: Config, run: Run, name: str) -> np.ndarray:
    """Returns the largest Lyapunov exponent of a generated system, in nats a step, and its standard error, `[2]`;
    NaN for a series from a file."""
    if config.data.file is not None:
        return np.full(2, np.nan)
    measure = partial(leading_exponent, SYSTEMS[name], EXPONENT_STEPS, config.seed)
    return run.cached(f"exponent_{name}", lambda: {"rate": np.array(measure())})["rate"]


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    config = stored_config(Config, folder)
    return forecast_report.draw(folder, config.names, config.network.describe(config.cell))
