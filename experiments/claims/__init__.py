"""Put ten claims from lecture notes on recurrent nets to the test.

Each claim is measured with several seeds and judged by a rule written beside it: it held, it did not hold, or the
spread over the seeds leaves it undecided. Larger and smaller mean by more than two standard errors of the
difference of the means.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis import lstm_mean_rest_exponent, lstm_rest_factor
from experiments.claims.measure import PIECES, Sizes
from experiments.claims.verdicts import FAILED, HELD, OPEN, Claim, judge
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.run import Run


@dataclass(frozen=True)
class Config:
    """Claims."""

    seeds: int = 4
    """Nets of each kind, with consecutive seeds."""
    hidden_size: int = 32
    """Units of each cell, H."""
    batch_size: int = 32
    """Sequences per step, B."""
    steps: int = 300
    """Updates of each net."""
    length: int = 20
    """Length of the sequences, T."""
    lags: int = 50
    """Steps back over which gradients of untrained nets are measured."""
    seed: int = 0
    """The first seed."""

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size, steps=self.steps)
        check_seed(self.seed)
        check_at_least(4, length=self.length)
        check_at_least(2, lags=self.lags)
        if self.seeds < 2:
            raise UserError("--seeds", f"must be 2 or more, for one net has no spread, but is {self.seeds}")

    def check(self) -> None:
        """Nothing here can't be had."""

    @property
    def sizes(self) -> Sizes:
        """The part of it that the measurements read."""
        return Sizes(**vars(self))


def main(config: Config, run: Run) -> str:
    """Measures piece by piece, judges, draws; a resumed run keeps the pieces that it has."""
    for name, piece in PIECES.items():
        if run.resumed and (run.folder / "arrays" / f"{name}.npz").exists():
            print(f"{name}: measured before", flush=True)
            continue
        run.write_arrays(name, piece(config.sizes, run.devices))
        print(f"{name}: measured", flush=True)
    claims = judge({name: read_arrays(run.folder, name) for name in PIECES})
    table = format_table(claims)
    run.write_table(table)
    draw(run.folder)
    run.finish({name: vars(claim) for name, claim in claims.items()})
    return table


def format_table(claims: Mapping[str, Claim]) -> str:
    """Three lines a claim, and how many held."""
    lines = []
    for number, claim in enumerate(claims.values(), 1):
        lines += [f"{number:>2}. “{claim.sentence}”", f"    {claim.measured}", f"    → {claim.verdict}", ""]
    counts = {verdict: sum(c.verdict == verdict for c in claims.values()) for verdict in (HELD, FAILED, OPEN)}
    return "\n".join([*lines, ", ".join(f"{count} {verdict}" for verdict, count in counts.items())])


# --- figures


def points(x: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """As `outcomes_against` takes them."""
    return {"x": x, "values": values}


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    from analysis.figures.outcomes import outcomes_against
    from analysis.figures.style import save

    gradients, rates, depth, gated = (read_arrays(folder, name) for name in PIECES)
    names = {
        "elman": "Elman",
        "lstm": "LSTM",
        "elman, clipped": "Elman, clipped",
        "lstm, clipped": "LSTM, clipped",
    }

    def by_rate(key: str, of: Sequence[str]) -> dict[str, Any]:
        return {names[n]: points(rates["rate"], rates[f"{n}|{key}"]) for n in of}

    slope = r"slope of $\ln\|\partial L/\partial s_{T-k}\|$ per step back"
    trivial = {"guessing": math.log(4)}
    fine_gains = np.geomspace(gradients["gain"][0], gradients["gain"][-1], 100)
    fine_biases = np.linspace(gradients["bias"][0], gradients["bias"][-1], 100)
    drawn = {
        "lstm_explodes": outcomes_against(
            {
                "untrained": {
                    n: points(gradients["gain"], gradients[k])
                    for n, k in (("Elman", "elman"), ("LSTM", "lstm"))
                }
            },
            x_label="gain of the recurrent weights, $g$",
            y_label=slope,
            log="x",
            levels={"neither grows nor falls": 0.0},
            theory={
                "theory: LSTM at rest, ln(σ(1) + g/4)": (
                    fine_gains,
                    np.log(lstm_rest_factor(1.0, fine_gains)),
                )
            },
        ),
        "lstm_vanishes": outcomes_against(
            {"untrained": {"LSTM": points(gradients["bias"], gradients["lstm|bias"])}},
            x_label="forget bias",
            y_label=slope,
            levels={
                "neither grows nor falls": 0.0,
                "Elman, orthogonal": float(gradients["elman|orthogonal"].mean()),
            },
            theory={
                "theory: LSTM at rest, ln(σ(b) + ¼)": (
                    fine_biases,
                    np.log(lstm_rest_factor(fine_biases)),
                ),
                "its mean over directions, ln max(σ(b), ¼)": (
                    fine_biases,
                    lstm_mean_rest_exponent(fine_biases),
                ),
            },
        ),
        "learning_rates": outcomes_against(
            {"temporal order": by_rate("held_out", list(names))},
            x_label="learning rate",
            y_label="loss, held out (nats)",
            log="xy",
            limits=(1e-4, 30.0),
            levels=trivial,
        ),
        "loss_swings": outcomes_against(
            {"temporal order": by_rate("climbed", ("elman", "lstm"))},
            x_label="learning rate",
            y_label="climbs of ln loss, added up",
            log="x",
        ),
        "largest_gradients": outcomes_against(
            {"temporal order": by_rate("largest", ("elman", "lstm"))},
            x_label="learning rate",
            y_label="largest gradient norm in training",
            log="xy",
        ),
        "depth": outcomes_against(
            {"digits, row by row": {"Elman": points(depth["depth"], depth["held_out"])}},
            x_label="layers",
            y_label="loss, held out (nats)",
        ),
        "depth_gradients": outcomes_against(
            {
                "digits, row by row, untrained": {
                    "first layer": points(depth["depth"], depth["first_layer"]),
                    "last layer": points(depth["depth"], depth["last_layer"]),
                }
            },
            x_label="layers",
            y_label="gradient norm, weights of a layer",
        ),
        "gru_beside_lstm": outcomes_against(
            {
                "adding": {
                    n.upper(): points(gated[f"{n}|parameters"], gated[f"{n}|held_out"])
                    for n in ("lstm", "gru")
                }
            },
            x_label="parameters of the layer",
            y_label="mean square error, held out",
            log="y",
            levels={"always answering 1": 1 / 6},
        ),
    }
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
