"""Forecasts of a trained net on the test part of a series, beside persistence and autoregression."""

import math
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from data import Series
from experiments.series.autoregression import best_autoregression, filled, iterate, one_step
from models import Mixture, SequenceDensity, free_run, mixture_quantiles
from models.cell import Array, Params

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the bands
SHOWN = 150  # steps of the figure of one-step forecasts


@runtime_checkable
class Settings(Protocol):
    """The options of forecasting that are read here."""

    @property
    def length(self) -> int: ...
    @property
    def horizon(self) -> int: ...
    @property
    def starts(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def seed(self) -> int: ...


def forecasts(config: Settings, series: Series, model: SequenceDensity, params: Params) -> dict[str, Any]:
    """Measures a net on the test part, in standard deviations of the training part.

    Returns `one_step|METHOD`, the root mean square errors of the net, persistence and autoregression over the same
    targets: those that are there, and the value before them too; `within [2]`, the shares of them within the
    bands of 50 and 90 %; `by_horizon|METHOD [S]`, root mean square errors of free-running forecasts from several
    places by their step; `order` of the autoregression. Of the first `SHOWN` targets `shown|truth [n, N]` and
    `shown|quantiles [5, n, N]`; of one free-running forecast `run|truth`, `run|mean`, `run|autoregression [S, N]`
    and `run|quantiles [5, S, N]` over sampled continuations.
    """
    values, (train_end, start) = series.standardised, series.ends
    present = np.asarray(np.isfinite(values).all(axis=-1))
    scored = present & np.concatenate([[False], present[:-1]])
    whole = filled(values)
    linear = best_autoregression(whole, scored, (train_end, start))
    at = np.flatnonzero(scored)
    at = at[at >= start]

    quantiles, mean = one_step_forecasts(model, params, values, config.length, start)
    errors = {
        "net": mean[at - start] - values[at],
        "autoregression": one_step(whole, at, linear) - values[at],
        "persistence": whole[at - 1] - values[at],
    }
    inside = [
        np.mean((quantiles[low, at - start] <= values[at]) & (values[at] <= quantiles[high, at - start]))
        for low, high in ((1, 3), (0, 4))
    ]
    found: dict[str, Any] = {f"one_step|{name}": rms(error) for name, error in errors.items()}
    found |= {"within": np.array(inside), "order": linear.order, "levels": np.array(LEVELS)}
    found |= {"shown|truth": values[start : start + SHOWN], "shown|quantiles": quantiles[:, :SHOWN]}

    starts = places(present, start, config)
    truth = np.stack([values[s : s + config.horizon] for s in starts])
    read = np.stack([values[s - config.length : s] for s in starts])
    key = jax.random.key(config.seed)
    runs = {
        "net": continue_from(model, params, read, config.horizon, key, "mean"),
        "autoregression": iterate(
            np.stack([whole[s - linear.order : s] for s in starts]), config.horizon, linear
        ),
        "persistence": np.broadcast_to(whole[starts - 1][:, None], truth.shape),
    }
    found |= {f"by_horizon|{name}": rms_by_step(run - truth) for name, run in runs.items()}
    samples = continue_from(
        model, params, np.repeat(read[:1], config.samples, 0), config.horizon, key, "sample"
    )
    found |= {
        "run|truth": truth[0],
        "run|mean": runs["net"][0],
        "run|autoregression": runs["autoregression"][0],
        "run|quantiles": np.quantile(samples, LEVELS, axis=0),
    }
    return found


def rms(errors: np.ndarray) -> float:
    """Computes the root mean square of errors `[n, N]`."""
    return math.sqrt(np.mean(errors.astype(np.float64) ** 2))


def rms_by_step(errors: np.ndarray) -> np.ndarray:
    """Computes the root mean square over starts and columns of errors `[starts, S, N]`, gaps left out: `[S]`."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.nanmean(errors.astype(np.float64) ** 2, axis=(0, 2)))


def places(present: np.ndarray, start: int, config: Settings) -> np.ndarray:
    """Returns the places from which forecasts run: evenly over the test part, each after a value that is there."""
    last = len(present) - config.horizon
    wanted = np.linspace(start, last, config.starts).round().astype(np.int64)
    known = np.flatnonzero(present[:last]) + 1
    nearest = known[np.clip(np.searchsorted(known, wanted), 0, len(known) - 1)]
    return np.unique(np.maximum(nearest, config.length))


def one_step_forecasts(
    model: SequenceDensity, params: Params, values: np.ndarray, length: int, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts every value from `start` on from all before it, of which `length` before the first: quantiles
    `[5, n, N]` and means `[n, N]`."""
    inputs = values[max(start - length, 0) : -1]
    mask = np.isfinite(inputs).all(axis=-1)

    @jax.jit
    def forecast(params: Params, inputs: Array, mask: Array) -> tuple[Array, Array]:
        given: Any = model.apply(params, inputs, mask=mask)
        mean = jnp.sum(jnp.exp(given.log_weights) * given.means, axis=-1)
        return mixture_quantiles(Mixture(*given), jnp.asarray(LEVELS)), mean

    quantiles, mean = forecast(params, jnp.asarray(inputs), jnp.asarray(mask))
    count = len(values) - start
    return np.asarray(quantiles)[:, -count:], np.asarray(mean)[-count:]


def continue_from(
    model: SequenceDensity, params: Params, read: np.ndarray, steps: int, key: Array, choice: Any
) -> np.ndarray:
    """Continues sequences `[starts, T, N]`, in which NaN are gaps, by so many steps: `[starts, steps, N]`."""
    inputs = jnp.asarray(read.swapaxes(0, 1))
    mask = jnp.isfinite(inputs).all(axis=-1)
    return np.asarray(free_run(model, params, inputs, steps, key, mask=mask, choice=choice)).swapaxes(0, 1)
