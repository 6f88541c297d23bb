"""The report of sentiment: accuracies beside their baselines, what nets say word by word, figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data import ClassifiedText
from experiments.harness.files import arrays_with_prefix, read_arrays
from experiments.labelling.sentiment_task import BAYES, TURNING
from experiments.task import METRICS
from experiments.task_report import format_columns, metric_rows

Nets = Mapping[str, bool]  # by label, and whether a net reads forward only


def net_path(fold: int, *, forward: bool) -> str:
    """Returns where a net trains within a run's folder."""
    return f"nets/{'forward' if forward else 'both'}_{fold}"


def stored(folder: Path, nets: Nets, fold: int) -> dict[str, dict[str, np.ndarray]]:
    """Returns the arrays of the nets of a fold."""
    return {label: read_arrays(folder, net_path(fold, forward=forward)) for label, forward in nets.items()}


def columns(folder: Path, nets: Nets, folds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Returns the metrics of nets and baselines, averaged over the folds."""
    found: dict[str, dict[str, list[float]]] = {}
    for fold in folds:
        for label, arrays in stored(folder, nets, fold).items():
            for metric, value in arrays_with_prefix("test", arrays).items():
                found.setdefault(label, {}).setdefault(metric, []).append(float(value))
        for name, value in arrays_with_prefix("accuracy", read_arrays(folder, f"baselines/{fold}")).items():
            found.setdefault(name, {}).setdefault("accuracy", []).append(float(value))
    return {
        name: {metric: float(np.mean(values)) for metric, values in metrics.items()}
        for name, metrics in found.items()
    }


def results(folder: Path, nets: Nets, folds: Sequence[int]) -> dict[str, Any]:
    """Returns the metrics as `results.json` holds them; those of the first net as `test`, which a sweep reads."""
    means = columns(folder, nets, folds)
    first = next(iter(nets))
    by_fold = [float(stored(folder, nets, fold)[first]["test|accuracy"]) for fold in folds]
    return {
        "test": means[first],
        "reported": "accuracy",
        "nets": {label: means[label] for label in nets},
        "folds": by_fold,
        "baselines": {name: values for name, values in means.items() if name not in nets},
    }


def format_report(folder: Path, nets: Nets, folds: Sequence[int], text: ClassifiedText) -> str:
    """Formats one sentence, a table of the metrics, and what nets say of the sentences that turn on context."""
    means, label = columns(folder, nets, folds), next(iter(nets))
    metric = METRICS["accuracy"]
    on = f"{len(folds)} folds" if len(folds) > 1 else f"{len(text.splits['test']):,} test sentences"
    title = f"sentiment, {label}: {metric.label} {means[label]['accuracy']:{metric.format}} on {on}"
    title += "".join(
        f"; {name} gives {values['accuracy']:{metric.format}}"
        for name, values in means.items()
        if name != label
    )
    lines = [title, "", *format_columns(means, metric_rows(METRICS, means))]
    if len(folds) > 1:
        by_fold = [float(stored(folder, nets, fold)[label]["test|accuracy"]) for fold in folds]
        lines += ["", f"by fold: {' '.join(f'{value:{metric.format}}' for value in by_fold)}"]
    if len(text.classes) == 2:
        lines += ["", *turning_table(folder, nets, folds[0], text.classes[1])]
    return "\n".join(lines)


def turning_table(folder: Path, nets: Nets, fold: int, good: str) -> list[str]:
    """Formats the probability of the class `good` that nets and naive Bayes give to each sentence that turns on
    context: to the whole, and by the output at the word in brackets alone."""
    found = stored(folder, nets, fold)
    bayes = read_arrays(folder, f"baselines/{fold}")["turning"]
    answer = {True: "praise", False: "blame"}
    rows: dict[str, dict[str, str]] = {}
    right = dict.fromkeys([*found, "naive Bayes"], 0)
    for place, (sentence, truth) in enumerate(TURNING):
        row = {"is": answer[truth]}
        for label, arrays in found.items():
            whole = arrays[f"turning|{place}/whole"][1]
            at_word = arrays[f"turning|{place}/each"][int(arrays[f"turning|{place}/row"]), 1]
            row[label] = f"{whole:.2f} [{at_word:.2f}]"
            right[label] += bool((whole > 0.5) == truth)
        row["naive Bayes"] = f"{bayes[place, 1]:.2f}"
        right["naive Bayes"] += bool((bayes[place, 1] > 0.5) == truth)
        rows[sentence] = row
    rows["right"] = {"is": f"of {len(TURNING)}"} | {name: str(count) for name, count in right.items()}
    title = [
        f"Sentences whose polarity turns on context: the probability of class {good} of the whole sentence, and in",
        "brackets by the output at the word in brackets alone, where a net that reads forward hasn't read on:",
    ]
    return [*title, *format_columns(["is", *found, "naive Bayes"], rows)]


def draw(folder: Path, nets: Nets, folds: Sequence[int]) -> list[Path]:
    """Draws the held-out accuracy of the first fold against the step; where each net attends in the test sentences
    shown; and what its output at each word says of the sentences that turn on context."""
    from analysis.figures.curves import training_curves
    from analysis.figures.style import save
    from analysis.figures.words import WordRow, words_figure

    found = stored(folder, nets, folds[0])
    baselines = read_arrays(folder, f"baselines/{folds[0]}")
    figure = training_curves(
        {
            label: {"step": arrays["curve|accuracy/step"], "value": arrays["curve|accuracy"]}
            for label, arrays in found.items()
        },
        y_label="accuracy, held out",
        baseline=float(baselines[f"accuracy|{BAYES}"]),
        baseline_label=f"{BAYES}, on the test sentences",
    )
    drawn = save(figure, folder / "figures", "training")
    first = next(iter(found.values()))
    places = [name.removesuffix("/weights") for name in first if name.endswith("/weights") and name[0] == "s"]
    if places:
        rows = [
            WordRow(
                first[f"{place}/words"].tolist(),
                first[f"{place}/weights"],
                mark(first[f"{place}/whole"], int(first[f"{place}/label"])),
            )
            for place in places
        ]
        drawn += save(words_figure(rows, "weight of attention"), folder / "figures", "attention")
    if first["turning|0/whole"].size == 2:
        rows = [
            WordRow(
                arrays[f"turning|{place}/words"].tolist(),
                2 * arrays[f"turning|{place}/each"][:, 1] - 1,
                mark(arrays[f"turning|{place}/whole"], int(truth)),
            )
            for place, (_, truth) in enumerate(TURNING)
            for arrays in found.values()
        ]
        label = "2 P(praise) − 1 by the output at the word"
        figure = words_figure(rows, label, signed=True, headings=list(found))
        drawn += save(figure, folder / "figures", "turning")
    return drawn


def mark(probabilities: np.ndarray, truth: int) -> str:
    """Returns the probability of the true class, with a cross where another is likelier."""
    wrong = "" if probabilities.argmax() == truth else "✗ "
    return f"{wrong}{probabilities[truth]:.2f}"
