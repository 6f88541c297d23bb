"""One way to train anything: `run_task` trains, tests, draws and reports a task; `run_tasks` trains several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from experiments.corpus_score import CorpusScore
from experiments.footprint import check_task_fits
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, write_arrays
from experiments.harness.options import folder_name
from experiments.harness.processes import only_main_continues, process_count
from experiments.harness.run import Run
from experiments.harness.wandb_log import wandb_log
from experiments.health import draw_health, explainer, health_probe
from experiments.objective import cell_of
from experiments.task import Options, Recurrence, RenewedData, Scores, Task
from experiments.task_report import draw_task, format_report, training_record
from models.cell import Params
from train import (
    LoopConfig,
    NonFinite,
    Renewal,
    batch_mesh,
    create_state,
    evaluate,
    evaluated_params,
    fit,
    stop_on_signals,
)
from train.feed import Batches
from train.processes import shared_dir, sum_over_processes

# In the arrays of a task of several: whether it ended before its last step, and the steps asked for.
ENDED, ASKED = "ended", "steps_asked"


class Trained(NamedTuple):
    """Parameters before and after training, in one device's memory, and the steps between."""

    before: Params
    after: Params
    steps: int


class Stopped(Exception):
    """The run was asked to stop and has saved itself."""

    def __init__(self, folder: Path, step: int, signal: int) -> None:
        super().__init__(f"stopped at step {step}; run the same command with --resume {folder} to continue")
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
        resume: continue what is in the folder, by default as the run says.

    Raises:
        Stopped: a signal asked to stop.
        ValueError: as `train.fit`, the devices can't share a batch, or it needs more memory than is free.
    """
    check_task_fits(task, options)
    validation, objective = task.data.validation(), task.objective
    home = run.folder if folder is None else folder
    before = initial_params(task, options.seed, validation[0])
    carry = () if objective.first_carry is None else objective.first_carry(before)
    check_parts(task, options)
    devices = run.devices
    if objective.first_carry is not None:  # a carried state can't be padded
        devices = dividing(options.batch_size // process_count(), devices)
    mesh = batch_mesh(devices, processes="all")
    if task.on_devices is not None:
        objective = task.on_devices(mesh.size)
    health, recurrent = options.loop.health, task.recurrent
    if health.every and recurrent is None:
        raise UserError("--health.every", "looks into a cell, and this task has none: leave it out")
    with (
        wandb_log(run.wandb, home, label, run.fingerprint) as also_log,
        stop_on_signals() as stop,
    ):
        result = fit(
            create_state(before, options.optimizer, jax.random.key(options.seed), carry),
            loss_fn=objective.loss,
            eval_fn=objective.evaluate,
            update_averages=objective.update_averages,
            mesh=mesh,
            optimizer=options.optimizer,
            batches=task.data.train(options.seed, options.batch_size),
            renewal=None
            if task.data.renewed is None
            else renewal_of(task.data.renewed, shared_dir(home, mesh), options),
            validation=validation,
            config=options.loop,
            folder=home,
            resume=run.resumed if resume is None else resume,
            stop=stop,
            label=label,
            also_log=also_log,
            stop_when=task.stop_when,
            selection=task.cost,
            score=None if task.score is None else scored_on(task.score, validation, mesh),
            score_every=task.score_every,
            score_from=task.score_from,
            fingerprint={**run.fingerprint, **task.fingerprint},
            probe=None if recurrent is None else probe_of(task.model, recurrent, options.loop, validation[0]),
            diagnose=None
            if recurrent is None
            else explainer(recurrent.cell, task.model, recurrent.measure, recurrent.method),
        )
    if health.every:
        draw_health(run.folder, home)
    if stop.requested:  # after the last step too: what comes next may be another training
        raise Stopped(run.folder, result.step, stop.signal)
    only_main_continues()
    # On one device: what is measured of them next would else be computed on each, and compiled for both of them.
    first = jax.local_devices()[0]
    after = jax.device_put(evaluated_params(result.state), first)
    return Trained(jax.device_put(before, first), after, result.step)


def check_parts(task: Task, options: Options) -> None:
    """Raises UserError for a batch in parts whose examples see one another, as in batch norm."""
    cell = cell_of(task.model)
    if options.loop.accumulate > 1 and cell is not None and cell.couples_batch:
        raise UserError(
            "--accumulate",
            f"{options.loop.accumulate} would part examples that see one another in {cell}: leave it out",
        )


def initial_params(task: Task, seed: int, batch: Any) -> Params:
    """Initialises parameters; the same seed gives the same ones on every machine."""
    if task.initial is not None:
        return task.initial(seed)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    return jax.jit(task.model.init)(key, batch.inputs, mask=batch.mask)


def renewal_of(renewed: RenewedData, folder: Path, options: Options) -> Renewal:
    """Builds the renewal of the training data, stored as `arrays/epochs/N.npz` in a folder that all processes see.

    Its `batches` raises ValueError if a run is resumed within an epoch whose file is missing."""
    stored = folder / "arrays" / "epochs"

    def batches(params: Params | None, epoch: int) -> Batches:
        if (stored / f"{epoch}.npz").is_file():
            arrays = read_arrays(folder, f"epochs/{epoch}")
        elif params is not None:
            arrays = renewed.make(params, epoch)
            if jax.process_index() == 0:
                write_arrays(folder, f"epochs/{epoch}", arrays)
        else:
            raise ValueError(
                f"{stored / f'{epoch}.npz'} is missing, and the parameters that it was made from are gone: start a "
                "new run"
            )
        return renewed.batches(arrays, options.seed + epoch, options.batch_size)

    def drop_after(epoch: int) -> None:
        if jax.process_index() == 0:
            for file in stored.glob("*.npz"):
                if int(file.stem) > epoch:
                    file.unlink()

    return Renewal(renewed.every, batches, drop_after)


def scored_on(
    score: Callable[[Params, Sequence[Any]], Scores], batches: Sequence[Any], mesh: Mesh
) -> Callable[[Params], Mapping[str, float]]:
    """Returns a score's figures on held-out batches. All processes call it: of a `CorpusScore` each decodes its
    share, any other score they compute alike."""
    if not isinstance(score, CorpusScore):
        return lambda params: score(params, batches).figures
    own = batches[jax.process_index() :: jax.process_count()] if mesh.is_multi_process else batches
    return lambda params: score.figures(sum_over_processes(score.totals(params, own), mesh))


def probe_of(model: nn.Module, recurrent: Recurrence, loop: LoopConfig, batch: Any) -> Any:
    """Builds the health probe, or None where health isn't asked for."""
    if not loop.health.every:
        return None
    batch = batch if recurrent.batch is None else recurrent.batch()
    measure = recurrent.probed or recurrent.measure
    return health_probe(recurrent.cell, model, measure, batch, loop.health, recurrent.method)


def dividing(rows: int, devices: int) -> int:
    """Returns the greatest number of devices that divides so many rows. Says so where that isn't all of them."""
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
    if task.measure is not None:
        run.write_arrays("measured", task.measure(params, batches))
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


def net_path(name: str) -> str:
    """Returns where a task of several trains, within the run's folder."""
    return f"nets/{folder_name(name)}"


def run_tasks(
    run: Run,
    tasks: Mapping[str, Task],
    options: Options | Mapping[str, Options],
    measure: Callable[[str, Trained, Path], Mapping[str, Any]],
    *,
    path: Callable[[str], str] = net_path,
    diverged: Callable[[str, NonFinite, Path], Mapping[str, Any]] | None = None,
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Trains tasks one after another, and yields each one's name with the arrays that `measure` makes of it.

    A task trains in `PATH` of the run's folder; its arrays are `arrays/PATH.npz`. A resumed run reads those that
    are there, and trains on where it is asked for more steps than before. Tasks whose results are not taken are not
    trained.

    Args:
        run: the run; Ctrl-C and SIGTERM save and end it.
        tasks: by name, which stands in front of the progress line.
        options: seed, batch size, loop and optimizer: the same of every task, or by its name.
        measure: `(name, parameters before and after, folder) → arrays`.
        path: of a task by its name, within the run's folder.
        diverged: makes the arrays of a task whose loss or gradient wasn't finite; by default that ends the run.
    """
    for name, task in tasks.items():
        kept, folder = path(name), run.folder / path(name)
        own = options[name] if isinstance(options, Mapping) else options
        if run.has_arrays(kept):
            arrays = read_arrays(run.folder, kept)
            if arrays.get(ENDED) or arrays.get(ASKED, own.loop.steps) >= own.loop.steps:
                yield name, arrays
                continue
        try:
            trained = train_task(run, task, own, label=name, folder=folder)
        except NonFinite as met:
            if diverged is None:
                raise
            found, ended = diverged(name, met, folder), True
        else:
            found, ended = measure(name, trained, folder), trained.steps < own.loop.steps
        run.write_arrays(kept, {**found, ENDED: ended, ASKED: own.loop.steps})
        yield name, read_arrays(run.folder, kept)


def train_all(
    run: Run,
    tasks: Mapping[str, Task],
    options: Options | Mapping[str, Options],
    measure: Callable[[str, Trained, Path], Mapping[str, Any]],
    told: str,
    *,
    path: Callable[[str], str] = net_path,
) -> dict[str, dict[str, np.ndarray]]:
    """Trains tasks as `run_tasks` does, and prints of each the test value of the metric `told`, which `measure` has
    to give as `test|TOLD`. Returns what was measured of each, by its name."""
    found = {}
    for name, arrays in run_tasks(run, tasks, options, measure, path=path):
        metric, value = tasks[name].metrics[told], float(arrays[f"test|{told}"])
        print(f"{name}: {metric.label} {value:{metric.format}}", flush=True)
        found[name] = arrays
    return found
