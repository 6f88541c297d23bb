"""The plan of a sweep: a run for every combination of grid values and every seed."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.harness.errors import UserError, is_refusal, name_options
from experiments.harness.files import read_run
from experiments.harness.options import describe, folder_name, option_fields, option_name
from experiments.harness.resuming import check_same
from experiments.registry import module_of, read_options

RESERVED = ("seed", "run_dir", "resume")  # what the sweep itself gives its runs


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a sweep: its setting (option → value), seed, command and folder."""

    setting: tuple[tuple[str, str], ...]
    seed: int
    arguments: tuple[str, ...]
    folder: Path
    described: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Returns `cell=gru length=100 seed=0`."""
        return " ".join([*(f"{key}={value}" for key, value in self.setting), f"seed={self.seed}"])

    @property
    def finished(self) -> bool:
        return (self.folder / "results.json").is_file()

    @property
    def begun(self) -> bool:
        return (self.folder / "config.json").is_file()

    @property
    def log(self) -> Path:
        """The file with the output of all its attempts."""
        return self.folder.parent.parent / "logs" / f"{self.folder.name}.txt"

    def command(self) -> list[str]:
        """Returns the words after `python -m experiments`; a started run is resumed."""
        given = [*self.arguments, "--run-dir", str(self.folder)]
        return [*given, "--resume", str(self.folder)] if self.begun else given


def read_grid(words: Sequence[str]) -> dict[str, list[str]]:
    """Parses `["cell=elman,gru(reset=before)", "length=100,200"]` to {"cell": [...], "length": [...]}.

    A comma within brackets or quotes belongs to a value. Raises ValueError for anything else than OPTION=VALUE,….
    """
    grid: dict[str, list[str]] = {}
    for word in words:
        option, equals, values = word.partition("=")
        option = option.removeprefix("--").replace("-", "_")
        found = [value.strip() for value in split_outside_brackets(values)]
        if not equals or not option or not all(found):
            raise UserError(
                "--grid", f"{word!r} must be OPTION=VALUE,VALUE,… as in cell=elman,gru length=100,200"
            )
        if option in RESERVED:
            how = "--seeds says how many" if option == "seed" else "the sweep gives it to each run"
            raise UserError("--grid", f"can't vary {option.replace('_', '-')}: {how}")
        if option in grid:
            raise UserError("--grid", f"names {option} twice: give all its values in one list")
        if len({folder_name(value) for value in found}) < len(found):
            raise UserError("--grid", f"{word!r} names a value twice, or two that would share a name")
        grid[option] = found
    return grid


def split_outside_brackets(text: str) -> list[str]:
    """Splits text at commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def plan(
    experiment: str, grid: Mapping[str, list[str]], seeds: int, options: Sequence[str], folder: Path
) -> list[Job]:
    """Returns every run with its options read and checked. Raises ValueError, or exits as the run would, for a
    run that is refused."""
    module = module_of(experiment)
    if "seed" not in {field.name for field in dataclasses.fields(module.Config)} and seeds > 1:
        raise UserError("--seeds", f"varies --seed, which {experiment} doesn't have: leave it out")
    check_options(options, grid)
    jobs = []
    for values in itertools.product(*grid.values()):
        setting = tuple(zip(grid, values, strict=True))
        arguments = [experiment, *(f"--{key.replace('_', '-')}={value}" for key, value in setting), *options]
        # Small nets are quicker on one device, and so many runs have the others.
        if not any(word.partition("=")[0] == "--devices" for word in options) and "devices" not in grid:
            arguments.append("--devices=1")
        config = read_options(experiment, arguments[1:]).config
        try:
            with name_options(option_fields(config)):
                config.check()
        except ValueError as error:
            if not is_refusal(error):
                raise
            raise ValueError(f"{' '.join(f'{k}={v}' for k, v in setting)}: {error}") from None
        for seed in range(seeds):
            seeded = [*arguments, f"--seed={seed}"] if seeds > 1 else arguments
            own = dataclasses.replace(config, seed=seed) if seeds > 1 else config
            name = " ".join([*(f"{key} {value}" for key, value in setting), f"seed {seed}"])
            jobs.append(
                Job(
                    setting,
                    seed,
                    tuple(seeded),
                    folder / "runs" / folder_name(name),
                    describe(experiment, own),
                )
            )
    return jobs


def check_options(options: Sequence[str], grid: Mapping[str, list[str]]) -> None:
    """Raises UserError for an option that the sweep sets itself."""
    for word in options:
        option = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if not word.startswith("--"):
            continue
        if option in RESERVED:
            how = "--seeds says how many" if option == "seed" else "the sweep gives it to each run"
            raise UserError(option_name(option), f"can't be given to the runs of a sweep: {how}")
        if option in grid:
            raise UserError(option_name(option), "is given both by --grid and by itself: give one")


def check_begun(jobs: Iterable[Job], pinned: Sequence[str]) -> None:
    """Raises ValueError if a started run would compute something else now."""
    for job in jobs:
        if job.begun:
            check_same(read_run(job.folder), dict(job.described), job.folder, pinned)


def failure_reason(log: Path) -> str:
    """Returns a run's error sentence, else its last line of output."""
    if not log.is_file():
        return "it wasn't started"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    said = [line for line in lines if line.startswith("error: ")]
    words = [line for line in lines if line]
    last = said[-1].removeprefix("error: ") if said else words[-1] if words else "it said nothing"
    return re.sub(r"\s+", " ", last)
