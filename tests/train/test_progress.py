"""Progress on the screen: a bar redrawn in place on a (pseudo-)terminal, plain lines in a pipe."""

import fcntl
import io
import os
import pty
import re
import struct
import termios

import pytest

from train import Progress, progress
from train.progress import columns_of, fitted


def shown_on_terminal(columns: int, monkeypatch) -> str:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "REDRAW_INTERVAL", 0.0)
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(other, "w") as stream:
        bar = Progress(200, label="gru", stream=stream)
        for step in range(20, 201, 20):
            bar.update(step, {"loss": 1 / step, "a figure with a long name": 1.0})
        bar.close()
        stream.flush()
        output = b""
        while not output.endswith(b"\n"):
            output += os.read(main, 100_000)
    os.close(main)
    return output.decode()


@pytest.mark.parametrize("columns", [20, 40, 100, 250])
def test_terminal(columns, monkeypatch):
    # The terminal writes "\r\n" for "\n"; what stands last is the line that stays.
    *bars, wiped = shown_on_terminal(columns, monkeypatch).removesuffix("\r\n").split("\r")[1:]
    assert all(bar.endswith("\x1b[K") for bar in bars)
    bars = [bar.removesuffix("\x1b[K") for bar in bars]
    assert all(len(bar) < columns for bar in bars)
    assert "\n" not in "".join(bars)
    if columns >= 100:
        assert re.match(r"\[#{2,3}-+\] gru  step 20/200  loss 0.05  a figure", bars[0])
        assert re.match(r"\[#+-+\] gru  step 180/200  \S+ steps/s  0:00 left  loss 0.005556", bars[8])
    parts = r"(\[[#-]+\] )?(gru  )?step \d+/200(  \S+ steps/s)?(  0:00 left)?(  loss \S+)?"
    parts += "(  a figure with a long name 1)?"
    assert all(re.fullmatch(parts, bar) for bar in bars)
    losses = {f"loss {1 / step:.4g}" for step in range(20, 201, 20)}
    assert {found for bar in bars for found in re.findall(r"loss \S+", bar)} <= losses
    assert re.match(r"\x1b\[Kgru  step 200/200  \S+ steps/s  loss 0.005  .*  took 0:00$", wiped)


def test_terminal_adapts(monkeypatch):
    widths = {c: max(map(len, shown_on_terminal(c, monkeypatch).split("\r")[1:10])) for c in (30, 60)}
    assert widths[30] < widths[60]


def test_wide_characters_take_two_columns():
    """Columns of a label as Unicode's annex 11 counts them; the terminal would wrap a longer line."""
    assert columns_of("循环：gru，x") == 12
    assert fitted("循环单元  ", ["step 5/9", "loss 1"], 18) == "循环单元  step 5/9"
    assert fitted("循环单元  ", ["step 5/9", "loss 1"], 17) == "step 5/9  loss 1"


def shown_in_pipe(total, steps, start=0):
    stream = io.StringIO()
    bar = Progress(total, start=start, stream=stream)
    for step in steps:
        bar.update(step, {"loss": 0.25})
    bar.close()
    return stream.getvalue()


def test_pipe_has_a_line_every_tenth():
    lines = shown_in_pipe(1000, range(10, 1001, 10)).splitlines()
    assert re.findall(r"step (\d+)/1000", "".join(lines)) == [str(n) for n in range(100, 1001, 100)]
    assert lines[0].endswith("loss 0.25")
    assert re.fullmatch(r"step 1000/1000  \S+ steps/s  loss 0.25  took 0:00", lines[-1])
    assert "\r" not in "".join(lines)
    assert "\x1b" not in "".join(lines)


def test_pipe_after_resuming():
    assert re.findall(r"step (\d+)", shown_in_pipe(100, [55, 62, 68, 71], start=50)) == ["62", "71", "71"]


def test_nothing_done_nothing_shown():
    assert shown_in_pipe(100, []) == ""


def test_compiling_is_said_before_the_first_step(monkeypatch):
    """On a terminal, and again below a line that stays; a pipe gets none of it."""
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True
    bar = Progress(10, label="gru", stream=stream)
    bar.begin()
    bar.print_line("padded")
    bar.update(5, {})
    bar.close()
    assert stream.getvalue().count("\rgru  compiling …\x1b[K") == 2
    plain = io.StringIO()
    Progress(10, stream=plain).begin()
    assert plain.getvalue() == ""


def test_dumb_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    main, other = pty.openpty()
    with os.fdopen(other, "w") as stream:
        assert not Progress(10, stream=stream).on_terminal
    os.close(main)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (59.7, "1:00"), (750, "12:30"), (3723, "1:02:03")]
)
def test_clock(seconds, text):
    assert progress.clock(seconds) == text
