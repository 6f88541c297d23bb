"""The command of each benchmark: its help, and words that it doesn't know."""

import runpy
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import read_size

ROOT = Path(benchmarks.__file__).parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("[a-z]*.py"))
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
}


def call(name: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """The exit code of `python -m benchmarks.NAME WORDS`."""
    monkeypatch.setattr("sys.argv", [str(FILES[name]), *words])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(FILES[name]), run_name="__main__")
    return left.value.code


@pytest.mark.parametrize("name", FILES)
def test_help_and_unknown_words(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    for words in (("--help",), ("-h",), ("nonsense", "--help")):
        assert call(name, *words, monkeypatch=monkeypatch) == 0
        out = capsys.readouterr().out
        assert text.startswith(f'"""{out.rstrip()}')
        assert f"python -m benchmarks.{name}" in out
    for words in (("nonsense",), ("--rounds", "3")):
        assert call(name, *words, monkeypatch=monkeypatch) == 2
        caught = capsys.readouterr()
        assert caught.out == ""
        assert caught.err.startswith(f"error: python -m benchmarks.{name} takes ")
        assert caught.err.count("\n") == 1


def test_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert read_size("100,16,64,32") == (100, 16, 64, 32)
    for text in ("100,16,64", "a,b,c,d", "0,1,1,1", "1,1,1,-1", ""):
        with pytest.raises(SystemExit, match="2"):
            read_size(text)
        assert f"but got {text!r}" in capsys.readouterr().err
