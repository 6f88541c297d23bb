"""Measurements of a net while it trains, besides its loss; training neither knows what nor is changed by it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsFloat

import numpy as np

from train.state import TrainState
from train.tracking import Tracker

Record = Mapping[str, Any]

# A reduction of the norm by less than this share is rounding, and no clipping.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Probe:
    """Something measured every so many steps, and before the first.

    Attributes:
        split: under which name its figures are logged.
        every: after how many steps each.
        measure: `state -> figures`; the state must not be kept (it is donated next). What it does can't reach
            training: it is called between two chunks, and its figures go to the log alone.
        picture: `all records so far -> {tag: pixels [rows, columns, 3] uint8}`, for TensorBoard; None for none.
    """

    split: str
    every: int
    measure: Callable[[TrainState], Mapping[str, SupportsFloat]]
    picture: Callable[[Sequence[Record]], Mapping[str, np.ndarray]] | None = None


@dataclass
class Tally:
    """Counts of steps, and of clipped ones, since the last report; goes with a checkpoint."""

    steps: int = 0
    clipped: int = 0

    def add(self, grad_norms: np.ndarray, clipped_norms: np.ndarray) -> None:
        """Counts steps by their gradients' norms before and after clipping, both `[n]`."""
        self.steps += len(grad_norms)
        self.clipped += int(np.sum(clipped_norms < (1 - ROUNDING) * grad_norms))

    def take(self) -> dict[str, float]:
        """`clipped_share` of the steps counted (nothing if there were none), which are forgotten."""
        share = {"clipped_share": self.clipped / self.steps} if self.steps else {}
        self.steps = self.clipped = 0
        return share


@dataclass
class Reports:
    """Asks a probe when it is due, and logs what it says."""

    probe: Probe | None
    tracker: Tracker
    tally: Tally = field(default_factory=Tally)
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides at which chunks must end for it."""
        return () if self.probe is None else (self.probe.every,)

    def go_back(self, tally: Mapping[str, int]) -> None:
        """Takes up what a checkpoint knew; the log has been cut back to it."""
        self.tally = Tally(**tally)
        self.records = [] if self.probe is None else self.tracker.records(self.probe.split)

    def report(self, step: int, state: TrainState) -> None:
        """Measures and logs if it is due after this step."""
        probe = self.probe
        if probe is None or step % probe.every:
            return
        figures = {**probe.measure(state), **self.tally.take()}
        self.tracker.log(step, probe.split, figures)
        self.records.append({"step": step, "split": probe.split, **figures})
        count = len(self.records)
        # Four to each doubling: each shows all there is, and a long run would fill the disk with them.
        if probe.picture is not None and count % max(1, 2 ** (count.bit_length() - 3)) == 0:
            for tag, pixels in probe.picture(self.records).items():
                self.tracker.picture(step, f"{probe.split}/{tag}", pixels)
