"""The results of `clipping`: its table and figures, from the arrays of a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data import adding_baseline
from experiments.ensemble import as_list
from experiments.harness.files import read_arrays, read_run
from experiments.objective import Measure, classification, regression
from train.optimizer import Clip

ProblemName = Literal["temporal_order", "adding"]
WAYS: dict[str, str] = {
    "none": "none",
    "value": "value",
    "block_rms": "rms of array",
    "block_norm": "norm of array",
    "global_norm": "global norm",
    "adaptive": "adaptive",
}
SMOOTHED = 10  # steps whose mean is a point of a curve


@dataclass(frozen=True)
class Question:
    """The question put to a net: how it is measured, and what the trivial answer loses."""

    title: str
    measure: Measure
    classes: int
    trivial: float


QUESTIONS: dict[ProblemName, Question] = {
    "temporal_order": Question("temporal order, tanh units", classification, 4, math.log(4)),
    "adding": Question("adding, ReLU units", regression, 1, adding_baseline()),
}


def diverged(problem: ProblemName, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Marks the nets that ended beyond floating point, or above twice the loss of the trivial answer: `[R, N]`."""
    return arrays["held_out"] > 2 * QUESTIONS[problem].trivial


def learnt(problem: ProblemName, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Marks the nets that ended below half the loss of the trivial answer: `[R, N]`."""
    return arrays["held_out"] < 0.5 * QUESTIONS[problem].trivial


def stopped(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Marks the nets that weren't finite to the end: `[R, N]`."""
    return arrays["steps"] < arrays["loss"].shape[-1]


def results(folder: Path) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Returns `{problem: {clip: {rate: what came of it}}}` of a run."""
    rates = read_run(folder)["config"]["rates"]
    return {
        problem: {clip: summary(rates, problem, arrays) for clip, arrays in ways.items()}
        for problem, ways in stored(folder).items()
    }


def summary(
    rates: Sequence[float], problem: ProblemName, arrays: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Summarises by learning rate: the median held-out loss (absent if it isn't finite), the mean share of clipped
    steps, and the counts of nets."""
    rows = {}
    for i, rate in enumerate(rates):
        row = {
            "clipped": float(arrays["clipped"][i].mean()),
            "learnt": int(learnt(problem, arrays)[i].sum()),
            "diverged": int(diverged(problem, arrays)[i].sum()),
            "not_finite": int(stopped(arrays)[i].sum()),
            "largest_norm": float(np.nanmax(arrays["norm"][i], initial=0.0)),
            "losses": as_list(arrays["held_out"][i]),
            "largest_norms": as_list(np.nanmax(arrays["norm"][i], axis=1, initial=0.0)),
            "climbs": as_list(np.array([climb(losses) for losses in arrays["loss"][i]])),
        }
        median = float(np.median(arrays["held_out"][i]))
        rows[f"{rate:g}"] = row | ({"loss": median} if math.isfinite(median) else {})
    return rows


def climb(losses: np.ndarray) -> float:
    """Returns Σ max(0, rise of ln loss) between the means of `SMOOTHED` steps, as far as they are finite, of
    `[steps]`."""
    count = max(len(losses) // SMOOTHED, 1)
    means = np.array([part.mean() for part in np.array_split(losses, count)])
    logs = np.log(means[np.isfinite(means) & (means > 0)])
    return float(np.maximum(np.diff(logs), 0).sum())


def format_outcome(problem: ProblemName, arrays: Mapping[str, np.ndarray]) -> str:
    """Formats `23 of 35 nets learnt it, 5 diverged (2 beyond floating point)`."""
    count = arrays["held_out"].size
    beyond = int(stopped(arrays).sum())
    return (
        f"{int(learnt(problem, arrays).sum())} of {count} nets learnt it, "
        f"{int(diverged(problem, arrays).sum())} diverged ({beyond} beyond floating point)"
    )


def stored(folder: Path) -> dict[ProblemName, dict[Clip, dict[str, np.ndarray]]]:
    """Returns `{problem: {clip: arrays}}` of a run."""
    config = read_run(folder)["config"]
    return {p: {c: read_arrays(folder, f"{p}_{c}") for c in config["clips"]} for p in config["problems"]}


def format_table(folder: Path) -> str:
    """Formats a block for each problem."""
    rates = read_run(folder)["config"]["rates"]
    return "\n\n".join(block(problem, ways, rates) for problem, ways in stored(folder).items())


def block(problem: ProblemName, ways: Mapping[Clip, Mapping[str, np.ndarray]], rates: Sequence[float]) -> str:
    """Formats a row for each way of clipping and a column for each learning rate: median loss, nets that diverged,
    share of clipped steps."""
    question, width = QUESTIONS[problem], max(len(WAYS[clip]) for clip in ways)
    nets = next(iter(ways.values()))["held_out"].shape[1]
    lines = [
        f"{question.title}: median held-out loss of {nets} nets, the trivial answer's is {question.trivial:.4f};",
        "in brackets how many diverged, and the share of clipped steps",
        "".join([f"{'clipping':<{width}}", *(f"{f'rate {rate:g}':>19}" for rate in rates)]),
    ]
    for clip, arrays in ways.items():
        columns = zip(
            np.median(arrays["held_out"], axis=1),
            diverged(problem, arrays).sum(1),
            arrays["clipped"].mean(1),
            strict=True,
        )
        entries = (f"{loss:.2g} ({bad}; {share:.0%})" for loss, bad, share in columns)
        lines.append("".join([f"{WAYS[clip]:<{width}}", *(f"{entry:>19}" for entry in entries)]))
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.outcomes import clipping_outcomes, loss_by_way
    from analysis.figures.style import save

    config, found = read_run(folder)["config"], stored(folder)
    rates = config["rates"]

    def each(key: str) -> dict[str, dict[str, np.ndarray]]:
        return {QUESTIONS[p].title: {WAYS[c]: a[key] for c, a in ways.items()} for p, ways in found.items()}

    counts = {
        QUESTIONS[p].title: {WAYS[c]: diverged(p, a).sum(1) for c, a in ways.items()}
        for p, ways in found.items()
    }
    drawn = {
        "outcomes": clipping_outcomes(
            rates,
            each("held_out"),
            each("clipped"),
            counts,
            baselines={QUESTIONS[p].title: QUESTIONS[p].trivial for p in found},
        )
    }
    shown = [rates[i] for i in np.unique(np.linspace(0, len(rates) - 1, 4).round().astype(int))]
    for problem, ways in found.items():
        panels = {
            f"learning rate {rate:g}": {WAYS[c]: curve(a["loss"][rates.index(rate)]) for c, a in ways.items()}
            for rate in shown
        }
        question = QUESTIONS[problem]
        drawn[f"curves_{problem}"] = loss_by_way(
            panels, y_label="training loss, median net", baseline=question.trivial
        )
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def curve(losses: np.ndarray) -> dict[str, np.ndarray]:
    """Returns of `losses [N, steps]` the median over the nets of the means over `SMOOTHED` steps; not finite once
    half of the nets aren't."""
    length = min(SMOOTHED, losses.shape[1])
    whole = losses[:, : losses.shape[1] // length * length].reshape(len(losses), -1, length)
    means = np.where(np.isfinite(whole).all(-1), whole.mean(-1), np.inf)
    return {"step": length * (0.5 + np.arange(means.shape[1])), "value": np.median(means, axis=0)}
