"""The report of recognition: error rates side by side, what the nets write, and their probabilities over time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.files import arrays_with_prefix, read_arrays
from experiments.speech.config import System, SystemsConfig
from experiments.speech.scoring import METRICS
from experiments.speech.task import NAMES, shown_utterances
from experiments.speech.text import read_front
from experiments.task_report import format_columns, metric_rows

BOUND = "perfect, trimmed"
Found = Mapping[str, np.ndarray]  # what is stored of one system: see `measure`


def scores_of(found: Found, prefix: str = "test") -> dict[str, float]:
    """Returns the test scores of a system."""
    return {name: float(value) for name, value in arrays_with_prefix(prefix, found).items()}


def columns_of(systems: Mapping[str, Found], width: int) -> dict[str, dict[str, float]]:
    """Returns the scores of each system, and of the prefix search beside the greedy one."""
    columns: dict[str, dict[str, float]] = {}
    for name, found in systems.items():
        columns[name] = scores_of(found)
        if beam := scores_of(found, "beam"):
            columns[f"{name}, beam {width}"] = beam
    return columns


def format_report(config: SystemsConfig, systems: Mapping[str, Found], bound: Mapping[str, float]) -> str:
    """Formats a column for each system and one for what trimming reaches at best, and what is written."""
    columns = {**columns_of(systems, config.width), BOUND: dict(bound)}
    rows = metric_rows(METRICS, columns)
    rows["parameters"] = {name: f"{int(found['parameters']):,}" for name, found in systems.items()}
    lines = [
        f"{config.label()} on {len(config.text.held_out['test']):,} test utterances",
        "",
        *format_columns(columns, rows),
        "",
    ]
    width = max(map(len, ("said", *systems)))
    for place, one in enumerate(shown_utterances(config)):
        lines.append(f"{'said':<{width}}  {one.text}")
        lines += [f"{name:<{width}}  {found['written'][place]}" for name, found in systems.items()]
        lines.append("")
    return "\n".join(lines[:-1])


def results(systems: Mapping[str, Found], bound: Found) -> dict[str, Any]:
    """Returns the scores as `results.json` holds them; of the first system as `test` too, which a sweep reads."""
    first, *_ = systems.values()
    return {
        "test": scores_of(first),
        "reported": "cer",
        "systems": {name: scores_of(found) | beam_of(found) for name, found in systems.items()},
        "baselines": {BOUND: {name: float(value) for name, value in bound.items()}},
    }


def beam_of(found: Found) -> dict[str, float]:
    """Returns the scores of the prefix search, by names of their own."""
    return {f"{name}_by_prefix_search": value for name, value in scores_of(found, "beam").items()}


def draw(folder: Path, config: SystemsConfig) -> list[Path]:
    """Draws the held-out error rate against the step, and for CTC the probabilities over the spectrogram."""
    from analysis.figures.curves import training_curves
    from analysis.figures.style import save
    from analysis.speech.figures import Heard, ctc_figure

    found: dict[System, Found] = {system: read_arrays(folder, f"nets/{system}") for system in config.systems}
    bound = read_arrays(folder, "baselines")
    figure = training_curves(
        {NAMES[system]: arrays_with_prefix("curve", arrays) for system, arrays in found.items()},
        y_label=f"{METRICS['cer'].label}, held out",
        baseline=float(bound["cer"]),
        baseline_label=BOUND,
    )
    drawn = save(figure, folder / "figures", "training")
    if "ctc" not in found:
        return drawn
    _, labels = read_front(folder, config.features)
    arrays = found["ctc"]
    heard = [
        Heard(arrays[f"frames|{place}"], arrays[f"probabilities|{place}"], labels.types, str(written))
        for place, written in enumerate(arrays["written"].tolist())
    ]
    return drawn + save(ctc_figure(heard, config.features.hop), folder / "figures", "alignment")
