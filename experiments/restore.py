"""Trained parameters from the checkpoints of a run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.cell import Params
from train import Checkpoints, TrainState, evaluated_params


def restored_params(
    folder: Path, template: TrainState, fingerprint: Mapping[str, Any], *, best: bool = False
) -> Params:
    """Restores the parameters that evaluation uses, of the newest checkpoint or of the best.

    Args:
        folder: of one training; it holds `checkpoints`.
        template: a state of the same form.
        fingerprint: the options and data that made it, which must be those of the checkpoint.
        best: take the checkpoint with the best evaluation.

    Raises ValueError where there is no such checkpoint, or it was made otherwise.
    """
    checkpoints = Checkpoints(folder / "checkpoints", config=fingerprint)
    if best:
        step = checkpoints.best()
        if step is None:
            raise ValueError(f"{folder} has no checkpoint saved right after an evaluation: leave --best out")
        restored = checkpoints.restore(step, template)
    else:
        restored = checkpoints.restore_latest(template)
    if restored is None:
        raise ValueError(f"{folder} has no checkpoint yet: let it train until it has saved once")
    return evaluated_params(restored.state)
