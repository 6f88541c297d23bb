"""Trained parameters from the checkpoints of a run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.run_task import initial_params
from experiments.task import Options, Task
from models.cell import Params
from train import Checkpoints, TrainState, create_state, evaluated_params


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


def best_params(task: Task, options: Options, folder: Path, fingerprint: Mapping[str, Any]) -> Params:
    """Restores the parameters of a finished training: of the best checkpoint, or the newest where none was saved
    right after an evaluation. `fingerprint` is the run's."""
    batch = task.data.validation()[0]
    optimizer = options.optimizer.for_run(options.loop.steps, options.loop.eval_every)
    key = jax.random.key(options.seed)
    template = create_state(initial_params(task, options.seed, batch), optimizer, key)
    made_by = {**fingerprint, **task.fingerprint}
    best = Checkpoints(folder / "checkpoints", config=made_by).best() is not None
    return restored_params(folder, template, made_by, best=best)
