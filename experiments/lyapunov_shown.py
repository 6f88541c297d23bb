"""The results of `lyapunov`: its table and figures, from the arrays of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis import figures, tanh_mean_exponent, tanh_mean_field
from analysis.figures_lyapunov import during_training, random_nets, running_estimates, spectra_by_value
from experiments.cells import label
from experiments.lyapunov_config import Config, state_size
from experiments.nets import stored_config
from experiments.options import folder_name
from experiments.problem import METRICS
from experiments.run_files import read_arrays

FINE = 121  # gains at which theory is drawn


def random_name(noise: float, gain: float) -> str:
    return f"random/noise_{noise:g}_gain_{gain:g}"


def trained_name(expression: str, moment: int) -> str:
    return f"trained/{folder_name(label(expression))}/{moment}"


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix|`."""
    return {k.removeprefix(f"{prefix}|"): v for k, v in arrays.items() if k.startswith(f"{prefix}|")}


def random_columns(config: Config, folder: Path, noise: float) -> dict[str, np.ndarray]:
    """Collects the results of the random nets of one noise, a number a gain: `[n]` each; `exponents [n, k]`."""
    gains = sorted(config.gains)
    found = [read_arrays(folder, random_name(noise, gain)) for gain in gains]
    names = ("exponents", "kaplan_yorke", "entropy_rate", "total", "sum_gap", "lost")
    columns = {name: np.array([one[name] for one in found]) for name in names}
    return columns | {
        "gain": np.array(gains),
        "first": columns["exponents"][:, 0],
        "error": np.array([one["standard_errors"][0] for one in found]),
        "mean": columns["total"] / config.units if config.leading is None else np.full(len(gains), np.nan),
        "dimension": columns["kaplan_yorke"] / config.units,
        "entropy": columns["entropy_rate"] / config.units,
    }  # fmt: skip


def theory_columns(config: Config, noise: float, gains: np.ndarray) -> dict[str, np.ndarray]:
    """λ₁ and the mean exponent that mean-field theory gives at some gains."""
    first = tanh_mean_field(gains, noise).exponent
    return {"gain": gains, "first": first, "mean": tanh_mean_exponent(gains, noise, config.units)}


def trained_columns(config: Config, folder: Path, expression: str) -> dict[str, np.ndarray]:
    """Collects the results of one cell, a number a moment: `[n]` each; the exponents `[n, k]`."""
    moments = config.moments()
    found = [read_arrays(folder, trained_name(expression, moment)) for moment in moments]
    columns = {name: np.array([one[name] for one in found]) for name in found[0] if "|running" not in name}
    size = state_size(config.cell(expression))
    return columns | {"step": np.array(moments), "dimension": columns["driven|kaplan_yorke"] / size}


def format_table(config: Config, folder: Path) -> str:
    """Random nets, a row for each noise and gain; then cells, a row for each moment."""
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
    width = max(len(label(expression)) for expression in config.cells)
    quantity = METRICS[config.problem().metric][0]
    lines += ["", f"cells trained on {config.problem().title}"]
    lines += [
        f"{'cell':<{width}}{'step':>7}{'λ₁':>10}{'±':>9}{'λ₁ silent':>11}{'D':>7}{'h':>8}{'−∞':>5}"
        f"{'sum rule':>10}  {quantity}"
    ]
    for expression in config.cells:
        rows = trained_columns(config, folder, expression)
        for i, step in enumerate(rows["step"]):
            lines += [
                f"{label(expression):<{width}}{step:>7}{rows['driven|exponents'][i, 0]:>+10.4f}"
                f"{rows['driven|standard_errors'][i, 0]:>9.4f}{rows['silent|exponents'][i, 0]:>+11.4f}"
                f"{rows['driven|kaplan_yorke'][i]:>7.2f}{rows['driven|entropy_rate'][i]:>8.4f}"
                f"{rows['driven|lost'][i]:>5}{rows['driven|sum_gap'][i]:>10.0e}  {rows['metric'][i]:.5f}"
            ]
    return "\n".join(
        [
            *lines,
            "",
            "λ in nats per step; theory: mean field, λ₁ = ½ ln χ as N → ∞.",
            "±: standard error along the one trajectory; other starts may scatter by more.",
            "D: Kaplan-Yorke dimension; h: entropy rate; −∞: exponents that are; sum rule: Σλ − ⟨ln |det J|⟩.",
            "silent: with no input.",
        ]
    )


def results(config: Config, folder: Path) -> dict[str, Any]:
    """The table's numbers by name."""
    keys = ("gain", "first", "error", "mean", "dimension", "entropy", "sum_gap")
    random = {noise: random_columns(config, folder, noise) for noise in config.noises}
    trained = {expression: trained_columns(config, folder, expression) for expression in config.cells}
    return {
        "random": {f"{noise:g}": {k: rows[k].tolist() for k in keys} for noise, rows in random.items()},
        "trained": {
            label(expression): {
                "step": rows["step"].tolist(),
                "first": rows["driven|exponents"][:, 0].tolist(),
                "silent": rows["silent|exponents"][:, 0].tolist(),
                "dimension": rows["driven|kaplan_yorke"].tolist(),
                "entropy": rows["driven|entropy_rate"].tolist(),
                "sum_gap": rows["driven|sum_gap"].tolist(),
                "metric": rows["metric"].tolist(),
            }
            for expression, rows in trained.items()
        },
    }


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
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
            trained, METRICS[metric][0] + ", held out", log=metric not in ("accuracy", "recalled")
        ),
        "running_estimates": running_estimates({name: under("driven", one) for name, one in last.items()}),
    }  # fmt: skip
    return [path for name, figure in drawn.items() for path in figures.save(figure, folder / "figures", name)]
