"""A run's folder: what a run leaves behind, and how a later command finds it."""

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.harness.cell_files import cell_files
from experiments.harness.checks import check_at_least
from experiments.harness.environment import cores, environment
from experiments.harness.errors import UserError
from experiments.harness.files import (
    RUNS,
    TABLE,
    environments,
    read_arrays,
    read_run,
    write_arrays,
    write_json,
)
from experiments.harness.lock import LOCK, acquire, release
from experiments.harness.options import (
    ADDED,
    describe,
    differing,
    digest,
    fixed,
    flat,
    format_value,
    needed_by,
    option_name,
)
from experiments.harness.processes import (
    Processes,
    broadcast_from_main,
    check_alike,
    is_main,
    process_count,
    scratch_folder,
)
from experiments.harness.wandb_log import Wandb, check_wandb
from train import INCIDENTS_FILE, Checkpoints, nonfinite_counts, read_metrics
from train.files import check_name, is_leftover, write_file
from train.nonfinite import read_incidents
from train.tracking import METRICS_FILE

MOST_DEVICES = max(64, cores())  # with hundreds of devices on a few cores, XLA waits forever
NEWEST = "newest"  # what --resume without a value stands for
# All that a run killed before its config was written leaves, besides temporary files: another run may begin there.
BEGINNINGS = {LOCK, "environment.json"}


@dataclass(frozen=True)
class Launch:
    """The folder and the devices of a run, which don't change what it computes."""

    run_dir: Path | None = None
    """Folder of this run; runs/NAME/TIME-HASH by default."""
    config: Path | None = None
    """JSON of options to begin with, which those given here override: RUN/config.json, latest for that of the run
    begun last, or any file of yours."""
    resume: str | None = None
    """Resume a stopped run: the newest unfinished one (--resume alone, or latest), or the one named."""
    devices: int | None = None
    """Devices of this process that share each batch; by default all of them, on a CPU one per core."""
    wandb: Wandb = "off"
    """Send metrics to Weights & Biases (an extra) too: offline writes them into the run's folder, from which `wandb
    sync` sends them later; --wandb alone is offline."""
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        if self.devices is not None:
            check_at_least(1, devices=self.devices)


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


def fingerprint_of(described: Mapping[str, Any], pinned: Collection[str] = ()) -> dict[str, Any]:
    """Returns the options that change what is computed, as a run's checkpoints record them."""
    return {option_name(option): value for option, value in fixed(described, pinned).items()}


def check_restorable(folder: Path, fingerprint: Mapping[str, Any]) -> None:
    """Raises ValueError if training can't resume from what a run has saved: each of its trainings needs one whole
    checkpoint of the same options, and readable metrics."""
    for path in sorted(folder.rglob("checkpoints")):
        Checkpoints(path, config=fingerprint).check()
    for path in sorted(folder.rglob(METRICS_FILE)):
        read_metrics(path)
    for path in sorted(folder.rglob(INCIDENTS_FILE)):
        read_incidents(path)


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
    folder = resumed_folder(name, launch)
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


def resumed_folder(name: str, launch: Launch) -> Path:
    """Returns the folder of the run to resume."""
    if launch.run_dir is not None:
        named = None if launch.resume in (None, NEWEST) else Path(launch.resume)
        if named is not None and named.absolute() != launch.run_dir.absolute():
            raise UserError(
                "--resume", f"{named} and --run-dir {launch.run_dir} are two folders: give one of them"
            )
        return launch.run_dir
    return newest_unfinished(name) if launch.resume in (None, NEWEST) else Path(launch.resume)


def check_started_alike(name: str, config: Any, launch: Launch) -> None:
    """Raises ValueError in all processes, naming the option, if one of them was started with another value.

    Must come before any collective operation: with other options they would wait for different things."""
    check_alike(described_for_all(name, config, launch), differing)


def described_for_all(name: str, config: Any, launch: Launch) -> dict[str, Any]:
    """Returns the experiment, its config, and the launch options that all processes must share."""
    options = {
        "devices": "left out" if launch.devices is None else launch.devices,
        "resume": "left out" if launch.resume is None else "given",
        "processes.count": process_count(),
    }
    described = describe(name, config)
    return {**described, "config": options | described["config"]}


def leave_accelerator() -> None:
    """Keeps this process on the CPU: it starts runs, which need the accelerator. Call before JAX first computes."""
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_platforms", "cpu")


def take_devices(name: str, launch: Launch) -> int:
    """Sets the number of CPU devices that JAX creates, and returns how many devices share each batch:

    - `--devices`, on an accelerator the first so many;
    - a resumed run must have its original number, since sums in another order give other bits;
    - otherwise all, on the CPU one for each core that this process may use.

    This is the only place that sets process-wide state, and must come before JAX first computes; after that (in a
    test, a notebook) the number of devices is fixed.

    Raises UserError if there are fewer devices, ValueError if a run was started on another number.
    """
    wanted = launch.devices
    if launch.resume is not None:
        wanted = broadcast_from_main(lambda: begun_devices(resumed_folder(name, launch), wanted))
    if wanted is not None and wanted > MOST_DEVICES:
        raise UserError(
            "--devices", f"{wanted} are more than the {MOST_DEVICES} that one process can drive: take fewer"
        )
    with contextlib.suppress(RuntimeError):  # it has computed already
        jax.config.update("jax_num_cpu_devices", cores() if wanted is None else wanted)
    there = jax.local_device_count()
    if wanted is not None and wanted > there:
        raise UserError("--devices", f"{wanted} are more than the {there} that JAX has here")
    taken = there if wanted is None else wanted
    check_alike({"config": {"devices": taken}}, differing)  # without the option hosts may have more and fewer
    return taken


def begun_devices(folder: Path, wanted: int | None) -> int:
    """Returns the number of devices per process that a run was started with.

    Raises ValueError if another number is wanted, or there are more or fewer processes.
    """
    read_run(folder)
    begun = environments(folder)[0]
    count = len(begun["devices"])
    processes = begun.get("processes", 1)  # runs from before there were several don't say
    for what, before, now in (
        ("--devices", count, wanted),
        ("--processes.count", processes, process_count()),
    ):
        if now not in (None, before):
            raise ValueError(
                f"{folder} was begun with {what} {before}, not {now}, and would end with other bits: "
                "resume with the same, or begin a new run"
            )
    return count


def newest_unfinished(name: str) -> Path:
    """Returns the most recently started run of this experiment that has no results yet."""
    runs = [path.parent for path in (RUNS / name).glob("*/config.json")]
    unfinished = [run for run in runs if not (run / "results.json").exists()]
    if not unfinished:
        raise ValueError(
            f"there is no unfinished run of {name} in {RUNS / name}: leave --resume out to begin one"
        )
    return max(unfinished, key=started)


def started(folder: Path) -> tuple[datetime, str]:
    """Returns when a run was first started (the beginning of time if unknown), and its name."""
    try:
        return datetime.fromisoformat(environments(folder)[0]["started"]), folder.name
    except (ValueError, KeyError, IndexError, TypeError):
        return datetime.min.replace(tzinfo=UTC), folder.name


def check_same(before: dict[str, Any], now: dict[str, Any], folder: Path, pinned: Collection[str]) -> None:
    """Raises ValueError, naming the option, if a resumed run would compute something else."""
    if before["experiment"] != now["experiment"]:
        raise ValueError(f"{folder} is a run of {before['experiment']}, not of {now['experiment']}")
    old, new = ADDED | flat(before["config"]), flat(now["config"])
    reasons = needed_by(old) | needed_by(new)
    for option in fixed(before, pinned) | fixed(now, pinned):
        if old.get(option) != new.get(option):
            why = f", and {reasons[option]} depends on it" if option in reasons else ""
            raise ValueError(
                f"{folder} was begun with {option_name(option)} {format_value(old.get(option))}, not "
                f"{format_value(new.get(option))}{why}: resume with the same, or begin a new run"
            )
    if "loop" not in now["config"]:
        return
    saved = [step for path in folder.rglob("checkpoints") for step in Checkpoints(path).recorded_steps()]
    done = max(saved, default=0)
    if done > now["config"]["loop"]["steps"]:
        raise ValueError(
            f"{folder} has been trained for {done} steps already: resume with --steps {done} or more"
        )
