"""The training loop: chunks of steps, and between them evaluation, logging, saving."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, SupportsFloat

import jax
from jax.sharding import Mesh

from train.checkpoint import Checkpoints
from train.evaluate import EvalFn, evaluate
from train.feed import Batches, Feed, padded
from train.nonfinite import NonFinite, faulty_parameters
from train.optimizer import OptimizerConfig
from train.progress import Progress
from train.sharding import batch_mesh, batch_size, check_divides
from train.state import PyTree, TrainState, copied, evaluated_params
from train.step import LossFn, Refresh, on_devices, train_chunk
from train.stop import StopRequest
from train.tracking import Tracker

Hook = Callable[[int, TrainState], Mapping[str, SupportsFloat]]
"""`(step, state) -> figures` to log beside the step's own; the state must not be kept (it is donated next)."""

Until = Callable[[Mapping[str, float]], bool]
"""`means of an evaluation -> whether to end there`; of nothing else, so that a resumed run ends there too."""


@dataclass(frozen=True)
class LoopConfig:
    """How long to train and what to do along the way, all in steps.

    Raises:
        ValueError: a number is below 1.
    """

    steps: int = 1000
    """Updates in all, those before a resumption included."""
    log_every: int = 20
    """Log the figures of every so many-th step."""
    eval_every: int = 100
    """Evaluate after so many steps."""
    save_every: int = 500
    """Save after so many steps; the end, and a stop, save too."""
    chunk: int = 50
    """Steps in one dispatch: more cost less, but a request to stop waits for them."""
    keep: int = 2
    """How many checkpoints stay."""

    def __post_init__(self) -> None:
        for field, value in vars(self).items():
            if value < 1:
                raise ValueError(f"loop.{field} is {value}; it must be 1 or more")


@dataclass(frozen=True)
class Result:
    """Where training ended.

    Attributes:
        state: the last state, which is also the newest checkpoint.
        step: how many updates it has behind it.
        finished: False if it was asked to stop before its end.
        evaluation: the last evaluation's means; empty if there was none.
        seconds: time spent training, those before a resumption included.
    """

    state: TrainState
    step: int
    finished: bool
    evaluation: dict[str, float]
    seconds: float


def next_boundary(step: int, config: LoopConfig, on_log: Hook | None = None) -> int:
    """Where the chunk from `step` ends: the next multiple of what has to be done between chunks, or the end."""
    strides = [config.chunk, config.eval_every, config.save_every]
    if on_log is not None:
        strides.append(config.log_every)
    return min(config.steps, *((step // stride + 1) * stride for stride in strides))


def fit(
    state: TrainState,
    *,
    loss_fn: LossFn,
    optimizer: OptimizerConfig,
    batches: Batches,
    config: LoopConfig,
    folder: Path | str,
    eval_fn: EvalFn | None = None,
    validation: Sequence[PyTree] = (),
    refresh: Refresh | None = None,
    mesh: Mesh | None = None,
    resume: bool = False,
    on_log: Hook | None = None,
    until: Until | None = None,
    stop: StopRequest | None = None,
    label: str = "",
    stream: Any = None,
) -> Result:
    """Trains until `config.steps` updates are done, an evaluation says enough, or a stop is requested.

    A run that is stopped or killed and resumed ends with the same bits, in the parameters and in
    `metrics.jsonl` (but for `seconds`), as one that never was.

    Args:
        state: where to begin (`create_state`); it is copied, not consumed. On resuming it is the template.
        loss_fn: see `LossFn`.
        optimizer: the one `state` was made with.
        batches: see `Batches`; left at the position the returned state has come to.
        config: see `LoopConfig`.
        folder: receives `metrics.jsonl`, `tensorboard/` and `checkpoints/`.
        eval_fn: see `EvalFn`; evaluates `validation` every `eval_every` steps and at the end.
        validation: the batches to evaluate on.
        refresh: see `Refresh`.
        mesh: the devices that share each batch (`batch_mesh`), by default all there are. A batch that doesn't
            divide over them is filled up with examples that are none, and that is said once where progress is
            shown. Resumed on another number of devices a run goes on, but with other bits.
        resume: go on from the newest checkpoint in the folder, or begin if there is none.
        on_log: called at every logged step for further figures.
        until: asked after every evaluation; where it says yes, training is finished.
        stop: see `stop_on_signals`.
        label: a word in front of the progress line.
        stream: the text stream where progress is shown, standard error by default.

    Raises:
        ValueError: the folder holds a run already; or, on resuming, one of another model or longer than asked;
            or a batch neither divides over the devices nor can be filled up.
        DamagedCheckpoint: no checkpoint in the folder can be read.
        NonFinite: a loss or gradient wasn't finite; the state before it has been saved.
    """
    if eval_fn is not None and not validation:
        raise ValueError(
            "eval_fn is given but there is no validation batch to evaluate on; give some, or no eval_fn"
        )
    folder, stop = Path(folder), stop or StopRequest()
    checkpoints = Checkpoints(folder / "checkpoints", config.keep)
    mesh = batch_mesh() if mesh is None else mesh
    state, saved, extras = _beginning(on_devices(state, mesh), checkpoints, batches, config, resume)
    evaluation: dict[str, float] = extras["evaluation"]
    step, feed = int(state.step), Feed(batches)
    began = time.monotonic() - extras["seconds"]

    def seconds() -> float:
        return time.monotonic() - began

    def finished() -> bool:
        # Nothing is trained after an evaluation that said enough: if the last one did, it was made here.
        return step == config.steps or (until is not None and bool(evaluation) and until(evaluation))

    tracker, progress = Tracker(folder), Progress(config.steps, start=step, label=label, stream=stream)
    with closing(checkpoints), closing(tracker), closing(progress):
        tracker.cut_back(step)

        def save() -> int:
            tracker.flush()
            checkpoints.save(step, state, feed.position, {"seconds": seconds(), "evaluation": evaluation})
            return step

        while not finished() and not stop.requested:
            start, end = step, next_boundary(step, config, on_log)
            chunk = feed.next(end - start)
            if not progress.begun:
                progress.say(_filling(jax.tree.map(itemgetter(0), chunk), state, mesh))
            state, results = train_chunk(
                state,
                padded(chunk, config.chunk),
                end - start,
                loss_fn=loss_fn,
                optimizer=optimizer,
                refresh=refresh,
                mesh=mesh,
            )
            # The device is at work: time to fetch what comes next, and only then to wait for the figures.
            if end < config.steps:
                feed.fetch_ahead(next_boundary(end, config, on_log) - end)
            figures = jax.device_get(results)
            finite = figures.pop("finite")[: end - start]
            step = start + (len(finite) if finite.all() else int(finite.argmin()))

            for done in range(start + 1, min(step + 1, end) + 1):
                if done % config.log_every == 0 or done == config.steps or done > step:
                    record: dict[str, SupportsFloat] = {
                        name: float(values[done - start - 1]) for name, values in figures.items()
                    }
                    if on_log is not None and done == step:
                        record.update(on_log(step, state))
                    tracker.log(done, "train", record | {"seconds": seconds()})

            if step < end:
                bad = step - start
                feed.take_back_all_but(bad)
                if step != saved:
                    save()
                culprit = jax.tree.map(itemgetter(bad), chunk)
                faults = faulty_parameters(state, culprit, loss_fn=loss_fn, mesh=mesh)
                loss, grad_norm = float(figures["loss"][bad]), float(figures["grad_norm"][bad])
                raise NonFinite(step + 1, loss, grad_norm, faults, checkpoints.folder / str(step))

            progress.update(step, {"loss": float(figures["loss"][step - start - 1])})
            if eval_fn is not None and (step % config.eval_every == 0 or step == config.steps):
                evaluation = evaluate(eval_fn, evaluated_params(state), validation, mesh=mesh)
                tracker.log(step, "validation", evaluation | {"seconds": seconds()})
                progress.update(step, {f"validation {name}": value for name, value in evaluation.items()})
            if step % config.save_every == 0 or step == config.steps:
                saved = save()

        feed.settle()
        spent = (
            seconds()
        )  # before the last save, so that a resumed run, which starts from that, has spent more
        if step != saved:
            save()
    return Result(state, step, finished(), evaluation, spent)


def _beginning(
    state: TrainState, checkpoints: Checkpoints, batches: Batches, config: LoopConfig, resume: bool
) -> tuple[TrainState, int, dict[str, Any]]:
    """The state to begin with, its step if that is saved already (else -1), and what was saved beside it."""
    if not resume and (steps := checkpoints.steps()):
        raise ValueError(
            f"{checkpoints.folder.parent} holds a run of {steps[-1]} steps already; "
            "resume it or choose another folder"
        )
    restored = checkpoints.restore_latest(state) if resume else None
    if restored is None:
        return copied(state), -1, {"seconds": 0.0, "evaluation": {}}
    if restored.step > config.steps:
        raise ValueError(
            f"{checkpoints.folder.parent} has been trained for {restored.step} steps, more than the "
            f"{config.steps} asked for; resume with {restored.step} steps or more"
        )
    batches.set_state(restored.position)
    return restored.state, restored.step, restored.extras


def _filling(batch: PyTree, state: TrainState, mesh: Mesh) -> str:
    """What to say of batches that don't divide over the devices; nothing of those that do."""
    full = check_divides(batch, state.carry, mesh)
    if not full or full == batch_size(batch):
        return ""
    return f"batch of {batch_size(batch)} filled up to {full} to divide over {mesh.size} devices"
