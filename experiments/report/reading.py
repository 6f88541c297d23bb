"""The content of a run that a report shows, read from its folder and checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.cell_spec import label
from experiments.harness.files import TABLE, environments, read_results
from experiments.harness.options import flat, folder_name, format_value, option_name
from experiments.registry import read_known_run
from train import Checkpoints, read_metrics
from train.files import read_file

PNG = b"\x89PNG\r\n\x1a\n"
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One metric of one split of a net's training: `steps [n]`, `values [n]`."""

    split: str
    metric: str
    steps: Numbers
    values: Numbers


@dataclass(frozen=True)
class Net:
    """A net that the run trained: its logged metrics and saved steps."""

    name: str
    """Of its folder within the run, the cell as figures name it; empty where the run trains one net alone."""
    lines: list[Line]
    seconds: float | None
    """Spent training, those before a resumption included."""
    checkpoints: list[int]
    """The steps saved."""

    @property
    def steps(self) -> int:
        """Returns the logged steps."""
        return int(max((line.steps[-1] for line in self.lines), default=0))


@dataclass(frozen=True)
class Reported:
    """A run as a report shows it."""

    folder: Path
    experiment: str
    config: dict[str, str]
    """Every option as the command line spells it, with its value."""
    environments: list[dict[str, Any]]
    """Environments in which it was started and resumed."""
    nets: list[Net]
    """Those of which anything was logged."""
    results: dict[str, Any] | None
    """None as long as it isn't finished."""
    table: str
    figures: dict[str, bytes]
    """PNG files by name."""

    @property
    def name(self) -> str:
        """Returns the last part of its folder."""
        return self.folder.resolve().name

    @property
    def finished(self) -> bool:
        return self.results is not None


def read_reported(folder: Path) -> Reported:
    """Reads a run. Raises ValueError if the folder isn't a run's, is damaged, or has nothing to show yet."""
    described = read_known_run(folder)
    table = folder / TABLE
    cells = cell_labels(described["config"])
    logged = sorted(
        (path.parent.relative_to(folder) for path in folder.rglob("metrics.jsonl")), key=place(cells)
    )
    nets = [read_net(folder / net, net_name(net, cells)) for net in logged]
    run = Reported(
        folder=folder,
        experiment=described["experiment"],
        config={option_name(key): format_value(value) for key, value in flat(described["config"]).items()},
        environments=environments(folder),
        nets=[net for net in nets if net.lines],
        results=read_results(folder),
        table=read_file(table).decode(errors="replace").rstrip() if table.exists() else "",
        figures={path.stem: read_png(path) for path in sorted((folder / "figures").glob("*.png"))},
    )
    if not (run.finished or run.figures or run.table or run.nets):
        raise ValueError(
            f"{folder} has nothing to report yet, no metrics, table or figure: continue it by --resume {folder}"
        )
    return run


def cell_labels(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns, for a run of several cells, the label of each by its folder, in the given order."""
    cells = config.get("cells", [])
    return {folder_name(label(cell)): label(cell) for cell in cells if isinstance(cell, str)}


def place(cells: Mapping[str, str]) -> Callable[[Path], list[tuple[int, int, str]]]:
    """Returns a sort key for nets' folders: cells in the given order, numbers by value, other names
    alphabetically."""
    order = {name: i for i, name in enumerate(cells)}
    return lambda path: [(order.get(p, -1), int(p) if p.isdecimal() else 0, p) for p in path.parts]


def net_name(path: Path, cells: Mapping[str, str]) -> str:
    """Names a net by its folder: `cells/elman_recurrent_glorot` → `elman recurrent=glorot`; `nets/adding/gru/50` →
    `adding / gru / 50`."""
    return " / ".join(cells.get(part, part) for part in path.parts[1:] or path.parts)


def read_net(folder: Path, name: str) -> Net:
    """Reads a net's curves in the order in which they were first logged, without the clock."""
    columns: dict[tuple[str, str], list[tuple[int, float]]] = {}
    seconds = None
    for record in read_metrics(folder):
        values = {name: value for name, value in record.items() if is_number(value)}
        seconds = values.pop("seconds", seconds)
        step = values.pop("step")
        for metric, value in values.items():
            columns.setdefault((record["split"], metric), []).append((step, value))
    return Net(
        name=name,
        lines=[Line(*key, *np.array(pairs, np.float64).T) for key, pairs in columns.items()],
        seconds=seconds,
        checkpoints=Checkpoints(folder / "checkpoints").steps(),
    )


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_png(path: Path) -> bytes:
    """Reads a figure's file unchanged. Raises ValueError if it isn't a whole PNG."""
    content = read_file(path)
    if not content.startswith(PNG) or not content.rstrip(b"\0").endswith(b"IEND\xaeB`\x82"):
        raise ValueError(
            f"{path} is damaged: it isn't a whole PNG; draw it anew by python -m experiments inspect "
            f"{path.parent.parent}"
        )
    return content


def png_size(content: bytes) -> tuple[int, int]:
    """Returns width and height in pixels, from the first chunk."""
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def run_name(runs: Sequence[Reported], i: int) -> str:
    """Returns `1 · lstm_run`, a run's number and the last part of its folder; empty for a single run."""
    return "" if len(runs) == 1 else f"{i + 1} · {runs[i].name}"


def net_title(runs: Sequence[Reported], i: int, net: Net, single: bool) -> str:
    """Returns the name of a net among all others, or of its run if each run trains one net."""
    if single or not net.name:
        return run_name(runs, i) or runs[i].experiment
    return net.name if len(runs) == 1 else f"{i + 1} · {net.name}"
