"""The state of a training run between two chunks: parameters, data, evaluations, log and checkpoints."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, SupportsFloat

import jax
import numpy as np
from jax.sharding import Mesh

from train.checkpoint import Checkpoints, Restored
from train.config import LoopConfig, next_boundary
from train.evaluate import EvalFn, Selection, evaluate, scores, selection_score
from train.feed import Batches, Feed, pad_steps
from train.hooks import Hook, Renewal, Score, StopWhen
from train.nonfinite import (
    REPORTED,
    SPLIT,
    Diagnose,
    Incidents,
    NonFinite,
    faulty_parameters,
    halve_rate,
    skip_step,
)
from train.optimizer import OptimizerConfig
from train.optimizer.transforms import PlateauWatch, scale_rate
from train.probe import ProbeRunner
from train.processes import broadcast, global_batch, local_view
from train.progress import Progress
from train.resume import NEW_RUN, padding_notice
from train.state import PyTree, TrainState, evaluated_params
from train.step import LossFn, UpdateAverages, train_chunk
from train.tracking import Tracker


@dataclass
class Session:
    """A training run. The fields of the first block are arguments of `fit`; the others change during training."""

    loss_fn: LossFn
    optimizer: OptimizerConfig
    config: LoopConfig
    mesh: Mesh
    first_batches: Batches
    renewal: Renewal | None
    eval_fn: EvalFn | None
    validation: Sequence[PyTree]
    score: Score | None
    score_every: int
    score_from: int
    selection: Selection | None
    stop_when: StopWhen | None
    update_averages: UpdateAverages | None
    on_log: Hook | None
    diagnose: Diagnose | None
    checkpoints: Checkpoints
    tracker: Tracker
    progress: Progress
    probe: ProbeRunner
    incidents: Incidents

    state: TrainState
    step: int
    batches: Batches = field(init=False)  # the training data of the current epoch
    feed: Feed = field(init=False)
    losses: dict[int, float] = field(init=False)  # of the steps of the last chunk
    evaluation: dict[str, float] = field(default_factory=dict)
    best: list[Any] = field(default_factory=list)  # step and score of the best evaluation
    saved: int = -1
    evaluated: int = -1  # the step of the last evaluation by this process …
    selection_value: float | None = None  # … and its score
    plateau: PlateauWatch | None = None  # of validation_plateau; read from the log where it isn't known
    skipped: int = 0
    rollbacks: int = 0
    began: float = 0.0
    first_step: int = 0  # of this process

    def start(self, restored: Restored | None) -> None:
        """Restores a checkpoint; or evaluates, measures and saves before the first update."""
        self.first_step = self.step
        extras = NEW_RUN if restored is None else restored.extras
        self.evaluation, self.best = extras["evaluation"], extras["best"]
        self.began = time.monotonic() - extras["seconds"]
        # Without a checkpoint everything logged is dropped, including the records before the first step.
        logged = -1 if restored is None else self.step
        self.tracker.truncate_after(logged)
        self.incidents.truncate_after(logged)
        self.probe.restore(extras["tally"])
        nonfinite_records = self.tracker.records(SPLIT)
        # The largest: a rollback drops the records of those after the step that it goes back to.
        counts = [
            max((int(record[kind]) for record in nonfinite_records if kind in record), default=0)
            for kind in ("skipped", "rollbacks")
        ]
        self.skipped, self.rollbacks = broadcast(counts, self.mesh)
        if restored is not None:
            self.saved = self.step
            self.feed_from(restored.position)
            return
        self.batches = self.first_batches
        self.feed = Feed(self.batches)
        if self.eval_fn is not None:
            self.evaluate(self.eval_fn)
        self.probe.report(self.step, local_view(self.state, self.mesh))
        if self.config.nonfinite == "rollback":
            self.save()

    def feed_from(self, position: bytes) -> None:
        """Sets the feed to the data of the current epoch, at a position in them."""
        self.batches = self.first_batches
        if not self.epoch_ends:  # else `renew_data` follows
            if self.renewal is not None and (epoch := self.step // self.renewal.every):
                self.batches = self.renewal.batches(None, epoch)
            self.batches.set_state(position)
        self.feed = Feed(self.batches)

    @property
    def epoch_ends(self) -> bool:
        """True if the training data are regenerated at this step."""
        return self.renewal is not None and self.step > 0 and self.step % self.renewal.every == 0

    def renew_data(self) -> None:
        """Regenerates the training data if an epoch has ended."""
        if self.renewal is not None and self.epoch_ends:
            self.batches = self.renewal.batches(self.local_params(), self.step // self.renewal.every)
            self.feed = Feed(self.batches)

    def local_params(self) -> PyTree:
        """Returns the parameters that evaluation uses, as this process can read them alone."""
        return evaluated_params(local_view(self.state, self.mesh))

    @property
    def seconds(self) -> float:
        """Seconds spent training, including those before a resumption."""
        return time.monotonic() - self.began

    @property
    def finished(self) -> bool:
        """True if all updates are done or `stop_when` ends training."""
        enough = self.stop_when is not None and bool(self.evaluation) and self.stop_when(self.evaluation)
        return self.step == self.config.steps or enough

    def boundary(self) -> int:
        """Returns the step at which the next chunk ends."""
        # The first chunk is short, so that what is logged first doesn't wait for a whole one.
        soon = self.on_log is not None or self.step == self.first_step
        others = (self.config.log_every,) if soon else ()
        others += () if self.renewal is None else (self.renewal.every,)
        return next_boundary(self.step, self.config, *others, *self.probe.strides)

    def train_chunk(self) -> NonFinite | None:
        """Trains and logs until the next boundary, or until a loss or gradient isn't finite, and returns the
        error."""
        start, end = self.step, self.boundary()
        chunk = self.feed.next(end - start)
        whole = global_batch(pad_steps(chunk, self.config.longest_chunk), self.mesh, stacked=True)
        if not self.progress.started:
            self.progress.print_line(
                padding_notice(
                    jax.tree.map(itemgetter(0), whole), self.state, self.mesh, self.config.accumulate
                )
            )
        self.state, results = train_chunk(
            self.state,
            whole,
            end - start,
            loss_fn=self.loss_fn,
            optimizer=halve_rate(self.optimizer, self.rollbacks),
            update_averages=self.update_averages,
            accumulate=self.config.accumulate,
            mesh=self.mesh,
        )
        # While the device is busy, prefetch the next chunk; only then wait for the metrics.
        self.step = end
        if end < self.config.steps and not self.epoch_ends:
            self.feed.fetch_ahead(self.boundary() - end)
        figures = jax.device_get(results)
        finite = figures.pop("finite")[: end - start]
        good = len(finite) if finite.all() else int(finite.argmin())
        self.step = start + good
        self.losses = {start + 1 + i: float(loss) for i, loss in enumerate(figures["loss"][: end - start])}
        self.probe.counts.add(figures["grad_norm"][:good], figures["clipped_norm"][:good])
        self.log(figures, start, min(self.step + 1, end))
        return None if self.step == end else self.nonfinite(figures, chunk, good)

    def log(self, figures: Mapping[str, np.ndarray], start: int, end: int) -> None:
        """Logs the steps after `start` up to `end` that are due, and one that wasn't finite."""
        for done in range(start + 1, end + 1):
            if done % self.config.log_every == 0 or done == self.config.steps or done > self.step:
                record: dict[str, SupportsFloat] = {
                    name: float(values[done - start - 1]) for name, values in figures.items()
                }
                if self.on_log is not None and done == self.step:
                    record.update(self.on_log(self.step, local_view(self.state, self.mesh)))
                self.tracker.log(done, "train", record | {"seconds": self.seconds})

    def nonfinite(self, figures: Mapping[str, np.ndarray], chunk: PyTree, bad: int) -> NonFinite:
        """Describes the step that wasn't finite, at index `bad` of the chunk, and rewinds the data to before it."""
        bad_batch = jax.tree.map(itemgetter(bad), chunk)
        self.feed.rewind_to(bad)
        parameters, first = {}, {}
        if self.skipped < REPORTED:
            batch = global_batch(bad_batch, self.mesh)
            parameters = faulty_parameters(
                self.state,
                batch,
                loss_fn=self.loss_fn,
                accumulate=self.config.accumulate,
                mesh=self.mesh,
            )
            if self.diagnose is not None:
                first = self.diagnose(local_view(self.state, self.mesh), bad_batch)
        return NonFinite(
            self.step + 1,
            float(figures["loss"][bad]),
            float(figures["grad_norm"][bad]),
            parameters,
            self.checkpoints.folder / str(self.step),
            first,
            self.rollbacks,
        )

    def recover(self, error: NonFinite) -> bool:
        """Skips the batch or rolls back, as configured; returns True after a rollback.

        Raises NonFinite if training is to stop, after saving the state before it.
        """
        if self.config.nonfinite == "skip":
            self.skip_batch(error)
            return False
        if self.config.nonfinite == "rollback" and self.rollbacks < self.config.rollbacks:
            self.roll_back(error)
            return True
        if self.step != self.saved:
            self.save()
        self.checkpoints.wait()
        self.incidents.add(error, self.feed.position, "stopped", None)
        raise error

    def skip_batch(self, error: NonFinite) -> None:
        """Counts the step, and leaves everything else unchanged."""
        if self.skipped < REPORTED:
            self.incidents.add(error, self.feed.position, "skipped this batch", self.step + 1)
            self.progress.print_line(f"{error.summary}; skipped this batch")
        self.feed.skip()
        self.state, self.step, self.skipped = skip_step(self.state), self.step + 1, self.skipped + 1
        self.tracker.log(self.step, SPLIT, {"skipped": self.skipped})

    def roll_back(self, error: NonFinite) -> None:
        """Rolls back to a checkpoint before the current step, at half the learning rate, as the current state can
        be at fault for any learning rate."""
        restore = self.checkpoints.restore_latest
        back = restore(self.state, before=self.step) or restore(self.state)
        assert back is not None  # the initial state was saved
        self.rollbacks += 1
        rate = halve_rate(self.optimizer, self.rollbacks).learning_rate
        done = f"went back to step {back.step}, learning rate {rate:.4g}"
        self.incidents.add(error, self.feed.position, done, back.step)
        self.progress.print_line(
            f"{error.summary}; {done} (rollback {self.rollbacks} of {self.config.rollbacks})"
        )
        self.state, self.step, self.saved = back.state, back.step, back.step
        if self.renewal is not None:  # what follows has other parameters
            self.renewal.drop_after((self.step - 1) // self.renewal.every)
        self.feed_from(back.position)
        self.evaluation, self.best, self.plateau = back.extras["evaluation"], back.extras["best"], None
        self.checkpoints.drop_after(self.step)
        self.tracker.truncate_after(self.step)
        # One line, and so atomic: a resumed run reads its learning rate from it.
        figures = {"rollbacks": self.rollbacks, "failed": error.step, "learning_rate": rate}
        self.tracker.log(self.step, SPLIT, figures)
        self.probe.restore(back.extras["tally"])

    def after_chunk(self) -> None:
        """Shows progress, and evaluates, measures and saves if due."""
        last = self.step == self.config.steps
        self.progress.update(self.step, {"loss": self.losses[self.step]})
        if self.eval_fn is not None and (self.step % self.config.eval_every == 0 or last):
            self.evaluate(self.eval_fn)
            if self.optimizer.schedule == "validation_plateau" and self.is_regular(self.step):
                self.follow_plateau()
            self.progress.update(
                self.step, {f"validation {name}": value for name, value in self.evaluation.items()}
            )
        self.probe.report(self.step, local_view(self.state, self.mesh))
        if self.step % self.config.save_every == 0 or last:
            self.save()

    def evaluate(self, eval_fn: EvalFn) -> None:
        """Evaluates and scores on the validation data, and logs."""
        self.evaluation = evaluate(eval_fn, evaluated_params(self.state), self.validation, mesh=self.mesh)
        due = self.step % (self.config.eval_every * self.score_every) == 0 or self.finished
        if self.score is not None and due and self.step >= self.score_from:
            # As the main process has it: one of another machine may round otherwise, and all must end together.
            self.evaluation |= broadcast(dict(self.score(self.local_params())), self.mesh)
        self.evaluated, self.selection_value = self.step, selection_score(self.evaluation, self.selection)
        if self.selection_value is not None and (not self.best or self.selection_value < self.best[1]):
            self.best = [self.step, self.selection_value]
        self.tracker.log(self.step, "validation", self.evaluation | {"seconds": self.seconds})

    def is_regular(self, step: int) -> bool:
        """Tells whether this step is evaluated however long the run is; the last of a shorter run may not be."""
        return step % self.config.eval_every == 0

    def follow_plateau(self) -> None:
        """Lowers the learning rate if evaluations have stopped improving."""
        unseen = [self.evaluation]
        if self.plateau is None:
            unseen = [r for r in self.tracker.records("validation") if self.is_regular(r["step"])]
        plateau = self.plateau or PlateauWatch(self.optimizer.patience)
        self.plateau = plateau.update(scores(unseen, self.selection))
        (falls,) = broadcast([self.plateau.falls], self.mesh)
        opt_state = scale_rate(self.state.opt_state, int(falls), self.optimizer.decay_rate)
        self.state = dataclasses.replace(self.state, opt_state=opt_state)

    def save(self) -> None:
        """Saves the state, the position of the data, and everything else that a resumed run needs."""
        self.tracker.flush()
        tally = dict(vars(self.probe.counts))  # a copy, as counting continues while this is written
        extras = {
            "seconds": self.seconds,
            "evaluation": self.evaluation,
            "best": self.best,
            "tally": tally,
        }
        selection_value = self.selection_value if self.evaluated == self.step else None
        self.checkpoints.save(self.step, self.state, self.feed.position, extras, selection_value)
        self.saved = self.step
