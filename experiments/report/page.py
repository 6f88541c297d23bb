"""The page: HTML sections for the runs in one file, with style, script, figures and numbers."""

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from experiments.harness.options import format_number
from experiments.report.charts import style_of
from experiments.report.curves import curves
from experiments.report.reading import Line, Reported, net_title, png_size, run_name
from train.progress import clock

# Nothing is fetched, whatever a run's files hold: a browser that obeys this can't.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
LONG = 30  # rows of a table that is shown folded


def page(runs: Sequence[Reported]) -> str:
    """Returns the whole HTML file."""
    from analysis.figures.style import COLOURS

    title = f"{runs[0].experiment}: {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs compared"
    drawn, data = curves(runs)
    sections = {
        "Runs": overview(runs),
        "Differences": differences(runs),
        "Results": results(runs),
        "Figures": figures(runs),
        "Curves": drawn,
        "Training": training(runs),
        "Config": config(runs),
        "Environment": environment(runs),
    }
    shown = {name: body for name, body in sections.items() if body}
    links = "".join(f'<a href="#{name.lower()}">{name}</a>' for name in shown)
    body = "".join(f'<section id="{n.lower()}"><h2>{n}</h2>{b}</section>' for n, b in shown.items())
    palette = "".join(f"--c{i}:{colour};" for i, colour in enumerate(COLOURS))
    dots = "".join(f".dot.c{i}{{background:var(--c{i})}}" for i in range(len(COLOURS)))
    numbers = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>:root{{{palette}}}\n{packaged('page.css')}{dots}</style></head>"
        f"<body><header><h1>{escape(title)}</h1><nav>{links}</nav></header><main>{body}</main>"
        f'<script type="application/json" id="numbers">{numbers}</script>'
        f"<script>\n{packaged('page.js')}</script></body></html>\n"
    )


def packaged(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], marked: bool = False) -> str:
    """Formats a table of HTML cells, the first of each row its name; optionally marks rows whose cells differ."""
    lines = []
    for name, *cells in rows:
        different = ' class="different"' if marked and len(set(cells)) > 1 else ""
        lines.append(f"<tr{different}><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    top = "".join(f"<th>{cell}</th>" for cell in header)
    head = f"<thead><tr>{top}</tr></thead>" if any(header) else ""
    return f'<div class="wide"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def folded(title: str, body: str, shut: bool = True) -> str:
    return f"<details{'' if shut else ' open'}><summary>{escape(title)}</summary>{body}</details>"


def heads(runs: Sequence[Reported]) -> list[str]:
    """Returns the runs' names as HTML; of several each behind a dot in the colour of its curves."""
    return [dot(runs, i) + escape(run_name(runs, i)) for i in range(len(runs))]


def dot(runs: Sequence[Reported], i: int) -> str:
    """Returns a dot in the colour of a run; empty for a run alone."""
    return f'<i class="dot c{style_of(i, 0, True).colour}"></i>' if len(runs) > 1 else ""


def overview(runs: Sequence[Reported]) -> str:
    """Returns a row per run: its folder, state, devices, and training time."""

    def row(i: int, run: Reported) -> list[str]:
        first, *later = run.environments
        state = "finished" if run.finished else "unfinished"
        again = f"<br>resumed {escape(clock_time(later[-1]['started']))}" if later else ""
        steps, seconds = sum(net.steps for net in run.nets), sum(net.seconds or 0 for net in run.nets)
        return [
            dot(runs, i) + escape(run_name(runs, i) or run.name),
            escape(run.experiment),
            f'<span class="{state}">{state}</span>',
            f"<time>{escape(clock_time(first['started']))}</time>{again}",
            escape(devices(run)),
            f"{steps} steps, {clock(seconds)}" if run.nets else "–",
            f"<code>{escape(str(run.folder))}</code>",
        ]

    header = ["run", "experiment", "state", "begun", "devices", "training", "folder"]
    return table(header, [row(i, run) for i, run in enumerate(runs)])


def clock_time(started: str) -> str:
    """Formats a time to the minute, without the zone (the environment section shows it)."""
    return started[:16].replace("T", " ")


def devices(run: Reported) -> str:
    """Formats a run's devices: `2 × cpu: cpu`."""
    names = run.environments[-1]["devices"]
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))


def config_rows(runs: Sequence[Reported]) -> list[list[str]]:
    """Returns a row per option with each run's value."""
    options = dict.fromkeys(option for run in runs for option in run.config)
    return [[f"<code>{escape(o)}</code>", *(escape(run.config.get(o, "–")) for run in runs)] for o in options]


def differences(runs: Sequence[Reported]) -> str:
    """Returns the options in which the runs differ."""
    if len(runs) == 1:
        return ""
    rows = [row for row in config_rows(runs) if len(set(row[1:])) > 1]
    return table(["option", *heads(runs)], rows) if rows else "<p>All options are the same.</p>"


def config(runs: Sequence[Reported]) -> str:
    """Returns all resolved options, with those that differ marked."""
    rows = config_rows(runs)
    return folded(
        f"{len(rows)} options", table(["option", *heads(runs)], rows, marked=True), shut=len(runs) > 1
    )


def results(runs: Sequence[Reported]) -> str:
    """Returns each run's own table, and the numbers of `results.json` side by side."""
    parts = []
    for i, run in enumerate(runs):
        if run.table:
            name = f"<h3>{escape(run_name(runs, i))}</h3>" if len(runs) > 1 else ""
            parts.append(f"{name}<pre>{escape(run.table)}</pre>")
    found = [run.results or {} for run in runs]
    keys = dict.fromkeys(key for result in found for key in result)
    if keys:
        rows = [
            [escape(key), *(escape(format_number(result[key])) if key in result else "–" for result in found)]
            for key in keys
        ]
        body = table(["quantity", *heads(runs)], rows)
        parts.append(folded(f"{len(rows)} numbers", body) if parts or len(rows) > LONG else body)
    waiting = [run_name(runs, i) or run.name for i, run in enumerate(runs) if not run.finished]
    if waiting:
        parts.append(f"<p>Not finished: {escape(', '.join(waiting))}. What there is so far is shown.</p>")
    return "".join(parts)


def figures(runs: Sequence[Reported]) -> str:
    """Returns every figure, those of the same name side by side."""
    parts = []
    for name in dict.fromkeys(name for run in runs for name in run.figures):
        parts.append(f'<h3>{escape(name.replace("_", " "))}</h3><div class="side">')
        for i, run in enumerate(runs):
            if name in run.figures:
                caption = (
                    f"<figcaption>{dot(runs, i)}{escape(run_name(runs, i))}</figcaption>"
                    if len(runs) > 1
                    else ""
                )
                parts.append(f"<figure>{picture(name, run.figures[name])}{caption}</figure>")
        parts.append("</div>")
    return "".join(parts)


def picture(name: str, png: bytes) -> str:
    """Embeds a PNG, 200 dots per inch shown at three quarters of its size."""
    width, height = (3 * size // 4 for size in png_size(png))
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    wide = ' class="big"' if width > 640 else ""
    return f'<img alt="{escape(name)}"{wide} width="{width}" height="{height}" src="{source}">'


def training(runs: Sequence[Reported]) -> str:
    """Returns each net's steps, training time, checkpoints and last metrics."""
    rows = []
    for i, run in enumerate(runs):
        for net in run.nets:
            last = [
                f"{line.metric} {format_number(float(line.values[-1]))}"
                for line in net.lines
                if is_outcome(line)
            ]
            speed = f"{net.steps / net.seconds:.3g}" if net.seconds else "–"
            rows.append(
                [
                    escape(net_title(runs, i, net, single=not net.name)),
                    f"{net.steps}",
                    clock(net.seconds) if net.seconds is not None else "–",
                    speed,
                    ", ".join(map(str, net.checkpoints)) or "none",
                    escape(", ".join(last)),
                ]
            )
    header = ["net", "steps", "time", "steps a second", "saved at", "last"]
    note = "<p class=note>Time is spent training, compilation and evaluation included.</p>"
    return table(header, rows) + note if rows else ""


def is_outcome(line: Line) -> bool:
    """Tells whether a metric measures how well a net does: its loss, or a validation metric."""
    return line.metric == "loss" or line.split == "validation"


def environment(runs: Sequence[Reported]) -> str:
    """Returns the command, machine and versions at the start, and when the run was resumed; marks differences."""
    columns = [run.environments[0] for run in runs]
    rows = [
        ["command", *(f"<code>{escape(' '.join(map(str, one['command'])))}</code>" for one in columns)],
        *([key, *(escape(str(one[key])) for one in columns)] for key in ("started", "commit")),
        [
            "resumed",
            *(escape(", ".join(e["started"] for e in run.environments[1:])) or "–" for run in runs),
        ],
        ["devices", *(escape(devices(run)) for run in runs)],
        *([name, *(escape(str(one[key])) for one in columns)] for name, key in MACHINE.items()),
    ]
    names = dict.fromkeys(name for one in columns for name in one["packages"])
    rows += [[name, *(escape(one["packages"].get(name, "–")) for one in columns)] for name in names]
    return table(["", *heads(runs)], rows, marked=len(runs) > 1)


MACHINE = {"cores": "cpu_count", "platform": "platform", "Python": "python"}
