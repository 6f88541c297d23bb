"""The log of training: `metrics.jsonl`, and TensorBoard events."""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from train.files import open_no_follow, parse_json, read_file, write_file

Log = Callable[[int, str, Mapping[str, float]], None]
"""`(step, split, metrics)`: logs a record somewhere else too."""

METRICS_FILE = "metrics.jsonl"
EVENTS_FOLDER = "tensorboard"


class Tracker:
    """Appends metrics to `folder/metrics.jsonl`, one JSON object per line, and to `folder/tensorboard/`.

    A line is `{"step": 20, "split": "train", "loss": 0.5, …}`. JSON has no NaN or infinity: such a value is
    written as null, with its value in `"nonfinite": {"loss": "nan"}`. `log` flushes each line to the operating
    system, so that a kill of the process loses none.
    """

    def __init__(self, folder: Path | str, also: Log | None = None) -> None:
        """Doesn't touch any file until something is logged or truncated; `also` is called with every record."""
        self.folder = Path(folder)
        self._also = also
        self._purge_step: int | None = None
        self._file: Any = None
        self._events: Any = None

    def truncate_after(self, step: int) -> None:
        """Removes records after `step`, and an incomplete last line left by a kill.

        The file is replaced atomically. TensorBoard is told to hide its events after `step`.

        Raises:
            ValueError: a line before the last isn't a record.
        """
        self.close()
        path = self.folder / METRICS_FILE
        if not path.exists():
            return
        self._purge_step = step + 1
        lines = [line for line in _whole_lines(path) if _parse(path, line)["step"] <= step]
        write_file(path, "".join(lines))

    def log(self, step: int, split: str, metrics: Mapping[str, SupportsFloat]) -> None:
        """Writes one record; `split` is "train", "validation", …"""
        self._open()
        values = {name: float(value) for name, value in metrics.items()}
        if self._also is not None:
            self._also(step, split, values)
        nonfinite = {name: str(value) for name, value in values.items() if not math.isfinite(value)}
        record: dict[str, Any] = {"step": step, "split": split}
        record |= {name: None if name in nonfinite else value for name, value in values.items()}
        if nonfinite:
            record["nonfinite"] = nonfinite
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()
        # One event for all metrics: tensorboardX pickles every event through a queue, which took longer than a
        # small train step with an event per metric.
        _, Summary = tensorboard()
        scalars = [Summary.Value(tag=f"{split}/{name}", simple_value=value) for name, value in values.items()]
        self._events.file_writer.add_summary(Summary(value=scalars), step)

    def picture(self, step: int, tag: str, pixels: np.ndarray) -> None:
        """Writes an image for TensorBoard, `[rows, columns, 3]` of uint8."""
        self._open()
        self._events.add_image(tag, pixels, step, dataformats="HWC")

    def records(self, split: str) -> list[dict[str, Any]]:
        """Returns the records of this split, with NaN and infinities restored."""
        if not (self.folder / METRICS_FILE).exists():
            return []
        return [record for record in read_metrics(self.folder) if record["split"] == split]

    def flush(self) -> None:
        """Writes buffered TensorBoard events to their file."""
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Closes both files; logging again opens them again.

        Raises:
            OSError: what is buffered can't be written; both are closed all the same.
        """
        if self._file is not None:
            file, events = self._file, self._events
            self._file = self._events = None
            try:
                file.close()
            finally:
                close_events(events)

    def _open(self) -> None:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.folder / METRICS_FILE, "a", encoding="utf-8", opener=open_no_follow)  # noqa: SIM115
            SummaryWriter, _ = tensorboard()
            self._events = SummaryWriter(
                str(self.folder / EVENTS_FOLDER), purge_step=self._purge_step, max_queue=1000
            )


def close_events(events: Any) -> None:
    """Closes a `SummaryWriter`. One that can't be written is given up: tensorboardX would try again as the process
    ends, and print a traceback."""
    try:
        events.close()
    except OSError:
        writer = events.file_writer.event_writer
        writer._closed = True
        writer._worker.stop()
        raise


@cache
def tensorboard() -> tuple[Any, Any]:
    """Imports tensorboardX's `SummaryWriter` and `Summary` without PyTorch.

    tensorboardX imports PyTorch if it is installed, which takes 2 s, for tensors that are never passed to it.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore  # Python's own way to say that a module can't be imported
    try:
        from tensorboardX import SummaryWriter
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        if hidden:
            del sys.modules["torch"]
    return SummaryWriter, Summary


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Reads the records of a `metrics.jsonl` (or of the one in a folder), with NaN and infinities restored.

    An incomplete last line is ignored.

    Raises:
        ValueError: a line before the last isn't a record.
    """
    path = Path(path)
    if path.is_dir():
        path = path / METRICS_FILE
    return [_parse(path, line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[str]:
    # At line feeds alone: a name may hold what `splitlines` takes for the end of a line.
    lines = re.findall(r"[^\n]*\n|[^\n]+$", read_file(path).decode(errors="replace"))
    return lines[:-1] if lines and not lines[-1].endswith("\n") else lines


def _parse(path: Path, line: str) -> dict[str, Any]:
    """Parses a line written by `Tracker.log`, with NaN and infinities restored."""
    try:
        record = parse_json(path, line)
        step, split, nonfinite = record["step"], record["split"], record.pop("nonfinite", {})
        record |= {name: _NONFINITE[text] for name, text in nonfinite.items() if record[name] is None}
        numbers = [value for name, value in record.items() if name not in ("step", "split")]
        if not (_is_whole(step) and step >= 0 and isinstance(split, str) and all(map(_is_number, numbers))):
            raise TypeError
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(
            f"{path} has a line that is not a record of training: {line.strip()[:60]!r}; correct or remove it"
        ) from None
    return record


_NONFINITE = {text: float(text) for text in ("nan", "inf", "-inf")}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)
