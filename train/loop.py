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
from train.evaluate import EvalFn, Judge
from train.feed import Batches
from train.hooks import Hook, Renewal, Score, StopWhen
from train.nonfinite import Diagnose, Incidents
from train.optimizer import OptimizerConfig
from train.probe import Probe, Reports
from train.processes import agree_to_stop, gather, is_main, shared_dir
from train.progress import Progress
from train.resume import restore_or_start
from train.session import Session
from train.sharding import batch_mesh
from train.state import PyTree, TrainState, copied
from train.step import LossFn, UpdateAverages, on_devices
from train.stop import StopRequest
from train.tracking import Tracker


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
    judge: Judge | None = None,
    score: Score | None = None,
    score_every: int = 1,
    fingerprint: Mapping[str, Any] | None = None,
    probe: Probe | None = None,
    diagnose: Diagnose | None = None,
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
        renewal: makes the training data anew between epochs; see `Renewal`.
        config: see `LoopConfig`.
        folder: receives `metrics.jsonl`, `tensorboard/` and `checkpoints/`.
        eval_fn: see `EvalFn`; evaluates `validation` before the first update, every `eval_every` steps and at the
            end.
        validation: the batches to evaluate on.
        update_averages: see `UpdateAverages`.
        mesh: the devices that share each batch (`batch_mesh`), by default all there are, of all processes; each
            process then gives its share of the batches, and all write checkpoints in the first one's folder. A
            batch that doesn't divide over them is padded with masked examples, and a notice is shown
            once. Resumed on another number of devices a run goes on, but with other bits.
        resume: go on from the newest checkpoint in the folder, or begin if there is none.
        on_log: called at every logged step for further figures.
        stop_when: asked after every evaluation; where it says yes, training is finished.
        score: further metrics of the validation data, computed on the host, where outputs must be decoded; every
            process calls it, with equal parameters.
        score_every: at every so many-th evaluation, and the last.
        judge: how good an evaluation is; by default its figure, where it has but one. Of the states saved right
            after an evaluation the best stays, whatever its age. The schedule "validation_plateau" watches it.
        fingerprint: by option what made this run, as JSON holds it; saved with it, and a checkpoint that was
            made with other values is refused.
        probe: what else to measure while training, and how often; see `Probe`.
        diagnose: asked what first wasn't finite where a loss or gradient isn't; see `Diagnose`.
        stop: see `stop_on_signals`.
        label: a word in front of the progress line.
        stream: the text stream where progress is shown, standard error by default.

    Raises:
        ValueError: the folder holds a run already; or, on resuming, one of another model, another `fingerprint`, or
            longer than asked; or a batch neither divides over the devices nor can be padded; or the schedule
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
    checkpoints = Checkpoints(shared_dir(folder, mesh) / "checkpoints", config.keep, fingerprint)
    first = on_devices(state, mesh)
    restored = restore_or_start(first, checkpoints, config, resume)
    if not is_main(mesh):  # its folder is its own affair, and progress is shown once
        stream = io.StringIO()
    tracker, step = Tracker(folder), int(first.step) if restored is None else restored.step
    session = Session(
        loss_fn=loss_fn,
        optimizer=optimizer,
        config=config,
        mesh=mesh,
        first_batches=batches,
        renewal=renewal,
        eval_fn=eval_fn,
        validation=validation,
        score=score,
        score_every=score_every,
        judge=judge,
        stop_when=stop_when,
        update_averages=update_averages,
        on_log=on_log,
        diagnose=diagnose,
        checkpoints=checkpoints,
        tracker=tracker,
        progress=Progress(config.steps, start=step, label=label, stream=stream),
        reports=Reports(probe, tracker),
        incidents=Incidents(folder),
        state=copied(first) if restored is None else restored.state,
        step=step,
    )
    with closing(checkpoints), closing(tracker), closing(session.progress):
        session.start(restored)
        while not agree_to_stop(stop, mesh) and not session.finished:
            session.renew_data()
            met = session.train_chunk()
            if met is not None and session.recover(met):
                continue
            session.after_chunk()
        session.feed.drop_prefetch()
        # Before the last save, so that a resumed run, which starts from that, has spent more.
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
