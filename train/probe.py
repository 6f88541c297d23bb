"""Measurements during training, besides the loss; training is unaffected by them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsFloat

import numpy as np

from train.state import TrainState
from train.tracking import Tracker

Record = Mapping[str, Any]

# A relative reduction of the norm by less than this is rounding, not clipping.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Probe:
    """A measurement every N steps, and before the first.

    Attributes:
        split: the name under which its metrics are logged.
        every: the number of steps N between measurements.
        measure: `state -> metrics`; the state must not be kept, as it is donated next. It is called between chunks,
            and its metrics are only logged, so it can't affect training.
        picture: `all records so far -> {tag: pixels [rows, columns, 3] uint8}`, for TensorBoard; None for none.
    """

    split: str
    every: int
    measure: Callable[[TrainState], Mapping[str, SupportsFloat]]
    picture: Callable[[Sequence[Record]], Mapping[str, np.ndarray]] | None = None


@dataclass
class ClipCounts:
    """Counts of steps, and of clipped ones, since the last report; saved in checkpoints."""

    steps: int = 0
    clipped: int = 0

    def add(self, grad_norms: np.ndarray, clipped_norms: np.ndarray) -> None:
        """Adds steps, given the norms of their gradients before and after clipping, both `[n]`."""
        self.steps += len(grad_norms)
        self.clipped += int(np.sum(clipped_norms < (1 - ROUNDING) * grad_norms))

    def pop(self) -> dict[str, float]:
        """Returns `clipped_share` of the steps counted (nothing if there were none), and resets the counts."""
        share = {"clipped_share": self.clipped / self.steps} if self.steps else {}
        self.steps = self.clipped = 0
        return share


@dataclass
class ProbeRunner:
    """Calls a probe when it is due, and logs its metrics."""

    probe: Probe | None
    tracker: Tracker
    counts: ClipCounts = field(default_factory=ClipCounts)
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides at which chunks must end."""
        return () if self.probe is None else (self.probe.every,)

    def restore(self, counts: Mapping[str, int]) -> None:
        """Restores the counts of a checkpoint, to which the log has been truncated."""
        self.counts = ClipCounts(**counts)
        self.records = [] if self.probe is None else self.tracker.records(self.probe.split)

    def report(self, step: int, state: TrainState) -> None:
        """Measures and logs if due after this step."""
        probe = self.probe
        if probe is None or step % probe.every:
            return
        figures = {**probe.measure(state), **self.counts.pop()}
        self.tracker.log(step, probe.split, figures)
        self.records.append({"step": step, "split": probe.split, **figures})
        count = len(self.records)
        # Four per doubling of the records: each picture shows all of them, and would fill the disk in a long run.
        if probe.picture is not None and count % max(1, 2 ** (count.bit_length() - 3)) == 0:
            for tag, pixels in probe.picture(self.records).items():
                self.tracker.picture(step, f"{probe.split}/{tag}", pixels)
