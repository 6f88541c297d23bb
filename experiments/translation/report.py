"""The report of translation runs: scores side by side, translations, and what the decoders attended to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import arrays_with_prefix, read_arrays
from experiments.task_report import format_columns, metric_rows
from experiments.translation.scoring import METRICS, SHORT, signatures

Found = Mapping[str, np.ndarray]  # what is stored of one system: see `measure`
SECONDS = "sentences a second"


def scores_of(found: Found) -> dict[str, float]:
    """Returns the test scores of a system, or of a method without a net."""
    return {name: float(value) for name, value in arrays_with_prefix("test", found).items()}


def results(systems: Mapping[str, Found], baselines: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Returns the scores as `results.json` holds them; of one system alone as `test` too, which a sweep reads."""
    first, *others = map(scores_of, systems.values())
    return ({} if others else {"test": first}) | {
        "systems": {
            name: scores_of(found)
            | {
                "intervals": {
                    key: value.tolist() for key, value in arrays_with_prefix("interval", found).items()
                },
                "sentences_a_second": float(found["rate"]),
                "parameters": int(found["parameters"]),
                "step": int(found["step"]),
            }
            for name, found in systems.items()
        },
        "baselines": {name: dict(values) for name, values in baselines.items()},
        "signatures": signatures(),
    }


def format_report(
    title: str,
    systems: Mapping[str, Found],
    baselines: Mapping[str, Mapping[str, float]],
    sources: Sequence[str],
    references: Sequence[str],
) -> str:
    """Formats a table of scores, a column for each system, their signatures, and translations side by side."""
    columns = {name: scores_of(found) for name, found in systems.items()} | dict(baselines)
    rows = metric_rows(METRICS, columns)
    rows |= {
        f"{METRICS[name].label}, 95 %": {
            system: "–".join(f"{end:{METRICS[name].format}}" for end in found[f"interval|{name}"])
            for system, found in systems.items()
        }
        for name in SHORT
        if all(f"interval|{name}" in found for found in systems.values())
    }
    rows[SECONDS] = {name: f"{float(found['rate']):,.0f}" for name, found in systems.items()}
    rows["parameters"] = {name: f"{int(found['parameters']):,}" for name, found in systems.items()}
    rows["step"] = {name: f"{int(found['step']):,}" for name, found in systems.items()}
    signed = [f"{METRICS[name].label}: {signature}" for name, signature in signatures().items()]
    return "\n".join(
        [title, "", *format_columns(columns, rows), "", *signed, "", *examples(systems, sources, references)]
    )


def examples(systems: Mapping[str, Found], sources: Sequence[str], references: Sequence[str]) -> list[str]:
    """Formats translations of the sentences shown, one below the other."""
    width = max(map(len, ("reference", *systems)))
    lines = []
    for place in shown(systems):
        lines += [f"{'source':<{width}}  {sources[place]}", f"{'reference':<{width}}  {references[place]}"]
        lines += [f"{name:<{width}}  {found['translations'][place]}" for name, found in systems.items()]
        lines += [""]
    return lines[:-1]


def shown(systems: Mapping[str, Found]) -> list[int]:
    """Returns the places of the sentences that are shown."""
    return next(iter(systems.values()))["shown"].tolist()


def draw(folder: Path, systems: Mapping[str, str]) -> list[Path]:
    """Draws the figures of a run from its arrays: the held-out score against the step, and for each system that
    attends its attention. `systems` are the names in figures, by those of the arrays."""
    return [*draw_training(folder, systems), *draw_attention(folder, systems)]


def draw_training(folder: Path, systems: Mapping[str, str]) -> list[Path]:
    """Draws the held-out score against the step, beside the best baseline."""
    from analysis.figures.curves import training_curves
    from analysis.figures.style import save

    found = {name: read_arrays(folder, f"nets/{system}") for system, name in systems.items()}
    metric = str(next(iter(found.values()))["reported"])
    curves = {
        name: {"step": arrays[f"curve|{metric}/step"], "value": arrays[f"curve|{metric}"]}
        for name, arrays in found.items()
    }
    baselines = arrays_with_prefix(metric, read_arrays(folder, "baselines"))
    label, value = max(baselines.items(), key=lambda item: float(item[1]), default=("", None))
    figure = training_curves(
        curves,
        y_label=f"{METRICS[metric].label}, held out",
        baseline=None if value is None else float(value),
        baseline_label=label,
    )
    return save(figure, folder / "figures", "training")


def draw_attention(folder: Path, systems: Mapping[str, str]) -> list[Path]:
    """Draws the attention of each system that attends, a figure each."""
    from analysis.figures.attention import Alignment, alignments_figure
    from analysis.figures.style import save

    drawn: list[Path] = []
    for system in systems:
        found, panels = read_arrays(folder, f"nets/{system}"), []
        for place in found["shown"].tolist():
            layers = list(arrays_with_prefix(f"attention|{place}", found).values())
            target, source = (found[f"pieces|{place}|{side}"].tolist() for side in ("target", "source"))
            if layers:
                weights = np.mean([layer.mean(axis=0) for layer in layers], axis=0)
                panels.append(Alignment(weights, target, source))
        if panels:
            drawn += save(alignments_figure(panels, columns=4), folder / "figures", f"attention_{system}")
    return drawn
