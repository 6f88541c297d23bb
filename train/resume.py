"""The beginning of training: anew, or where it was saved last."""

from typing import Any

from jax.sharding import Mesh

from train.checkpoint import Checkpoints, Restored
from train.config import LoopConfig
from train.sharding import batch_size, check_divides
from train.state import PyTree, TrainState

BEGUN: dict[str, Any] = {
    "seconds": 0.0,
    "evaluation": {},
    "best": [],
    "tally": {},
}  # of a checkpoint, what a new run has


def restore_or_start(
    first: TrainState, checkpoints: Checkpoints, config: LoopConfig, resume: bool
) -> Restored | None:
    """Returns what was saved last; None for a run that begins."""
    if not resume and (steps := checkpoints.steps()):
        raise ValueError(
            f"{checkpoints.folder.parent} holds a run of {steps[-1]} steps already; "
            "resume it or choose another folder"
        )
    restored = checkpoints.restore_latest(first) if resume else None
    if restored is not None and restored.step > config.steps:
        raise ValueError(
            f"{checkpoints.folder.parent} has been trained for {restored.step} steps, more than the "
            f"{config.steps} asked for; resume with {restored.step} steps or more"
        )
    return restored


def padding_notice(batch: PyTree, state: TrainState, mesh: Mesh) -> str:
    """Says what becomes of batches that don't divide over the devices; nothing of those that do."""
    full = check_divides(batch, state.carry, mesh)
    if not full or full == batch_size(batch):
        return ""
    return f"batch of {batch_size(batch)} filled up to {full} to divide over {mesh.size} devices"
