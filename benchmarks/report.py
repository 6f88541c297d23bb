"""The benchmark report as a page and a plot, from dictionaries."""

from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.compare import BOUNDS, LARGE, PRODUCTS
from benchmarks.layers.large_product import OPERATIONS
from benchmarks.sections import (
    NAMES,
    attention,
    beam,
    decoding,
    eager,
    gpt,
    jacobians,
    kernels,
    language_model,
    lyapunov,
    sentiment,
    shown,
    start,
    tagging,
    translation,
    turing,
)
from benchmarks.speech.sections import ctc, recogniser
from benchmarks.work import FAMILIES, Way, Work

TITLES: dict[Way, str] = {"both": "Forward and backward", "forward": "Forward"}
PARTS = {
    "eager": ("Without jit", eager),
    "kernels": ("Where the time goes", kernels),
    "jacobians": ("Step Jacobians", jacobians),
    "lyapunov": ("Lyapunov spectrum", lyapunov),
    "language_model": ("Training step of a language model", language_model),
    "gpt": ("Training step of a GPT", gpt),
    "decoding": ("Decoding with a cache", decoding),
    "attention": ("Attention in a recurrence", attention),
    "translation": ("Training step of a translation model", translation),
    "beam": ("Beam search", beam),
    "tagging": ("Training step of a tagger", tagging),
    "sentiment": ("Training step of a classifier with attention", sentiment),
    "turing": ("Training step of a Neural Turing machine", turing),
    "ctc": ("CTC", ctc),
    "recogniser": ("Training step of a recogniser", recogniser),
    "start": ("Starting", start),
}
JAX_PEERS = ("Linen", "NNX", "Equinox")


def page(record: dict[str, Any]) -> str:
    """Returns `docs/benchmarks.md`."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. The work is one recurrent layer in float32: the mean square of its outputs "
        "(forward), and its gradient with respect to all weights (forward and backward). Each library runs jitted "
        "and warmed up in its own process with all cores, and the libraries take turns. Weights and inputs are the "
        "same; results must agree to 1e-4, or the benchmark stops. Times are medians in milliseconds, with the "
        "interquartile range in brackets.",
        "",
        "*Ours* uses one device per core, as `python -m experiments` does; so do the columns *sharded*, through "
        "the same `jax.shard_map`. Equinox is a scan under `vmap`, as documented; it has no Elman cell.",
        "",
        "*Products alone* is not a layer but the matrix products of one, in the order that the recurrence imposes, "
        "with almost nothing between them, run by XLA on one device per core. *One large product* multiplies two "
        "2048 × 2048 matrices on all cores, in GFLOP/s, and takes turns like a library. The gap between these two "
        "is the cost of thin products; the gap between ours and the products alone is the cost of the rest of a "
        "layer.",
        "",
        f"Machine: {provenance(record)}",
        "",
        record["accelerator"],
        "",
        "![Time of each library relative to ours](benchmarks.png)",
    ]
    for way, title in TITLES.items():
        lines += ["", f"## {title}", "", *summary(record, way)]
        for family in FAMILIES:
            rows = [row for row in record["rows"] if row["way"] == way and row["work"]["family"] == family]
            if rows:
                lines += [
                    "",
                    f"### {NAMES[family]}",
                    "",
                    *noted(record, f"{way} {family}"),
                    *table(rows, way == "both"),
                ]
    lines += ["", "## Memory and compilation", "", *costs(record["rows"]), ""]
    for part, (title, section) in PARTS.items():
        if record.get(part):
            lines += [f"## {title}", "", *noted(record, part), *section(record[part]), ""]
    return "\n".join(lines)


def noted(record: dict[str, Any], part: str) -> list[str]:
    """Returns a note of when and on what machine a part was measured, if not in the same run as the others."""
    when = record.get("apart", {}).get(part)
    return [f"Measured in a separate run: {when}", ""] if when else []


def provenance(record: dict[str, Any]) -> str:
    """Returns the machine, the libraries' versions and the date."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{record['machine']}. {versions}. {record['date']}."


def by_size(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns {size: {peer: row}}, in the order measured."""
    sizes: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        work = row["work"]
        sizes.setdefault(f"{work['T']}, {work['B']}, {work['D']}, {work['H']}", {})[row["peer"]] = row
    return sizes


def median(row: dict[str, Any]) -> float:
    """Returns the median time of a row, seconds."""
    return row["quartiles"][1]


def table(rows: list[dict[str, Any]], backward: bool) -> list[str]:
    """Tabulates one family and pass, one line per size."""
    sizes = by_size(rows)
    names = [name for name in next(iter(sizes.values())) if name != LARGE]
    head = ["T, B, D, H", *names, "GFLOP/s of ours", LARGE, "ours of it", "ours of the products alone"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for size, found in sizes.items():
        speed = Work(**found["ours"]["work"]).products(backward) / median(found["ours"])
        cells = [shown(found[name]["quartiles"]) for name in names]
        cells.append(f"{speed / 1e9:.0f}")
        if LARGE in found:
            rate = OPERATIONS / median(found[LARGE])
            cells += [f"{rate / 1e9:.0f}", f"{speed / rate:.0%}"]
        else:
            cells += ["–", "–"]
        alone = found.get(PRODUCTS)
        cells.append(f"{median(alone) / median(found['ours']):.0%}" if alone else "–")
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return lines


def ratios(record: dict[str, Any], way: str, family: str, peers: tuple[str, ...]) -> dict[str, float]:
    """Returns {size: time of the best of these peers / ours}."""
    rows = [row for row in record["rows"] if row["way"] == way and row["work"]["family"] == family]
    found = {}
    for size, row in by_size(rows).items():
        others = [median(row[name]) for name in peers if name in row]
        if others and "ours" in row:
            found[size] = min(others) / median(row["ours"])
    return found


def summary(record: dict[str, Any], way: str) -> list[str]:
    """Summarises the speed of ours relative to the other libraries: geometric means and the worst size."""
    groups = {
        "best JAX peer as shipped": JAX_PEERS,
        "best JAX peer, sharded too": (*JAX_PEERS, *(f"{name}, sharded" for name in JAX_PEERS)),
        "PyTorch": ("PyTorch",),
    }
    lines = [
        "| times as fast as | " + " | ".join(NAMES[f] for f in FAMILIES) + " |",
        "| --- | ---: | ---: | ---: |",
    ]
    for title, peers in groups.items():
        cells = []
        for family in FAMILIES:
            values = ratios(record, way, family, peers).values()
            cells.append(f"{geometric_mean(values):.2f} (worst {min(values):.2f})" if values else "–")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return [*lines, "", "Geometric mean over the sizes; in brackets the ratio at the worst size for ours."]


def costs(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates the peak memory that forward and backward adds to the process, and the time of the first call."""
    sizes = {
        f"{family} {size}": found
        for family in FAMILIES
        for size, found in by_size(
            r for r in rows if r["way"] == "both" and r["work"]["family"] == family
        ).items()
    }
    names = list(dict.fromkeys(name for found in sizes.values() for name in found if name not in BOUNDS))
    lines = [
        "Forward and backward: peak MiB that a call adds to the resident memory / seconds of the first call.",
        "",
        f"| | {' | '.join(names)} |",
        f"| --- |{' ---: |' * len(names)}",
    ]
    for size, found in sizes.items():
        cells = [
            f"{found[name]['peak_bytes'] / 2**20:.0f} / {found[name]['first_seconds']:.1f}"
            if name in found
            else "–"
            for name in names
        ]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return lines


def plot(record: dict[str, Any], path: Path) -> None:
    """Plots forward and backward: one panel per family, one group of bars per size, one bar per peer; ours is 1."""
    colours = {"Linen": "#0072B2", "NNX": "#56B4E9", "Equinox": "#E69F00", "PyTorch": "#D55E00"}
    figure, panels = plt.subplots(1, len(FAMILIES), figsize=(10, 3.6), sharey=True, layout="constrained")
    for panel, family in zip(panels, FAMILIES, strict=True):
        measured = {name: ratios(record, "both", family, (name,)) for name in colours}
        measured = {name: values for name, values in measured.items() if values}
        sizes = list(next(iter(measured.values()), {}))
        for k, (name, values) in enumerate(measured.items()):
            at = [i + 0.2 * (k - 1.5) for i, size in enumerate(sizes) if size in values]
            panel.bar(at, list(values.values()), 0.2, color=colours[name], label=name)
        panel.axhline(1, color="black", lw=1)
        panel.set_title(NAMES[family])
        panel.set_xticks(range(len(sizes)), [size.replace(", ", "\n") for size in sizes], fontsize=7)
        panel.set_yscale("log")
        panel.spines[["top", "right"]].set_visible(False)
    ticks = [0.5, 1, 2, 4, 8]
    panels[0].set_yticks(ticks, [f"{tick:g}×" for tick in ticks])
    panels[0].minorticks_off()
    panels[0].set_ylabel("time relative to ours")
    panels[1].set_xlabel("T, B, D, H")
    handles, labels = max(
        (panel.get_legend_handles_labels() for panel in panels), key=lambda both: len(both[1])
    )
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
