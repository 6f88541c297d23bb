"""Things a process may find around it: streams, terminal, umask, limits, odd names. It runs, or says why not."""

import io
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.cell_protocol import load_class
from experiments.harness.cell_files import cell_file
from experiments.harness.errors import describe_os_error
from experiments.harness.lock import LOCK
from experiments.harness.run import begin_folder
from experiments.harness.surroundings import FEWEST_FILES
from experiments.report import write_report
from experiments.report.inspect import inspect_run
from tests.experiments.command import command

ROOT = Path(__file__).parents[3]
Finished = Callable[[str], Path]
NO_UTF8 = os.fsdecode(b"a\xff")


def shell(line: str, folder: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    """A line of the shell in which `$RUN` stands for `python -m experiments`, and `$PREPARED` for a Python that has
    the surroundings prepared and `os` and `sys` imported."""
    prepared = "import os, sys; from experiments.harness.surroundings import *; prepare_surroundings()"
    words = {"RUN": f"{sys.executable} -m experiments", "PYTHON": sys.executable, "PREPARED": prepared}
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, **words, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )


def test_streams_that_cannot_be_written() -> None:
    """Closed ones are written to in vain; a full one is said, once, and is the user's to mend."""
    assert shell("$RUN --help >&-").returncode == 0
    assert shell("$RUN nope >&- 2>&-").returncode == 2
    full = shell("$RUN --help > /dev/full")
    assert full.returncode == 2
    assert b"can't be written" in full.stderr or b"No space left" in full.stderr
    assert b"Traceback" not in full.stderr


def test_a_terminal_of_one_column() -> None:
    """Help is laid out all the same; it took for ever."""
    assert b"--hidden-size" in shell("COLUMNS=1 timeout 60 $RUN adding --help").stdout


def test_an_error_that_follows_another_is_not_shown() -> None:
    """Orbax's, of a checkpoint that couldn't be written; any other is."""
    code = "class Failing:\n    def __del__(self): raise RuntimeError('{}')\nFailing()"
    for error, shown in (("Event loop is closed", False), ("another", True)):
        done = shell(f"""exec "$PYTHON" -c "$PREPARED\n{code.format(error)}" """)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, shown), done.stderr


def test_streams_in_another_encoding() -> None:
    """Letters that it lacks show as an escape; a file's name is given back byte for byte."""
    said = shell(
        r"""PYTHONIOENCODING=latin-1 "$PYTHON" -c "$PREPARED; print('ä – ' + os.fsdecode(b'a\xff'))" """
    )
    assert said.stdout == b"\xe4 \\u2013 a\xff\n", said.stderr


def test_umask_and_limit_of_open_files(tmp_path: Path) -> None:
    """The owner can use what is made, and others as the umask says; as many files as the system allows, or a
    sentence."""
    made = "os.mkdir('folder'); open('folder/file', 'w').close(); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    said = shell(
        f'ulimit -Sn 99; ulimit -Hn 512; umask 727; "$PYTHON" -c "$PREPARED; import resource; {made}"',
        tmp_path,
    )
    assert said.stdout == b"(512, 512)\n", said.stderr
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("folder", "folder/file")] == [0o750, 0o640]
    few = shell("ulimit -n 30; $RUN adding --run-dir run", tmp_path)
    assert few.returncode == 2
    assert few.stderr.decode() == (
        f"error: this process may open 30 files, and a run needs {FEWEST_FILES}: raise the limit "
        f"(ulimit -n {FEWEST_FILES})\n"
    )
    assert not (tmp_path / "run").exists()


SMALL = "adding --cell elman --hidden-size 4 --length 5 --batch-size 4 --steps 10 --devices 1 --run-dir run"


@pytest.mark.full
def test_a_run_with_few_files_and_a_strange_umask(tmp_path: Path) -> None:
    """It ends as any other, and all that it leaves is its owner's."""
    done = shell(f"ulimit -n {FEWEST_FILES}; umask 777; $RUN {SMALL}", tmp_path)
    assert done.returncode == 0, done.stderr
    left = [tmp_path / "run", *(tmp_path / "run").rglob("*")]
    assert len(left) > 20
    assert {path.stat().st_mode & 0o777 for path in left} == {0o700, 0o600}


@pytest.mark.parametrize("number", [24, 23])
def test_too_many_open_files(number: int) -> None:
    said = describe_os_error(OSError(number, os.strerror(number), "run/x"))
    assert said.startswith(f"run/x can't be opened ({os.strerror(number).lower()}): ")


def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell's file in the home of nobody known is a file that isn't there."""

    def unknown(_: Any) -> None:
        raise KeyError("not found")

    assert cell_file("~/x.py") == Path.home() / "x.py"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for path in ("~/x.py", "~nobody-known/x.py"):
        assert command("adding", "--cell", f"{path}:Mine", "--run-dir", "run") == 2
        assert capsys.readouterr().err == f"error: there is no cell file {path}\n"


def test_names_that_are_not_utf8(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in such a folder is refused before it begins; one that was moved there is inspected, reported and not
    gone on with."""
    monkeypatch.chdir(tmp_path)
    Path(f"{NO_UTF8}.py").write_text("")
    with pytest.raises(
        ValueError, match=r"a.*\.py is not UTF-8 by its name, and JAX compiles no such file: rename it"
    ):
        load_class(Path(f"{NO_UTF8}.py"), "Mine")
    os.unlink(f"{NO_UTF8}.py")
    refused = "is not UTF-8, and checkpoints can't be kept there"
    said = io.StringIO()  # which, unlike pytest's own, takes what isn't UTF-8
    monkeypatch.setattr(sys, "stderr", said)
    for words in (("adding",), ("sweep", "adding")):
        assert command(*words, "--run-dir", NO_UTF8) == 2
    assert said.getvalue().count(refused) == 2
    assert os.listdir() == []
    moved = shutil.copytree(finished("adding"), NO_UTF8)
    assert "results" in inspect_run(Path(moved))
    page = write_report([Path(moved)]).read_text(encoding="utf-8")
    assert r"a\udcff" in page
    assert write_report([Path(moved), finished("adding")]).is_file()
    before = sorted(os.listdir(moved))
    assert command("adding", "--resume", moved) == 2
    assert said.getvalue().count(refused) == 3
    assert sorted(os.listdir(moved)) == before


def test_a_lock_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="it is a link") as refused:
        begin_folder(tmp_path / "run", {}, {})
    said = describe_os_error(refused.value)
    assert said.startswith(f"{tmp_path}/run/.lock can't be written (it is a link): remove it")
    assert (tmp_path / "mine").read_text() == "mine"
    (tmp_path / "run" / LOCK).unlink()
    (tmp_path / "run" / f".{'0f' * 8}.tmp").write_text("{")  # what a killed run leaves
    begin_folder(tmp_path / "run", {"experiment": "x"}, {})
    (tmp_path / "run" / LOCK).unlink()
