"""The progress of training: a bar redrawn in place on a terminal, elsewhere a line every tenth of the way."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, SupportsFloat

BETWEEN_DRAWINGS = 0.1  # seconds


class Progress:
    """Shows step, speed, time left and the newest figures; leaves one plain line at the end, and no bar."""

    def __init__(self, total: int, *, start: int = 0, label: str = "", stream: Any = None) -> None:
        """`total` steps are to be done, `start` of them before now; `label` stands in front of every line.

        `stream` is any text stream; standard error by default.
        """
        self.total = total
        self.label = label + "  " if label else ""
        self.stream = sys.stderr if stream is None else stream
        self.on_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._figures: dict[str, float] = {}
        self._step = start
        self._written = start  # the step of the last plain line
        # The first chunk includes compilation: speed is counted from the first update on.
        self._opened = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._drawn = 0.0

    def update(self, step: int, figures: Mapping[str, SupportsFloat]) -> None:
        """Tells that `step` steps are done; figures not named keep their last value."""
        now = time.monotonic()
        self._step = step
        self._figures |= {name: float(value) for name, value in figures.items()}
        if self._first is None:
            self._first = (now, step)
        if self.on_terminal:
            if now - self._drawn >= BETWEEN_DRAWINGS:
                self._drawn = now
                self._write("\r" + self._bar(self._columns()) + "\x1b[K")
        elif step * 10 // self.total > self._written * 10 // self.total and step < self.total:
            self._written = step
            self._write(self._line() + "\n")

    @property
    def begun(self) -> bool:
        """Tells whether anything has been told yet."""
        return self._first is not None

    def say(self, line: str) -> None:
        """A line that stays; nothing for an empty one."""
        if line:
            self._write(("\r\x1b[K" if self.on_terminal else "") + f"{self.label}{line}\n")

    def close(self) -> None:
        """Wipes the bar and writes the last line."""
        if self.on_terminal:
            self._write("\r\x1b[K")
        if self._first is not None:
            self._write(self._line() + f"  took {clock(time.monotonic() - self._opened)}\n")

    def _line(self) -> str:
        parts = [f"{self.label}step {self._step}/{self.total}"]
        speed = self._speed()
        if speed:
            parts.append(f"{speed:.3g} steps/s" if speed < 1000 else f"{speed:.0f} steps/s")
            if self._step < self.total:
                parts.append(f"{clock((self.total - self._step) / speed)} left")
        parts += [f"{name} {value:.4g}" for name, value in self._figures.items()]
        return "  ".join(parts)

    def _bar(self, columns: int) -> str:
        """The line behind a bar, in at most `columns - 1` characters (one more would wrap)."""
        size = max(0, min(30, columns // 4 - 2))
        full = size * self._step // self.total
        bar = f"[{'#' * full}{'-' * (size - full)}] " if size else ""
        return (bar + self._line())[: columns - 1]

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


def clock(seconds: float | int) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
