"""The options of `lyapunov`, and what is refused of them."""

from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np
import tyro

from analysis.starts import STARTS
from experiments.footprint import Part, check_fits
from experiments.gradients.comparison import CELLS_HELP, NetsConfig, held_out_inputs
from experiments.harness.checks import check_at_least, check_distinct, check_not_negative
from experiments.harness.errors import UserError
from models import Cell
from models.cell import Array
from models.state import ravel_coordinates
from train import OptimizerConfig

QR_EVERY = 10


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
    """Standard deviations σ of their input; 0: autonomous."""
    units: int = 200
    """Units of the random nets, N."""
    trajectory: int = 2000
    """Steps of a trajectory along which exponents are measured."""
    warmup: int | None = None
    """First steps of it to discard, while the state settles; a quarter by default."""
    starts: int = STARTS
    """Independent starts, each with its own inputs, for the error of λ₁; 8 or more."""
    leading: int | None = None
    """Number of leading exponents to measure; all by default."""
    measure_every: int = 100
    """Training steps between spectra of a cell."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, units=self.units, trajectory=self.trajectory, measure_every=self.measure_every)
        check_at_least(0, warmup=self.settling)
        check_at_least(STARTS, starts=self.starts)
        check_distinct(gains=self.gains, noises=self.noises)
        for name in ("gains", "noises"):
            for value in getattr(self, name):
                check_not_negative(**{name: value})
        if self.trajectory < self.settling + QR_EVERY:
            raise UserError(
                "--trajectory",
                f"{self.trajectory} is too short for --warmup {self.settling} and {QR_EVERY} steps "
                "to count: give a longer one, or a smaller warm-up",
            )
        if self.leading is not None:
            check_at_least(1, leading=self.leading)

    @property
    def settling(self) -> int:
        """Steps of the warm-up."""
        return self.trajectory // 4 if self.warmup is None else self.warmup

    def check(self) -> None:
        """Raises ValueError for a cell that cannot be built or has fewer exponents than asked for."""
        matrices = Part(2 * 8 * self.units**2, "fewer --units")
        check_fits({"the random net's matrix and tangent vectors": matrices})
        super().check()
        self.whole_schedule()
        sizes = {f"a random net of --units {self.units}": self.units}
        sizes |= {expression: state_size(self.cell(expression)) for expression in self.cells}
        for name, size in sizes.items():
            if self.leading is not None and self.leading > size:
                raise UserError(
                    "--leading",
                    f"{self.leading} is more than the {size} exponents of {name}, one for each number "
                    f"in its state: give {min(sizes.values())} or less",
                )
        self.along()

    def whole_schedule(self) -> OptimizerConfig:
        """Returns the optimizer with the schedule of all steps, though cells are trained from moment to moment.

        Raises UserError where the schedule can't be followed in parts."""
        optimizer = self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for moment in self.moments()[1:]:
            try:
                optimizer.for_run(moment, self.loop.eval_every)
            except ValueError as error:
                raise UserError(
                    "--measure-every", f"{self.measure_every} stops training within a schedule: {error}"
                ) from error
        return optimizer

    def along(self) -> np.ndarray:
        """Returns the input along which cells are measured, `[trajectory, starts, D]`: for each start other
        held-out sequences, one after the other.

        Raises ValueError where there aren't enough of them."""
        problem = self.problem()
        steps = len(problem.data.validation()[0].inputs)
        each = -(-self.trajectory // steps)
        try:
            inputs = held_out_inputs(problem, each * self.starts)
        except ValueError as error:
            raise ValueError(
                f"{error}: give a --trajectory shorter than {self.trajectory}, or fewer --starts than {self.starts}"
            ) from error
        parts = np.moveaxis(inputs, 1, 0).reshape(self.starts, each * steps, inputs.shape[-1])
        return np.moveaxis(parts, 0, 1)[: self.trajectory]

    def moments(self) -> list[int]:
        """Returns the training steps after which spectra are measured, the first and the last among them."""
        return sorted({*range(0, self.loop.steps, self.measure_every), self.loop.steps})


def state_size(cell: Cell) -> int:
    """Returns S, how many coordinates a cell's state has."""

    def state() -> Array:
        return ravel_coordinates(cell, cell.initial_state(cell.init(jax.random.key(0), 2)))[0]

    return jax.eval_shape(state).size
