"""The training loop: chunks of steps, and between them evaluation, logging, saving."""

import dataclasses
import io
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
from train.config import LoopConfig, next_boundary
from train.evaluate import EvalFn, Judge, evaluate, scores, selection_score
from train.feed import Batches, Feed, padded
from train.nonfinite import (
    REPORTED,
    SPLIT,
    Explain,
    Incidents,
    NonFinite,
    faulty_parameters,
    halve_rate,
    skip_step,
)
from train.optimizer import OptimizerConfig
from train.plateau import Watch, scale_rate
from train.probe import Probe, Reports
from train.processes import agree_to_stop, broadcast, gather, global_batch, is_main, local_view, shared_dir
from train.progress import Progress
from train.resume import BEGUN, padding_notice, restore_or_start
from train.sharding import batch_mesh
from train.state import PyTree, TrainState, copied, evaluated_params
from train.step import LossFn, Refresh, on_devices, train_chunk
from train.stop import StopRequest
from train.tracking import Tracker

Hook = Callable[[int, TrainState], Mapping[str, SupportsFloat]]
"""`(step, state) -> figures` to log beside the step's own; the state must not be kept (it is donated next)."""

Score = Callable[[PyTree], Mapping[str, float]]
"""`parameters -> metrics` that are computed on the host, from decoded outputs."""

Until = Callable[[Mapping[str, float]], bool]
"""`means of an evaluation -> whether to end there`; of nothing else, so that a resumed run ends there too."""


@dataclass(frozen=True)
class Result:
    """The end of training.

    Attributes:
        state: the last state, which is also the newest checkpoint.
        step: how many updates it has behind it.
        finished: False if it was asked to stop before its end.
        evaluation: the last evaluation's means; empty if there was none.
        best: step and score of the best evaluation; None if none was judged.
        seconds: time spent training, those before a resumption included.
        skipped: steps of `step` that were passed over, for a loss or gradient wasn't finite.
        rollbacks: how many times training went back to an earlier checkpoint for that reason.
    """

    state: TrainState
    step: int
    finished: bool
    evaluation: dict[str, float]
    seconds: float
    skipped: int = 0
    rollbacks: int = 0
    best: tuple[int, float] | None = None


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
    judge: Judge | None = None,
    score: Score | None = None,
    score_every: int = 1,
    about: Mapping[str, Any] | None = None,
    probe: Probe | None = None,
    explain: Explain | None = None,
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
        eval_fn: see `EvalFn`; evaluates `validation` before the first update, every `eval_every` steps and at the
            end.
        validation: the batches to evaluate on.
        refresh: see `Refresh`.
        mesh: the devices that share each batch (`batch_mesh`), by default all there are, of all processes; each
            process then gives its share of the batches, and all write checkpoints in the first one's folder. A
            batch that doesn't divide over them is filled up with examples that are none, and that is said once
            where progress is shown. Resumed on another number of devices a run goes on, but with other bits.
        resume: go on from the newest checkpoint in the folder, or begin if there is none.
        on_log: called at every logged step for further figures.
        until: asked after every evaluation; where it says yes, training is finished.
        score: further metrics of the validation data, computed on the host, where outputs must be decoded; every
            process calls it, with equal parameters.
        score_every: at every so many-th evaluation, and the last.
        judge: how good an evaluation is; by default its figure, where it has but one. Of the states saved right
            after an evaluation the best stays, whatever its age. The schedule "validation_plateau" watches it.
        about: by option what made this run, as JSON holds it; saved with it, and a checkpoint that was made with
            other values is refused.
        probe: what else to measure while training, and how often; see `Probe`.
        explain: asked what first wasn't finite where a loss or gradient isn't; see `Explain`.
        stop: see `stop_on_signals`.
        label: a word in front of the progress line.
        stream: the text stream where progress is shown, standard error by default.

    Raises:
        ValueError: the folder holds a run already; or, on resuming, one of another model, `about` other things, or
            longer than asked; or a batch neither divides over the devices nor can be filled up; or the schedule
            doesn't fit the run (`OptimizerConfig.lasting`).
        DamagedCheckpoint: no checkpoint in the folder can be read.
        NonFinite: a loss or gradient wasn't finite and `config.nonfinite` is to stop there, or to go back and that
            was tried as often as allowed; the state before it has been saved.
        NotSaved: a checkpoint can't be written; those before it are whole.
    """
    if eval_fn is not None and not validation:
        raise ValueError(
            "eval_fn is given but there is no validation batch to evaluate on; give some, or no eval_fn"
        )
    if optimizer.schedule == "validation_plateau" and eval_fn is None:
        raise ValueError(
            "optimizer.schedule is validation_plateau, and there is no validation loss here to watch: take another"
        )
    optimizer = optimizer.lasting(config.steps, config.eval_every)
    folder, stop = Path(folder), stop or StopRequest()
    mesh = batch_mesh(processes="all") if mesh is None else mesh
    checkpoints = Checkpoints(shared_dir(folder, mesh) / "checkpoints", config.keep, about)
    first = on_devices(state, mesh)
    begin = restore_or_start(first, checkpoints, config, resume)
    if begin is None:
        state, step, saved, extras = copied(first), int(first.step), -1, BEGUN
    else:
        batches.set_state(begin.position)
        state, step, saved, extras = begin.state, begin.step, begin.step, begin.extras
    evaluation: dict[str, float] = extras["evaluation"]
    best: list[Any] = extras["best"]
    watch: Watch | None = None  # what validation_plateau has seen; read from the log where it isn't known
    evaluated, cost = -1, None  # where the last evaluation was made here, and how good it was
    feed = Feed(batches)
    began = time.monotonic() - extras["seconds"]
    if not is_main(mesh):  # its folder is its own affair, and progress is shown once
        stream = io.StringIO()
    tracker, progress = Tracker(folder), Progress(config.steps, start=step, label=label, stream=stream)
    reports, incidents = Reports(probe, tracker), Incidents(folder)

    def seconds() -> float:
        return time.monotonic() - began

    def finished() -> bool:
        # Nothing is trained after an evaluation that said enough: if the last one did, it was made here.
        return step == config.steps or (until is not None and bool(evaluation) and until(evaluation))

    def save() -> int:
        tracker.flush()
        tally = dict(vars(reports.tally))  # it goes on counting while this is written
        kept = {"seconds": seconds(), "evaluation": evaluation, "best": best, "tally": tally}
        checkpoints.save(step, state, feed.position, kept, cost if evaluated == step else None)
        return step

    def evaluate_now(eval_fn: EvalFn) -> None:
        nonlocal evaluation, evaluated, cost, best
        evaluation = evaluate(eval_fn, evaluated_params(state), validation, mesh=mesh)
        if score is not None and (step % (config.eval_every * score_every) == 0 or step == config.steps):
            evaluation |= score(evaluated_params(local_view(state, mesh)))
        evaluated, cost = step, selection_score(evaluation, judge)
        if cost is not None and (not best or cost < best[1]):
            best = [step, cost]
        tracker.log(step, "validation", evaluation | {"seconds": seconds()})

    def end_of_chunk() -> int:
        others = () if on_log is None else (config.log_every,)
        return next_boundary(step, config, *others, *reports.strides)

    with closing(checkpoints), closing(tracker), closing(progress):
        # Without a checkpoint not even what was logged before the first step is known to the state.
        tracker.cut_back(-1 if begin is None else step)
        incidents.cut_back(-1 if begin is None else step)
        reports.go_back(extras["tally"])
        odd = tracker.records(SPLIT)
        counts = [sum(kind in record for record in odd) for kind in ("skipped", "rollbacks")]
        skipped, rollbacks = broadcast(counts, mesh)
        if begin is None:
            if eval_fn is not None:
                evaluate_now(eval_fn)
            reports.report(step, local_view(state, mesh))
            if config.nonfinite == "rollback":
                saved = save()

        while not agree_to_stop(stop, mesh) and not finished():
            start, end = step, end_of_chunk()
            chunk = feed.next(end - start)
            whole = global_batch(padded(chunk, config.chunk), mesh, stacked=True)
            if not progress.begun:
                progress.say(padding_notice(jax.tree.map(itemgetter(0), whole), state, mesh))
            state, results = train_chunk(
                state,
                whole,
                end - start,
                loss_fn=loss_fn,
                optimizer=halve_rate(optimizer, rollbacks),
                refresh=refresh,
                mesh=mesh,
            )
            # The device is at work: time to fetch what comes next, and only then to wait for the figures.
            step = end
            if end < config.steps:
                feed.fetch_ahead(end_of_chunk() - end)
            figures = jax.device_get(results)
            finite = figures.pop("finite")[: end - start]
            step = start + (len(finite) if finite.all() else int(finite.argmin()))
            reports.tally.add(figures["grad_norm"][: step - start], figures["clipped_norm"][: step - start])

            for done in range(start + 1, min(step + 1, end) + 1):
                if done % config.log_every == 0 or done == config.steps or done > step:
                    record: dict[str, SupportsFloat] = {
                        name: float(values[done - start - 1]) for name, values in figures.items()
                    }
                    if on_log is not None and done == step:
                        record.update(on_log(step, local_view(state, mesh)))
                    tracker.log(done, "train", record | {"seconds": seconds()})

            if step < end:
                bad = step - start
                culprit = jax.tree.map(itemgetter(bad), chunk)
                feed.rewind_to(bad)
                asked = skipped < REPORTED
                met = NonFinite(
                    step + 1,
                    float(figures["loss"][bad]),
                    float(figures["grad_norm"][bad]),
                    faulty_parameters(state, global_batch(culprit, mesh), loss_fn=loss_fn, mesh=mesh)
                    if asked
                    else {},
                    checkpoints.folder / str(step),
                    explain(local_view(state, mesh), culprit) if explain is not None and asked else {},
                    rollbacks,
                )
                if config.nonfinite == "skip":
                    if asked:
                        incidents.add(met, feed.position, "skipped this batch", step + 1)
                        progress.say(f"{met.met}; skipped this batch")
                    feed.skip()
                    state, step, skipped = skip_step(state), step + 1, skipped + 1
                    tracker.log(step, SPLIT, {"skipped": skipped})
                elif config.nonfinite == "rollback" and rollbacks < config.rollbacks:
                    # From the state at fault itself no learning rate leads away.
                    back = checkpoints.restore_latest(state, before=step) or checkpoints.restore_latest(state)
                    assert back is not None  # the beginning was saved
                    rollbacks += 1
                    rate = halve_rate(optimizer, rollbacks).learning_rate
                    done = f"went back to step {back.step}, learning rate {rate:.4g}"
                    incidents.add(met, feed.position, done, back.step)
                    progress.say(f"{met.met}; {done} (rollback {rollbacks} of {config.rollbacks})")
                    batches.set_state(back.position)
                    feed = Feed(batches)
                    state, step, saved = back.state, back.step, back.step
                    evaluation, best = back.extras["evaluation"], back.extras["best"]
                    checkpoints.drop_after(step)
                    tracker.cut_back(step)
                    watch = None
                    # One line, and so all or nothing: it is from here that a resumed run knows its learning rate.
                    tracker.log(
                        step, SPLIT, {"rollbacks": rollbacks, "failed": met.step, "learning_rate": rate}
                    )
                    reports.go_back(back.extras["tally"])
                    continue
                else:
                    if step != saved:
                        save()
                    checkpoints.wait()
                    incidents.add(met, feed.position, "stopped", None)
                    raise met

            progress.update(step, {"loss": float(figures["loss"][step - start - 1])})
            if eval_fn is not None and (step % config.eval_every == 0 or step == config.steps):
                evaluate_now(eval_fn)
                if optimizer.schedule == "validation_plateau":
                    unseen = tracker.records("validation") if watch is None else [evaluation]
                    watch = (watch or Watch(optimizer.patience)).see(scores(unseen, evaluation, judge))
                    (falls,) = broadcast([watch.falls], mesh)
                    opt_state = scale_rate(state.opt_state, int(falls), optimizer.decay_rate)
                    state = dataclasses.replace(state, opt_state=opt_state)
                progress.update(step, {f"validation {name}": value for name, value in evaluation.items()})
            reports.report(step, local_view(state, mesh))
            if step % config.save_every == 0 or step == config.steps:
                saved = save()

        feed.drop_prefetch()
        # Before the last save, so that a resumed run, which starts from that, has spent more.
        spent = seconds()
        if step != saved:
            save()
    found = (best[0], best[1]) if best else None
    return Result(gather(state, mesh), step, finished(), evaluation, spent, skipped, rollbacks, found)
