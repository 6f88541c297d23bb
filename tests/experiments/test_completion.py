"""The script of completion, in bash: what the Tab key would offer."""

import shutil
import subprocess

import pytest

from experiments.completion import options_of_command, script


@pytest.fixture(scope="module")
def printed() -> str:
    return script()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["unroll", "addi"], ["adding"]),
        (["unroll", "adding", "--hidden"], ["--hidden-size"]),
        (["unroll", "adding", "--optimizer.name", "ada"], ["adam", "adamw"]),
        (["unroll", "adding", "--steps", "5", "--cell", "batch"], ["batch_norm_lstm"]),
        (["unroll", "inspect", "la"], ["latest"]),
        (["unroll", "sweep", "copy"], ["copy_memory"]),
        (["unroll", "char_lm", "--preset", "five"], ["five_minutes"]),
    ],
)
def test_bash(printed: str, words: list[str], offered: list[str]) -> None:
    line = f'COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _unroll; echo "${{COMPREPLY[@]}}"'
    shell = ["bash", "--norc", "-ec", printed + line]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout.split() == offered


def test_all_options_are_there() -> None:
    """Those of nested configs too, with the values of choices; positional arguments aren't options."""
    options = options_of_command("adding")
    assert options["--precision"] == ("float32", "bfloat16")
    assert {"--health.every", "--resume", "--processes.count", "--optimizer.clip"} <= options.keys()
    assert "--run" not in options_of_command("label")
