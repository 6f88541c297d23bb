"""Measure how fast gradients grow or decay per step back in untrained Elman nets and LSTMs.

Both with recurrent weights N(0, g²/H), against their gain g; LSTMs against their forget bias, beside the theory of
an LSTM at rest; and Elman nets with orthogonal recurrent weights. Each with several seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import gradient_by_lag, log_slope, lstm_mean_rest_exponent, lstm_rest_factor
from experiments.cell_spec import parse_cell
from experiments.footprint import Part, check_fits
from experiments.harness.checks import (
    check_at_least,
    check_distinct,
    check_finite,
    check_positive,
    check_rising,
    check_seed,
)
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from models import Cell
from models.cell import Array, Output, State

PROBES = 16  # sequences along which gradients are followed
INPUTS = 8  # numbers a step, D
# Of each kind of net the option that is varied, and the cell at one of its values.
NETS = {
    "elman": ("gain", "elman(recurrent_init=gaussian(gain={}))"),
    "lstm": ("gain", "lstm(recurrent_init=gaussian(gain={}))"),
    "lstm|bias": ("bias", "lstm(forget_bias={})"),
}
ORTHOGONAL = "elman(recurrent_init=orthogonal)"


@dataclass(frozen=True)
class Config:
    """Initial gradients."""

    gains: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    """Gains g of the recurrent weights N(0, g²/H)."""
    biases: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0)
    """Forget biases of the LSTMs."""
    seeds: int = 4
    """Nets of each kind, with consecutive seeds."""
    hidden_size: int = 32
    """Units of each cell, H."""
    lags: int = 50
    """Steps back over which gradients are measured."""
    seed: int = 0
    """The first seed."""

    def __post_init__(self) -> None:
        check_at_least(1, seeds=self.seeds, hidden_size=self.hidden_size)
        check_at_least(2, lags=self.lags)
        check_seed(self.seed)
        check_distinct(gains=self.gains, biases=self.biases)
        for gain in self.gains:
            check_positive(gains=gain)
        for bias in self.biases:
            check_finite(biases=bias)
        check_rising(gains=self.gains, biases=self.biases)

    def check(self) -> None:
        """Raises ValueError where the nets, or the states along which gradients go back, don't fit into memory."""
        smaller = "a smaller --hidden-size or fewer --lags"
        states = 4 * self.lags * PROBES * (INPUTS + self.hidden_size)
        check_fits(
            {
                "the weights of an LSTM": Part(4 * 4 * self.hidden_size**2, "a smaller --hidden-size"),
                "inputs and states": Part(states, smaller),
            }
        )


def main(config: Config, run: Run) -> str:
    """Measures, tabulates, draws; returns the table. A resumed run keeps what it has measured."""
    arrays = run.cached("slopes", lambda: measure(config))
    table = format_table(arrays, config.lags)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(arrays))
    return table


# --- measurement


def measure(config: Config) -> dict[str, np.ndarray]:
    """Returns the slope of ln ‖∂L/∂s_{T−k}‖ per step back k, over `lags` steps of N(0, 1) inputs, of the median
    over `PROBES` sequences: `elman`, `lstm [G, N]` against `gain [G]`, `lstm|bias [F, N]` against `bias [F]`, and
    `elman|orthogonal [N]`."""
    values = {"gain": np.array(config.gains), "bias": np.array(config.biases)}

    def slopes(expression: str) -> list[float]:
        cell = parse_cell(expression, config.hidden_size)
        return [slope(cell, config.lags, config.seed + i) for i in range(config.seeds)]

    varied = {
        name: np.array([slopes(expression.format(value)) for value in values[option]])
        for name, (option, expression) in NETS.items()
    }
    return values | varied | {"elman|orthogonal": np.array(slopes(ORTHOGONAL))}


def slope(cell: Cell, lags: int, seed: int) -> float:
    """Returns the slope of one fresh net."""
    norms = np.asarray(probe(cell, lags, jax.random.key(seed)), np.float64)
    return log_slope(np.median(norms, axis=1))


@partial(jax.jit, static_argnums=(0, 1))
def probe(cell: Cell, lags: int, key: Array) -> Array:
    """Returns ‖∂L/∂s_{T−k}‖ `[lags, PROBES]` for L = Σ ⟨u, y_T⟩ over the sequences, u ~ N(0, I)."""
    params, inputs, outputs = jax.random.split(key, 3)
    xs = jax.random.normal(inputs, (lags, PROBES, INPUTS))

    def loss(final: State, ys: Output) -> Array:
        return jnp.sum(ys[-1] * jax.random.normal(outputs, ys[-1].shape))

    return gradient_by_lag(cell, cell.init(params, INPUTS), xs, loss)


# --- report


def results(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Returns `{kind of net: {value of its option: mean slope, and those of all seeds}}`."""

    def row(slopes: np.ndarray) -> dict[str, Any]:
        return {"slope": float(slopes.mean()), "slopes": slopes.tolist()}

    varied = {
        name: {f"{value:g}": row(slopes) for value, slopes in zip(arrays[option], arrays[name], strict=True)}
        for name, (option, _) in NETS.items()
    }
    return {**varied, "elman|orthogonal": row(arrays["elman|orthogonal"])}


def format_table(arrays: Mapping[str, np.ndarray], lags: int) -> str:
    """Returns a row for each kind of net and value of its option."""
    words = {"elman": "elman, gain", "lstm": "lstm, gain", "lstm|bias": "lstm, forget bias"}
    rows = {
        f"{words[name]} {value:g}": slopes
        for name, (option, _) in NETS.items()
        for value, slopes in zip(arrays[option], arrays[name], strict=True)
    }
    rows["elman, orthogonal"] = arrays["elman|orthogonal"]
    head = (
        f"slope of ln ‖∂L/∂s‖ per step back over {lags} steps, untrained nets, "
        f"{len(arrays['elman|orthogonal'])} of each kind"
    )
    lines = [
        f"{net:<24}{slopes.mean():>+10.4f}{slopes.min():>+10.4f}{slopes.max():>+10.4f}"
        for net, slopes in rows.items()
    ]
    return "\n".join([head, f"{'net':<24}{'mean':>10}{'least':>10}{'most':>10}", *lines])


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.style import save

    drawn = figures(read_arrays(folder, "slopes"))
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def figures(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Slopes of Elman nets and LSTMs `against_gain`, and of LSTMs `against_forget_bias`, beside theory."""
    from analysis.figures.outcomes import outcomes_against

    gains = np.geomspace(arrays["gain"][0], arrays["gain"][-1], 100)
    biases = np.linspace(arrays["bias"][0], arrays["bias"][-1], 100)
    label = r"slope of $\ln\|\partial L/\partial s_{T-k}\|$ per step back"
    against_gain = {
        title: {"x": arrays["gain"], "values": arrays[name]}
        for title, name in (("Elman", "elman"), ("LSTM", "lstm"))
    }
    against_bias = {"LSTM": {"x": arrays["bias"], "values": arrays["lstm|bias"]}}
    return {
        "against_gain": outcomes_against(
            {"untrained": against_gain},
            x_label="gain of the recurrent weights, $g$",
            y_label=label,
            log="x",
            levels={"neither grows nor falls": 0.0},
            theory={"theory: LSTM at rest, ln(σ(1) + g/4)": (gains, np.log(lstm_rest_factor(1.0, gains)))},
        ),
        "against_forget_bias": outcomes_against(
            {"untrained": against_bias},
            x_label="forget bias",
            y_label=label,
            levels={
                "neither grows nor falls": 0.0,
                "Elman, orthogonal": float(arrays["elman|orthogonal"].mean()),
            },
            theory={
                "theory: LSTM at rest, ln(σ(b) + ¼)": (biases, np.log(lstm_rest_factor(biases))),
                "its mean over directions, ln max(σ(b), ¼)": (biases, lstm_mean_rest_exponent(biases)),
            },
        ),
    }
