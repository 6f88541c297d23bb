"""Measure singular values of products of step Jacobians against lag, by cell and initialisation.

Each net is measured at initialisation and again after training on a task, along held-out sequences: the singular
values of J_T … J_{T−k+1} over every lag k, their growth per step (which tends to the Lyapunov exponents), the
condition number, and the eigenvalues of each step. The singular values, not the eigenvalues, determine how much
of a signal a net keeps; it keeps most when all are near one. Tanh nets are shown beside the mean-field theory of
their mean square, the LSTM and the GRU beside the theory of their state at rest.

Saxe et al. 2014; Pennington et al. 2017, "Resurrecting the sigmoid", for depth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro

from analysis import log_condition_numbers
from experiments.cell_spec import label
from experiments.gradients.comparison import CELLS_HELP, NetsConfig, held_out_inputs
from experiments.gradients.gradients import MOMENTS
from experiments.gradients.gradients_report import power_of_ten
from experiments.gradients.jacobian_spectra_measure import (
    log_rms,
    measure,
    measured_lags,
    rest_theory,
    tanh_theory,
)
from experiments.harness.checks import check_at_least, check_distinct, check_not_negative
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, stored_config
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.network import check_cells
from experiments.run_task import Trained, run_tasks
from experiments.task import METRICS
from models import Cell
from models.cell import Array
from train import evaluate

GAIN_HELP = f"{CELLS_HELP} G is each of the gains in turn: elman(recurrent_init=gaussian(gain=G))."
GAINS = (0.5, 1.0, 1.5, 2.0)
SHOWN_LAGS = (1, 5, 20, 50)
SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(NetsConfig):
    """Jacobian spectra."""

    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=GAIN_HELP)] = (
        "elman(recurrent_init=gaussian(gain=G))",
        "elman(recurrent_init=orthogonal)",
        "elman(activation=relu, recurrent_init=identity)",
        "gru",
        "lstm(forget_bias=0)",
        "lstm",
        "lstm(max_lag=T)",
    )
    gains: tuple[float, ...] | None = None
    """Values of G in a cell's options; 0.5, 1, 1.5 and 2 by default."""
    trajectories: int = 4
    """Held-out sequences along which Jacobians are multiplied."""
    shown_lags: tuple[int, ...] | None = None
    """Lags at which whole spectra are drawn; by default 1, 5, 20 and 50, as far as the sequences reach."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, trajectories=self.trajectories)
        if self.shown_lags is not None:
            check_distinct(shown_lags=self.shown_lags)
        if self.gains is not None:
            check_distinct(gains=self.gains)
            for gain in self.gains:
                check_not_negative(gains=gain)
            if self.cells and not any(GAIN.search(cell) for cell in self.cells):
                raise UserError(
                    "--gains",
                    "changes nothing, for no cell of --cells has a gain G: write "
                    '"elman(recurrent_init=gaussian(gain=G))", or leave --gains out',
                )
        for lag in self.shown_lags or ():
            check_at_least(1, shown_lags=lag)
        check_cells(self.expressions())

    def check(self) -> None:
        """Raises ValueError for a cell that cannot be built, or a lag beyond the sequences."""
        super().check()
        steps = len(held_out_inputs(self.problem(), self.trajectories))
        if (longest := max(self.shown_lags or (1,))) > steps:
            raise UserError(
                "--shown-lags",
                f"{longest} is longer than the sequences of {self.task}, which have "
                f"{steps} steps: give shorter lags or a greater --length",
            )

    def lags_within(self, steps: int) -> list[int]:
        """Returns the lags that are shown of sequences of `steps` steps."""
        return [lag for lag in self.shown_lags or SHOWN_LAGS if lag <= steps]

    def expressions(self) -> tuple[str, ...]:
        """Lists the cells, one that names G once for every gain."""
        return tuple(
            at_gain(cell, gain)
            for cell in self.cells
            for gain in ((self.gains or GAINS) if GAIN.search(cell) else (0.0,))
        )


GAIN = re.compile(r"=\s*G\b")


def at_gain(cell: str, gain: float) -> str:
    """Puts the gain in place of G in a cell's expression: `gaussian(gain=G)` → `gaussian(gain=1.5)`."""
    return GAIN.sub(f"={gain:g}", cell)


def main(config: Config, run: Run) -> str:
    """Trains and measures net by net, draws, returns the table. A resumed run keeps the nets that it has."""
    problem = config.problem()
    cells = {label(expression): config.cell(expression) for expression in config.expressions()}
    tasks = {label(e): problem.task(config.model(e, problem)) for e in config.expressions()}
    along = jnp.asarray(held_out_inputs(problem, config.trajectories))
    validation = problem.data.validation()

    def measured_net(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        evaluation = tasks[name].objective.evaluate
        metrics = [evaluate(evaluation, params, validation)[problem.metric] for params in trained[:2]]
        return measure_net(cells[name], trained, along) | {
            f"{moment}|metric": metric for moment, metric in zip(MOMENTS, metrics, strict=True)
        }

    for name, found in run_tasks(run, tasks, config, measured_net):
        row = summary(config, found, "after")
        print(
            f"{name}: largest σ over {row['lag']} steps {row['largest']} after training",
            flush=True,
        )
    table = format_table(config, run.folder)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(config, run.folder))
    return table


def array_name(expression: str) -> str:
    return f"nets/{folder_name(label(expression))}"


def measure_net(cell: Cell, trained: Trained, along: Array) -> dict[str, Any]:
    """Measures one net along inputs `[T, N, D]` before and after training: `MOMENT|NAME`, and what theory says."""
    arrays: dict[str, Any] = {"lags": measured_lags(len(along))}
    for moment, params in zip(MOMENTS, (trained.before, trained.after), strict=True):
        own = params["params"]["recurrent"]["cell"]
        arrays |= {f"{moment}|{name}": values for name, values in measure(cell, own, along).items()}
    own = trained.before["params"]["recurrent"]["cell"]
    theory = {"theory": tanh_theory(cell, own, along), "rest": rest_theory(cell, own)}
    return arrays | {name: values for name, values in theory.items() if values is not None}


def summary(config: Config, found: Mapping[str, np.ndarray], moment: str) -> dict[str, Any]:
    """Summarises a net in a row of the table: medians over the sequences, singular values in powers of ten."""
    spectra, last = found[f"{moment}|spectra"], int(found["lags"][-1])
    middle = np.median(spectra, axis=0)
    condition = np.median(log_condition_numbers(spectra), axis=0)
    largest = spectra[0, -1, 0]
    gap = found[f"{moment}|matrix_free"] - largest if np.isfinite(largest) else np.nan
    return {
        "lag": last,
        "rate": float(np.median(log_rms(spectra), axis=0)[-1] / last),
        "theory": float(found["theory"][-1] / last) if "theory" in found and moment == MOMENTS[0] else None,
        "largest": power_of_ten(middle[-1, 0]),
        "median": power_of_ten(middle[-1, (middle.shape[1] - 1) // 2]),
        "condition_of_a_step": power_of_ten(condition[0]),
        "condition": power_of_ten(condition[-1]),
        "matrix_free_gap": float(gap),
        "metric": float(found[f"{moment}|metric"]),
    }


def rows_of(config: Config, folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns name, moment and summary of every net."""
    found = {label(e): read_arrays(folder, array_name(e)) for e in config.expressions()}
    return [(name, moment, summary(config, f, moment)) for name, f in found.items() for moment in MOMENTS]


def format_table(config: Config, folder: Path) -> str:
    """Formats a row for each net before and after training."""
    rows = rows_of(config, folder)
    width, lag = max(len(name) for name, _, _ in rows), rows[0][2]["lag"]
    quantity = METRICS[config.problem().metric].label
    lines = [
        f"{'cell':<{width}}  {'training':<9}{'rms rate':>9}{'theory':>9}{'largest σ':>12}{'median σ':>12}"
        f"{'cond. 1':>11}{f'cond. {lag}':>11}{'mat.-free':>11}  {quantity}"
    ]
    for name, moment, row in rows:
        theory = "" if row["theory"] is None else f"{row['theory']:+.4f}"
        lines += [
            f"{name:<{width}}  {moment:<9}{row['rate']:>+9.4f}{theory:>9}{row['largest']:>12}{row['median']:>12}"
            f"{row['condition_of_a_step']:>11}{row['condition']:>11}{row['matrix_free_gap']:>+11.0e}"
            f"  {row['metric']:.5f}"
        ]
    return "\n".join(
        [
            *lines,
            "",
            f"σ: singular values of the product of the last {lag} step Jacobians, median over sequences;",
            "rms rate: ln of their root mean square, per step; theory: ½ ln χ of mean-field theory;",
            f"cond.: condition number of one step and of {lag};",
            "mat.-free: ln of the largest σ found without a Jacobian, less that of the product.",
        ]
    )


def results(config: Config, folder: Path) -> dict[str, Any]:
    """Returns the table's rows by name."""
    return {f"{name}, {moment} training": row for name, moment, row in rows_of(config, folder)}


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.gradients import eigenvalues_in_plane
    from analysis.figures.lyapunov import spectra_by_value
    from analysis.figures.spectra import condition_numbers, mean_square, spectra_before_after
    from analysis.figures.style import save

    config = stored_config(Config, folder)
    found = {label(e): read_arrays(folder, array_name(e)) for e in config.expressions()}
    lags = next(iter(found.values()))["lags"]
    spectra = {m: {name: f[f"{m}|spectra"] for name, f in found.items()} for m in MOMENTS}
    conditions = {
        f"{m} training": {n: np.median(log_condition_numbers(s), axis=0) for n, s in spectra[m].items()}
        for m in MOMENTS
    }
    drawn = {
        "singular_values": spectra_before_after(
            lags,
            spectra["before"],
            spectra["after"],
            {name: float(f["rest"]) for name, f in found.items() if "rest" in f},
        ),
        "condition_numbers": condition_numbers(lags, conditions),
    }
    theory = {name: f["theory"] for name, f in found.items() if "theory" in f}
    if theory:
        measured = {name: np.median(log_rms(spectra["before"][name]), axis=0) for name in theory}
        drawn["mean_square"] = mean_square(lags, measured, theory)
    places = [int(np.argmin(np.abs(lags - lag))) for lag in config.lags_within(int(lags[-1]))]
    for m in MOMENTS:
        rates = {
            name: (lags[places], (np.median(s, axis=0) / lags[:, None])[places])
            for name, s in spectra[m].items()
        }
        drawn[f"growth_rates_{m}"] = spectra_by_value(
            rates, "lag $k$", rf"$\ln\sigma_i\,/\,k$ (nats per step), {m} training"
        )
        drawn[f"eigenvalues_{m}"] = eigenvalues_in_plane(
            {name: f[f"{m}|eigenvalues"] for name, f in found.items()}
        )
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
