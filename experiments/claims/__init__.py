"""Put the claims of lecture notes on recurrent nets to the test.

Each claim is judged by the results of other experiments, and by a rule written beside it: it holds, holds partly,
does not hold, or the spread over the seeds leaves it undecided. Where nets with several seeds are compared, larger
and smaller mean by more than two standard errors of the difference of the means. Short runs that are missing are
started, as in a sweep; long ones are read where --runs finds them, and started by --start all.
"""

import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.claims.finding import VERDICTS, Claim
from experiments.claims.results import find_runs
from experiments.claims.rows import judge
from experiments.claims.runs import Config, commands_of, measured, needed, needed_jobs, starts
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.registry import module_of
from experiments.sweep import default_jobs, run_jobs
from experiments.sweep.engines import Interrupted
from experiments.sweep.plan import Job, check_begun

__all__ = ["STARTS_RUNS", "Config", "draw", "main"]

STARTS_RUNS = True  # it computes nothing itself, and leaves an accelerator to its runs
PIECES = ("gradients", "rates", "depth", "gated")  # of which figures are drawn


def main(config: Config, run: Run) -> str:
    """Starts the runs that are missing, judges by the results of all, draws; returns the table.

    Raises ValueError where a run failed."""
    runs, jobs = needed(config), needed_jobs(config, run.folder)
    readers = {name: one.read for name, one in runs.items()}
    check_begun(jobs.values(), ())
    found = find_runs(jobs, config.runs, readers)
    for name, folder in found.items():
        print(f"{name}: finished in {folder}", flush=True)
    missing = [name for name, one in runs.items() if name not in found and starts(config, one)]
    for alone, at_once in ((False, min(default_jobs(), run.devices)), (True, 1)):
        start([jobs[name] for name in missing if runs[name].alone == alone], at_once, run.folder)
    pieces = measured(runs, found | {name: jobs[name].folder for name in missing})
    for name, arrays in pieces.items():
        run.write_arrays(name, arrays)
    claims = judge(pieces, commands_of(config))
    table = format_table(claims)
    run.write_table(table)
    draw(run.folder)
    run.finish({name: vars(claim) for name, claim in claims.items()})
    return table


def start(jobs: Sequence[Job], at_once: int, folder: Path) -> None:
    """Runs jobs, so many at a time. Raises ValueError where one failed."""
    try:
        failures = run_jobs(jobs, "local", at_once) if jobs else {}
    except Interrupted as stopped:
        signal.raise_signal(stopped.signal)  # to the command line, which says how to go on
        raise
    if failures:
        name, sentence = next(iter(failures.items()))
        raise ValueError(
            f"{len(failures)} of {len(jobs)} runs failed, {name}: {sentence} (logs in {folder / 'logs'}); "
            f"try again with the same command and --resume {folder}"
        )


def format_table(claims: Mapping[str, Claim]) -> str:
    """Formats a few lines for each claim, and how many there are of each verdict."""
    lines = []
    for number, claim in enumerate(claims.values(), 1):
        lines += [f"{number:>2}. “{claim.sentence}” ({claim.where})", f"    {claim.measured}"]
        lines += [f"    → {claim.verdict}{f': {claim.why}' if claim.why else ''}", f"    {claim.command}", ""]
    counts = {verdict: sum(c.verdict == verdict for c in claims.values()) for verdict in VERDICTS}
    return "\n".join([*lines, ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)])


# --- figures


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays, by the experiments that measured them; none where
    numbers are missing."""
    from analysis.figures.style import save

    if not all((folder / "arrays" / f"{name}.npz").is_file() for name in PIECES):
        return []
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
