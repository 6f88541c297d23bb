"""The curves section: a chart per metric, and one legend for all."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from experiments.report.charts import MOST, Style, chart, logarithmic, style_of, widened
from experiments.report.reading import Line, Numbers, Reported, net_title

Lines = Mapping[str, tuple[Style, Line]]
"""The lines of a chart by key, the same for a net in every chart."""


def curves(runs: Sequence[Reported]) -> tuple[str, dict[str, object]]:
    """Returns a chart per metric and split with a line per net and a legend, and the numbers for the script."""
    nets = list(dict.fromkeys(net.name for run in runs for net in run.nets))
    single = all(len(run.nets) <= 1 for run in runs)
    charts: dict[tuple[str, str], dict[str, tuple[Style, Line]]] = {}
    legend: dict[str, tuple[Style, str]] = {}
    for i, run in enumerate(runs):
        for net in run.nets:
            key, style = f"{i}-{nets.index(net.name)}", style_of(i, nets.index(net.name), len(runs) > 1)
            legend[key] = style, net_title(runs, i, net, single)
            for line in net.lines:
                charts.setdefault((line.metric, line.split), {})[key] = (style, line)
    if not charts:
        return "", {}
    every = np.concatenate([line.steps for lines in charts.values() for _, line in lines.values()])
    drawn, data = [], {}
    for metric, split in sorted(charts, key=importance):
        lines, name = charts[metric, split], f"{metric}, {split}"
        log = ", log scale" if logarithmic(finite_values(lines)) else ""
        svg, data[name] = chart(lines, f"{name}{log} against steps, {len(lines)} lines", widened(every))
        title = f"<b>{escape(metric)}</b>, {escape(split)}{log}"
        drawn.append(f'<figure data-chart="{escape(name)}"><figcaption>{title}</figcaption>{svg}</figure>')
    names = {key: name for key, (_, name) in legend.items()}
    note = "".join(f'<p class="note">{sentence}</p>' for sentence in notes(charts.values()))
    body = f'{legend_of(legend)}<div class="charts">{"".join(drawn)}</div>{note}'
    return body, {"names": names, "charts": data}


def notes(charts: Iterable[Lines]) -> list[str]:
    """Returns sentences about lines that aren't shown as logged."""
    lines = [line for chart in charts for _, line in chart.values()]
    said = []
    if any(len(line.steps) > MOST for line in lines):
        said.append(
            f"Of lines longer than {MOST} points the lowest and highest ones of each stretch are shown."
        )
    if not all(np.isfinite(line.values).all() for line in lines):
        said.append("A cross at the upper edge marks a value that was not finite.")
    return said


def finite_values(lines: Lines) -> Numbers:
    """Returns the finite values of all lines of a chart, `[n]`."""
    values = np.concatenate([line.values for _, line in lines.values()])
    return values[np.isfinite(values)]


def importance(name: tuple[str, str]) -> tuple[int, str, str]:
    """Returns a sort key for `(metric, split)`: loss first, then validation, then the rest."""
    metric, split = name
    return (0 if metric == "loss" else 1 if split == "validation" else 2, metric, split)


def legend_of(entries: Mapping[str, tuple[Style, str]]) -> str:
    """Returns a button per line, which toggles it in every chart; empty for a single line."""
    if len(entries) < 2:
        return ""
    buttons = "".join(
        f'<button aria-pressed="true" data-key="{key}"><svg viewBox="0 0 30 8">'
        f'<path class="line" {style.attributes()} d="M0 4H30"/></svg>{escape(name)}</button>'
        for key, (style, name) in entries.items()
    )
    more = '<button class="all">show all</button><button class="none">none</button>'
    return f'<div class="legend">{buttons}{more}</div>'
