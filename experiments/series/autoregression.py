"""Linear autoregression by least squares, and the last value: what a forecast is compared with."""

from dataclasses import dataclass

import numpy as np

ORDERS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, eq=False)
class Autoregression:
    """x̂_{t+1} = c + Σ_{i<p} x_{t−i} A_i, with `kernel [p N + 1, N]`: c, then A_0 … A_{p−1}."""

    kernel: np.ndarray
    order: int

    def __call__(self, past: np.ndarray) -> np.ndarray:
        """Forecasts the value after the past `[..., ≥ p, N]`: `[..., N]`."""
        latest = past[..., : -self.order - 1 : -1, :]
        flat = latest.reshape(*past.shape[:-2], -1)
        return self.kernel[0] + flat @ self.kernel[1:]


def fit_autoregression(values: np.ndarray, scored: np.ndarray, end: int, order: int) -> Autoregression:
    """Fits by least squares to `values [T, N]`, in which gaps are filled, at the targets before `end` that are
    `scored [T]`."""
    lags = lagged(values, order)
    at = np.flatnonzero(scored[:end])
    at = at[at >= order]
    rows = np.concatenate([np.ones((len(at), 1)), lags[at]], axis=1)
    return Autoregression(np.linalg.lstsq(rows, values[at], rcond=None)[0], order)


def best_autoregression(values: np.ndarray, scored: np.ndarray, ends: tuple[int, int]) -> Autoregression:
    """Fits to the training part for each of the `ORDERS` that it allows, and returns the one with the least error
    on the validation part."""
    fitted = [
        fit_autoregression(values, scored, ends[0], order)
        for order in ORDERS
        if order == 1 or (1 + order * values.shape[1]) * 2 < scored[: ends[0]].sum() - order
    ]
    valid = np.flatnonzero(scored[: ends[1]])
    valid = valid[valid >= max(ends[0], 1)]

    def error(model: Autoregression) -> float:
        at = valid[valid >= model.order]
        return float(np.mean((one_step(values, at, model) - values[at]) ** 2))

    return min(fitted, key=error)


def one_step(values: np.ndarray, at: np.ndarray, model: Autoregression) -> np.ndarray:
    """Forecasts the values at the places `at` from those before them, `[n, N]`."""
    return model.kernel[0] + lagged(values, model.order)[at] @ model.kernel[1:]


def lagged(values: np.ndarray, order: int) -> np.ndarray:
    """Returns, for every place t, x_{t−1}, …, x_{t−p} side by side, `[T, p N]`; zero before the beginning."""
    columns = [np.zeros_like(values) for _ in range(order)]
    for lag, column in enumerate(columns, 1):
        column[lag:] = values[:-lag]
    return np.concatenate(columns, axis=1)


def iterate(past: np.ndarray, steps: int, model: Autoregression) -> np.ndarray:
    """Continues `past [starts, p, N]` by so many values, each from those before it: `[starts, steps, N]`."""
    for _ in range(steps):
        past = np.concatenate([past, model(past)[:, None]], axis=1)
    return past[:, -steps:]


def filled(values: np.ndarray) -> np.ndarray:
    """Fills gaps with the last value before them (before the first value, with that)."""
    places = np.where(np.isfinite(values), np.arange(len(values))[:, None], 0)
    places = np.maximum.accumulate(places, axis=0)
    found = np.take_along_axis(values, places, axis=0)
    first = np.argmax(np.isfinite(values), axis=0)
    return np.where(np.isfinite(found), found, values[first, np.arange(values.shape[1])])
