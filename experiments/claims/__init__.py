"""Put ten claims from lecture notes on recurrent nets to the test.

Each claim is judged by the results of other experiments, over several seeds, and by a rule written beside it: it
held, it did not hold, or the spread over the seeds leaves it undecided. Larger and smaller mean by more than two
standard errors of the difference of the means. Runs that are missing are started, as in a sweep.
"""

import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.claims.runs import Config, find_runs, measured, needed_jobs
from experiments.claims.verdicts import FAILED, HELD, OPEN, Claim, judge
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.registry import module_of
from experiments.sweep import default_jobs, run_jobs
from experiments.sweep.engines import Interrupted
from experiments.sweep.plan import check_begun

__all__ = ["STARTS_RUNS", "Config", "draw", "main"]

STARTS_RUNS = True  # it computes nothing itself, and leaves an accelerator to its runs
PIECES = ("gradients", "rates", "depth", "gated")


def main(config: Config, run: Run) -> str:
    """Starts the runs that are missing, judges by the results of all, draws; returns the table.

    Raises ValueError where a run failed."""
    jobs = needed_jobs(config, run.folder)
    check_begun(jobs.values(), ())
    found = find_runs(jobs, config.runs)
    for name, folder in found.items():
        print(f"{name}: finished in {folder}", flush=True)
    missing = [job for name, job in jobs.items() if name not in found]
    try:
        failures = run_jobs(missing, "local", min(default_jobs(), run.devices))
    except Interrupted as stopped:
        signal.raise_signal(stopped.signal)  # to the command line, which says how to go on
        raise
    if failures:
        name, sentence = next(iter(failures.items()))
        raise ValueError(
            f"{len(failures)} of {len(jobs)} runs failed, {name}: {sentence} (logs in {run.folder / 'logs'}); "
            f"try again with the same command and --resume {run.folder}"
        )
    homes = {name: found.get(name, job.folder) for name, job in jobs.items()}
    pieces = measured(homes)
    for name, arrays in pieces.items():
        run.write_arrays(name, arrays)
    claims = judge(pieces)
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


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays, drawn by the experiments that measured them."""
    from analysis.figures.style import save

    gradients, rates, depth, gated = (read_arrays(folder, name) for name in PIECES)
    initial = module_of("initial_gradients").figures(gradients)
    deep = module_of("elman_depth").figures(depth)
    drawn = {
        "lstm_explodes": initial["against_gain"],
        "lstm_vanishes": initial["against_forget_bias"],
        **rate_figures(rates),
        "depth": deep["loss"],
        "depth_gradients": deep["gradients"],
        "gru_beside_lstm": module_of("gated_cells").figures(gated)["loss"],
    }
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def rate_figures(rates: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Losses, swings of the loss and gradient norms of simple nets and LSTMs against the learning rate."""
    from analysis.figures.outcomes import outcomes_against

    names = {
        "elman": "Elman",
        "lstm": "LSTM",
        "elman, clipped": "Elman, clipped",
        "lstm, clipped": "LSTM, clipped",
    }

    def by_rate(key: str, of: Sequence[str]) -> dict[str, Any]:
        return {
            "temporal order": {
                names[name]: {"x": rates["rate"], "values": rates[f"{name}|{key}"]} for name in of
            }
        }

    return {
        "learning_rates": outcomes_against(
            by_rate("held_out", list(names)),
            x_label="learning rate",
            y_label="loss, held out (nats)",
            log="xy",
            limits=(1e-4, 30.0),
            levels={"guessing": math.log(4)},
        ),
        "loss_swings": outcomes_against(
            by_rate("climbed", ("elman", "lstm")),
            x_label="learning rate",
            y_label="climbs of ln loss, added up",
            log="x",
        ),
        "largest_gradients": outcomes_against(
            by_rate("largest", ("elman", "lstm")),
            x_label="learning rate",
            y_label="largest gradient norm in training",
            log="xy",
        ),
    }
