"""A run's folder: what a run leaves behind, and how a later command finds it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.cell_files import cell_files
from experiments.harness.environment import environment
from experiments.harness.files import (
    RUNS,
    TABLE,
    environments,
    read_arrays,
    read_run,
    write_arrays,
    write_json,
)
from experiments.harness.launch import Launch
from experiments.harness.lock import LOCK, acquire, release
from experiments.harness.options import describe, digest
from experiments.harness.processes import broadcast_from_main, is_main, scratch_folder
from experiments.harness.resuming import check_restorable, check_same, fingerprint_of, resumed_folder
from experiments.harness.wandb_log import Wandb, check_wandb
from train import nonfinite_counts
from train.files import check_name, is_leftover, write_file

# All that a run killed before its config was written leaves, besides temporary files: another run may begin there.
BEGINNINGS = {LOCK, "environment.json"}


@dataclass(frozen=True)
class Run:
    """A run's folder, and whether it is resumed."""

    folder: Path
    resumed: bool = False
    devices: int = 1
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """The options that made it, for its checkpoints."""
    wandb: Wandb = "off"

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Writes `arrays/name.npz` of the run."""
        write_arrays(self.folder, name, arrays)

    def has_arrays(self, name: str) -> bool:
        """Tells whether `arrays/name.npz` is there."""
        return (self.folder / "arrays" / f"{name}.npz").is_file()

    def cached(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Returns the arrays of `arrays/name.npz`, computed and written unless they are there."""
        if not self.has_arrays(name):
            self.write_arrays(name, compute())
        return read_arrays(self.folder, name)

    def write_table(self, table: str) -> None:
        """Writes `table.txt`: the numbers as they are printed, in UTF-8 whatever the user's locale."""
        write_file(self.folder / TABLE, table + "\n")

    def finish(self, results: Mapping[str, Any]) -> None:
        """Writes `results.json`, which marks the run as complete, with counts of non-finite steps added."""
        met = nonfinite_counts(self.folder)
        write_json(self.folder / "results.json", {**results, **({"nonfinite": met} if met else {})})


def open_run(name: str, config: Any, launch: Launch, devices: int, *, pinned: Collection[str] = ()) -> Run:
    """Opens the folder for this command: a new one, or the one to resume. `devices` is from `take_devices`.

    `pinned` are options of the loop that this experiment, unlike others, can't change on resuming. A config may
    have a method `check_resumed(folder)`, which compares more before anything is written. Of several processes the
    main one opens the folder; the others get temporary ones.
    Raises ValueError where the folder is taken, isn't a run, or holds a run of another experiment or config.
    """
    check_wandb(launch.wandb)
    described = describe(name, config)
    fingerprint = fingerprint_of(described, pinned)
    check_resumed = getattr(config, "check_resumed", lambda folder: None)
    folder = broadcast_from_main(
        lambda: str(open_folder(name, described, launch, devices, pinned, check_resumed))
    )
    return Run(
        Path(folder) if is_main() else scratch_folder(),
        launch.resume is not None,
        devices,
        fingerprint,
        launch.wandb,
    )


def open_folder(
    name: str,
    described: dict[str, Any],
    launch: Launch,
    devices: int,
    pinned: Collection[str],
    check_resumed: Callable[[Path], None],
) -> Path:
    """Creates or reopens the run's folder and writes config and environment into it."""
    here = environment(devices) | {"cell_files": cell_files(described)}
    if launch.resume is None:
        folder = launch.run_dir or RUNS / name / f"{datetime.now():%Y%m%d-%H%M%S}-{digest(described)}"
        check_name(folder)
        begin_folder(folder, described, here)
        return folder
    folder = resumed_folder(name, launch.run_dir, launch.resume)
    check_name(folder)
    before = read_run(folder)
    acquire(folder)
    check_same(before, described, folder, pinned)
    check_resumed(folder)
    check_restorable(folder, fingerprint_of(described, pinned))
    for path in filter(lambda path: is_leftover(path.name), folder.rglob(".*")):
        path.unlink()
    write_json(folder / "config.json", described)
    write_json(folder / "environment.json", [*environments(folder), here])
    (folder / "results.json").unlink(missing_ok=True)
    return folder


def begin_folder(folder: Path, described: dict[str, Any], here: dict[str, Any]) -> None:
    """Creates a run's folder, completely or not at all."""
    there = folder.exists()
    if there and (not folder.is_dir() or not all(map(is_beginning, folder.iterdir()))):
        raise ValueError(f"{folder} exists already: choose another --run-dir, or add --resume to continue it")
    folder.mkdir(parents=True, exist_ok=True)
    acquire(folder)
    try:
        # What says that it is a run comes last.
        write_json(folder / "environment.json", [here])
        write_json(folder / "config.json", described)
    except BaseException:  # a signal included
        release()
        for name in ("environment.json", "config.json"):
            (folder / name).unlink(missing_ok=True)
        if not there:
            folder.rmdir()
        raise


def is_beginning(path: Path) -> bool:
    """Tells whether a file may exist in a folder where a run begins."""
    return path.name in BEGINNINGS or is_leftover(path.name)
