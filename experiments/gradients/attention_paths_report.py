"""The report of `attention_paths`: its table, figures and results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import arrays_with_prefix, read_arrays
from experiments.task import METRICS

MOMENTS = ("before", "after")
PATHS = ("total", "recurrence", "attention", "mixed")
LAGS = (1, 10)  # and the last: whose influence the table gives


def format_table(nets: Mapping[str, Mapping[str, np.ndarray]], metrics: Mapping[str, str]) -> str:
    """Formats a row for each net and moment: its metric, λ₁ and τ, then the influence by path at some lags."""
    width = max(len(name) for name in nets)
    lines = [f"{'net':<{width}}  {'training':<8}{'metric':>10}{'lambda_1':>10}{'tau':>7}  {'lag':>4}"]
    lines[0] += "".join(f"{path:>11}" for path in PATHS)
    for name, found in nets.items():
        for moment in MOMENTS:
            of_moment = arrays_with_prefix(moment, dict(found))
            metric = METRICS[metrics[name]]
            head = f"{name:<{width}}  {moment:<8}{float(of_moment['metric']):>10{metric.format}}"
            head += f"{mean(of_moment, 'exponent'):>10}{mean(of_moment, 'tau', '.2f'):>7}"
            for i, lag in enumerate(shown_lags(of_moment)):
                norms = (
                    f"{np.median(of_moment[path][lag]):.1e}" if path in of_moment else "" for path in PATHS
                )
                lines.append(
                    f"{head if not i else '':<{len(head)}}  {lag:>4}"
                    + "".join(f"{norm:>11}" for norm in norms)
                )
    return "\n".join(
        [
            *lines,
            "",
            "Influence of an input on the last output, `lag` steps later: medians over held-out sequences, in all,",
            "by recurrence alone, by attention alone, by paths through both. lambda_1: leading exponent of the",
            "recurrence; tau: Kendall's, between attention weights and influence; means over the sequences.",
        ]
    )


def shown_lags(found: Mapping[str, np.ndarray]) -> list[int]:
    """Returns the lags of the table."""
    last = len(found["total"]) - 1
    return sorted({lag for lag in (*LAGS, last) if lag <= last})


def mean(found: Mapping[str, np.ndarray], name: str, spec: str = "+.4f") -> str:
    """Formats the mean of a quantity; blank where the net has none."""
    return f"{found[name].mean():{spec}}" if name in found else ""


def results(nets: Mapping[str, Mapping[str, np.ndarray]], metrics: Mapping[str, str]) -> dict[str, Any]:
    """Returns the numbers of every net and moment: the metric, λ₁ and τ with their standard deviations over
    sequences, and medians by lag."""
    found: dict[str, Any] = {}
    for name, arrays in nets.items():
        for moment in MOMENTS:
            of_moment = arrays_with_prefix(moment, dict(arrays))
            row: dict[str, Any] = {metrics[name]: float(of_moment["metric"])}
            for quantity in ("exponent", "tau"):
                if quantity in of_moment:
                    values = of_moment[quantity]
                    row[quantity] = {"mean": float(values.mean()), "deviation": float(values.std())}
            for quantity in (*PATHS, "loss_gradients"):
                if quantity in of_moment:
                    row[quantity] = np.median(of_moment[quantity], axis=1).tolist()
            found[f"{name}, {moment} training"] = row
    return found


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.influence import gradient_by_distance, influence_by_path
    from analysis.figures.style import save

    arrays = read_arrays(folder, "paths")
    names = list(dict.fromkeys(key.split("|")[0] for key in arrays))
    panels: dict[str, dict[str, np.ndarray]] = {}
    exponents: dict[str, float] = {}
    for moment in MOMENTS:
        for name in names:
            found = arrays_with_prefix(f"{name}|{moment}", arrays)
            if "exponent" in found:
                title = f"{name}, {moment} training"
                panels[title] = {path: found[path] for path in PATHS}
                exponents[title] = float(found["exponent"].mean())
    drawn = {"influence_by_path": influence_by_path(panels, exponents)}
    on_text = [name for name in names if f"{name}|after|loss_gradients" in arrays]
    if on_text:
        before, after = (
            {net_label(name): arrays[f"{name}|{moment}|loss_gradients"] for name in on_text}
            for moment in MOMENTS
        )
        drawn["gradient_by_distance"] = gradient_by_distance(before, after)
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def net_label(name: str) -> str:
    """Returns the name of a net on text in the figure: `text, lstm` → `lstm`."""
    return name.partition(", ")[2] or "recurrence and attention"
