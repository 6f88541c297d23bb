"""The results of `lyapunov`: its table and figures, from the arrays of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import tanh_mean_exponent, tanh_mean_field
from experiments.cell_spec import label
from experiments.gradients.lyapunov_config import Config, state_size
from experiments.harness.files import arrays_with_prefix, read_arrays, stored_config
from experiments.harness.options import folder_name
from experiments.task import METRICS

FINE = 121  # gains at which theory is drawn


def random_name(noise: float, gain: float) -> str:
    return f"random/noise_{noise:g}_gain_{gain:g}"


def trained_name(expression: str, moment: int) -> str:
    return f"trained/{folder_name(label(expression))}/{moment}"


def largest(found: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns λ₁, half its 95 % interval and the number of starts, in each regime, that of most starts first."""
    return found["starts|exponents"][:, 0], found["starts|half_widths"][:, 0], found["starts|starts"]


def over_starts(rows: Sequence[Mapping[str, np.ndarray]], at: np.ndarray) -> dict[str, np.ndarray]:
    """Returns λ₁ over the starts, a number for each row, which stands at `at [n]`: `first`, half its 95 % interval
    `error`, and how many `starts`, of the regime of most; `other [m, 4]`, at, λ₁, error and starts of all other
    regimes."""
    columns = [np.stack(largest(row), axis=1) for row in rows]
    first, error, starts = np.array([regimes[0] for regimes in columns]).T
    other = [[x, *regime] for x, regimes in zip(at, columns, strict=True) for regime in regimes[1:]]
    return {"first": first, "error": error, "starts": starts.astype(int), "other": np.reshape(other, (-1, 4))}


def random_columns(config: Config, folder: Path, noise: float) -> dict[str, np.ndarray]:
    """Collects the results of the random nets of one noise, a number a gain: `[n]` each; `exponents [n, k]`."""
    gains = sorted(config.gains)
    found = [read_arrays(folder, random_name(noise, gain)) for gain in gains]
    names = ("exponents", "kaplan_yorke", "entropy_rate", "total", "sum_gap", "lost")
    columns = {name: np.array([one[name] for one in found]) for name in names}
    return columns | {
        "gain": np.array(gains),
        **over_starts(found, np.array(gains)),
        "mean": columns["total"] / config.units if config.leading is None else np.full(len(gains), np.nan),
        "dimension": columns["kaplan_yorke"] / config.units,
        "entropy": columns["entropy_rate"] / config.units,
    }  # fmt: skip


def theory_columns(config: Config, noise: float, gains: np.ndarray) -> dict[str, np.ndarray]:
    """Returns λ₁ and the mean exponent that mean-field theory gives at some gains."""
    first = tanh_mean_field(gains, noise).exponent
    return {"gain": gains, "first": first, "mean": tanh_mean_exponent(gains, noise, config.units)}


def trained_columns(config: Config, folder: Path, expression: str) -> dict[str, np.ndarray]:
    """Collects the results of one cell, a number a moment: `[n]` each; the exponents `[n, k]`."""
    moments = config.moments()
    found = [read_arrays(folder, trained_name(expression, moment)) for moment in moments]
    names = [name for name in found[0] if "|running" not in name and "|starts|" not in name]
    columns = {name: np.array([one[name] for one in found]) for name in names}
    for way in ("driven", "silent"):
        over = over_starts([arrays_with_prefix(way, one) for one in found], np.array(moments))
        columns |= {f"{way}|{name}": values for name, values in over.items()}
    size = state_size(config.cell(expression))
    return columns | {"step": np.array(moments), "dimension": columns["driven|kaplan_yorke"] / size}


def format_table(config: Config, folder: Path) -> str:
    """Formats a row for each noise and gain of random nets, then a row for each moment of each cell."""
    lines = [f"random nets of {config.units} units, {config.trajectory - config.settling} steps counted"]
    lines += [
        f"{'σ':>5}{'g':>6}{'λ₁':>10}{'±':>9}{'theory':>9}{'mean λ':>10}{'theory':>9}{'D/N':>8}{'h/N':>9}"
        f"{'sum rule':>10}"
    ]
    for noise in config.noises:
        rows = random_columns(config, folder, noise)
        theory = theory_columns(config, noise, rows["gain"])
        for i, gain in enumerate(rows["gain"]):
            lines += [
                f"{noise:>5g}{gain:>6g}{rows['first'][i]:>+10.4f}{rows['error'][i]:>9.4f}{theory['first'][i]:>+9.4f}"
                f"{rows['mean'][i]:>+10.4f}{theory['mean'][i]:>+9.4f}{rows['dimension'][i]:>8.3f}"
                f"{rows['entropy'][i]:>9.4f}{rows['sum_gap'][i]:>10.0e}"
            ]
            lines += other_regimes(rows["other"], gain, 11)
    width = max(len(label(expression)) for expression in config.cells)
    quantity = METRICS[config.problem().metric].label
    lines += ["", f"cells trained on {config.problem().title}"]
    lines += [
        f"{'cell':<{width}}{'step':>7}{'λ₁':>10}{'±':>9}{'λ₁ silent':>11}{'±':>9}{'D':>7}{'h':>8}{'−∞':>5}"
        f"{'sum rule':>10}  {quantity}"
    ]
    for expression in config.cells:
        rows = trained_columns(config, folder, expression)
        for i, step in enumerate(rows["step"]):
            lines += [
                f"{label(expression):<{width}}{step:>7}{rows['driven|first'][i]:>+10.4f}"
                f"{rows['driven|error'][i]:>9.4f}{rows['silent|first'][i]:>+11.4f}{rows['silent|error'][i]:>9.4f}"
                f"{rows['driven|kaplan_yorke'][i]:>7.2f}{rows['driven|entropy_rate'][i]:>8.4f}"
                f"{rows['driven|lost'][i]:>5}{rows['driven|sum_gap'][i]:>10.0e}  {rows['metric'][i]:.5f}"
            ]
            lines += other_regimes(rows["driven|other"], float(step), width + 7)
            lines += other_regimes(rows["silent|other"], float(step), width + 27)
    return "\n".join(
        [
            *lines,
            "",
            "λ in nats per step; theory: mean field, λ₁ = ½ ln χ as N → ∞.",
            f"λ₁ ±: mean over {config.starts} independent starts and half its 95 % interval, by Student's t.",
            "A line with λ₁ alone: the starts that fell into another regime.",
            "The other numbers: along the first of them.",
            "D: Kaplan-Yorke dimension; h: entropy rate; −∞: exponents that are; sum rule: Σλ − ⟨ln |det J|⟩.",
            "silent: with no input.",
        ]
    )


def other_regimes(other: np.ndarray, at: float, indent: int) -> list[str]:
    """Formats a line for each regime of fewer starts, in the columns of λ₁ and ±."""
    return [
        f"{'':>{indent}}{value:>+10.4f}{error:>9.4f}  {starts:.0f} starts"
        for x, value, error, starts in other
        if x == at
    ]


def results(config: Config, folder: Path) -> dict[str, Any]:
    """Returns the table's numbers by name."""
    keys = ("gain", "first", "error", "starts", "other", "mean", "dimension", "entropy", "sum_gap")
    random = {noise: random_columns(config, folder, noise) for noise in config.noises}
    trained = {expression: trained_columns(config, folder, expression) for expression in config.cells}
    return {
        "random": {f"{noise:g}": {k: rows[k].tolist() for k in keys} for noise, rows in random.items()},
        "trained": {
            label(expression): {
                "step": rows["step"].tolist(),
                "first": rows["driven|first"].tolist(),
                "error": rows["driven|error"].tolist(),
                "starts": rows["driven|starts"].tolist(),
                "other": rows["driven|other"].tolist(),
                "silent": rows["silent|first"].tolist(),
                "silent_error": rows["silent|error"].tolist(),
                "silent_other": rows["silent|other"].tolist(),
                "dimension": rows["driven|kaplan_yorke"].tolist(),
                "entropy": rows["driven|entropy_rate"].tolist(),
                "sum_gap": rows["driven|sum_gap"].tolist(),
                "metric": rows["metric"].tolist(),
            }
            for expression, rows in trained.items()
        },
    }


def ending(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns running estimates of leading exponents, and the means over the starts in the same regime."""
    regime = found["starts|regime"][0]
    over = {"mean": found["starts|exponents"][regime], "half_width": found["starts|half_widths"][regime]}
    return {"steps": found["steps"], "running": found["running"]} | over


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.lyapunov import during_training, random_nets, running_estimates, spectra_by_value
    from analysis.figures.style import save

    config = stored_config(Config, folder)
    titles = {noise: f"driven, σ = {noise:g}" if noise else "autonomous, σ = 0" for noise in config.noises}
    random = {titles[noise]: random_columns(config, folder, noise) for noise in config.noises}
    fine = np.linspace(min(config.gains), max(config.gains), FINE)
    theory = {titles[noise]: theory_columns(config, noise, fine) for noise in config.noises}
    trained = {label(e): trained_columns(config, folder, e) for e in config.cells}
    last = {label(e): read_arrays(folder, trained_name(e, config.moments()[-1])) for e in config.cells}
    metric = config.problem().metric
    drawn = {
        "random_nets": random_nets(random, theory),
        "random_spectra": spectra_by_value(
            {title: (rows["gain"], rows["exponents"]) for title, rows in random.items()}, "gain $g$"
        ),
        "trained_spectra": spectra_by_value(
            {name: (rows["step"], rows["driven|exponents"]) for name, rows in trained.items()}, "training step"
        ),
        "during_training": during_training(
            trained, METRICS[metric].label + ", held out", log=metric not in ("accuracy", "recalled")
        ),
        "running_estimates": running_estimates(
            {name: ending(arrays_with_prefix("driven", one)) for name, one in last.items()}
        ),
    }  # fmt: skip
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
