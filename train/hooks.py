"""The functions that `fit` calls besides the loss: what each is given, and what it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import SupportsFloat

from train.feed import Batches
from train.state import PyTree, TrainState

Hook = Callable[[int, TrainState], Mapping[str, SupportsFloat]]
"""`(step, state) -> figures` to log beside the step's own; the state must not be kept (it is donated next)."""

Score = Callable[[PyTree], Mapping[str, float]]
"""`parameters -> metrics` that are computed on the host, from decoded outputs."""

StopWhen = Callable[[Mapping[str, float]], bool]
"""`means of an evaluation -> whether to end there`; of nothing else, so that a resumed run ends there too."""


@dataclass(frozen=True)
class Renewal:
    """Training data made anew from the parameters every so many steps, as back-translation does.

    Attributes:
        every: the number of steps between two renewals, an epoch of the training data.
        batches: `(parameters, epoch) -> batches`, for epochs 1, 2, …; called again with the same epoch where a run
            is resumed or rolled back within it, and must then give the same batches, whatever the parameters are
            then.
    """

    every: int
    batches: Callable[[PyTree, int], Batches]
