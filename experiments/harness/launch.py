"""The beginning of a command: the folder it names, the devices it takes, and processes that begin alike."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from experiments.harness.checks import check_at_least
from experiments.harness.environment import cores
from experiments.harness.errors import UserError
from experiments.harness.files import environments, read_run
from experiments.harness.options import describe, differing
from experiments.harness.processes import Processes, broadcast_from_main, check_alike, process_count
from experiments.harness.resuming import resumed_folder
from experiments.harness.wandb_log import Wandb

MOST_DEVICES = max(64, cores())  # with hundreds of devices on a few cores, XLA waits forever


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
        wanted = broadcast_from_main(
            lambda: begun_devices(resumed_folder(name, launch.run_dir, launch.resume), wanted)
        )
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
