"""Write the trained parameters of a run into one safetensors file, for your own code or another library.

python -m experiments export RUN weights.safetensors
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from experiments.harness.command_line import read_command
from experiments.harness.errors import UserError
from experiments.registry import read_known_run
from models import to_safetensors
from train import Checkpoints
from train.files import write_file

ENDING = ".safetensors"


@dataclass(frozen=True)
class Config:
    """Export."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of an experiment that trains, finished or not."""
    file: Annotated[Path, tyro.conf.Positional]
    """The file to write; its name ends in .safetensors. One that exists is replaced."""
    net: str = ""
    """Of a run of several nets the one to export, named by its folder in the run."""
    newest: bool = False
    """Take the newest checkpoint, not the one with the best validation result."""

    def check(self) -> None:
        """Raises UserError for a file that can't be one of the format."""
        if self.file.suffix != ENDING:
            raise UserError("FILE", f"must end in {ENDING}, but is {self.file}")
        if self.file.is_dir() or not self.file.parent.is_dir():
            wrong = (
                "is a folder"
                if self.file.is_dir()
                else f"is in a folder that isn't there: {self.file.parent}"
            )
            raise UserError("FILE", f"{wrong}; name a file")


def trained_net(folder: Path, net: str) -> Path:
    """Returns the folder of a run's only net, or of the one named.

    Raises UserError where there is none, or several and none is named."""
    homes = {path.parent.relative_to(folder).as_posix(): path.parent for path in folder.rglob("checkpoints")}
    if not homes:
        raise UserError("RUN", f"{folder} has no checkpoint: it trains no net, or has not saved yet")
    if net not in homes and (net or len(homes) > 1):
        raise UserError("--net", f"must be one of {', '.join(sorted(homes))}, but is {net or 'not given'}")
    return homes[net] if net else next(iter(homes.values()))


def export(config: Config) -> str:
    """Writes the file. Returns a description: its arrays, and the step that they are of.

    Raises UserError as `Config.check` and `trained_net`, ValueError for a folder that isn't a run's or is damaged.
    """
    config.check()
    described = read_known_run(config.run)
    checkpoints = Checkpoints(trained_net(config.run, config.net) / "checkpoints")
    best = None if config.newest else checkpoints.best()
    step = max(checkpoints.steps(), default=None) if best is None else best
    if step is None:
        raise UserError("RUN", f"{config.run} has no checkpoint yet: let it train until it has saved once")
    params = {name.removeprefix("params/"): leaf for name, leaf in checkpoints.restore_params(step).items()}
    words = {"experiment": described["experiment"], "step": str(step)}
    cell = described["config"].get("cell")
    words |= {"cell": cell} if isinstance(cell, str) else {}
    write_file(config.file, to_safetensors(params, words))
    lines = [f"  {name:<40} {leaf.dtype}{list(leaf.shape)}" for name, leaf in params.items()]
    which = "the newest checkpoint" if best is None else "the best checkpoint by validation"
    numbers = sum(leaf.size for leaf in params.values())
    return "\n".join(
        [f"{config.file}: {len(params)} arrays, {numbers:,} numbers, of step {step:,}, {which}", *lines]
    )


def main(arguments: list[str]) -> int:
    """Runs `python -m experiments export RUN FILE`."""
    print(export(read_command(Config, arguments, "export", __doc__)))
    return 0
