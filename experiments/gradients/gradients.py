"""Measure how far back gradients reach in each cell, before and after training, on real digits.

This is the main job. It trains every cell on scikit-learn's digits, read pixel by pixel (64 steps). On test
images, before and after training, it measures the gradient of the loss with respect to the state k steps back,
the singular values of products of k step Jacobians, the eigenvalues of the step Jacobians, and the Lyapunov
spectrum.

Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013; Engelken, Wolf & Abbott 2023.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from analysis import (
    gradient_by_lag,
    jacobian_eigenvalues,
    lyapunov_spectrum,
    product_spectrum,
    step_jacobians,
)
from data import DIGITS_CLASSES, DIGITS_PIXELS
from experiments.cell_spec import label
from experiments.footprint import check_jacobians_fit, check_task_fits
from experiments.gradients.gradients_report import format_table, summary
from experiments.gradients.jacobian_spectra_measure import rest_theory
from experiments.harness.checks import check_at_least, check_positive, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import arrays_with_prefix, read_arrays, read_run
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.health import check_health, check_no_cache
from experiments.network import NetworkConfig, check_cells
from experiments.problems import digits_problem
from experiments.run_task import Trained, run_tasks
from experiments.task_report import training_record
from experiments.training import CELL_HELP, Flat
from models import Cell, SequenceClassifier
from models.cell import Array, Output, Params, State
from models.layers.layer import check_causal
from train import LoopConfig, OptimizerConfig, cross_entropy, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share
MOMENTS = ("before", "after")
QUANTITIES = ("gradient_norms", "log_singular_values", "eigenvalues", "exponents")
DEFAULT_CELLS = ("elman(recurrent_init=glorot)", "elman(recurrent_init=orthogonal)", "gru", "lstm")


@dataclass(frozen=True)
class Config:
    """Gradients."""

    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The cells side by side: {CELL_HELP}.")] = (
        DEFAULT_CELLS
    )
    hidden_size: int = 64
    """Units of each cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    batch_size: int = 64
    """Images per step, B."""
    permuted: bool = False
    """Read the pixels in one fixed random order."""
    input_gain: float = 16.0
    """Factor on the pixels, which lie in [0, 1]. Strong inputs saturate tanh units, where gradients vanish."""
    images: int = 128
    """Test images whose gradients are measured."""
    trajectories: int = 8
    """Test images along which Jacobians are multiplied."""
    seed: int = 0
    """Seed of parameters and of the order of the training data; the split doesn't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=1500, eval_every=100))
    # One setting for all cells, with which the gated ones do well; no rate per parameter hides what vanishes.
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="momentum", learning_rate=0.1)
    )

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size, images=self.images)
        check_at_least(1, trajectories=self.trajectories)
        check_seed(self.seed)
        check_positive(input_gain=self.input_gain)
        check_cells(self.cells)
        if self.network.direction != "forward":
            raise UserError(
                "--direction",
                f"{self.network.direction} reads the future and has no step whose Jacobian "
                "could be measured: take --direction forward",
            )

    def check(self) -> None:
        """Raises ValueError for a network that cannot be built, before the run's folder is made."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        problem = digits_problem(self.permuted, self.input_gain)
        for cell in self.cells:
            layer = self.network.build(cell, self.hidden_size)
            check_causal(layer)
            check_no_cache(layer, "--cells")
            check_health(layer, self.loop)
            check_task_fits(problem.task(problem.model(self.network, layer)), self)
            check_jacobians_fit(layer, 1, DIGITS_PIXELS, min(self.trajectories, self.images))


def main(config: Config, run: Run) -> str:
    """Trains and measures cell by cell, draws, returns the table."""
    problem = digits_problem(config.permuted, config.input_gain)
    test = problem.data.test()
    images, labels = test[0].inputs[:, : config.images], test[0].targets[: config.images]

    cells = {label(cell): config.network.build(cell, config.hidden_size) for cell in config.cells}
    tasks = {
        name: problem.task(config.network.classifier(cell, DIGITS_CLASSES)) for name, cell in cells.items()
    }

    def measured_net(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        cell, task = cells[name], tasks[name]
        model = cast(SequenceClassifier, task.model)
        rest = rest_theory(cell, trained.before["params"]["recurrent"]["cell"])
        found: dict[str, Any] = {} if rest is None else {"rest": rest}
        found["accuracy"] = evaluate(task.objective.evaluate, trained.after, test)["accuracy"]
        for moment, params in zip(MOMENTS, (trained.before, trained.after), strict=True):
            of_moment = measure(cell, model, params, images, labels, config.trajectories)
            found |= {f"{moment}|{quantity}": values for quantity, values in of_moment.items()}
        return found | {f"curves|{key}": values for key, values in training_record(folder).items()}

    nets: dict[str, dict[str, np.ndarray]] = {}
    for name, found in run_tasks(run, tasks, config, measured_net, path=cell_folder):
        nets[name] = found
        print(f"{name}: accuracy {found['accuracy']:.1%} on the test images; gradients measured", flush=True)

    for quantity in QUANTITIES:
        arrays = {f"{name}|{m}": found[f"{m}|{quantity}"] for name, found in nets.items() for m in MOMENTS}
        if quantity == "exponents":
            arrays |= {f"{name}|rest": found["rest"] for name, found in nets.items() if "rest" in found}
        run.write_arrays(quantity, arrays)
    curves = {name: arrays_with_prefix("curves", found) for name, found in nets.items()}
    run.write_arrays("curves", {f"{name}|{k}": v for name, found in curves.items() for k, v in found.items()})
    accuracies = {name: float(found["accuracy"]) for name, found in nets.items()}
    rows = [summary(name, m, arrays_with_prefix(m, found)) for name, found in nets.items() for m in MOMENTS]
    table = format_table(rows, accuracies)
    run.write_table(table)
    draw(run.folder)
    run.finish(
        {"test_accuracy": accuracies, "rows": {f"{r['cell']}, {r['moment']} training": r for r in rows}}
    )
    return table


def cell_folder(name: str) -> str:
    """Returns the folder of a cell's net within the run's, and of its arrays."""
    return f"cells/{folder_name(name)}"


def measure(
    cell: Cell, model: SequenceClassifier, params: Params, images: Any, labels: Any, trajectories: int
) -> dict[str, np.ndarray]:
    """Measures one net: images `[T, N, 1]`, labels `[N]`.

    `gradient_norms [T, N]` at lags 1 … T; `log_singular_values [M, T, S]` of the products over each lag along the
    first M = `trajectories` images; `eigenvalues [T, S]` of the step Jacobians along the first; `exponents [M, S]`
    along each, all of them.
    """
    cell_params = params["params"]["recurrent"]["cell"]
    along = images[:, :trajectories]
    jacobians = jax.vmap(partial(step_jacobians, cell, cell_params), in_axes=1)(along)
    return {
        "gradient_norms": np.asarray(loss_gradients(cell, model, params, images, labels)),
        "log_singular_values": np.stack([product_spectrum(np.asarray(js)) for js in jacobians]),
        "eigenvalues": jacobian_eigenvalues(np.asarray(jacobians[0])),
        "exponents": np.asarray(exponents_along(cell, cell_params, along)),
    }


@partial(jax.jit, static_argnums=0)
def exponents_along(cell: Cell, params: Params, images: Array) -> Array:
    """Returns the Lyapunov spectrum along each image, `[T, M, 1]` → `[M, S]`."""

    def along(image: Array) -> Array:
        return lyapunov_spectrum(cell, params, image).exponents

    return jax.vmap(along, in_axes=1)(images)


@partial(jax.jit, static_argnums=(0, 1))
def loss_gradients(
    cell: Cell, model: SequenceClassifier, params: Params, images: Array, labels: Array
) -> Array:
    """Returns ‖∂L/∂s_{T−k}‖ of each image's own cross entropy: `[T, N]`, row i for lag i + 1."""

    def loss(final: State, ys: Output) -> Array:
        logits = jnp.asarray(model.apply(params, ys[-1], method="logits"))
        return cross_entropy(logits, labels)[0]  # the sum over images, so that each keeps its own gradient

    return gradient_by_lag(cell, params["params"]["recurrent"]["cell"], images, loss)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.curves import training_curves
    from analysis.figures.exponents import exponents_before_and_after
    from analysis.figures.gradients import (
        eigenvalues_in_plane,
        gradient_against_lag,
        singular_values_against_lag,
    )
    from analysis.figures.style import save

    names = [label(cell) for cell in read_run(folder)["config"]["cells"]]

    def arrays(quantity: str, moment: str) -> dict[str, np.ndarray]:
        stored = read_arrays(folder, quantity)
        return {name: stored[f"{name}|{moment}"] for name in names}

    exponents = read_arrays(folder, "exponents")
    rest = {name: float(exponents[f"{name}|rest"]) for name in names if f"{name}|rest" in exponents}
    record = read_arrays(folder, "curves")
    accuracy = "validation/accuracy"
    curves = {n: {"step": record[f"{n}|{accuracy}/step"], "value": record[f"{n}|{accuracy}"]} for n in names}
    drawn = {
        "gradient_against_lag": gradient_against_lag(
            arrays("gradient_norms", "before"), arrays("gradient_norms", "after"), rest
        ),
        "training": training_curves(
            curves, y_label="accuracy, held out", baseline=1 / DIGITS_CLASSES, baseline_label="guessing"
        ),
        "lyapunov_spectrum": exponents_before_and_after(
            arrays("exponents", "before"), arrays("exponents", "after")
        ),
    }
    for moment in MOMENTS:
        spectra, eigenvalues = arrays("log_singular_values", moment), arrays("eigenvalues", moment)
        theory = rest if moment == MOMENTS[0] else {}
        drawn[f"singular_values_{moment}"] = singular_values_against_lag(spectra, theory)
        drawn[f"eigenvalues_{moment}"] = eigenvalues_in_plane(eigenvalues)
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
