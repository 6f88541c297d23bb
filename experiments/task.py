"""One way to train anything: a `Task` says what is trained, `run_task` trains, tests, draws and reports it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from flax import linen as nn

from experiments.gates import Measured
from experiments.harness.files import read_arrays, read_json, read_run
from experiments.harness.processes import only_first_goes_on, process_count
from experiments.harness.run import Run
from experiments.health import draw_health, explainer, health_probe
from experiments.network import NetworkConfig
from experiments.objective import Objective
from models import Cell
from models.cell import Params
from train import (
    LoopConfig,
    OptimizerConfig,
    StopWhen,
    batch_mesh,
    create_state,
    evaluate,
    evaluated_params,
    fit,
    read_metrics,
    stop_on_signals,
)
from train.feed import Batches


@dataclass(frozen=True)
class Metric:
    """A metric as reports write and figures draw it, with the direction that is better."""

    label: str  # with its unit
    format: str = ".4f"
    better: Literal["lower", "higher"] = "lower"
    scale: Literal["log", "linear"] = "linear"

    def cost(self, value: float) -> float:
        """The value as a cost: lower is better."""
        return value if self.better == "lower" else -value


METRICS: Mapping[str, Metric] = {
    "mean_square_error": Metric("mean square error", ".5f", scale="log"),
    "cross_entropy": Metric("cross entropy (nats a step)", ".5f", scale="log"),
    "accuracy": Metric("accuracy", ".1%", "higher"),
    "recalled": Metric("accuracy on the symbols to be recalled", ".1%", "higher", scale="log"),
}


@dataclass(frozen=True)
class Data:
    """Sources of batches: `train(seed, batch_size)` without an end, lists of held-out ones."""

    train: Callable[[int, int], Batches]
    validation: Callable[[], list[Any]]
    test: Callable[[], list[Any]]
    tested_on: str = "held-out sequences"


class Scores(NamedTuple):
    """Figures of decoded outputs, and examples of them as text."""

    figures: Mapping[str, float]
    examples: str = ""


@dataclass(frozen=True)
class Recurrence:
    """The cell within a model. A task that gives it can have its health, its Jacobians and the first non-finite
    step looked at.

    Attributes:
        cell: the cell, whose parameters lie in the model's `Recurrent`.
        measure: `(outputs of the method, batch) → {name: (sum, count)}`, the first of which is the loss.
        method: of the model, which gives the outputs.
        probed: the measure whose gradients the health probe follows; by default `measure`.
        batch: on which health is measured; by default the first of validation.
    """

    cell: Cell
    measure: Measured
    method: str = "__call__"
    probed: Measured | None = None
    batch: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Task:
    """Training of one model: its data, loss and metrics, and what to compare it with.

    Attributes:
        title: as the report begins.
        model: a Linen module.
        data: sources of batches.
        objective: loss and metrics on the device.
        metrics: by name, those of `objective.evaluate` and of `score`.
        select: the metric that chooses the best checkpoint and moves the schedule validation_plateau.
        report: the metric that is drawn and told; by default `select`.
        baselines: trivial answers and classical methods: `label → {metric: value}`.
        score: `(params, batches) → Scores`, on the host, where outputs must be decoded; at every `score_every`-th
            evaluation and on the test data.
        initial: `seed → parameters` to begin with; by default `model.init` on the first batch of validation.
        until: ends training early; see `train.Until`.
        on_devices: the objective as so many devices share it, where the examples of a batch see one another.
        recurrent: the cell, where there is one.
        fingerprint: what else made the parameters (the digest of a vocabulary); a resumed run must have the same.
    """

    title: str
    model: nn.Module
    data: Data
    objective: Objective
    metrics: Mapping[str, Metric]
    select: str
    report: str = ""
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    score: Callable[[Params, Sequence[Any]], Scores] | None = None
    score_every: int = 1
    initial: Callable[[int], Params] | None = None
    stop_when: StopWhen | None = None
    on_devices: Callable[[int], Objective] | None = None
    recurrent: Recurrence | None = None
    fingerprint: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.select, self.reported):
            if name not in self.metrics:
                raise ValueError(f"the task has no metric {name!r}: it has {', '.join(self.metrics)}")

    @property
    def reported(self) -> str:
        """The name of the metric that is drawn and told."""
        return self.report or self.select

    def cost(self, evaluation: Mapping[str, float]) -> float:
        """The selected metric of an evaluation, lower for better; NaN where it wasn't measured."""
        return self.metrics[self.select].cost(evaluation.get(self.select, math.nan))


@runtime_checkable
class Options(Protocol):
    """The options of training that `train_task` reads."""

    @property
    def seed(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def loop(self) -> LoopConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...


@dataclass(frozen=True)
class TrainingOptions:
    """Options of one training, where they aren't the config's own."""

    seed: int
    batch_size: int
    loop: LoopConfig
    optimizer: OptimizerConfig


class Trained(NamedTuple):
    """Parameters before and after training, in one device's memory."""

    before: Params
    after: Params


class Stopped(Exception):
    """The run was asked to stop and has saved itself."""

    def __init__(self, folder: Path, step: int, signal: int) -> None:
        super().__init__(f"stopped at step {step}; go on with the same command and --resume {folder}")
        self.signal = signal


def train_task(
    run: Run,
    task: Task,
    options: Options,
    *,
    label: str,
    folder: Path | None = None,
    resume: bool | None = None,
) -> Trained:
    """Trains a fresh model, or resumes the one in the folder.

    Args:
        run: the run; Ctrl-C and SIGTERM save and end it.
        task: see `Task`.
        options: seed, batch size, loop and optimizer.
        label: in front of the progress line.
        folder: receives metrics and checkpoints, by default the run's.
        resume: go on with what is in the folder, by default as the run says.

    Raises:
        Stopped: a signal asked to stop.
        ValueError: as `train.fit`, or the devices can't share a batch.
    """
    validation, objective = task.data.validation(), task.objective
    before = initial_params(task, options.seed, validation[0])
    carry = () if objective.first_carry is None else objective.first_carry(before)
    devices = run.devices
    if objective.first_carry is not None:  # a carried state can't be padded
        devices = dividing(options.batch_size // process_count(), devices)
    mesh = batch_mesh(devices, processes="all")
    if task.on_devices is not None:
        objective = task.on_devices(mesh.size)
    health, recurrent = options.loop.health, task.recurrent
    if health.every and recurrent is None:
        raise ValueError("--health.every looks into a cell, and this task has none: leave it out")
    with stop_on_signals() as stop:
        result = fit(
            create_state(before, options.optimizer, jax.random.key(options.seed), carry),
            loss_fn=objective.loss,
            eval_fn=objective.evaluate,
            update_averages=objective.update_averages,
            mesh=mesh,
            optimizer=options.optimizer,
            batches=task.data.train(options.seed, options.batch_size),
            validation=validation,
            config=options.loop,
            folder=run.folder if folder is None else folder,
            resume=run.resumed if resume is None else resume,
            stop=stop,
            label=label,
            stop_when=task.stop_when,
            judge=task.cost,
            score=None if task.score is None else scored_on(task.score, validation),
            score_every=task.score_every,
            fingerprint={**run.fingerprint, **task.fingerprint},
            probe=None if recurrent is None else probe_of(task.model, recurrent, options.loop, validation[0]),
            diagnose=None
            if recurrent is None
            else explainer(recurrent.cell, task.model, recurrent.measure, recurrent.method),
        )
    if health.every:
        draw_health(run.folder)
    if stop.requested:  # after the last step too: what comes next may be another training
        raise Stopped(run.folder, result.step, stop.signal)
    only_first_goes_on()
    # On one device: what is measured of them next would else be computed on each.
    return Trained(before, jax.device_put(evaluated_params(result.state), jax.local_devices()[0]))


def initial_params(task: Task, seed: int, batch: Any) -> Params:
    """Fresh parameters; the same seed gives the same ones on every machine."""
    if task.initial is not None:
        return task.initial(seed)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    return jax.jit(task.model.init)(key, batch.inputs, mask=batch.mask)


def scored_on(
    score: Callable[[Params, Sequence[Any]], Scores], batches: Sequence[Any]
) -> Callable[[Params], Mapping[str, float]]:
    """A score's figures on held-out batches."""
    return lambda params: score(params, batches).figures


def probe_of(model: nn.Module, recurrent: Recurrence, loop: LoopConfig, batch: Any) -> Any:
    """Builds the health probe, or None where health isn't asked for."""
    if not loop.health.every:
        return None
    batch = batch if recurrent.batch is None else recurrent.batch()
    measure = recurrent.probed or recurrent.measure
    return health_probe(recurrent.cell, model, measure, batch, loop.health, recurrent.method)


def dividing(rows: int, devices: int) -> int:
    """The greatest number of devices over which so many rows divide. Says so where that isn't all of them."""
    chosen = max(count for count in range(1, devices + 1) if rows % count == 0)
    if chosen < devices:
        print(f"{rows} rows are shared by {chosen} of {devices} devices, over which they divide", flush=True)
    return chosen


def run_task(run: Run, task: Task, options: Options, *, label: str) -> str:
    """Trains, tests, writes `curves.npz`, the figure and `results.json`; returns the report."""
    params = train_task(run, task, options, label=label).after
    batches = task.data.test()
    test = evaluate(task.objective.evaluate, params, batches)
    examples = ""
    if task.score is not None:
        scores = task.score(params, batches)
        test, examples = test | dict(scores.figures), scores.examples
    curves = training_record(run.folder) | {"label": np.array(label)}
    for name, values in task.baselines.items():
        curves |= {f"baseline|{metric}|{name}": np.array(value) for metric, value in values.items()}
    run.write_arrays("curves", curves)
    draw_task(run.folder, task.metrics, task.reported)
    report = format_report(task, label, test, examples)
    if task.score is not None:
        run.write_table(report)
    baselines = {name: dict(values) for name, values in task.baselines.items()}
    run.finish({"test": test, "reported": task.reported, "baselines": baselines})
    return report


def format_report(task: Task, label: str, test: Mapping[str, float], examples: str) -> str:
    """One sentence on the reported metric; with a score a row for every metric, and examples."""
    metric = task.metrics[task.reported]
    lines = [
        f"{task.title}, {label}: {metric.label} {test[task.reported]:{metric.format}} on {task.data.tested_on}"
        + "".join(
            f"; {name} gives {values[task.reported]:{metric.format}}"
            for name, values in task.baselines.items()
            if task.reported in values
        )
    ]
    if task.score is not None:
        lines += ["", *format_metrics(task, label, test)]
    return "\n".join(lines + (["", examples] if examples else []))


def format_metrics(task: Task, label: str, test: Mapping[str, float]) -> list[str]:
    """A row for every metric: on the test data the model, and beside it the baselines."""
    columns = {label: test, **task.baselines}
    width = max(len(metric.label) for metric in task.metrics.values())
    lines = ["".join([" " * width, *(f"  {name:>12}" for name in columns)])]
    for name, metric in task.metrics.items():
        if any(name in values for values in columns.values()):
            entries = (f"{v[name]:{metric.format}}" if name in v else "" for v in columns.values())
            lines.append(
                f"{metric.label:<{width}}"
                + "".join(f"  {e:>{max(12, len(c))}}" for e, c in zip(entries, columns, strict=True))
            )
    return lines


def draw_task(folder: Path, metrics: Mapping[str, Metric], report: str) -> list[Path]:
    """The held-out metric of a finished run against the step, beside the baselines."""
    from analysis.figures.curves import loss_curves, training_curves
    from analysis.figures.style import save

    record, metric = read_arrays(folder, "curves"), metrics[report]
    curve = {"step": record[f"validation/{report}/step"], "value": record[f"validation/{report}"]}
    baselines = baselines_of(folder, record, report)
    name, value = next(iter(baselines.items()), ("", None))
    draw = training_curves if metric.scale == "linear" else loss_curves
    figure = draw(
        {label_of(folder, record): curve},
        y_label=f"{metric.label}, held out",
        baseline=value,
        baseline_label=name,
    )
    return save(figure, folder / "figures", "training")


def label_of(folder: Path, record: Mapping[str, np.ndarray]) -> str:
    """The net as figures name it. Runs made before there were tasks have it in their config."""
    if "label" in record:
        return str(record["label"])
    config = read_run(folder)["config"]
    return NetworkConfig(**config["network"]).describe(config["cell"])


def baselines_of(folder: Path, record: Mapping[str, np.ndarray], metric: str) -> dict[str, float]:
    """Values of the baselines in a metric, by their labels; of runs made before there were tasks the trivial
    answer alone."""
    start = f"baseline|{metric}|"
    found = {name.removeprefix(start): float(v) for name, v in record.items() if name.startswith(start)}
    results = folder / "results.json"
    if found or "label" in record or not results.exists():
        return found
    before = read_json(results)["baseline"]
    return {"the trivial answer": before[metric]} if metric in before else {}


def training_record(folder: Path) -> dict[str, np.ndarray]:
    """`metrics.jsonl` as arrays: `train/loss`, `validation/accuracy`, …, each with its `…/step`."""
    columns: dict[str, list[float]] = {}
    for record in read_metrics(folder):
        split = record["split"]
        for name, value in record.items():
            if name not in ("split", "step"):
                columns.setdefault(f"{split}/{name}", []).append(value)
                columns.setdefault(f"{split}/{name}/step", []).append(record["step"])
    return {name: np.asarray(values) for name, values in columns.items()}
