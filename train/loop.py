"""The training loop: chunks of steps, and between them evaluation, logging, saving."""

import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from train.checkpoint import Checkpoints
from train.config import LoopConfig
from train.evaluate import EvalFn, Selection
from train.feed import Batches
from train.hooks import Hook, Renewal, Score, StopWhen
from train.nonfinite import Diagnose, Incidents
from train.optimizer import OptimizerConfig
from train.precision import in_precision
from train.probe import Probe, ProbeRunner
from train.processes import agree_to_stop, gather, is_main, shared_dir
from train.progress import Progress
from train.resume import restore_or_start
from train.session import Session
from train.sharding import batch_mesh
from train.state import PyTree, TrainState, copy_tree
from train.step import LossFn, UpdateAverages, on_devices
from train.stop import StopRequest
from train.tracking import Log, Tracker


@dataclass(frozen=True)
class Result:
    """The result of training.

    Attributes:
        state: the last state, which is also the newest checkpoint.
        step: the number of its updates.
        finished: False if training was stopped before its end.
        evaluation: the means of the last evaluation; empty if there was none.
        best: step and score of the best evaluation; None if none has a score.
        seconds: time spent training, including that before a resumption.
        skipped: the number of steps skipped because a loss or gradient wasn't finite.
        rollbacks: the number of rollbacks to an earlier checkpoint for that reason.
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
    renewal: Renewal | None = None,
    config: LoopConfig,
    folder: Path | str,
    eval_fn: EvalFn | None = None,
    validation: Sequence[PyTree] = (),
    update_averages: UpdateAverages | None = None,
    mesh: Mesh | None = None,
    resume: bool = False,
    on_log: Hook | None = None,
    stop_when: StopWhen | None = None,
    selection: Selection | None = None,
    score: Score | None = None,
    score_every: int = 1,
    score_from: int = 0,
    fingerprint: Mapping[str, Any] | None = None,
    probe: Probe | None = None,
    diagnose: Diagnose | None = None,
    stop: StopRequest | None = None,
    also_log: Log | None = None,
    label: str = "",
    stream: Any = None,
) -> Result:
    """Trains until `config.steps` updates are done, `stop_when` ends it, or a stop is requested.

    A run that is stopped or killed and then resumed ends with the same bits, in the parameters and in
    `metrics.jsonl` (except for `seconds`), as one without interruption.

    Args:
        state: the initial state (`create_state`); it is copied, not donated. On resuming it is the template.
        loss_fn: see `LossFn`.
        optimizer: the one with which `state` was created.
        batches: see `Batches`; left at the position of the returned state.
        renewal: regenerates the training data between epochs; see `Renewal`.
        config: see `LoopConfig`.
        folder: receives `metrics.jsonl`, `tensorboard/` and `checkpoints/`.
        eval_fn: see `EvalFn`; evaluates `validation` before the first update, every `eval_every` steps and at the
            end.
        validation: the batches to evaluate on.
        update_averages: see `UpdateAverages`.
        mesh: the devices over which each batch is sharded (`batch_mesh`), by default all of all processes; each
            process then provides its shard of the batches, and all write checkpoints to the main process's
            folder. A batch that doesn't divide over them is padded with masked examples, with a notice. Resumed
            on another number of devices a run continues, but with other bits.
        resume: continue from the newest checkpoint in the folder, or start if there is none.
        on_log: called at every logged step for further metrics.
        stop_when: called after every evaluation; training ends if it returns True.
        score: further metrics of the validation data, computed on the host from decoded outputs; every process
            calls it, with equal parameters.
        score_every: the number of evaluations per call of `score`; it is called at the last evaluation too.
        score_from: the first step at which it is called.
        selection: maps an evaluation to a score, lower is better; by default its only metric. The best of the
            states saved right after an evaluation is kept. The schedule "validation_plateau" follows it.
        fingerprint: the options of this run, as JSON; saved with it, and a checkpoint with other values is
            rejected.
        probe: further measurements during training; see `Probe`.
        diagnose: finds what first wasn't finite if a loss or gradient isn't; see `Diagnose`.
        stop: see `stop_on_signals`.
        also_log: called with every record of the log, `(step, split, metrics)`; only in the main process.
        label: a prefix of the progress line.
        stream: the text stream for progress, by default standard error.

    Raises:
        ValueError: the folder already has a run; or, on resuming, one of another model, another `fingerprint`, or
            more steps; or a batch neither divides over the devices nor can be padded; or the schedule doesn't fit
            the run (`OptimizerConfig.for_run`).
        DamagedCheckpoint: all checkpoints in the folder are damaged.
        NonFinite: a loss or gradient wasn't finite and `config.nonfinite` is "stop", or "rollback" and the number
            of rollbacks is used up; the state before it has been saved.
        NotSaved: a checkpoint can't be written; earlier ones are intact.
    """
    if eval_fn is not None and not validation:
        raise ValueError(
            "eval_fn is given but there is no validation batch to evaluate on; give some, or no eval_fn"
        )
    if optimizer.schedule == "validation_plateau" and eval_fn is None:
        raise ValueError(
            "optimizer.schedule is validation_plateau, but there is no validation loss to watch: choose another"
        )
    optimizer = optimizer.for_run(config.steps, config.eval_every)
    folder, stop = Path(folder), stop or StopRequest()
    mesh = batch_mesh(processes="all") if mesh is None else mesh
    checkpoints = Checkpoints(
        shared_dir(folder, mesh) / "checkpoints", config.keep, fingerprint, config.save_every
    )
    initial = on_devices(state, mesh)
    restored = restore_or_start(initial, checkpoints, config, resume)
    if not is_main(mesh):  # progress is shown once
        stream = io.StringIO()
    tracker, step = (
        Tracker(folder, also_log if is_main(mesh) else None),
        int(initial.step) if restored is None else restored.step,
    )
    session = Session(
        loss_fn=in_precision(loss_fn, config.precision),
        optimizer=optimizer,
        config=config,
        mesh=mesh,
        first_batches=batches,
        renewal=renewal,
        eval_fn=eval_fn,
        validation=validation,
        score=score,
        score_every=score_every,
        score_from=score_from,
        selection=selection,
        stop_when=stop_when,
        update_averages=update_averages,
        on_log=on_log,
        diagnose=diagnose,
        checkpoints=checkpoints,
        tracker=tracker,
        progress=Progress(config.steps, start=step, label=label, stream=stream),
        probe=ProbeRunner(probe, tracker),
        incidents=Incidents(folder),
        state=copy_tree(initial) if restored is None else restored.state,
        step=step,
    )
    with closing(checkpoints), closing(tracker), closing(session.progress):
        session.progress.begin()
        session.start(restored)
        while not agree_to_stop(stop, mesh) and not session.finished:
            session.renew_data()
            error = session.train_chunk()
            if error is not None and session.recover(error):
                continue
            session.after_chunk()
        session.feed.drop_prefetch()
        # Read before the last save, so that a resumed run, which starts from that, has a larger value.
        seconds = session.seconds
        if session.step != session.saved:
            session.save()
    return Result(
        gather(session.state, mesh),
        session.step,
        session.finished,
        session.evaluation,
        seconds,
        session.skipped,
        session.rollbacks,
        (session.best[0], session.best[1]) if session.best else None,
    )
