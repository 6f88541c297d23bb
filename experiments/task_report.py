"""The report of a trained task: its sentence, table, examples and figure."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from experiments.harness.files import read_arrays, read_results, read_run
from experiments.harness.types import from_json
from experiments.network import NetworkConfig
from experiments.task import Metric, Task
from train import read_metrics
from train.progress import columns_of


def format_report(task: Task, label: str, test: Mapping[str, float], examples: str) -> str:
    """Formats one sentence on the reported metric; with a score a row for every metric, and examples."""
    metric = task.metrics[task.reported]
    lines = [
        f"{task.title}, {label}: {metric.label} {test[task.reported]:{metric.format}} on {task.data.tested_on}"
        + "".join(
            f"; {name} gives {values[task.reported]:{metric.format}}"
            for name, values in task.baselines.items()
            if task.reported in values
        )
    ]
    if task.score is not None:
        lines += ["", *format_metrics(task, label, test)]
    return "\n".join(lines + (["", examples] if examples else []))


def format_metrics(task: Task, label: str, test: Mapping[str, float]) -> list[str]:
    """Formats a row for every metric: the model on the test data, and beside it the baselines."""
    columns = {label: test, **task.baselines}
    return format_columns(columns, metric_rows(task.metrics, columns))


def metric_rows(
    metrics: Mapping[str, Metric], columns: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, str]]:
    """Returns the entries of a table, a row for every metric that any of the columns has."""
    rows = {
        metric.label: {
            c: f"{values[name]:{metric.format}}" for c, values in columns.items() if name in values
        }
        for name, metric in metrics.items()
    }
    return {label: row for label, row in rows.items() if row}


def format_columns(columns: Iterable[str], rows: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Formats a table from the entries of its rows by column; columns are as wide as their names, or 12."""
    columns, width = list(columns), max(map(columns_of, rows), default=0)
    lines = ["".join([" " * width, *("  " + " " * (12 - columns_of(name)) + name for name in columns)])]
    for label, row in rows.items():
        entries = (f"  {row.get(name, ''):>{max(12, columns_of(name))}}" for name in columns)
        lines.append("".join([padded(label, width), *entries]))
    return lines


def padded(text: str, columns: int) -> str:
    """Fills a text with blanks to so many columns of the terminal."""
    return text + " " * (columns - columns_of(text))


def draw_task(folder: Path, metrics: Mapping[str, Metric], report: str) -> list[Path]:
    """Draws the held-out metric of a finished run against the step, beside the baselines."""
    from analysis.figures.curves import loss_curves, training_curves
    from analysis.figures.style import save

    record, metric = read_arrays(folder, "curves"), metrics[report]
    curve = {"step": record[f"validation/{report}/step"], "value": record[f"validation/{report}"]}
    baselines = baselines_of(folder, record, report)
    name, value = next(iter(baselines.items()), ("", None))
    draw = training_curves if metric.scale == "linear" else loss_curves
    figure = draw(
        {label_of(folder, record): curve},
        y_label=f"{metric.label}, held out",
        baseline=value,
        baseline_label=name,
    )
    return save(figure, folder / "figures", "training")


def label_of(folder: Path, record: Mapping[str, np.ndarray]) -> str:
    """Returns the net's name in figures. Runs made before there were tasks have it in their config."""
    if "label" in record:
        return str(record["label"])
    config = read_run(folder)["config"]
    return from_json(NetworkConfig, config["network"]).describe(config["cell"])


def baselines_of(folder: Path, record: Mapping[str, np.ndarray], metric: str) -> dict[str, float]:
    """Values of the baselines in a metric, by their labels; of runs made before there were tasks the trivial
    answer alone."""
    start = f"baseline|{metric}|"
    found = {name.removeprefix(start): float(v) for name, v in record.items() if name.startswith(start)}
    if found or "label" in record:
        return found
    before = (read_results(folder) or {}).get(f"baseline.{metric}")
    return {"the trivial answer": float(before)} if isinstance(before, int | float) else {}


def training_record(folder: Path) -> dict[str, np.ndarray]:
    """Reads `metrics.jsonl` into arrays: `train/loss`, `validation/accuracy`, …, each with its `…/step`."""
    columns: dict[str, list[float]] = {}
    for record in read_metrics(folder):
        split = record["split"]
        for name, value in record.items():
            if name not in ("split", "step"):
                columns.setdefault(f"{split}/{name}", []).append(value)
                columns.setdefault(f"{split}/{name}/step", []).append(record["step"])
    return {name: np.asarray(values) for name, values in columns.items()}
