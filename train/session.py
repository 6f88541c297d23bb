"""A training run between two chunks: its state, where its data stand, what it has evaluated, logged and saved."""

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
from train.evaluate import EvalFn, Judge, evaluate, scores, selection_score
from train.feed import Batches, Feed, padded
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
from train.plateau import Watch, scale_rate
from train.probe import Reports
from train.processes import broadcast, global_batch, local_view
from train.progress import Progress
from train.resume import BEGUN, padding_notice
from train.state import PyTree, TrainState, evaluated_params
from train.step import LossFn, UpdateAverages, train_chunk
from train.tracking import Tracker


@dataclass
class Session:
    """See the module. What the fields of the first block hold is `fit`'s; the others change while it trains."""

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
    judge: Judge | None
    stop_when: StopWhen | None
    update_averages: UpdateAverages | None
    on_log: Hook | None
    diagnose: Diagnose | None
    checkpoints: Checkpoints
    tracker: Tracker
    progress: Progress
    reports: Reports
    incidents: Incidents

    state: TrainState
    step: int
    batches: Batches = field(init=False)  # the training data of now
    feed: Feed = field(init=False)
    losses: dict[int, float] = field(init=False)  # of the steps of the last chunk
    evaluation: dict[str, float] = field(default_factory=dict)
    best: list[Any] = field(default_factory=list)  # step and score of the best evaluation
    saved: int = -1
    evaluated: int = -1  # where the last evaluation was made by this process …
    cost: float | None = None  # … and how good it was
    watch: Watch | None = None  # what validation_plateau has seen; read from the log where it isn't known
    skipped: int = 0
    rollbacks: int = 0
    began: float = 0.0

    def start(self, restored: Restored | None) -> None:
        """Takes up what was saved last; or evaluates, measures and saves before the first update."""
        extras = BEGUN if restored is None else restored.extras
        self.evaluation, self.best = extras["evaluation"], extras["best"]
        self.began = time.monotonic() - extras["seconds"]
        # Without a checkpoint not even what was logged before the first step is known to the state.
        logged = -1 if restored is None else self.step
        self.tracker.cut_back(logged)
        self.incidents.cut_back(logged)
        self.reports.go_back(extras["tally"])
        odd = self.tracker.records(SPLIT)
        counts = [sum(kind in record for record in odd) for kind in ("skipped", "rollbacks")]
        self.skipped, self.rollbacks = broadcast(counts, self.mesh)
        if restored is not None:
            self.saved = self.step
            self.feed_from(restored.position)
            return
        self.batches = self.first_batches
        self.feed = Feed(self.batches)
        if self.eval_fn is not None:
            self.evaluate(self.eval_fn)
        self.reports.report(self.step, local_view(self.state, self.mesh))
        if self.config.nonfinite == "rollback":
            self.save()

    def feed_from(self, position: bytes) -> None:
        """Feeds the data of the current step, from a position in them."""
        self.batches = self.first_batches
        if self.renewal is not None and (epoch := self.step // self.renewal.every):
            self.batches = self.renewal.batches(self.local_params(), epoch)
        if not self.epoch_ends:
            self.batches.set_state(position)
        self.feed = Feed(self.batches)

    @property
    def epoch_ends(self) -> bool:
        """Tells whether the training data are made anew from here."""
        return self.renewal is not None and self.step > 0 and self.step % self.renewal.every == 0

    def renew_data(self) -> None:
        """Makes the training data anew where an epoch has ended."""
        if self.renewal is not None and self.epoch_ends:
            self.batches = self.renewal.batches(self.local_params(), self.step // self.renewal.every)
            self.feed = Feed(self.batches)

    def local_params(self) -> PyTree:
        """The parameters that evaluation uses, as this process can look at them by itself."""
        return evaluated_params(local_view(self.state, self.mesh))

    @property
    def seconds(self) -> float:
        """Seconds spent training, those before a resumption included."""
        return time.monotonic() - self.began

    @property
    def finished(self) -> bool:
        """Tells whether all updates are done or the last evaluation ends training."""
        enough = self.stop_when is not None and bool(self.evaluation) and self.stop_when(self.evaluation)
        return self.step == self.config.steps or enough

    def boundary(self) -> int:
        """The step at which the chunk from this one ends."""
        others = () if self.on_log is None else (self.config.log_every,)
        others += () if self.renewal is None else (self.renewal.every,)
        return next_boundary(self.step, self.config, *others, *self.reports.strides)

    def train_chunk(self) -> NonFinite | None:
        """Trains and logs until the next boundary, or until a loss or gradient isn't finite, which is returned."""
        start, end = self.step, self.boundary()
        chunk = self.feed.next(end - start)
        whole = global_batch(padded(chunk, self.config.longest_chunk), self.mesh, stacked=True)
        if not self.progress.begun:
            self.progress.say(padding_notice(jax.tree.map(itemgetter(0), whole), self.state, self.mesh))
        self.state, results = train_chunk(
            self.state,
            whole,
            end - start,
            loss_fn=self.loss_fn,
            optimizer=halve_rate(self.optimizer, self.rollbacks),
            update_averages=self.update_averages,
            mesh=self.mesh,
        )
        # The device is at work: time to fetch what comes next, and only then to wait for the figures.
        self.step = end
        if end < self.config.steps and not self.epoch_ends:
            self.feed.fetch_ahead(self.boundary() - end)
        figures = jax.device_get(results)
        finite = figures.pop("finite")[: end - start]
        good = len(finite) if finite.all() else int(finite.argmin())
        self.step = start + good
        self.losses = {start + 1 + i: float(loss) for i, loss in enumerate(figures["loss"][: end - start])}
        self.reports.tally.add(figures["grad_norm"][:good], figures["clipped_norm"][:good])
        self.log(figures, start, min(self.step + 1, end))
        return None if self.step == end else self.nonfinite(figures, chunk, good)

    def log(self, figures: Mapping[str, np.ndarray], start: int, end: int) -> None:
        """Logs the steps after `start` to `end` that are due, and one that wasn't finite."""
        for done in range(start + 1, end + 1):
            if done % self.config.log_every == 0 or done == self.config.steps or done > self.step:
                record: dict[str, SupportsFloat] = {
                    name: float(values[done - start - 1]) for name, values in figures.items()
                }
                if self.on_log is not None and done == self.step:
                    record.update(self.on_log(self.step, local_view(self.state, self.mesh)))
                self.tracker.log(done, "train", record | {"seconds": self.seconds})

    def nonfinite(self, figures: Mapping[str, np.ndarray], chunk: PyTree, bad: int) -> NonFinite:
        """Describes the step that wasn't finite, at `bad` in the chunk, and sets the data back to before it."""
        culprit = jax.tree.map(itemgetter(bad), chunk)
        self.feed.rewind_to(bad)
        parameters, first = {}, {}
        if self.skipped < REPORTED:
            batch = global_batch(culprit, self.mesh)
            parameters = faulty_parameters(self.state, batch, loss_fn=self.loss_fn, mesh=self.mesh)
            if self.diagnose is not None:
                first = self.diagnose(local_view(self.state, self.mesh), culprit)
        return NonFinite(
            self.step + 1,
            float(figures["loss"][bad]),
            float(figures["grad_norm"][bad]),
            parameters,
            self.checkpoints.folder / str(self.step),
            first,
            self.rollbacks,
        )

    def recover(self, met: NonFinite) -> bool:
        """Does what the config says about a step that wasn't finite; tells whether training went back.

        Raises NonFinite where it is to stop, once the state before it is saved."""
        if self.config.nonfinite == "skip":
            self.skip_batch(met)
            return False
        if self.config.nonfinite == "rollback" and self.rollbacks < self.config.rollbacks:
            self.roll_back(met)
            return True
        if self.step != self.saved:
            self.save()
        self.checkpoints.wait()
        self.incidents.add(met, self.feed.position, "stopped", None)
        raise met

    def skip_batch(self, met: NonFinite) -> None:
        """Counts the step, and leaves everything else as it was."""
        if self.skipped < REPORTED:
            self.incidents.add(met, self.feed.position, "skipped this batch", self.step + 1)
            self.progress.say(f"{met.met}; skipped this batch")
        self.feed.skip()
        self.state, self.step, self.skipped = skip_step(self.state), self.step + 1, self.skipped + 1
        self.tracker.log(self.step, SPLIT, {"skipped": self.skipped})

    def roll_back(self, met: NonFinite) -> None:
        """Goes back to the checkpoint before the last, at half the learning rate: from the state at fault itself no
        learning rate leads away."""
        restore = self.checkpoints.restore_latest
        back = restore(self.state, before=self.step) or restore(self.state)
        assert back is not None  # the beginning was saved
        self.rollbacks += 1
        rate = halve_rate(self.optimizer, self.rollbacks).learning_rate
        done = f"went back to step {back.step}, learning rate {rate:.4g}"
        self.incidents.add(met, self.feed.position, done, back.step)
        self.progress.say(f"{met.met}; {done} (rollback {self.rollbacks} of {self.config.rollbacks})")
        self.state, self.step, self.saved = back.state, back.step, back.step
        self.feed_from(back.position)
        self.evaluation, self.best, self.watch = back.extras["evaluation"], back.extras["best"], None
        self.checkpoints.drop_after(self.step)
        self.tracker.cut_back(self.step)
        # One line, and so all or nothing: it is from here that a resumed run knows its learning rate.
        figures = {"rollbacks": self.rollbacks, "failed": met.step, "learning_rate": rate}
        self.tracker.log(self.step, SPLIT, figures)
        self.reports.go_back(back.extras["tally"])

    def after_chunk(self) -> None:
        """Shows, evaluates, measures and saves, where each is due."""
        last = self.step == self.config.steps
        self.progress.update(self.step, {"loss": self.losses[self.step]})
        if self.eval_fn is not None and (self.step % self.config.eval_every == 0 or last):
            self.evaluate(self.eval_fn)
            if self.optimizer.schedule == "validation_plateau":
                self.follow_plateau()
            self.progress.update(
                self.step, {f"validation {name}": value for name, value in self.evaluation.items()}
            )
        self.reports.report(self.step, local_view(self.state, self.mesh))
        if self.step % self.config.save_every == 0 or last:
            self.save()

    def evaluate(self, eval_fn: EvalFn) -> None:
        """Evaluates on the validation data, scores and logs."""
        self.evaluation = evaluate(eval_fn, evaluated_params(self.state), self.validation, mesh=self.mesh)
        due = self.step % (self.config.eval_every * self.score_every) == 0 or self.step == self.config.steps
        if self.score is not None and due:
            self.evaluation |= self.score(self.local_params())
        self.evaluated, self.cost = self.step, selection_score(self.evaluation, self.judge)
        if self.cost is not None and (not self.best or self.cost < self.best[1]):
            self.best = [self.step, self.cost]
        self.tracker.log(self.step, "validation", self.evaluation | {"seconds": self.seconds})

    def follow_plateau(self) -> None:
        """Lowers the learning rate where evaluations have stopped getting better."""
        unseen = self.tracker.records("validation") if self.watch is None else [self.evaluation]
        watch = self.watch or Watch(self.optimizer.patience)
        self.watch = watch.see(scores(unseen, self.evaluation, self.judge))
        (falls,) = broadcast([self.watch.falls], self.mesh)
        opt_state = scale_rate(self.state.opt_state, int(falls), self.optimizer.decay_rate)
        self.state = dataclasses.replace(self.state, opt_state=opt_state)

    def save(self) -> None:
        """Saves the state, the position of the data, and what a resumed run must know besides."""
        self.tracker.flush()
        tally = dict(vars(self.reports.tally))  # it goes on counting while this is written
        extras = {
            "seconds": self.seconds,
            "evaluation": self.evaluation,
            "best": self.best,
            "tally": tally,
        }
        cost = self.cost if self.evaluated == self.step else None
        self.checkpoints.save(self.step, self.state, self.feed.position, extras, cost)
        self.saved = self.step
