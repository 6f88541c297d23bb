"""The report of parsing: scores side by side, trees in brackets and drawn, F1 by length."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.scores.spans import Span
from data import Tree, read_trees
from experiments.harness.files import arrays_with_prefix, read_arrays
from experiments.parsing.scores import LENGTHS, METRICS
from experiments.task_report import format_columns, metric_rows

Found = Mapping[str, np.ndarray]  # what is stored of one parser


def scores_of(found: Found) -> dict[str, float]:
    """Returns the test scores of a parser."""
    return {name: float(value) for name, value in arrays_with_prefix("test", found).items()}


def results(parsers: Mapping[str, Found], baselines: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Returns the scores as `results.json` holds them; of one parser alone as `test` too, which a sweep reads."""
    first, *others = map(scores_of, parsers.values())
    return ({} if others else {"test": first}) | {
        "systems": {
            name: scores_of(found) | {key: float(found[key]) for key in ("rate", "parameters", "step")}
            for name, found in parsers.items()
        },
        "baselines": {name: dict(values) for name, values in baselines.items()},
    }


def format_report(
    parsers: Mapping[str, Found], baselines: Mapping[str, Mapping[str, float]], gold: Sequence[str], note: str
) -> str:
    """Formats a table of scores, a column for each parser, and some sentences with the brackets of each."""
    columns = {name: scores_of(found) for name, found in parsers.items()} | dict(baselines)
    rows = metric_rows(METRICS, columns)
    for label, key in (("sentences a second", "rate"), ("parameters", "parameters"), ("steps", "step")):
        rows[label] = {name: f"{float(found[key]):,.0f}" for name, found in parsers.items()}
    width = max(map(len, ("reference", *parsers)))
    examples = []
    for place in shown(parsers):
        lines = [("reference", gold[place])]
        lines += [(name, str(found["trees"][place])) for name, found in parsers.items()]
        examples.append("\n".join(f"{name:<{width}}  {brackets}" for name, brackets in lines))
    return "\n\n".join(["parsing", "\n".join(format_columns(columns, rows)), note, *examples])


def shown(parsers: Mapping[str, Found]) -> list[int]:
    """Returns the places of the sentences that are shown."""
    return next(iter(parsers.values()))["shown"].tolist()


def draw(folder: Path, systems: Mapping[str, str]) -> list[Path]:
    """Draws the figures of a run from its arrays: F1 against the step and by length, and trees beside the right
    ones. `systems` are the names in figures, by those of the arrays."""
    from analysis.figures.curves import training_curves
    from analysis.figures.style import save
    from analysis.sentences.figures import scores_against_words
    from analysis.trees.figures import DrawnTree, trees_figure

    found = {name: read_arrays(folder, f"nets/{system}") for system, name in systems.items()}
    baselines = read_arrays(folder, "baselines")
    curves = {
        name: {"step": arrays["curve|f1/step"], "value": arrays["curve|f1"]} for name, arrays in found.items()
    }
    label, value = max(
        arrays_with_prefix("f1", baselines).items(), key=lambda item: float(item[1]), default=("", None)
    )
    figure = training_curves(
        curves,
        y_label="bracket F1, held out",
        baseline=None if value is None else float(value),
        baseline_label=label,
    )
    figures = folder / "figures"
    drawn = save(figure, figures, "training")
    by_length = {name: arrays["by_length"] for name, arrays in found.items()}
    by_length |= arrays_with_prefix("by_length", baselines)
    drawn += save(scores_against_words(by_length, LENGTHS, "bracket F1"), figures, "f1_by_length")

    def as_drawn(title: str, tree: Tree, gold: Tree) -> DrawnTree:
        spans, expected = (tuple(Span(*one) for one in side.constituents) for side in (tree, gold))
        return DrawnTree(title, tree.words, tree.tags, spans, expected)

    rows = []
    for place in shown(found):
        (gold,) = read_trees(str(baselines["gold"][place]), "the run")
        equal: dict[Tree, list[str]] = {gold: ["reference"]}  # those of equal trees share a picture
        for name, arrays in found.items():
            (tree,) = read_trees(str(arrays["trees"][place]), "the run")
            equal.setdefault(tree, []).append(name)
        rows += [[as_drawn(", ".join(names), tree, gold)] for tree, names in equal.items()]
    return drawn + save(trees_figure(rows), figures, "trees")
