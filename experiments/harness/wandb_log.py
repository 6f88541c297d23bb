"""Metrics sent to Weights & Biases (an extra), beside the files of the run."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from experiments.harness.errors import UserError
from experiments.harness.processes import is_main

Wandb = Literal["off", "offline", "online"]
Log = Callable[[int, str, Mapping[str, float]], None]


def check_wandb(mode: Wandb) -> None:
    """Raises UserError if Weights & Biases is asked for and not installed."""
    if mode != "off" and find_spec("wandb") is None:
        raise UserError(
            "--wandb",
            f'{mode} needs the package wandb, which isn\'t installed: pip install -e ".[wandb]", or leave it out',
        )


@contextmanager
def wandb_log(mode: Wandb, folder: Path, label: str, config: Mapping[str, Any]) -> Iterator[Log | None]:
    """Opens a run of Weights & Biases for one training in the folder, and yields what logs to it: `(step, split,
    metrics)`, as `train/loss` and the like; None if off, or in another process than the main one.

    Offline it writes `FOLDER/wandb/`, which `wandb sync` sends later. A resumed training continues the same run.
    """
    if mode == "off" or not is_main():
        yield None
        return
    import wandb  # pyright: ignore[reportMissingImports]

    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    run = wandb.init(
        project="unroll",
        name=label,
        group=folder.name,
        id=name,
        resume="allow",
        mode=mode,
        dir=str(folder),
        config=dict(config),
        settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
    )
    # A resumed run logs some steps again, which the step of W&B's own refuses.
    run.define_metric("*", step_metric="step")
    try:
        yield lambda step, split, metrics: run.log(
            {"step": step} | {f"{split}/{name}": value for name, value in metrics.items()}
        )
    finally:
        run.finish()
