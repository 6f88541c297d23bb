"""Compare GRU and LSTM on adding, at equal units and at equal parameters.

Each is trained by Adam at the better of two learning rates, over several seeds.
"""

import dataclasses
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data import adding, adding_baseline
from experiments.cell_spec import parse_cell
from experiments.ensemble import (
    ADAM_RATES,
    EnsembleConfig,
    as_list,
    check_ensemble_fits,
    losses_at_best_rate,
)
from experiments.harness.checks import check_at_least
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.objective import regression
from experiments.training import EnsembleOptions
from models import Cell, SequenceClassifier
from train import OptimizerConfig

NETS = {"lstm": "LSTM", "gru": "GRU, equal units", "gru_wide": "GRU, equal parameters"}
INPUTS = 2  # a value and a marker a step


@dataclass(frozen=True)
class Config(EnsembleOptions):
    """Gated cells."""

    hidden_size: int = 32
    """Units of the LSTM, and of the GRU that has as many, H."""
    length: int = 20
    """Length of the sequences, T."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(2, length=self.length)

    def check(self) -> None:
        """Raises ValueError where training the nets needs more memory than is free."""
        for cell in cells(self.hidden_size).values():
            check_ensemble_fits(self.ensemble(cell), self.seeds * len(ADAM_RATES))

    def ensemble(self, cell: Cell) -> EnsembleConfig:
        """Returns what nets of a cell are trained on, and how."""
        optimizer = OptimizerConfig("adam", 1.0, clip="global_norm")
        task = partial(adding, length=self.length)
        return EnsembleConfig(
            SequenceClassifier(cell, 1), regression, task, optimizer, self.steps, self.batch_size
        )


def main(config: Config, run: Run) -> str:
    """Trains cell by cell, tabulates, draws; returns the table. A resumed run keeps the cells that it has."""
    for name, cell in cells(config.hidden_size).items():
        run.cached(name, partial(measure, config, cell, run.devices))
        print(f"{NETS[name]}: trained", flush=True)
    arrays = stored(run.folder)
    table = format_table(arrays)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(arrays))
    return table


def cells(hidden_size: int) -> dict[str, Cell]:
    """Returns the LSTM, the GRU of as many units, and the GRU whose number of parameters is nearest to the
    LSTM's."""
    lstm, gru = parse_cell("lstm", hidden_size), parse_cell("gru", hidden_size)
    wanted = count_parameters(lstm)

    def gru_parameters(units: int) -> int:
        return count_parameters(dataclasses.replace(gru, hidden_size=units))

    above = bisect_left(range(2 * hidden_size), wanted, lo=hidden_size, key=gru_parameters)
    wide = min((above - 1, above), key=lambda units: abs(gru_parameters(units) - wanted))
    return {"lstm": lstm, "gru": gru, "gru_wide": parse_cell("gru", wide)}


# --- measurement


def measure(config: Config, cell: Cell, devices: int) -> dict[str, np.ndarray]:
    """Returns the `held_out [N]` losses of nets of a cell at the better learning rate, how many `parameters` the
    cell has, and how many of them are `weights`, in matrices."""
    seeds = config.seed + np.arange(config.seeds)
    return {
        "parameters": np.array(count_parameters(cell), float),
        "weights": np.array(count_weights(cell), float),
        "held_out": losses_at_best_rate(config.ensemble(cell), seeds, ADAM_RATES, devices),
    }


def count_parameters(cell: Cell) -> int:
    """Counts the numbers that a cell has to learn."""
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(cell)))


def count_weights(cell: Cell) -> int:
    """Counts those of them that stand in matrices."""
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(cell)) if leaf.ndim == 2)


def shapes(cell: Cell) -> Any:
    """Returns the shapes of a cell's parameters."""
    return jax.eval_shape(lambda: cell.init(jax.random.key(0), INPUTS))


# --- report


def stored(folder: Path) -> dict[str, np.ndarray]:
    """Returns of a run `lstm|…` of one kind of net and `gru|…` of two, first equal in units, then in parameters:
    `held_out [kinds, N]`, `parameters` and `weights [kinds]`."""
    rows = {name: read_arrays(folder, name) for name in NETS}
    return {
        f"{cell}|{key}": np.array([rows[name][key] for name in names])
        for cell, names in (("lstm", ("lstm",)), ("gru", ("gru", "gru_wide")))
        for key in ("parameters", "weights", "held_out")
    }


def by_net(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Returns `{kind of net: its row of each array}`."""
    places = {"lstm": ("lstm", 0), "gru": ("gru", 0), "gru_wide": ("gru", 1)}
    return {
        name: {key: arrays[f"{cell}|{key}"][i] for key in ("parameters", "weights", "held_out")}
        for name, (cell, i) in places.items()
    }


def results(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Returns `{kind of net: median loss, the losses of all seeds, parameters, weights in matrices}`."""
    return {
        name: {
            "loss": float(np.median(row["held_out"])),
            "losses": as_list(row["held_out"]),
            "parameters": int(row["parameters"]),
            "weights": int(row["weights"]),
        }
        for name, row in by_net(arrays).items()
    }


def format_table(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns a row for each kind of net."""
    lines = [
        f"adding, {arrays['lstm|held_out'].shape[1]} nets of each kind: held-out mean square error, "
        f"{adding_baseline():.4f} for always answering 1",
        f"{'':<24}{'median':>10}{'least':>10}{'most':>10}{'parameters':>12}{'in matrices':>13}",
    ]
    for name, row in by_net(arrays).items():
        losses = row["held_out"]
        lines.append(
            f"{NETS[name]:<24}{np.median(losses):>10.5f}{losses.min():>10.5f}{losses.max():>10.5f}"
            f"{row['parameters']:>12,.0f}{row['weights']:>13,.0f}"
        )
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.style import save

    drawn = figures(stored(folder))
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def figures(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the held-out `loss` against the parameters of the layer."""
    from analysis.figures.outcomes import outcomes_against

    lines = {
        cell.upper(): {"x": arrays[f"{cell}|parameters"], "values": arrays[f"{cell}|held_out"]}
        for cell in ("lstm", "gru")
    }
    return {
        "loss": outcomes_against(
            {"adding": lines},
            x_label="parameters of the layer",
            y_label="mean square error, held out",
            log="y",
            levels={"always answering 1": adding_baseline()},
        )
    }
