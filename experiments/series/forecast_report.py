"""The table and figures of `forecast`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import arrays_with_prefix, read_arrays
from experiments.harness.options import folder_name
from experiments.task_report import format_columns

METHODS = ("net", "autoregression", "persistence")
USEFUL = 0.4  # standard deviations: a free-running forecast with a greater error is of no use
Found = Mapping[str, np.ndarray]


def useful_steps(errors: np.ndarray) -> float:
    """Returns the number of steps before the error first exceeds `USEFUL`; all of them where it never does."""
    beyond = np.flatnonzero(~(errors <= USEFUL))
    return float(beyond[0] if beyond.size else errors.size)


def sentence(name: str, found: Found) -> str:
    """Formats the errors of one step in a line."""
    errors = {method: float(found[f"one_step|{method}"]) for method in METHODS}
    return (
        f"{name}: error of one step {errors['net']:.4f} standard deviations, "
        f"{errors['persistence'] / errors['net']:.1f} times less than persistence and "
        f"{errors['autoregression'] / errors['net']:.1f} times less than autoregression"
    )


def format_table(net: str, series: Mapping[str, Found]) -> str:
    """Formats a block for each series, a column for each method."""
    lines: list[str] = []
    for name, found in series.items():
        titles = {
            "net": net,
            "autoregression": f"autoregression of order {int(found['order'])}",
            "persistence": "persistence",
        }
        rate, deviation = found["rate"].tolist()
        lines += [sentence(name, found), ""]
        errors = {method: found[f"by_horizon|{method}"] for method in METHODS}
        horizons = [h for h in (1, 10, 50, 100, 150) if h <= errors["net"].size]
        rows = {
            "one step, every place": {
                titles[method]: f"{float(found[f'one_step|{method}']):.4f}" for method in METHODS
            }
        }
        rows |= {
            f"free-running, step {horizon}": {
                titles[method]: f"{errors[method][horizon - 1]:.4f}" for method in METHODS
            }
            for horizon in horizons
        }
        useful = {method: useful_steps(errors[method]) for method in METHODS}
        rows[f"steps to an error of {USEFUL}"] = {titles[m]: f"{steps:.0f}" for m, steps in useful.items()}
        if np.isfinite(rate):
            rows["the same in Lyapunov times"] = {
                titles[m]: f"{steps * rate:.2f}" for m, steps in useful.items()
            }
        half, most = found["within"].tolist()
        rows["values within the 50 % band"] = {titles["net"]: f"{half:.1%}"}
        rows["values within the 90 % band"] = {titles["net"]: f"{most:.1%}"}
        lines += [
            "errors in standard deviations of the training part",
            *format_columns(titles.values(), rows),
        ]
        if np.isfinite(rate):
            lines += [
                f"largest Lyapunov exponent of the system: {rate:.4f} ± {deviation:.4f} nats a step, so a Lyapunov "
                f"time is {1 / rate:.1f} steps"
            ]
        lines += [""]
    return "\n".join(lines[:-1])


def results(series: Mapping[str, Found]) -> dict[str, Any]:
    """Returns what `results.json` holds."""
    return {
        name: {
            "one_step": {method: float(found[f"one_step|{method}"]) for method in METHODS},
            "useful_steps": {method: useful_steps(found[f"by_horizon|{method}"]) for method in METHODS},
            "within": found["within"].tolist(),
            "exponent": [None if np.isnan(value) else value for value in found["rate"].tolist()],
        }
        for name, found in series.items()
    }


def draw(folder: Path, names: Sequence[str], net: str) -> list[Path]:
    """Draws the errors against the horizon, and the forecasts with their bands."""
    from analysis.figures.series import error_against_horizon, forecast_bands
    from analysis.figures.style import save

    found = {name: read_arrays(folder, f"nets/{folder_name(name)}") for name in names}
    panels = {
        name: {
            "rate": arrays["rate"][0],
            "errors": {
                net if method == "net" else method: errors
                for method, errors in arrays_with_prefix("by_horizon", arrays).items()
            },
        }
        for name, arrays in found.items()
    }
    drawn = save(error_against_horizon(panels), folder / "figures", "error_against_horizon")
    for kind, title in (("shown", "one_step"), ("run", "free_running")):
        bands = {}
        for name, arrays in found.items():
            own = arrays_with_prefix(kind, arrays)
            if (
                kind == "shown"
            ):  # the errors of the median: beside the values the bands would be too narrow to see
                median = own["quantiles"][2]
                own = {name: values - median for name, values in own.items()}
            for column, label in enumerate(arrays["names"].tolist()):
                bands[f"{name}, {label}"] = {
                    "truth": own["truth"][:, column],
                    "quantiles": own["quantiles"][:, :, column],
                    **{
                        method: own[key][:, column]
                        for key, method in (("mean", net), ("autoregression", "autoregression"))
                        if key in own
                    },
                }
        y_label = "error of one step" if kind == "shown" else "value"
        drawn += save(forecast_bands(bands, y_label=y_label), folder / "figures", title)
    return drawn
