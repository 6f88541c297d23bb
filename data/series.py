"""Time series: generated, or columns of a CSV file; standardised, split by time, cut into sequences."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from data.batch import Batch
from data.dynamics import Lorenz, MackeyGlass, System, trajectory
from data.examples import ArrayExamples, Example, collate
from data.text.files import read_file

SYSTEMS: dict[str, System] = {"mackey_glass": MackeyGlass(), "lorenz": Lorenz()}
MISSING = ("", "na", "nan", "null", "none", "?")  # entries that are gaps, in any case
MOST_INSERTED = 100  # missing rows for every row that is there


@dataclass(frozen=True)
class SeriesConfig:
    """The choice of a series, and how it is split."""

    file: Path | None = None
    """A CSV file with a line of names, plain or gzipped. Default: the generated series of --series."""
    columns: tuple[str, ...] | None = None
    """Columns of the file to forecast, by name. An empty entry, or NA, is a gap."""
    time: str | None = None
    """Column of the times, numbers or ISO dates, which must rise: missing rows become gaps."""
    length: int = 6000
    """Samples of a generated series."""
    valid_share: float = 0.1
    """Fraction for validation, before the test part."""
    test_share: float = 0.2
    """Fraction for test, at the end."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        if self.file is not None and not self.columns:
            raise ValueError("--data.columns is empty: name the columns of --data.file to forecast")
        if self.file is None and (self.columns or self.time):
            option = "--data.columns" if self.columns else "--data.time"
            raise ValueError(f"{option} names a column of a file: give --data.file")
        names = self.columns or ()
        if len(set(names)) < len(names):
            raise ValueError(f"--data.columns names one twice: {' '.join(names)}")
        if self.length < 100:
            raise ValueError(f"--data.length must be at least 100, but is {self.length}")
        shares = (self.valid_share, self.test_share)
        if not (min(shares) > 0 and sum(shares) < 1):
            raise ValueError(
                f"--data.valid-share {self.valid_share} and --data.test-share {self.test_share} must be above 0 "
                "and leave something to train on"
            )


class Standard(NamedTuple):
    """Means and standard deviations of the training part, `[N]`."""

    mean: np.ndarray
    scale: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Returns values `[..., N]` in these units, float32."""
        return ((values - self.mean) / self.scale).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Series:
    """A series `values [T, N]`, NaN in gaps, in its own units, and its parts by time.

    Attributes:
        values: double precision.
        names: of the N columns.
        ends: of the training and of the validation part; the test part is the rest.
    """

    values: np.ndarray
    names: tuple[str, ...]
    ends: tuple[int, int]
    standard: Standard = field(init=False)

    def __post_init__(self) -> None:
        train = self.values[: self.ends[0]]
        with np.errstate(invalid="ignore"):
            mean, scale = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
        object.__setattr__(self, "standard", Standard(mean, np.where(scale > 0, scale, 1.0)))

    @property
    def standardised(self) -> np.ndarray:
        """Returns the series in standard deviations of its training part, `[T, N]` float32."""
        return self.standard.apply(self.values)


def load_series(config: SeriesConfig, name: Literal["mackey_glass", "lorenz"] | str, seed: int) -> Series:
    """Returns the series of a config: a generated one by name, or that of its file.

    Raises ValueError for every fault of the file or the settings.
    """
    config.check()
    if config.file is None:
        values, names = trajectory(SYSTEMS[name], config.length, seed), ("x", "y", "z")
        names = names[: values.shape[1]]
    else:
        names = config.columns or ()
        values = read_columns(config.file, names, config.time)
    total = len(values)
    held, tested = (
        math.ceil(round(total * share, 6))  # rounded first: 20 · (0.1 + 0.2) is 6, despite rounding errors
        for share in (config.valid_share + config.test_share, config.test_share)
    )
    ends = (total - held, total - tested)
    for part, start, end in (("train", 0, ends[0]), ("valid", *ends), ("test", ends[1], total)):
        for column, label in enumerate(names):
            if np.isfinite(values[start:end, column]).sum() < 2:
                raise ValueError(
                    f"the {part} part of {config.file or name} has fewer than two values of {label}: give a longer "
                    "series, or other shares"
                )
    return Series(values, names, ends)


def read_columns(file: Path, columns: Sequence[str], time: str | None = None) -> np.ndarray:
    """Reads columns of a CSV file by name: `[T, N]` float64, NaN in gaps.

    With a column of times, rows that are missing between two rows become gaps: the step is the shortest between two
    rows, and every other must be a multiple of it (to a hundredth).

    Raises ValueError, naming the line, for a column that doesn't exist, an entry that is no number, a row of
    another length, and times that don't rise or aren't multiples of a step.
    """
    rows = csv.reader(io.StringIO(read_file(file).text(), newline=""))
    names = [name.strip() for name in next(rows, [])]
    wanted = [*columns, *([] if time is None else [time])]
    for name in wanted:
        if name not in names:
            raise ValueError(f"{file} has no column {name!r}: it has {', '.join(names)}")
        if names.count(name) > 1:
            raise ValueError(f"{file} has several columns {name!r}: rename one")
    places = [names.index(name) for name in columns]
    values, times, lines = [], [], []
    for row in rows:
        if not row:
            continue
        if len(row) != len(names):
            raise ValueError(
                f"line {rows.line_num} of {file} has {len(row)} entries, but there are {len(names)} columns"
            )
        where = f"line {rows.line_num} of {file}"
        values.append([_number(row[place], columns[i], where) for i, place in enumerate(places)])
        lines.append(rows.line_num)
        if time is not None:
            times.append(_time(row[names.index(time)], time, where))
    if not values:
        raise ValueError(f"{file} has no rows below its line of names: give a file with a series")
    array = np.array(values, np.float64)
    return array if time is None else _with_gaps(array, np.array(times, np.float64), lines, file, time)


def _number(entry: str, column: str, where: str) -> float:
    """Reads an entry; NaN for a gap."""
    if entry.strip().lower() in MISSING:
        return math.nan
    try:
        value = float(entry)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"{where} has {entry.strip()!r} in the column {column}, which is no number")
    return value


def _time(entry: str, column: str, where: str) -> float:
    """Reads a number, or an ISO date as its seconds."""
    try:
        return float(entry)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(entry.strip())
    except ValueError:
        raise ValueError(
            f"{where} has {entry.strip()!r} in the column {column}, which is neither a number nor an ISO date such "
            "as 2024-12-31 or 2024-12-31T23:59"
        ) from None
    return (moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)).total_seconds()


def _with_gaps(
    values: np.ndarray, times: np.ndarray, lines: Sequence[int], file: Path, column: str
) -> np.ndarray:
    """Inserts a gap for each row that is missing between two times."""
    if len(times) < 2:
        return values
    steps = np.diff(times)
    if not (steps > 0).all():
        line = lines[int(np.argmin(steps > 0)) + 1]
        raise ValueError(
            f"line {line} of {file} has a time in the column {column} that isn't after the one before it: sort the "
            "rows"
        )
    multiples = steps / steps.min()
    whole = np.rint(multiples)
    if np.abs(multiples - whole).max() > 0.01:
        wrong = int(np.argmax(np.abs(multiples - whole) > 0.01))
        raise ValueError(
            f"line {lines[wrong + 1]} of {file} comes {multiples[wrong]:.3g} times the shortest step after "
            f"the line before it: the times in the column {column} must be multiples of one step; resample them, "
            "or leave --data.time out"
        )
    places = np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)
    if places[-1] > MOST_INSERTED * len(values):
        raise ValueError(
            f"{file} would have {places[-1] + 1:,} rows, a gap for each that is missing, and has {len(values):,}: "
            f"the times in the column {column} have one very short step; resample them, or leave --data.time out"
        )
    found = np.full((places[-1] + 1, values.shape[1]), np.nan)
    found[places] = values
    return found


def next_values(series: np.ndarray, start: int, end: int, length: int, stride: int) -> ArrayExamples:
    """Cuts examples of `length` steps, one every `stride`, out of `series[start:end]`, `[T, N]`: the inputs are
    values, the targets the values after them.

    Raises ValueError if that part is too short for one.
    """
    if end - start <= length:
        raise ValueError(
            f"a part of the series has {end - start:,} values, too few for a sequence of {length:,} and its "
            "targets: take a smaller --length, or give a longer series"
        )
    windows = np.stack([series[i : i + length + 1] for i in range(start, end - length, stride)])
    return ArrayExamples(windows[:, :-1], windows[:, 1:])


def collate_gaps(examples: Sequence[Example], length: int) -> Batch:
    """Collates examples whose NaN are gaps: a step whose input is one is masked. Targets keep theirs."""
    batch = collate(examples, length)
    present = np.asarray(batch.mask & np.isfinite(batch.inputs).all(axis=-1))
    return Batch(np.where(present[..., None], batch.inputs, np.float32(0)), batch.targets, present)
