"""Find the fixed points of a net that remembers three bits: stable points and the saddles between them.

Trains a net on the flip-flop task, then finds the states that don't change without input: minima of q = ½ ‖F(s) −
s‖² from many starts, in double precision. The stable ones are the net's memory, one for every pattern of bits.
The saddles lie between them; a pulse must push the state across one along its unstable direction.

Sussillo & Barak 2013; Golub & Sussillo 2018.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from data import Batch, flip_flop
from experiments.footprint import Part, check_fits
from experiments.gradients.fixed_points_measure import counts, measure, patterns
from experiments.harness.checks import check_at_least, check_not_negative, check_share
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, read_run
from experiments.harness.run import Run
from experiments.health import check_no_cache
from experiments.objective import Evaluation
from experiments.problems import Problem, check_problem_fits, from_task
from experiments.run_task import train_task
from experiments.task_report import training_record
from experiments.training import Flat, TrainingConfig
from models import Cell, SequenceTagger
from models.cell import Array
from models.layers.layer import check_causal
from models.state import ravel_coordinates, ravel_state
from train import LoopConfig, SumCount, evaluate, squared_error
from train.metrics import masked_sum


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Fixed points."""

    cell: str = "gru"
    """The cell, as in other experiments: elman, gru, lstm, "path/to/file.py:MyCell(alpha=0.3)", …"""
    hidden_size: int = 32
    """Units of the cell, H."""
    bits: int = 3
    """Bits to remember; each has its own input channel."""
    length: int = 100
    """Length of the sequences, T."""
    probability: float = 0.05
    """Probability of a pulse, at each step on each channel."""
    starts: int = 1000
    """States from which the search for fixed points starts."""
    noise: float = 0.1
    """Noise added to each start, in standard deviations of the states."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=250))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, bits=self.bits, length=self.length, starts=self.starts)
        check_share(probability=self.probability)
        check_not_negative(noise=self.noise)
        if self.network.direction != "forward":
            raise UserError(
                "--direction",
                f"{self.network.direction} reads the future and has no step that could stay where it "
                "is: take --direction forward",
            )

    def check(self) -> None:
        """Raises ValueError for a network that cannot be built or drawn, before the run's folder is made."""
        super().check()
        layer = self.layer()
        check_causal(layer)
        check_no_cache(layer, "--cell")
        if layer.couples_batch:
            raise UserError(
                "--cell",
                f"{self.cell} lets the examples of a batch see one another, so that no state is a fixed "
                "point by itself: take another cell",
            )
        size, coordinates = state_sizes(layer, self.bits)
        if coordinates != size:
            raise UserError(
                "--cell",
                f"{self.cell} can write a state in more than one way, so that its fixed points aren't those "
                "of its numbers: take another cell",
            )
        check_problem_fits(self, problem(self.bits, self.length, self.probability))
        check_fits({"the starts and their steps": Part(3 * 4 * self.starts * size, "fewer --starts")})
        if size < 3:
            raise UserError(
                "--hidden-size", f"{self.hidden_size} makes a state of {size}: three axes need at least 3"
            )


def state_sizes(layer: Cell, input_size: int) -> tuple[int, int]:
    """Counts the numbers in the state, and in its coordinates."""

    def vectors() -> tuple[Array, Array]:
        state = layer.initial_state(layer.init(jax.random.key(0), input_size))
        return ravel_state(state)[0], ravel_coordinates(layer, state)[0]

    state, coordinates = jax.eval_shape(vectors)
    return state.size, coordinates.size


def tracking(outputs: Array, batch: Batch) -> dict[str, SumCount]:
    """Returns the error of all bits at all steps, and the share of them whose sign is right: `[T, B, bits]`
    each."""
    targets, mask = jnp.asarray(batch.targets), jnp.asarray(batch.mask)
    every = jnp.broadcast_to(mask[..., None], targets.shape)
    return {
        "mean_square_error": squared_error(outputs, targets, mask),
        "accuracy": masked_sum(jnp.sign(outputs) == targets, every),
    }


def problem(bits: int, length: int, probability: float) -> Problem:
    """Returns a flip-flop of so many bits."""
    return Problem(
        title=f"flip-flop of {bits} bits",
        data=from_task(partial(flip_flop, length=length, bits=bits, probability=probability)),
        measure=tracking,
        classes=bits,
        metric="mean_square_error",
        baseline=1.0,
        trivial="always answering 0",
        each_step=True,
    )


def main(config: Config, run: Run) -> str:
    """Trains, looks for fixed points, tabulates and draws; returns the table."""
    asked = problem(config.bits, config.length, config.probability)
    layer, held_out = config.layer(), asked.data.test()
    model = asked.model(config.network, layer)
    assert isinstance(model, SequenceTagger)
    params = train_task(run, asked.task(model), config, label=config.label()).after
    test = evaluate(Evaluation(model, asked.measure), params, held_out)
    arrays = measure(
        layer, model, params, held_out[0], seed=config.seed, starts=config.starts, noise=config.noise
    )
    run.write_arrays("curves", training_record(run.folder))
    run.write_arrays("points", arrays)
    table = format_table(config, test, arrays)
    run.write_table(table)
    draw(run.folder)
    run.finish({"test": test, "points": counts(arrays)})
    return table


def format_table(config: Config, test: Mapping[str, float], arrays: Mapping[str, np.ndarray]) -> str:
    """Writes what was found, and a row for each stable point."""
    from analysis.figures.fixed_points import kind_of

    found, width = counts(arrays), max(len("pattern"), config.bits)
    name = config.network.describe(config.cell)
    lines = [
        f"flip-flop of {config.bits} bits, {name}, {config.hidden_size} units: mean square error "
        f"{test['mean_square_error']:.5f}, {test['accuracy']:.2%} of the bits right on held-out sequences",
        f"fixed points without input, from {config.starts} starts:",
        f"  {found['stable']:>4}  stable, for {found['patterns']} of the {2**config.bits} patterns",
        *(
            f"  {number:>4}  {kind_of(int(n))}"
            + (
                f"; {found['joining_neighbours']} of them lead to two patterns one bit apart"
                if n == "1"
                else ""
            )
            for n, number in found["saddles"].items()
        ),
        f"  {found['slow']:>4}  slow points",
        f"  {found['lost_starts']:>4}  starts that ended at none",
        f"  {found['index']:>+4}  sum of sign det(I − J): +1 if none is missed, where the state can't leave a ball "
        "(Brouwer)",
        "",
        f"{'pattern':<{width}}  {'speed q':>8}  {'starts':>6}  {'largest |λ|':>11}  {'distance':>8}  readout",
    ]
    for i, pattern in enumerate(patterns(arrays)):
        if arrays["unstable"][i] or not arrays["fixed"][i]:
            continue
        readout = arrays["readout"][i]
        distance = np.linalg.norm(readout - np.where(readout > 0, 1, -1))
        lines.append(
            f"{pattern:<{width}}  {arrays['speed'][i] ** 2 / 2:>8.1e}  {arrays['starts'][i]:>6}  "
            f"{abs(arrays['eigenvalues'][i, 0]):>11.4f}  {distance:>8.4f}  "
            + " ".join(f"{value:+.3f}" for value in readout)
        )
    return "\n".join(
        [
            *lines,
            "",
            "one row for each stable point: q = ½ ‖F(s) − s‖²; how many starts ended there; the largest modulus of "
            "an eigenvalue",
            "of ∂F/∂s; how far the readout is from the pattern's own corner of the cube.",
        ]
    )


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.curves import loss_curves
    from analysis.figures.fixed_points import bits_against_time, fixed_points_in_axes, kind_of
    from analysis.figures.gradients import eigenvalues_in_plane
    from analysis.figures.style import save

    config = read_run(folder)["config"]
    arrays, record = read_arrays(folder, "points"), read_arrays(folder, "curves")
    fixed, unstable = arrays["fixed"], arrays["unstable"]
    metric = "validation/mean_square_error"
    curve = {"step": record[f"{metric}/step"], "value": record[metric]}
    drawn = {
        "fixed_points": fixed_points_in_axes(
            arrays["places"], unstable, fixed, arrays["trajectories"], arrays["ways"]
        ),
        "bits": bits_against_time(arrays["inputs"], arrays["targets"], arrays["outputs"]),
        "training": loss_curves(
            {config["cell"]: curve},
            y_label="mean square error, held out",
            baseline=1.0,
            baseline_label="always answering 0",
        ),
    }
    if fixed.any():
        panels = {
            f"{kind_of(int(n))} ({np.sum(fixed & (unstable == n))})": arrays["eigenvalues"][
                fixed & (unstable == n)
            ].ravel()
            for n in np.unique(unstable[fixed])
        }
        drawn["eigenvalues"] = eigenvalues_in_plane(panels)
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
