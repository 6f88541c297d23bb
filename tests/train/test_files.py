"""Files in one move: old or new, never half; and nothing is written where a link leads."""

import errno
import os
from pathlib import Path

import pytest

from train.files import atomic_file, check_name, is_leftover, open_no_follow, write_file


def test_written_in_one_move(tmp_path: Path) -> None:
    """A reader meanwhile sees the old content; a failure half way leaves that, and no more."""
    path = tmp_path / "x.json"
    write_file(path, "älter\n")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text(encoding="utf-8") == "älter\n"
        (fresh,) = [name for name in os.listdir(tmp_path) if name != "x.json"]
        assert is_leftover(fresh)
    assert path.read_bytes() == b"new"

    def fill() -> None:
        with atomic_file(path) as file:
            file.write(b"newer")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as caught:
        fill()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x.json"]
    with pytest.raises(FileNotFoundError) as missing:
        write_file(tmp_path / "none" / "x", "")
    assert missing.value.filename == str(tmp_path / "none" / "x")
    assert not is_leftover("x.json")
    assert not is_leftover(".lock")


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link, wherever it leads, is replaced where a file is written whole, refused where one is added to."""
    target, link, dangling = tmp_path / "target", tmp_path / "link", tmp_path / "dangling"
    target.write_text("mine")
    for path, leads_to in ((link, target), (dangling, tmp_path / "nowhere")):
        path.symlink_to(leads_to)
        with pytest.raises(OSError, match="it is a link") as caught, open(path, "ab", opener=open_no_follow):
            pass
        assert caught.value.errno == errno.ELOOP
        write_file(path, "ours")
        assert path.read_text() == "ours"
        assert not path.is_symlink()
    assert target.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    with open(link, "ab", opener=open_no_follow) as file:
        file.write(b" too")
    assert link.read_text() == "ours too"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Text that holds one is written; a folder of one is refused, for Orbax can't write there."""
    name = os.fsdecode(b"a\xff")
    write_file(tmp_path / name, f"ä {name}")
    assert (tmp_path / name).read_text(encoding="utf-8") == r"ä a\udcff"
    check_name(tmp_path / "ä")
    with pytest.raises(ValueError, match="is not UTF-8, and checkpoints can't be kept there"):
        check_name(tmp_path / name / "run")
