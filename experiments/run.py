"""A run's folder: what a run leaves, and how a later command finds it."""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.environment import FIELDS, cores, environment
from experiments.holding import LOCK, hold, option_name, release
from experiments.processes import Processes, check_alike, first, from_first, scratch_folder, several
from models.cell import at_least
from train import Checkpoints, nonfinite_counts

RUNS = Path("runs")
NEWEST = "newest"  # what --resume without a value stands for
# Of the loop's options (how long, and what is logged when) those that change parameters and so can't on resuming.
POLICY = ("loop.nonfinite", "loop.rollbacks")

# All that there is where a run was killed before it was one: another may begin there.
BEGINNINGS = {LOCK, "environment.json", "environment.tmp", "config.tmp"}


@dataclass(frozen=True)
class Launch:
    """Where a run stands, apart from what it computes."""

    run_dir: Path | None = None
    """Folder of this run; runs/NAME/TIME-HASH by default."""
    resume: str | None = None
    """Go on with a run that was stopped: the newest unfinished one, or the one named."""
    devices: int | None = None
    """Devices of this process that share each batch; by default all there are, on the CPU one for each core."""
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        if self.devices is not None:
            at_least(1, devices=self.devices)


@dataclass(frozen=True)
class Run:
    """A run's folder, and whether it is being gone on with."""

    folder: Path
    resumed: bool = False
    devices: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)
    """The options that made it, for its checkpoints."""

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """`arrays/name.npz`, in one move: a kill leaves the old file or the new one."""
        path = self.folder / "arrays" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npz")
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})
        temporary.replace(path)

    def finish(self, results: Mapping[str, Any]) -> None:
        """`results.json`: its presence says that the run is complete. What wasn't finite on the way is added."""
        met = nonfinite_counts(self.folder)
        write_json(self.folder / "results.json", {**results, **({"nonfinite": met} if met else {})})


def open_run(name: str, config: Any, launch: Launch, devices: int, *, pinned: Collection[str] = ()) -> Run:
    """The folder for this command: a new one, or the one to go on with. `devices` is what `take_devices` gave.

    `pinned` are options of the loop that this experiment, unlike others, can't change on resuming. Of several
    processes the first opens it, and the others get one that is thrown away.
    Raises ValueError where the folder is taken, isn't a run, or holds a run of another experiment or config.
    """
    described = describe(name, config)
    check_alike(described, differing)
    about = {option_name(option): value for option, value in fixed(described, pinned).items()}
    folder = from_first(lambda: str(open_folder(name, described, launch, devices, pinned)))
    return Run(Path(folder) if first() else scratch_folder(), launch.resume is not None, devices, about)


def open_folder(
    name: str, described: dict[str, Any], launch: Launch, devices: int, pinned: Collection[str]
) -> Path:
    """The folder, with what says of itself what it is."""
    here = environment(devices)
    if launch.resume is None:
        folder = launch.run_dir or RUNS / name / f"{datetime.now():%Y%m%d-%H%M%S}-{digest(described)}"
        begin_folder(folder, described, here)
        return folder
    folder = resumed_folder(name, launch)
    before = read_run(folder)
    hold(folder)
    check_same(before, described, folder, pinned)
    write_json(folder / "config.json", described)
    write_json(folder / "environment.json", [*environments(folder), here])
    (folder / "results.json").unlink(missing_ok=True)
    return folder


def begin_folder(folder: Path, described: dict[str, Any], here: dict[str, Any]) -> None:
    """Makes a run's folder, whole or not at all."""
    there = folder.exists()
    if there and (not folder.is_dir() or {path.name for path in folder.iterdir()} - BEGINNINGS):
        raise ValueError(
            f"{folder} exists already: choose another --run-dir, or add --resume to go on with it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    hold(folder)
    try:
        # What says that it is a run comes last.
        write_json(folder / "environment.json", [here])
        write_json(folder / "config.json", described)
    except OSError:
        release()
        for name in ("environment.json", "config.json"):
            (folder / name).unlink(missing_ok=True)
        if not there:
            folder.rmdir()
        raise


def resumed_folder(name: str, launch: Launch) -> Path:
    """The run to go on with."""
    if launch.run_dir is not None:
        if launch.resume not in (NEWEST, str(launch.run_dir)):
            raise ValueError("give --resume RUN or --run-dir, not both")
        return launch.run_dir
    return newest_unfinished(name) if launch.resume in (None, NEWEST) else Path(launch.resume)


def take_devices(name: str, launch: Launch) -> int:
    """Sets how many devices JAX makes of this machine's processor, and says how many share each batch:

    - as many as `--devices` says, of an accelerator the first so many;
    - of a run that is gone on with as many as it was begun with, for sums in another order are other bits;
    - else all there are, on the CPU one for each core that this process may use.

    This is the one place that sets anything of the whole process, and must come before JAX first computes; where it
    has computed already (in a test, a notebook) there are the devices that there are.

    Raises ValueError where so many can't be had, or a run was begun on another number.
    """
    wanted = launch.devices
    if launch.resume is not None:
        wanted = from_first(lambda: begun_devices(resumed_folder(name, launch), wanted))
    with contextlib.suppress(RuntimeError):  # it has computed already
        jax.config.update("jax_num_cpu_devices", cores() if wanted is None else wanted)
    there = jax.local_device_count()
    if wanted is not None and wanted > there:
        raise ValueError(f"--devices {wanted} are more than the {there} that JAX has here")
    return there if wanted is None else wanted


def begun_devices(folder: Path, wanted: int | None) -> int:
    """With how many devices a process a run was begun. Raises ValueError where another number is wanted, or where
    there are more or fewer processes."""
    read_run(folder)
    begun = environments(folder)[0]
    count, processes = (
        len(begun["devices"]),
        begun.get("processes", 1),
    )  # runs before there were several don't say
    for what, before, now in (("--devices", count, wanted), ("--processes.count", processes, several())):
        if now not in (None, before):
            raise ValueError(
                f"{folder} was begun with {what} {before}, not {now}, and would end with other bits: "
                "resume with the same, or begin a new run"
            )
    return count


def read_run(folder: Path) -> dict[str, Any]:
    """The config of a run. Raises ValueError where the folder isn't a run's."""
    path = folder / "config.json"
    if not path.is_file():
        runs = sorted(str(p.parent) for p in RUNS.glob("*/*/config.json"))
        near = difflib.get_close_matches(str(folder), runs, n=1)
        hint = f"did you mean {near[0]}?" if near else "name a folder that an experiment has written."
        raise ValueError(f"{folder} is not a run folder (it has no config.json): {hint}")
    try:
        described = json.loads(path.read_text())
        if not isinstance(described["experiment"], str) or not isinstance(described["config"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is damaged: it isn't the config that a run writes; put there that of one with the same options"
        ) from None
    return described


def environments(folder: Path) -> list[dict[str, Any]]:
    """Where a run was begun, and where it was gone on with each time. Raises ValueError for anything else."""
    path = folder / "environment.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no environment.json: put there that of a run on as many devices")
    found = read_json(path)
    if not isinstance(found, list) or not found or not all(map(is_environment, found)):
        raise ValueError(
            f"{path} is damaged: it isn't what a run writes of its machine; put there one of as many devices"
        )
    return found


def is_environment(found: Any) -> bool:
    return isinstance(found, dict) and all(k in found and isinstance(found[k], t) for k, t in FIELDS.items())


def newest_unfinished(name: str) -> Path:
    """The run of this experiment begun last that has no results yet."""
    runs = [path.parent for path in (RUNS / name).glob("*/config.json")]
    unfinished = [run for run in runs if not (run / "results.json").exists()]
    if not unfinished:
        raise ValueError(
            f"there is no unfinished run of {name} in {RUNS / name}: leave --resume out to begin one"
        )
    return max(unfinished, key=lambda run: run.name)


def check_same(before: dict[str, Any], now: dict[str, Any], folder: Path, pinned: Collection[str]) -> None:
    """Raises ValueError, naming the option, where a resumed run would compute something else."""
    if before["experiment"] != now["experiment"]:
        raise ValueError(f"{folder} is a run of {before['experiment']}, not of {now['experiment']}")
    old, new = fixed(before, pinned), fixed(now, pinned)
    for option in old | new:
        if old.get(option) != new.get(option):
            raise ValueError(
                f"{folder} was begun with {option_name(option)} {shown(old.get(option))}, not "
                f"{shown(new.get(option))}: resume with the same, or begin a new run"
            )
    if "loop" not in now["config"]:
        return
    saved = [step for path in folder.rglob("checkpoints") for step in Checkpoints(path).steps()]
    done = max(saved, default=0)
    if done > now["config"]["loop"]["steps"]:
        raise ValueError(
            f"{folder} has been trained for {done} steps already: resume with --steps {done} or more"
        )


def differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The option in which two configs differ first, with both values; empty where none does."""
    old, new = flat(one["config"]), flat(other["config"])
    for option in old | new:
        if old.get(option) != new.get(option):
            return f"{option_name(option)} {shown(new.get(option))}, not {shown(old.get(option))}"
    return ""


def fixed(described: Mapping[str, Any], pinned: Collection[str]) -> dict[str, Any]:
    """The options of a config that change what is computed: all but how long, and what is logged when."""
    return {
        option: value
        for option, value in flat(described["config"]).items()
        if not option.startswith("loop.") or option in (*POLICY, *pinned)
    }


def folder_name(name: str) -> str:
    """A label as a folder: `elman recurrent_init=glorot` → elman_recurrent_init_glorot."""
    return "_".join("".join(c if c.isalnum() or c in "._-" else " " for c in name).split())


def shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def told(value: Any) -> str:
    """A number in six digits, anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else shown(value)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    pairs: dict[str, Any] = {}
    for key, value in tree.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return pairs


def describe(name: str, config: Any) -> dict[str, Any]:
    """What config.json holds: the experiment's name and its config, every default resolved."""
    return {"experiment": name, "config": json.loads(json.dumps(dataclasses.asdict(config), default=str))}


def digest(described: dict[str, Any]) -> str:
    """Six hexadecimal digits of a config: runs with equal options end in the same ones."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:6]


def write_json(path: Path, content: Any) -> None:
    """Written in one move; where it can't be, nothing is left of it."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """What `write_json` wrote. Raises ValueError where it isn't JSON any more."""
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise ValueError(f"{path} is damaged: it isn't JSON") from None


def read_results(folder: Path) -> dict[str, Any] | None:
    """What a finished run found, nested names joined by dots; None of an unfinished one.

    Raises ValueError where the file isn't what a run writes.
    """
    path = folder / "results.json"
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} is damaged: it isn't the results that a run writes")
    return flat(found)


def read_arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote. Raises ValueError where it isn't there."""
    path = folder / "arrays" / f"{name}.npz"
    if not path.is_file():
        raise ValueError(
            f"{folder} has no arrays/{name}.npz: the run is not finished; go on with it by --resume"
        )
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError(f"{path} is damaged: write it anew by resuming the run, --resume {folder}") from None
