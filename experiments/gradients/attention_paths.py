"""Split the influence of the past into the part through recurrence and the part through attention.

Trains a recurrent net augmented with attention to its own past outputs (Kerg et al. 2020; Ke et al. 2018) on copy,
adding and text, and measures on held-out sequences, before and after training, how strongly each input influences
the last output: in all, through recurrence alone, through attention alone (the other cut by `stop_gradient`), and
through mixed paths, the rest. Beside them 1/n and e^(λ₁ n), λ₁ the Lyapunov exponent of the recurrence. On the same
text the nets of --beside show the gradient of a token's loss by the distance of what was read. Kendall's τ tells
how far attention weights rank the past as influence does.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
import tyro

from analysis import influence, influence_by_path, lyapunov_spectrum
from analysis.attention_maps import PAST, SELF
from analysis.gradients import scaled_norm
from data import Batch, Corpus, TextConfig, load_corpus
from experiments.cell_spec import label, parse_cell
from experiments.cell_view import CellView
from experiments.footprint import check_task_fits
from experiments.gradients.attention_paths_report import MOMENTS, draw, format_table, results
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.run import Run
from experiments.health import check_health
from experiments.network import NetworkConfig, check_cells
from experiments.objective import tagging
from experiments.problems import Problem, adding_problem, copy_problem, text_problem
from experiments.run_task import Trained, run_tasks
from experiments.task import Task
from experiments.task_report import training_record
from experiments.training import CELL_HELP, Flat
from models import Cell, SelfAttentive, SequenceTagger, holds_cache, unroll
from models.cell import Array, Params, State, Weights
from models.layers.attention import SCORES
from models.recurrence.scan import states_before
from train import LoopConfig, OptimizerConfig, SumCount, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share
TaskName = Literal["copy_memory", "adding", "text"]
ScoreName = Literal["dot", "scaled_dot", "general", "additive"]
SHORTEST = 16  # steps along which an exponent is measured


@dataclass(frozen=True)
class Config:
    """Attention paths."""

    tasks: tuple[TaskName, ...] = ("copy_memory", "adding", "text")
    """Tasks of the net with attention."""
    cell: Annotated[str, tyro.conf.arg(help=f"The cell augmented with attention: {CELL_HELP}.")] = "gru"
    beside: Annotated[tuple[str, ...], tyro.conf.arg(help=f"Nets beside it on text: {CELL_HELP}.")] = (
        "lstm",
        "transformer",
    )
    hidden_size: int = 48
    """Units of each cell, H."""
    context: int = 64
    """Past outputs that attention sees at most."""
    score: ScoreName = "general"
    """The score of a past output as a key, the present one as the query."""
    length: int = 30
    """Length of adding, T; for copy_memory the blanks between the symbols and their recall."""
    data: TextConfig = field(default_factory=lambda: TextConfig(unit="character"))
    window: int = 64
    """Tokens of a window of text, T."""
    batch_size: int = 16
    """Sequences per step, B."""
    examples: int = 32
    """Held-out sequences along which influence is measured."""
    seed: int = 0
    """Seed of parameters and training data; held-out data don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=1500, eval_every=150))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="cosine")
    )

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size, context=self.context)
        check_at_least(2, examples=self.examples)
        check_at_least(SHORTEST, length=self.length, window=self.window)
        check_seed(self.seed)
        check_distinct(tasks=self.tasks)
        check_cells((self.cell, *self.beside) if self.cell not in self.beside else self.beside)

    def check(self) -> None:
        """Raises ValueError for a net that cannot be built, before the run's folder is made."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for net in self.nets.values():
            check_health(net.cell, self.loop)
            check_task_fits(net.task, self)

    @cached_property
    def nets(self) -> dict[str, "Net"]:
        """Returns the nets by name: `TASK`, with attention, and on text `text, CELL`."""
        nets: dict[str, Net] = {}
        for name in self.tasks:
            problem = self.problem(name)
            attentive = self.attentive(problem)
            if name != "text":
                task = problem.task(problem.model(NetworkConfig(), attentive))
                nets[name] = Net(attentive, problem, task, on_text=False)
                continue
            cells = {name: attentive} | {
                f"{name}, {label(one)}": parse_cell(one, self.hidden_size) for one in self.beside
            }
            for net, cell in cells.items():
                nets[net] = Net(cell, problem, self.text_task(problem, cell), on_text=True)
        return nets

    def attentive(self, problem: Problem) -> SelfAttentive:
        """Returns the net with attention, whose cache has no more slots than a sequence of T steps has a past."""
        assert problem.data.shapes is not None
        past = problem.data.shapes(1).inputs.shape[0] - 1
        cell = parse_cell(self.cell, self.hidden_size)
        return SelfAttentive(cell, min(self.context, past), SCORES[self.score]())

    def problem(self, name: TaskName) -> Problem:
        """Returns a task at its length."""
        match name:
            case "copy_memory":
                return copy_problem(self.length)
            case "adding":
                return adding_problem(self.length)
            case "text":
                return text_problem(self.corpus, self.window)

    def text_task(self, problem: Problem, cell: Cell) -> Task:
        """Returns the task of predicting the next token of a window by a cell."""
        model = SequenceTagger(cell, problem.classes, problem.classes, self.hidden_size)
        return replace(problem.task(model), fingerprint={"the text": dict(self.corpus.origin)})

    @cached_property
    def corpus(self) -> Corpus:
        """Returns the corpus, loaded when first asked for. Raises ValueError if there is nothing to validate on."""
        corpus = load_corpus(self.data)
        corpus.split("valid")
        return corpus


class Net(NamedTuple):
    """A net: its cell, the problem and the training."""

    cell: Cell
    problem: Problem
    task: Task
    on_text: bool


def main(config: Config, run: Run) -> str:
    """Trains and measures net by net, draws, returns the table."""
    tasks = {name: net.task for name, net in config.nets.items()}

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        net = config.nets[name]
        test = net.problem.data.test()
        found: dict[str, Any] = {f"curve|{key}": value for key, value in training_record(folder).items()}
        for moment, params in zip(MOMENTS, (trained.before, trained.after), strict=True):
            value = evaluate(net.task.objective.evaluate, params, test)[net.problem.metric]
            of_moment = measure(net, params, examples_of(test[0], config.examples)) | {"metric": value}
            found |= {f"{moment}|{quantity}": values for quantity, values in of_moment.items()}
        return found

    nets: dict[str, dict[str, np.ndarray]] = {}
    for name, found in run_tasks(run, tasks, config, measured):
        nets[name] = found
        print(f"{name}: {config.nets[name].problem.metric} {found['after|metric']:.4g}; measured", flush=True)
    kept = {f"{name}|{key}": v for name, found in nets.items() for key, v in found.items()}
    run.write_arrays("paths", {key: value for key, value in kept.items() if "|curve|" not in key})
    metrics = {name: net.problem.metric for name, net in config.nets.items()}
    table = format_table(nets, metrics)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(nets, metrics))
    return table


def examples_of(batch: Batch, count: int) -> Batch:
    """Returns the first examples of a batch."""
    axes = batch.batch_axes()
    return jax.tree.map(lambda leaf, axis: np.asarray(leaf).take(np.arange(count), axis), batch, axes)


def measure(net: "Net", params: Params, batch: Batch) -> dict[str, np.ndarray]:
    """Measures one net on N sequences, at the last step of each; lags n = 0 … T − 1 count back from it.

    `total [T, N]`, the influence; of a net augmented with attention `recurrence`, `attention` and `mixed` too, and
    the `exponent [N]` of its recurrence; where there is attention `tau [N]`; on text `loss_gradients [T, N]`.
    """
    view = CellView(net.task.model, last_token if net.on_text else net.problem.measure)
    own, xs = entry_of(view, params, batch)
    along = paths_along if isinstance(net.cell, SelfAttentive) else influence_along
    found = {name: np.asarray(values) for name, values in along(net.cell, own, xs).items()}
    if net.on_text:
        found["loss_gradients"] = np.asarray(loss_gradients(net.cell, view, params, batch))
    weights = found.pop("weights", None)
    if weights is not None:
        found["tau"] = np.array(
            [rank_correlation(*pair) for pair in zip(weights.T, found["total"].T, strict=True)]
        )
    return found


@partial(jax.jit, static_argnums=0)
def entry_of(view: CellView, params: Params, batch: Batch) -> tuple[Params, Array]:
    """Returns the cell's own parameters, and what it reads."""
    return view.entry(params, batch)


@partial(jax.jit, static_argnums=0)
def paths_along(cell: SelfAttentive, params: Params, xs: Array) -> dict[str, Array]:
    """Splits the influence on the last output along `xs [T, N, D]`, and measures the recurrence as it was driven:
    by the inputs and the contexts."""
    weights = cell.prepare(params)

    def along(xs: Array) -> dict[str, Array]:
        found = influence_by_path(cell, params, xs, -1)
        states = states_before(cell, weights, cell.initial_state(params), cell.drive(weights, xs))
        inputs = jnp.concatenate([xs, states.attention.context], axis=-1)
        exponents = lyapunov_spectrum(cell.cell, params["cell"], inputs, k=1, qr_every=1).exponents
        by_lag = {name: norms[::-1] for name, norms in found.items()}
        return by_lag | {"exponent": exponents[0], "weights": attention_by_lag(cell, weights, states, xs)}

    return jax.vmap(along, in_axes=1, out_axes=-1)(xs)


@partial(jax.jit, static_argnums=0)
def influence_along(cell: Cell, params: Params, xs: Array) -> dict[str, Array]:
    """Measures the influence on the last output along `xs [T, N, D]`, and of a net with attention its weights."""
    weights = cell.prepare(params)

    def along(xs: Array) -> dict[str, Array]:
        found = {"total": influence(cell, params, xs, -1)[::-1]}
        if holds_cache(cell):
            states = states_before(cell, weights, cell.initial_state(params), cell.drive(weights, xs))
            found["weights"] = attention_by_lag(cell, weights, states, xs)
        return found

    return jax.vmap(along, in_axes=1, out_axes=-1)(xs)


def attention_by_lag(cell: Cell, weights: Weights, states: State, xs: Array) -> Array:
    """Returns the attention weights of the last step, means over layers and heads: `[T]`, entry n for the output n
    steps before, NaN where attention doesn't reach."""
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    seen = cell.observe(weights, last, cell.drive(weights, xs[-1]))
    newest_last = [value for name, value in seen.items() if name.split(".")[-1] in (SELF, PAST)]
    rows = jnp.concatenate([value.reshape(-1, value.shape[-1]) for value in newest_last])
    first = 1 if isinstance(cell, SelfAttentive) else 0  # whose cache doesn't hold the present
    by_lag = jnp.concatenate([jnp.full(first, jnp.nan), rows.mean(0)[::-1], jnp.full(len(xs), jnp.nan)])
    return by_lag[: len(xs)]


@partial(jax.jit, static_argnums=(0, 1))
def loss_gradients(cell: Cell, view: CellView, params: Params, batch: Batch) -> Array:
    """Computes ‖∂ℓ/∂e_{T−n}‖, the gradient of the loss at the last step by the distance n of an embedding: `[T,
    N]`."""
    own, xs = view.entry(params, batch)
    loss = view.loss(params, batch)
    gradients = jax.grad(lambda xs: loss(*unroll(cell, own, xs)))(xs)
    return scaled_norm(jnp.abs(gradients), axis=-1)[::-1]


def last_token(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures the token after the last step alone."""
    return tagging(logits[-1:], Batch(*(leaf[-1:] for leaf in batch)))


def rank_correlation(weights: np.ndarray, norms: np.ndarray) -> float:
    """Computes Kendall's τ between attention weights and influence, `[T]` each, over the lags that attention
    reaches."""
    reached = np.isfinite(weights)
    return float(scipy.stats.kendalltau(weights[reached], norms[reached])[0])  # pyright: ignore[reportArgumentType]
