"""Lyapunov: spectra of random nets against gain beside mean-field theory, and of cells while they are trained.

Random nets x' = J tanh(x) + σ ξ with J_ij ~ N(0, g²/N): the whole spectrum at each gain g, with and without noise
(Engelken, Wolf & Abbott 2023), beside λ₁ = ½ ln χ and the mean exponent of mean-field theory. Then cells trained
on a task, every --measure-every steps: their spectrum along held-out sequences, one after the other, and with no
input at all. In double precision, with the sum rule Σλ = ⟨ln |det J|⟩ checked where the spectrum is whole.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from analysis import figures, lyapunov_spectrum, tanh_mean_exponent, tanh_mean_field
from analysis.figures_lyapunov import during_training, random_nets, running_estimates, spectra_by_value
from experiments.cells import label
from experiments.nets import CELLS_HELP, NetsConfig, held_out_inputs, stored_config
from experiments.pieces import has_piece, piece
from experiments.problem import METRICS
from experiments.run import Run, folder_name, read_arrays
from experiments.training import Evaluation, initial_params, train_model
from models import Cell, Elman, unroll
from models.cell import Array, Params, at_least
from models.state import ravel_state
from train import evaluate

QR_EVERY = 10
SHOWN = 5  # leading exponents whose running estimates are kept
FINE = 121  # gains at which theory is drawn


@dataclass(frozen=True)
class Config(NetsConfig):
    """Lyapunov."""

    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=CELLS_HELP)] = (
        "elman(recurrent_init=gaussian(gain=1.5))",
        "gru",
        "lstm",
    )
    gains: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
    """Gains g of the random nets."""
    noises: tuple[float, ...] = (0.0, 1.0)
    """Deviations σ of their input; 0: they move by themselves."""
    units: int = 200
    """Units of the random nets, N."""
    trajectory: int = 2000
    """Steps of a trajectory along which exponents are measured."""
    warmup: int = 500
    """Steps of it that don't count, while the state settles."""
    leading: int | None = None
    """Only so many of the largest exponents; all by default."""
    measure_every: int = 100
    """Training steps between two spectra of a cell."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, units=self.units, trajectory=self.trajectory, measure_every=self.measure_every)
        at_least(0, warmup=self.warmup)
        for option, given in (("--gains", self.gains), ("--noises", self.noises)):
            if not given:
                raise ValueError(f"{option} is empty: give at least one")
            if len(set(given)) < len(given):
                raise ValueError(f"{option} names one twice: {' '.join(map(str, given))}")
            if not all(np.isfinite(value) and value >= 0 for value in given):
                raise ValueError(
                    f"{option} must be at least 0 and finite, but are {' '.join(map(str, given))}"
                )
        if self.trajectory < self.warmup + QR_EVERY:
            raise ValueError(
                f"--trajectory {self.trajectory} is too short for --warmup {self.warmup} and {QR_EVERY} steps "
                "to count: give a longer one, or a smaller warm-up"
            )
        if self.leading is not None:
            at_least(1, leading=self.leading)

    def check(self) -> None:
        """Raises ValueError for a cell that can't be had or has fewer exponents than asked for."""
        sizes = {f"a random net of --units {self.units}": self.units}
        sizes |= {expression: state_size(self.cell(expression)) for expression in self.cells}
        for name, size in sizes.items():
            if self.leading is not None and self.leading > size:
                raise ValueError(
                    f"--leading {self.leading} is more than the {size} exponents of {name}, one for each number "
                    f"in its state: give {min(sizes.values())} or less"
                )
        self.along()

    def along(self) -> np.ndarray:
        """The input along which cells are measured: held-out sequences one after the other, `[trajectory, D]`.

        Raises ValueError where there aren't enough of them."""
        problem = self.problem()
        steps = len(problem.data.validation()[0].inputs)
        inputs = held_out_inputs(problem, -(-self.trajectory // steps))
        return np.moveaxis(inputs, 1, 0).reshape(-1, inputs.shape[-1])[: self.trajectory]

    def moments(self) -> list[int]:
        """The training steps after which spectra are measured, the first and the last among them."""
        return sorted({*range(0, self.loop.steps, self.measure_every), self.loop.steps})


def state_size(cell: Cell) -> int:
    """S, how many numbers a cell's state has."""

    def state() -> Array:
        return ravel_state(cell.initial_state(cell.init(jax.random.key(0), 2)))[0]

    return jax.eval_shape(state).size


def main(config: Config, run: Run) -> str:
    """Measures random nets and cells in training, draws, returns the table."""
    for noise in config.noises:
        for gain in config.gains:
            found = piece(run, random_name(noise, gain), partial(random_spectrum, config, noise, gain))
            print(f"random net, σ = {noise:g}, g = {gain:g}: {told(found)}", flush=True)
    for expression in config.cells:
        train_and_measure(config, run, expression)
    table = format_table(config, run.folder)
    (run.folder / "table.txt").write_text(table + "\n")
    run.finish(results(config, run.folder))
    draw(run.folder)
    return table


def random_name(noise: float, gain: float) -> str:
    return f"random/noise_{noise:g}_gain_{gain:g}"


def trained_name(expression: str, moment: int) -> str:
    return f"trained/{folder_name(label(expression))}/{moment}"


def random_spectrum(config: Config, noise: float, gain: float) -> dict[str, np.ndarray]:
    """The spectrum of x' = J tanh(x) + σ ξ: h = tanh(x) is the state of an Elman net that reads σ ξ.

    At each gain the same draws, so that curves over it are smooth; the state begins at h ~ N(0, 1/4), not at rest.
    """
    with jax.enable_x64(True):
        j, xi, start = jax.random.split(jax.random.key(config.seed), 3)
        size = config.units
        params = {
            "kernel": noise * jnp.eye(size),
            "recurrent": gain / size**0.5 * jax.random.normal(j, (size, size)),
            "bias": jnp.zeros(size),
        }
        noises = jax.random.normal(xi, (config.trajectory, size))
        state = 0.5 * jax.random.normal(start, (size,))
        return spectrum(config, Elman(size), params, noises, state)


def train_and_measure(config: Config, run: Run, expression: str) -> None:
    """One cell from its first to its last moment; what is measured already is not measured again."""
    problem, name = config.problem(), label(expression)
    model, cell = config.model(expression, problem), config.cell(expression)
    validation = problem.data.validation()
    along, resumed = config.along(), run
    for moment in config.moments():
        if run.resumed and has_piece(run, trained_name(expression, moment)):
            continue
        if moment:
            params = train_model(
                run.folder / "cells" / folder_name(name),
                run=resumed,
                model=model,
                measure=problem.measure,
                config=dataclasses.replace(config, loop=dataclasses.replace(config.loop, steps=moment)),
                batches=problem.data.train(config.seed, config.batch_size),
                validation=validation,
                label=name,
            )
            resumed = dataclasses.replace(run, resumed=True)  # the next moment goes on from this one
        else:
            params = initial_params(model, config.seed, validation[0])
        metric = evaluate(Evaluation(model, problem.measure), params, validation)[problem.metric]
        own = params["params"]["recurrent"]["cell"]

        def measured(own: Params = own, metric: float = metric) -> dict[str, Any]:
            with jax.enable_x64(True):
                double = jax.tree.map(to_double, own)
                driven = spectrum(config, cell, double, jnp.asarray(along, jnp.float64))
                # From where the input has left it: the state of rest may be a point that nothing stays at.
                left, _ = unroll(cell, double, jnp.asarray(along, jnp.float64))
                silent = spectrum(config, cell, double, jnp.zeros(along.shape), left)
            both = {f"driven|{k}": v for k, v in driven.items()} | {
                f"silent|{k}": v for k, v in silent.items()
            }
            return both | {"metric": metric}

        found = piece(run, trained_name(expression, moment), measured)
        print(f"{name}, step {moment}: {told(under('driven', found))}", flush=True)


def to_double(leaf: Array) -> Array:
    """A parameter in double precision."""
    wide = jnp.complex128 if jnp.iscomplexobj(leaf) else jnp.float64
    return jnp.asarray(np.asarray(leaf), wide) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf


def spectrum(
    config: Config, cell: Cell, params: Params, xs: Array, state: Any = None
) -> dict[str, np.ndarray]:
    """What is kept of a spectrum: its fields, the running estimates of the leading exponents alone."""
    found = lyapunov_spectrum(
        cell, params, xs, state, k=config.leading, warmup=config.warmup, qr_every=QR_EVERY
    )
    kept = {name: np.asarray(value) for name, value in vars(found).items()}
    return kept | {"running": kept["running"][:, :SHOWN]}


def told(found: Mapping[str, np.ndarray]) -> str:
    """The first exponent with its error."""
    return f"λ₁ = {found['exponents'][0]:+.4f} ± {found['standard_errors'][0]:.4f}"


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix|`."""
    return {k.removeprefix(f"{prefix}|"): v for k, v in arrays.items() if k.startswith(f"{prefix}|")}


def random_columns(config: Config, folder: Path, noise: float) -> dict[str, np.ndarray]:
    """What the random nets of one noise gave, a number a gain: `[n]` each; `exponents [n, k]`."""
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
    """What one cell gave, a number a moment: `[n]` each; the exponents `[n, k]`."""
    moments = config.moments()
    found = [read_arrays(folder, trained_name(expression, moment)) for moment in moments]
    columns = {name: np.array([one[name] for one in found]) for name in found[0] if "|running" not in name}
    size = state_size(config.cell(expression))
    return columns | {"step": np.array(moments), "dimension": columns["driven|kaplan_yorke"] / size}


def format_table(config: Config, folder: Path) -> str:
    """Random nets, a row for each noise and gain; then cells, a row for each moment."""
    lines = [f"random nets of {config.units} units, {config.trajectory - config.warmup} steps counted"]
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
            "λ in nats per step; ±: standard error over the trajectory; theory: mean field, λ₁ = ½ ln χ as N → ∞.",
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
