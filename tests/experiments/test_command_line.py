"""The command line: what it lists, helps with, and does when given nothing."""

import contextlib
import io
import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import docstring_parser
import pytest
import tyro

from experiments.__main__ import trains_one_net
from experiments.harness.launch import Launch
from experiments.harness.options import default_config, describe, flat, option_name
from experiments.language import char_lm
from experiments.memory import adding
from experiments.registry import COMMANDS, NAMES, module_of, read_options
from tests.experiments.command import command, unboxed
from train import LoopConfig, OptimizerConfig

ROOT = Path(__file__).parents[2]


def test_list_names_all_and_waits_for_no_jax() -> None:
    code = (
        "import sys; from experiments.__main__ import main; main(sys.argv[1:]); print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in (*NAMES, *COMMANDS):
        assert re.search(rf"^  {name} +\S.*(\n {{24}}.*)*\.$", done.stdout, re.MULTILINE), name
    assert done.stdout.splitlines()[-1] == "False"


def test_list_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """Every script with a main is listed, and no command at all lists them too."""
    scripts = {
        path.parent.name if path.stem == "__init__" else path.stem
        for path in (ROOT / "experiments").rglob("*.py")
        if re.search(r"^(def main\(config|main = )", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert scripts == set(NAMES)
    assert command() == 0
    assert "usage: python -m experiments NAME" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_each_option_with_its_default(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(name, "--help-all") == 0
    text = unboxed(capsys.readouterr().out)
    config = describe(name, module_of(name).Config())["config"]
    for key, value in (flat(config) | {"run_dir": None, "resume": None}).items():
        values = value if isinstance(value, list) else [value]
        shown = " ".join(f"'{v}'" if "(" in str(v) else str(v) for v in values) or "none"
        # The option, its line of help, its default, and no other option in between.
        help_line = r",? (?:(?!\(default).)*?\w(?:(?!\(default| --).)*"
        default = "" if shown == "None" else rf"\(default: {re.escape(shown)}\)"
        option = rf"{option_name(key)}{help_line}{default}"
        assert re.search(option, text), f"{option_name(key)} (default: {shown}) is not in {text}"


def test_help_breaks_no_line_where_the_source_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert command("adding", "--help-all") == 0
    lines = capsys.readouterr().out.splitlines()
    for config in (LoopConfig, OptimizerConfig):
        for field in docstring_parser.parse_from_object(config).params:
            text = " ".join(str(field.description).split())
            assert any(text in line for line in lines), field.arg_name
    assert not any(one == other == "" for one, other in itertools.pairwise(lines))


def test_help_is_short_and_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Own and common options within 100 columns; no box is left empty; the command is the one that was typed."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/unroll", "adding", "--help"])
    assert command("adding", "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: unroll adding ")
    assert max(map(len, text.splitlines())) == 100
    found = set(re.findall(r"^[│ ] (--\w[\w.-]+)", text, re.MULTILINE))
    assert {"--length", "--steps", "--optimizer.name", "--run-dir"} <= found
    assert not {"--chunk", "--optimizer.beta1", "--processes.count", "--method"} & found
    assert "processes options" not in text
    assert "health options" in text
    assert text.rstrip().endswith("--help-all")


@pytest.mark.parametrize(("arguments", "code"), [(("--help",), 0), (("--hiden-size", 3), 2)])
def test_words_are_read_once(
    arguments: tuple[str | int, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is said of them is coloured on a terminal alone."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    read: list[None] = []
    cli = tyro.cli
    monkeypatch.setattr(tyro, "cli", lambda *given, **more: read.append(None) or cli(*given, **more))
    monkeypatch.setenv("TERM", "xterm")
    said = []
    for stream in (Terminal(), io.StringIO()):
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            assert command("adding", *arguments) == code
        said.append(stream.getvalue())
    assert len(read) == 2
    assert ["\x1b[" in one for one in said] == [True, False]
    assert all("--hidden-size" in one for one in said)


@pytest.mark.parametrize(
    "arguments", [("--help",), pytest.param(("char_lm", "--help"), marks=pytest.mark.slow)]
)
def test_a_closed_pipe_ends_it_quietly(arguments: tuple[str, ...]) -> None:
    """As it ends other commands, `… --help | head`."""
    command = [sys.executable, "-m", "experiments", *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == ""


def test_no_option_is_every_default() -> None:
    assert default_config(char_lm, []) == char_lm.Config()
    given = read_options("adding", [])
    assert (given.config, given.launch) == (adding.Config(), Launch())


@pytest.mark.slow
def test_a_command_without_options(tmp_path: Path) -> None:
    """As a newcomer types it, in a process of its own."""
    command = [sys.executable, "-m", "experiments", "ngram"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert len(list(tmp_path.glob("runs/ngram/*/results.json"))) == 1


def test_which_experiments_take_several_processes() -> None:
    """Those that train one net; a new one needs to say nothing, one that trains several says so."""
    takes = {name for name in NAMES if trains_one_net(module_of(name), module_of(name).Config())}
    one_net = {
        "adding",
        "copy_memory",
        "temporal_order",
        "digits",
        "language_model",
        "char_lm",
        "slot_filling",
        "pos_tagging",
        "key_terms",
        "bert",
        "autoencoder",
        "skip_thought",
        "captions",
        "dialogue",
        "summaries",
        "fixed_points",
        "audio_segments",
    }
    assert takes == one_net
    several = {name for name in NAMES if hasattr(module_of(name), "run_tasks")}
    assert several
    assert all(module_of(name).SEVERAL_NETS for name in several)
