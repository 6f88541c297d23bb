"""The start of training: from the beginning, or from the last checkpoint."""

from typing import Any

from jax.sharding import Mesh

from train.checkpoint import Checkpoints, Restored
from train.config import LoopConfig
from train.sharding import batch_size, check_divides
from train.state import PyTree, TrainState

NEW_RUN: dict[str, Any] = {"seconds": 0.0, "evaluation": {}, "best": [], "tally": {}}
"""Values for a new run of what a checkpoint keeps besides the state."""


def restore_or_start(
    template: TrainState, checkpoints: Checkpoints, config: LoopConfig, resume: bool
) -> Restored | None:
    """Returns the newest checkpoint; None for a new run.

    Raises ValueError if a new run's folder already has checkpoints, or a resumed run has more steps than requested.
    """
    if not resume and (steps := checkpoints.steps()):
        raise ValueError(
            f"{checkpoints.folder.parent} already has a run of {steps[-1]} steps; "
            "resume it or choose another folder"
        )
    restored = checkpoints.restore_latest(template) if resume else None
    if restored is not None and restored.step > config.steps:
        raise ValueError(
            f"{checkpoints.folder.parent} has been trained for {restored.step} steps, more than the "
            f"{config.steps} requested; resume with {restored.step} steps or more"
        )
    return restored


def padding_notice(batch: PyTree, state: TrainState, mesh: Mesh, parts: int = 1) -> str:
    """Describes the padding of batches that don't divide over devices and parts; empty for those that do."""
    full = check_divides(batch, state.carry, mesh, parts)
    if not full or full == batch_size(batch):
        return ""
    over = f"{mesh.size} devices" if parts == 1 else f"{mesh.size * parts} parts"
    return f"batch of {batch_size(batch)} padded to {full} to divide over {over}"
