"""The outcomes of a sweep: one result of every run as a table, arrays and a figure."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import read_arrays, read_results, read_run
from experiments.harness.options import readable
from experiments.harness.run import Run
from experiments.sweep.plan import Job

Setting = tuple[tuple[str, str], ...]


def compare(
    folder: Path, jobs: Sequence[Job], asked: str | None, seeds: int, failures: Mapping[str, str]
) -> str:
    """Writes table, arrays, figure and results; returns the table."""
    metric, outcomes = read_outcomes(jobs, asked)
    settings = list(dict.fromkeys(job.setting for job in jobs))
    keys = [key for key, _ in settings[0]]
    values = np.full((len(settings), seeds), math.nan)
    for job, value in outcomes.items():
        values[settings.index(job.setting), job.seed] = value
    text = format_table(keys, settings, values, metric, failures)
    run = Run(folder)
    run.write_table(text)
    run.write_arrays(
        "outcomes",
        {
            "values": values,
            "metric": np.array(metric),
            "keys": np.array(keys, dtype=str),
            "settings": np.array(
                [[readable(value) for _, value in setting] for setting in settings], dtype=str
            ),
        },
    )
    if np.isfinite(values).any():
        draw(folder)
    if not failures and all(job.finished for job in jobs):
        found = {
            said(setting) or "all": value for setting, value in zip(settings, medians(values), strict=True)
        }
        run.finish({"metric": metric, "median": found})
    return text


def read_outcomes(jobs: Sequence[Job], metric: str | None) -> tuple[str, dict[Job, float]]:
    """Returns the metric's name and its value for each finished run. Raises ValueError if a run lacks it."""
    found = {job: read_results(job.folder) or {} for job in jobs if job.finished}
    numbers = {
        job: {k: float(v) for k, v in results.items() if isinstance(v, int | float)}
        for job, results in found.items()
    }
    chosen = metric or next((default_metric(results) for results in found.values()), "")
    for job, results in numbers.items():
        if chosen not in results:
            raise ValueError(
                f"{job.folder} has no result {chosen!r}: give as --metric one of {', '.join(results)}"
            )
    return chosen, {job: results[chosen] for job, results in numbers.items()}


def default_metric(results: Mapping[str, Any]) -> str:
    """Chooses what a task reports (or, in runs made before there were tasks, has a baseline for), else the
    perplexity of the last split, else the first number."""
    asked = [f"test.{results.get('reported')}"]
    asked += [f"test.{key.removeprefix('baseline.')}" for key in results if key.startswith("baseline.")]
    perplexities = [f"{split}.perplexity" for split in ("test", "valid")]
    numbers = [key for key, value in results.items() if isinstance(value, int | float)]
    return next((key for key in [*asked, *perplexities, *numbers] if key in numbers), "")


def medians(values: np.ndarray) -> list[float]:
    """Returns medians over the seeds that have a value; NaN without any."""
    return [float(np.median(row[~np.isnan(row)])) if (~np.isnan(row)).any() else math.nan for row in values]


def said(setting: Setting) -> str:
    return " ".join(f"{key}={value}" for key, value in setting)


def format_table(
    keys: Sequence[str],
    settings: Sequence[Setting],
    values: np.ndarray,
    metric: str,
    failures: Mapping[str, str],
) -> str:
    """Formats a row per setting (median, minimum, maximum, number of seeds), then the failures."""
    rows = [[value for _, value in setting] for setting in settings]
    widths = [max(len(key), *(len(row[i]) for row in rows)) + 2 for i, key in enumerate(keys)]
    head = "".join(f"{key:<{width}}" for key, width in zip(keys, widths, strict=True))
    lines = [
        metric or "nothing finished",
        head + "".join(f"{c:>12}" for c in ("median", "least", "most", "seeds")),
    ]
    for row, of_seeds, median in zip(rows, values, medians(values), strict=True):
        there = of_seeds[~np.isnan(of_seeds)]
        numbers = [median, there.min(), there.max()] if len(there) else [math.nan] * 3
        shown = "".join(f"{'–' if math.isnan(x) else format(x, '.5g'):>12}" for x in numbers)
        cells = "".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True))
        lines.append(f"{cells}{shown}{f'{len(there)} of {len(of_seeds)}':>12}")
    if failures:
        lines += ["", "failed", *(f"  {name}: {sentence}" for name, sentence in failures.items())]
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the arrays against the option with the most numeric values, else a row per setting."""
    from analysis.figures.outcomes import outcomes_against, outcomes_by_setting
    from analysis.figures.style import save

    found = read_arrays(folder, "outcomes")
    values, metric = found["values"], spelled(str(found["metric"]))
    keys, settings = found["keys"].tolist(), found["settings"].tolist()
    log = "y" if wide(values) else ""
    along = most_numbers(keys, settings)
    if along is None:
        alone = read_run(folder)["config"]["experiment"]
        rows = {", ".join(row) or alone: of_seeds for row, of_seeds in zip(settings, values, strict=True)}
        figure = outcomes_by_setting(rows, x_label=metric, log=bool(log))
    else:
        figure = outcomes_against(
            curves(keys, settings, values, along),
            x_label=keys[along].replace("_", " "),
            y_label=metric,
            log=("x" if wide(np.array([float(row[along]) for row in settings])) else "") + log,
        )
    return save(figure, folder / "figures", "sweep")


def spelled(metric: str) -> str:
    """Formats a metric's name: `test.mean_square_error` → mean square error, test."""
    return ", ".join(reversed(metric.replace("_", " ").split(".")))


def curves(
    keys: Sequence[str], settings: Sequence[Sequence[str]], values: np.ndarray, along: int
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Groups values into panels, lines and points: `along` on the axis, the next option as lines, the others as
    panels."""
    others = [i for i in range(len(keys)) if i != along]
    name: Callable[[Sequence[str]], str] = lambda row: row[others[0]] if others else ""  # noqa: E731
    title: Callable[[Sequence[str]], str] = lambda row: ", ".join(f"{keys[i]} {row[i]}" for i in others[1:])  # noqa: E731
    panels: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for panel in dict.fromkeys(title(row) for row in settings):
        lines = panels.setdefault(panel, {})
        for line in dict.fromkeys(name(row) for row in settings if title(row) == panel):
            places = [i for i, row in enumerate(settings) if title(row) == panel and name(row) == line]
            places.sort(key=lambda i: float(settings[i][along]))
            x = np.array([float(settings[i][along]) for i in places])
            lines[line or "all"] = {"x": x, "values": np.array([filled(values[i]) for i in places])}
    return panels


def filled(values: np.ndarray) -> np.ndarray:
    """Replaces missing values by the median of the others, so that they don't affect median and spread."""
    missing = np.isnan(values)
    return values if missing.all() else np.where(missing, np.median(values[~missing]), values)


def most_numbers(keys: Sequence[str], settings: Sequence[Sequence[str]]) -> int | None:
    """Returns the index of the option with the most values (at least two) that are all numbers; None without
    one."""

    def count(place: int) -> int:
        given = {row[place] for row in settings}
        return len(given) if all(map(is_number, given)) else 0

    best = max(range(len(keys)), key=count, default=None)
    return best if best is not None and count(best) > 1 else None


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def wide(values: np.ndarray) -> bool:
    """Tells whether numbers need a logarithmic axis."""
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() >= 8 * finite.min())
