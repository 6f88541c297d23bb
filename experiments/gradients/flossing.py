"""Move Lyapunov exponents to zero before and during training (gradient flossing), on tasks with long memory.

A tanh net with random weights forgets: its exponents λ_i are negative, and products of its Jacobians shrink as
e^(λ_i·lag). Flossing minimises

    mean of λ_i² over the k largest exponents, along the task's own sequences

by gradient descent, differentiating through the QR decompositions that measure them: on its own before training,
and as a term of the loss during training. The same nets are trained on the same data without flossing, with
flossing before training, and with both.

Engelken 2023, "Gradient flossing: improving gradient descent through dynamic control of Jacobians".
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from analysis import half_life
from experiments.cell_spec import label, parse_cell
from experiments.footprint import check_task_fits
from experiments.goals import GOALS, Goal, Outcome, format_outcome, outcome_of
from experiments.gradients.flossing_loss import MEASURED, Floss, Flossing, flossing_loss, measure
from experiments.gradients.flossing_report import VARIANTS, draw_figures
from experiments.gradients.lyapunov_config import state_size
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import stored_config
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.health import check_health, check_no_cache
from experiments.network import NetworkConfig
from experiments.objective import Loss
from experiments.problems import Problem, adding_problem, copy_problem, recall_problem
from experiments.run_task import initial_params, train_task
from experiments.task import METRICS, Task, TrainingOptions
from experiments.task_report import training_record
from experiments.training import CELL_HELP, Flat
from models import Cell
from models.cell import Params
from train import LoopConfig, LossFn, OptimizerConfig

TaskName = Literal["copy_memory", "delayed_recall", "adding"]
PINNED = ("loop.eval_every",)  # a task is solved where it is evaluated
SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config:
    """Gradient flossing."""

    tasks: tuple[TaskName, ...] = ("copy_memory", "delayed_recall")
    """copy_memory: symbols after blanks; delayed_recall: a number shown long ago; adding: a sum of two."""
    exponents: tuple[int, ...] | None = None
    """Leading exponents to floss, k, one per task or one for all; by default H/4, for delayed_recall H."""
    blanks: int = 10
    """copy_memory: blanks between the symbols and their recall; sequences are 20 steps longer."""
    delay: int = 60
    """delayed_recall: steps between a number and its recall."""
    recall_length: int | None = None
    """delayed_recall: length of the sequences; by default --delay + 40."""
    adding_length: int = 30
    """adding: length of the sequences."""
    cell: Annotated[str, tyro.conf.arg(help=CELL_HELP)] = "elman(recurrent_init=gaussian)"
    hidden_size: int = 64
    """Units of the cell, H."""
    batch_size: int = 32
    """Sequences per step, B."""
    seed: int = 0
    """Seed of parameters and training data; held-out data don't depend on it."""
    repeats: int = 2
    """Nets of each kind, with consecutive seeds."""
    floss: Floss = field(default_factory=Floss)
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=3000, eval_every=100))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size, repeats=self.repeats)
        check_at_least(1, blanks=self.blanks, delay=self.delay)
        check_at_least(2, adding_length=self.adding_length)
        check_seed(self.seed)
        if self.recall_length is not None and self.recall_length <= self.delay:
            raise UserError(
                "--recall-length",
                f"{self.recall_length} ends before anything is asked for, {self.delay} steps "
                "after it was shown: make it longer than --delay",
            )
        check_distinct(tasks=self.tasks)
        if self.exponents is not None and (
            len(self.exponents) not in (1, len(self.tasks)) or min(self.exponents) < 1
        ):
            raise UserError(
                "--exponents",
                f"{' '.join(map(str, self.exponents))} must be one whole number of at least 1, or "
                f"one for each of the tasks {', '.join(self.tasks)}",
            )
        if self.loop.steps % self.loop.eval_every:
            raise UserError(
                "--steps",
                f"{self.loop.steps} is no multiple of --eval-every {self.loop.eval_every}: a task is "
                "solved at an evaluation, so the last step must be one",
            )
        if self.floss.steps is not None and self.floss.steps > self.loop.steps:
            raise UserError(
                "--floss.steps",
                f"{self.floss.steps} are more than the --steps {self.loop.steps} of training: take "
                "as many at the most",
            )

    def check(self) -> None:
        """Raises ValueError for a cell that cannot be built or flossed, before the run's folder is made."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        layer = self.layer()
        check_no_cache(layer, "--cell")
        check_health(layer, self.loop)
        if layer.couples_batch:
            raise UserError(
                "--cell",
                f"{self.cell} lets the examples of a batch see one another, so that no sequence has "
                "exponents by itself: take another cell",
            )
        params = jax.eval_shape(lambda: layer.init(jax.random.key(0), 2))
        for task in self.tasks:
            problem = self.problem(task)
            check_task_fits(problem.task(problem.model(NetworkConfig(), layer)), self)
        for task in self.tasks:
            xs, k = jnp.zeros((self.length(task), 1, 2)), self.k(task)
            if k > (there := state_size(layer)):
                raise UserError(
                    "--exponents",
                    f"{k} are more than the {there} numbers in the state of {self.cell}, each of which "
                    "has one: take as many at the most, or a greater --hidden-size",
                )
            jax.eval_shape(lambda p, xs=xs, k=k: flossing_loss(layer, p, xs, k, self.floss.qr_every), params)

    def check_resumed(self, folder: Path) -> None:
        """Raises UserError where, with other --steps, the run in a folder was flossed for another time."""
        before = stored_config(Config, folder).floss_steps
        if before != self.floss_steps:
            raise UserError(
                "--steps",
                f"{self.loop.steps} would floss for {self.floss_steps} steps, and {folder} did for {before}: "
                "resume with the same, or begin a new run",
            )

    def layer(self) -> Cell:
        return parse_cell(self.cell, self.hidden_size)

    def k(self, task: TaskName) -> int:
        """Returns the number of exponents flossed for a task."""
        if self.exponents is None:
            return self.hidden_size if task == "delayed_recall" else max(1, self.hidden_size // 4)
        return self.exponents[self.tasks.index(task) if len(self.exponents) > 1 else 0]

    @property
    def recalled(self) -> int:
        """Returns the length of the sequences of delayed recall."""
        return self.delay + 40 if self.recall_length is None else self.recall_length

    @property
    def floss_steps(self) -> int:
        """Updates before training."""
        return min(200, self.loop.steps) if self.floss.steps is None else self.floss.steps

    def length(self, task: TaskName) -> int:
        """Returns the length of a task's sequences."""
        lengths = {"copy_memory": self.blanks + 20, "delayed_recall": self.recalled}
        return lengths.get(task, self.adding_length)

    def problem(self, task: TaskName) -> Problem:
        """Returns the problem of a task's name."""
        if task == "delayed_recall":
            return recall_problem(self.delay, self.recalled)
        return copy_problem(self.blanks) if task == "copy_memory" else adding_problem(self.adding_length)


def goal_of(config: Config, task: TaskName) -> Goal:
    """Returns when a task counts as solved: adding and delayed recall at an error of 0.01, as in `long_memory`;
    copy when nine of ten symbols are recalled, for the 99 of 100 asked for there are out of a tanh net's reach
    here."""
    if task == "delayed_recall":
        problem = partial(recall_problem, length=config.recalled)
        return Goal(problem, "mean_square_error", 0.01, high=False)
    return GOALS["adding"] if task == "adding" else dataclasses.replace(GOALS["copy_memory"], bound=0.9)


def main(config: Config, run: Run) -> str:
    """Flosses and trains net by net, measures those of the first seed, tabulates and draws; returns the table."""
    outcomes: dict[TaskName, dict[str, list[Outcome]]] = {}
    curves: dict[str, np.ndarray] = {}
    measured: dict[str, np.ndarray] = {}
    for task in config.tasks:
        problem = config.problem(task)
        outcomes[task] = {name: [] for name in VARIANTS}
        for repeat in range(config.repeats):
            for name, begun, trained, folder in train_nets(config, run, task, problem, config.seed + repeat):
                outcome = outcome_of(folder, goal_of(config, task))
                outcomes[task][name].append(outcome)
                print(
                    f"{task}, {name}, seed {config.seed + repeat}: "
                    f"{format_outcome(goal_of(config, task), outcome)}",
                    flush=True,
                )
                curves |= {f"{task}|{name}|{repeat}|{k}": v for k, v in training_record(folder).items()}
                if repeat == 0:
                    for moment, params in (("before", begun), ("after", trained)):
                        found = measure(config.layer(), problem, params)
                        measured |= {f"{task}|{name}|{moment}|{k}": v for k, v in found.items()}
    run.write_arrays("curves", curves)
    run.write_arrays("measured", measured)
    table = format_table(config, outcomes, measured)
    run.write_table(table)
    draw(run.folder)
    run.finish(
        {
            task: {name: [vars(outcome) for outcome in found] for name, found in variants.items()}
            for task, variants in outcomes.items()
        }
    )
    return table


def train_nets(
    config: Config, run: Run, task: TaskName, problem: Problem, seed: int
) -> Iterator[tuple[str, Params, Params, Path]]:
    """Trains the three nets of a task and seed; yields name, parameters before and after training, folder."""
    layer = config.layer()
    model = problem.model(NetworkConfig(), layer)
    home, goal, loss = (
        run.folder / "nets" / task / str(seed),
        goal_of(config, task),
        Loss(model, problem.measure),
    )
    plain = problem.task(model)
    fresh = initial_params(plain, seed, problem.data.validation()[0])

    def with_loss(loss: LossFn, begin: Params, **more: Any) -> Task:
        return dataclasses.replace(
            plain,
            objective=dataclasses.replace(plain.objective, loss=loss),
            initial=lambda seed: begin,
            **more,
        )

    first = TrainingOptions(
        seed,
        config.batch_size,
        dataclasses.replace(config.loop, steps=config.floss_steps),
        OptimizerConfig(learning_rate=config.floss.learning_rate),
    )
    flossed = train_task(
        run,
        with_loss(Flossing(layer, config.k(task), config.floss), fresh),
        first,
        label=f"{task}, flossing, seed {seed}",
        folder=home / "flossing",
    ).after
    options = TrainingOptions(seed, config.batch_size, config.loop, config.optimizer)
    for name in VARIANTS:
        begin = fresh if name == VARIANTS[0] else flossed
        folder = home / folder_name(name)
        own = Flossing(layer, config.k(task), config.floss, loss) if name == VARIANTS[2] else loss
        trained = train_task(
            run,
            with_loss(own, begin, stop_when=goal.reached),
            options,
            label=f"{task}, {name}, seed {seed}",
            folder=folder,
        ).after
        yield name, begin, trained, folder


def format_table(
    config: Config,
    outcomes: Mapping[TaskName, Mapping[str, Sequence[Outcome]]],
    measured: Mapping[str, np.ndarray],
) -> str:
    """Formats a block for each task, a row for each kind of net: steps to solve by seed, exponents and half-life of
    the first seed."""
    seeds = [f"seed {config.seed + repeat}" for repeat in range(config.repeats)]
    lines: list[str] = []
    for task, variants in outcomes.items():
        goal, k = goal_of(config, task), config.k(task)
        metric = METRICS[goal.metric]
        side = "above" if goal.high else "below"
        lines += [
            f"{config.problem(task).title}, {label(config.cell)}, {config.hidden_size} units: steps until "
            f"{metric.label} {side} {goal.bound:g}; in brackets the best of {config.loop.steps}",
            f"{'net':<28}" + "".join(f"{seed:>11}" for seed in seeds)
            + f"{'λ₁':>16}{f'λ_{k}':>16}{'half-life':>20}",
        ]  # fmt: skip
        for name, found in variants.items():
            steps = [str(o.steps) if o.solved else f"({o.best:{metric.format}})" for o in found]
            pairs = {
                key: tuple(measured[f"{task}|{name}|{moment}|{key}"] for moment in ("before", "after"))
                for key in ("exponents", "gradient_norms")
            }
            first, last = (
                " → ".join(f"{np.mean(e[:, i]):+.3f}" for e in pairs["exponents"]) for i in (0, k - 1)
            )
            lives = " → ".join(f"{half_life(norms):.1f}" for norms in pairs["gradient_norms"])
            lines += [
                f"{name:<28}" + "".join(f"{s:>11}" for s in steps) + f"{first:>18}{last:>18}{lives:>18}"
            ]
        lines += [""]
    return "\n".join(
        [
            *lines,
            f"λ: exponents in nats per step, double precision, mean over {MEASURED} held-out sequences; half-life: "
            "steps back in which",
            "the gradient of the last step's loss halves. Both of the first seed, before → after training.",
        ]
    )


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    config = stored_config(Config, folder)
    return draw_figures(folder, {task: config.k(task) for task in config.tasks}, config.repeats)
