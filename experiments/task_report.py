"""The report of a trained task: its sentence, table, examples and figure."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.harness.files import read_arrays, read_results, read_run
from experiments.harness.types import from_json
from experiments.network import NetworkConfig
from experiments.task import Metric, Task
from train import read_metrics


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
    width = max(len(metric.label) for metric in task.metrics.values())
    lines = ["".join([" " * width, *(f"  {name:>12}" for name in columns)])]
    for name, metric in task.metrics.items():
        if any(name in values for values in columns.values()):
            entries = (f"{v[name]:{metric.format}}" if name in v else "" for v in columns.values())
            lines.append(
                f"{metric.label:<{width}}"
                + "".join(f"  {e:>{max(12, len(c))}}" for e, c in zip(entries, columns, strict=True))
            )
    return lines


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
