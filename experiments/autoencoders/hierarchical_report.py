"""The table, the figures and the results of `hierarchical`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.autoencoders.scores import METRICS
from experiments.harness.files import arrays_with_prefix, read_arrays

Net = Mapping[str, np.ndarray]
MOMENTS = ("before", "after")


def format_table(nets: Mapping[str, Net], nearest: Mapping[str, float], title: str) -> str:
    """Formats a column for each net and one for the most similar training document, then documents as each net
    writes them."""
    names = [*nets, title]
    width = 20
    lines = [f"{'':<30}" + "".join(f"{name:>{width + 12 * (name == title)}}" for name in names)]
    for name, metric in METRICS.items():
        row = [f"{float(net[name]):{metric.format}}" for net in nets.values()]
        row.append(f"{nearest[name]:{metric.format}}" if name in nearest else "")
        label = metric.label.replace("sentences", "documents")
        lines.append(f"{label:<30}" + "".join(f"{one:>{width}}" for one in row[:-1]) + f"{row[-1]:>32}")
    for name in ("parameters", "units", "steps"):
        lines.append(f"{name:<30}" + "".join(f"{int(net[name]):>{width},}" for net in nets.values()))
    shown = (f"{name}\n\n{net['examples']}" for name, net in nets.items())
    return "\n\n".join(["\n".join(line.rstrip() for line in lines), gradient_table(nets), *shown])


def gradient_table(nets: Mapping[str, Net]) -> str:
    """Formats the gradient of each sentence's loss by the vector of its document, means over documents."""
    count = len(next(iter(nets.values()))["after|gradient"])
    lines = [
        "gradient of a sentence's loss by the document's vector, means over documents",
        f"{'net':<16}{'training':<10}" + "".join(f"{f'sentence {i + 1}':>12}" for i in range(count)),
    ]
    for name, net in nets.items():
        for moment in MOMENTS:
            norms = net[f"{moment}|gradient"].mean(axis=1)
            lines.append(f"{name:<16}{moment:<10}" + "".join(f"{norm:>12.4f}" for norm in norms))
    return "\n".join(lines)


def results(nets: Mapping[str, Net], nearest: Mapping[str, float]) -> dict[str, Any]:
    """Returns the numbers of both nets and of the most similar training documents."""
    found: dict[str, Any] = {"nearest": dict(nearest)}
    for name, net in nets.items():
        own: dict[str, Any] = {key: float(net[key]) for key in (*METRICS, "parameters", "units", "steps")}
        own["words_by_sentences"] = dict(
            zip(map(str, net["sentences"].tolist()), net["by_sentences"].tolist(), strict=True)
        )
        own |= {f"gradient_{m}": net[f"{m}|gradient"].mean(axis=1).tolist() for m in MOMENTS}
        found[name] = own
    return found


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.outcomes import outcomes_against
    from analysis.figures.style import save

    arrays = read_arrays(folder, "nets")
    names = list(dict.fromkeys(key.split("|")[0] for key in arrays))
    nets: dict[str, dict[str, Any]] = {name: dict(arrays_with_prefix(name, arrays)) for name in names}
    gradients = {
        f"{moment} training": {
            name: curve(net[f"{moment}|gradient"].mean(axis=1)) for name, net in nets.items()
        }
        for moment in MOMENTS
    }
    words = {
        "words in place, written freely": {
            name: {"x": net["sentences"], "values": net["by_sentences"][:, None]}
            for name, net in nets.items()
        }
    }
    drawn = {
        "gradient_by_sentence": outcomes_against(
            gradients, x_label="sentence", y_label="gradient by the document's vector", log="y"
        ),
        "words_by_sentences": outcomes_against(
            words, x_label="sentences of a document", y_label="share", limits=(0.0, 1.02)
        ),
    }
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def curve(values: np.ndarray) -> dict[str, np.ndarray]:
    """Returns values at 1, 2, …"""
    return {"x": np.arange(1.0, len(values) + 1), "values": values[:, None]}
