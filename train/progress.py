"""The progress of training: a bar on a terminal, elsewhere a line per tenth of the steps."""

import os
import sys
import time
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, SupportsFloat
from unicodedata import east_asian_width

REDRAW_INTERVAL = 0.1  # seconds
COMPILING = "compiling …"


class Progress:
    """Shows step, speed, time left and the newest metrics; at the end the bar is replaced by a plain line."""

    def __init__(self, total: int, *, start: int = 0, label: str = "", stream: Any = None) -> None:
        """Takes the `total` number of steps, `start` of which are done, and the `label` before every line.

        `stream` is any text stream; standard error by default.
        """
        self.total = total
        self.label = label + "  " if label else ""
        self.stream = sys.stderr if stream is None else stream
        self.on_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._figures: dict[str, float] = {}
        self._step = start
        self._written = start  # the step of the last plain line
        # The first chunk includes compilation, so speed is measured from the first call of `update`.
        self._start_time = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._drawn = 0.0

    def begin(self) -> None:
        """Shows on a terminal that the program is being compiled, until the first call of `update`."""
        if self.on_terminal and not self.started:
            self._write(f"\r{fitted(self.label, [COMPILING], self._columns() - 1)}\x1b[K")

    def update(self, step: int, figures: Mapping[str, SupportsFloat]) -> None:
        """Shows that `step` steps are done; metrics not given keep their last value."""
        now = time.monotonic()
        self._step = step
        self._figures |= {name: float(value) for name, value in figures.items()}
        if self._first is None:
            self._first = (now, step)
        if self.on_terminal:
            if now - self._drawn >= REDRAW_INTERVAL:
                self._drawn = now
                self._write("\r" + self._bar(self._columns()) + "\x1b[K")
        elif step * 10 // self.total > self._written * 10 // self.total and step < self.total:
            self._written = step
            self._write(self._line() + "\n")

    @property
    def started(self) -> bool:
        """True after the first call of `update`."""
        return self._first is not None

    def print_line(self, line: str) -> None:
        """Writes a permanent line, unless it is empty."""
        if line:
            self._write(("\r\x1b[K" if self.on_terminal else "") + f"{self.label}{line}\n")
            self.begin()

    def close(self) -> None:
        """Clears the bar and writes the last line."""
        if self.on_terminal:
            self._write("\r\x1b[K")
        if self._first is not None:
            self._write(self._line() + f"  took {clock(time.monotonic() - self._start_time)}\n")

    def _line(self) -> str:
        return self.label + "  ".join(self._parts())

    def _parts(self) -> list[str]:
        parts = [f"step {self._step}/{self.total}"]
        speed = self._speed()
        if speed:
            parts.append(f"{speed:.3g} steps/s" if speed < 1000 else f"{speed:.0f} steps/s")
            if self._step < self.total:
                parts.append(f"{clock((self.total - self._step) / speed)} left")
        return parts + [f"{name} {value:.4g}" for name, value in self._figures.items()]

    def _bar(self, columns: int) -> str:
        """Returns a bar and what fits of the line, in at most `columns - 1` columns (one more would wrap)."""
        size = max(0, min(30, columns // 4 - 2))
        full = size * self._step // self.total
        bar = f"[{'#' * full}{'-' * (size - full)}] " if size else ""
        return fitted(bar + self.label, self._parts(), columns - 1)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            return 80

    def _speed(self) -> float:
        if self._first is None or self._step == self._first[1]:
            return 0.0
        return (self._step - self._first[1]) / max(time.monotonic() - self._first[0], 1e-9)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def fitted(begin: str, parts: list[str], columns: int) -> str:
    """Joins as many of the parts as fit into so many columns, each whole; `begin` is left out where the first would
    not fit beside it."""
    lines = [*accumulate(parts, lambda line, part: f"{line}  {part}")]
    lines = ["", *lines] if columns_of(begin + parts[0]) > columns else [begin + line for line in lines]
    return max((line for line in lines if columns_of(line) <= columns), key=len)


def columns_of(text: str) -> int:
    """Returns the columns of a terminal that a text takes; a Chinese, Japanese or Korean character takes two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def clock(seconds: float | int) -> str:
    """Formats seconds as `0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
