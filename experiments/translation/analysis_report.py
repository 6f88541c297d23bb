"""The report of `translation_analysis`: its tables and figures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import arrays_with_prefix, read_arrays

Found = Mapping[str, np.ndarray]  # what is stored of one system: see `analyse`
QUANTITIES = {"bleu": ("BLEU", ".2f"), "seconds": ("seconds", ".3f"), "ratio": ("length ratio", ".3f")}
STATISTICS = ("entropy", "distance", "divergence")


def format_tables(systems: Mapping[str, Found]) -> str:
    """Formats BLEU by length, then BLEU, seconds and length ratio by width, then the heads of every layer."""
    first = next(iter(systems.values()))
    width = max(len(name) for name in systems)
    lines = ["BLEU, lower-cased, by the sentences joined to a source", ""]
    lines += [row("", width, first["lengths"], "d"), row("words", width, first["words"], ".1f")]
    lines += [row(name, width, found["length|bleu"], ".2f") for name, found in systems.items()]
    for quantity, (label, spec) in QUANTITIES.items():
        lines += ["", f"{label} by the width of the search", "", row("", width, first["widths"], "d")]
        lines += [row(name, width, found[f"width|{quantity}"], spec) for name, found in systems.items()]
    lines += ["", *map(width_sentence, systems, systems.values())]
    if any(layers_of(found) for found in systems.values()):
        lines += ["", "attention to the source by layer: range over the heads", ""]
        lines += [row("", width + 8, ["entropy", "distance", "divergence"], ">", 14)]
    for name, found in systems.items():
        for number, layer in layers_of(found).items():
            shown = [layer["entropy"], layer["distance"], between(layer["divergence"])]
            ranges = [f"{np.min(v):.2f}–{np.max(v):.2f}" if len(v) else "" for v in shown]
            lines.append(row(f"{name}, layer {number}", width + 8, ranges, ">", 14))
    uniform = [found for found in systems.values() if "uniform|entropy" in found]
    if uniform:
        ends = [f"{float(uniform[-1][f'uniform|{name}']):.2f}" for name in ("entropy", "distance")]
        lines.append(row("uniform weights", width + 8, ends, ">", 14))
    return "\n".join(lines)


def row(name: str, width: int, values: Any, spec: str, column: int = 9) -> str:
    """Formats a row of a table."""
    return f"{name:<{width}}" + "".join(f"{f'{value:{spec}}':>{column}}" for value in values)


def width_sentence(name: str, found: Found) -> str:
    """Says at which width BLEU is highest, and what the widest search found and cost."""
    widths, bleu, seconds = (found[key] for key in ("widths", "width|bleu", "width|seconds"))
    best, widest, narrowest = int(np.argmax(bleu)), int(np.argmax(widths)), int(np.argmin(widths))
    return (
        f"{name}: BLEU is highest at width {widths[best]} ({bleu[best]:.2f}); width {widths[widest]} finds "
        f"{bleu[widest]:.2f} in {seconds[widest] / seconds[narrowest]:.1f} times the seconds of width "
        f"{widths[narrowest]}."
    )


def between(divergence: np.ndarray) -> np.ndarray:
    """Returns the divergences of different heads."""
    return divergence[~np.eye(len(divergence), dtype=bool)]


def layers_of(found: Found) -> dict[str, dict[str, np.ndarray]]:
    """Returns the statistics of the heads of each layer, by its number."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for key, values in arrays_with_prefix("heads", dict(found)).items():
        number, _, statistic = key.partition("|")
        layers.setdefault(number, {})[statistic] = values
    return layers


def results(systems: Mapping[str, Found]) -> dict[str, Any]:
    """Returns every number as `results.json` holds it."""
    return {
        "systems": {
            name: {key: np.asarray(values).tolist() for key, values in found.items()}
            for name, found in systems.items()
        }
    }


def draw(folder: Path, path_of: Callable[[str], str]) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.style import save
    from analysis.figures.translation import head_figure, score_against_length, scores_against_width

    names = read_arrays(folder, "analysed")["names"].tolist()
    systems = {name: read_arrays(folder, path_of(name)) for name in names}
    first = systems[names[0]]
    joined = {int(found["joined"]) for found in systems.values()}
    by_length = score_against_length(
        {name: found["length|bleu"] for name, found in systems.items()},
        first["lengths"].tolist(),
        trained=joined.pop() if len(joined) == 1 else None,
        label="BLEU, lower-cased",
    )
    panels = {
        label: {name: found[f"width|{quantity}"] for name, found in systems.items()}
        for quantity, (label, _) in QUANTITIES.items()
    }
    figures = {
        "bleu_against_length": by_length,
        "scores_against_width": scores_against_width(panels, first["widths"].tolist()),
    }
    heads = {}
    for name, found in systems.items():
        layers = layers_of(found)
        heads |= {f"{name}, layer {k}" if len(layers) > 1 else name: layer for k, layer in layers.items()}
    if heads:
        attending = next(found for found in systems.values() if layers_of(found))
        uniform = {key: float(v) for key, v in arrays_with_prefix("uniform", attending).items()}
        figures["heads"] = head_figure(heads, uniform)
    return [path for name, figure in figures.items() for path in save(figure, folder / "figures", name)]
