"""The command line: what it lists, and the one sentence and exit code 2 for each mistake."""

import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.text.files import longest_line
from experiments.__main__ import trains_one_net
from experiments.cell_spec import parse_cell
from experiments.harness.checks import (
    check_at_least,
    check_distinct,
    check_finite,
    check_not_negative,
    check_positive,
    check_rising,
)
from experiments.harness.errors import UserError, name_options, report_refusal
from experiments.harness.files import read_run
from experiments.harness.options import default_config, describe, flat, option_fields, option_name
from experiments.harness.run import Launch, resumed_folder
from experiments.language import char_lm
from experiments.memory import adding
from experiments.registry import COMMANDS, NAMES, module_of, read_options
from tests.experiments.command import command, unboxed
from train import LoopConfig

ROOT = Path(__file__).parents[2]
Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, so that a mistake that goes unnoticed leaves no run in the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Returns what is said, to standard error, of a command that ends with code 2 before any run is begun."""

    def say(*arguments: Any) -> str:
        capsys.readouterr()
        assert command(*arguments) == 2
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert not (tmp_path / "runs").exists()
        return unboxed(err)

    return say


# --- help


def test_list_names_all_and_waits_for_no_jax() -> None:
    code = (
        "import sys; from experiments.__main__ import main; main(sys.argv[1:]); print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in (*NAMES, *COMMANDS):
        assert re.search(rf"^  {name} +\S.*(\n {{20}}.*)*\.$", done.stdout, re.MULTILINE), name
    assert done.stdout.splitlines()[-1] == "False"


def test_list_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """Every script with a main is listed, and no command at all lists them too."""
    scripts = {
        path.parent.name if path.stem == "__init__" else path.stem
        for path in (ROOT / "experiments").rglob("*.py")
        if "def main(config" in path.read_text(encoding="utf-8")
    }
    assert scripts == set(NAMES)
    assert command() == 0
    assert "usage: python -m experiments NAME" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_each_option_with_its_default(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(name, "--help") == 0
    text = unboxed(capsys.readouterr().out)
    config = describe(name, module_of(name).Config())["config"]
    for key, value in (flat(config) | {"run_dir": None, "resume": None}).items():
        values = value if isinstance(value, list) else [value]
        shown = " ".join(f"'{v}'" if "(" in str(v) else str(v) for v in values)
        # The option, its line of help, its default, and no other option in between.
        help_line = r",? (?:(?!\(default).)*?\w(?:(?!\(default| --).)*"
        option = rf"{option_name(key)}{help_line}\(default: {re.escape(shown)}\)"
        assert re.search(option, text), f"{option_name(key)} (default: {shown}) is not in {text}"


# --- mistakes in the words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["addin"], "error: unknown experiment 'addin': did you mean adding?"),
        (["inspct"], "unknown experiment 'inspct': did you mean inspect?"),
        (["reprt"], "unknown experiment 'reprt': did you mean report?"),
        (["zzz"], "unknown experiment 'zzz': there are adding, copy_memory, "),
        (["adding", "--hiden-size", "3"], "Perhaps you meant: --hidden-size INT"),
        (["adding", "--optimizer.learnin-rate", "3"], "Perhaps you meant: --optimizer.learning-rate FLOAT"),
        (["adding", "extra"], "Unrecognized options: extra"),
        (["adding", "--steps", "many"], "Error parsing --steps"),
        (["adding", "--optimizer.name", "adan"], "Expected one of ('sgd', 'momentum', 'adam', 'rmsprop')"),
        (["adding", "--cell", "lsmt"], "error: unknown cell 'lsmt': did you mean lstm?"),
        (["adding", "--cell", "nowhere.py:Mine"], "error: there is no cell file nowhere.py"),
        (["gradients", "--cells", "elman", "grru"], "error: unknown cell 'grru': did you mean gru?"),
        (["gradients", "--cells", "lstm("], "error: can't read the cell 'lstm('"),
        (["gradients", "--cells"], "error: --cells names no cell"),
        (["gradients", "--cells", "gru", "lstm", "gru"], "error: --cells names a cell twice"),
        (["gradients", "--cells", "gru(reset=before)", "gru(reset='before')"], "--cells names a cell twice"),
        (["gradients", "--input-gain", "0"], "error: --input-gain must be above 0"),
        (["gradients", "--input-gain", "nan"], "error: --input-gain must be above 0"),
        (
            ["adding", "--optimizer.learning-rate", "0"],
            "error: --optimizer.learning-rate is 0.0; it must be above",
        ),
        (["adding", "--health.every", "-1"], "error: --health.every is -1; it must lie in"),
        (["flossing", "--floss.weight", "0"], "error: --floss.weight must be above 0 and finite, but is 0"),
        (
            ["sweep", "adding", "--seeds", "0"],
            "error: --seeds must be a whole number of at least 1, but is 0",
        ),
        (["adding", "--length", "1"], "error: --length must be a whole number of at least 2, but is 1"),
        (["adding", "--seed", "-1"], "error: --seed must be a whole number from 0 to 4294967295, but is -1"),
        (["adding", "--depth", "0"], "error: --depth must be a whole number of at least 1, but is 0"),
        (
            ["adding", "--connections", "resid"],
            "invalid choice 'resid' for argument '--connections'. Expected one of ('plain', 'residual', 'dense',",
        ),
        (
            ["adding", "--connections", "dense"],
            "error: --connections dense joins layers, and there is one: give",
        ),
        (["digits", "--dropout", "0.1"], "error: --dropout 0.1 falls between layers, and there is one: give"),
        (["digits", "--dropout", "1", "--depth", "2"], "error: --dropout must be at least 0 and below 1"),
        (
            ["adding", "--checkpoint-every", "5"],
            "error: --checkpoint-every belongs to --method scan: give both",
        ),
        (
            ["adding", "--method", "associative"],
            "error: --method associative can't run the cell lstm: of the cells "
            "here it runs s4d, s5, lru, min_gru, min_lstm, rg_lru; lstm supports auto, scan, fused, newton",
        ),
        (
            ["gradients", "--method", "fused", "--cells", "gru", "lru"],
            "error: --method fused can't run the cell lru: ",
        ),
        (["gradients", "--direction", "both"], "error: --direction both reads the future and has no step"),
        (
            ["copy_memory", "--direction", "backward"],
            "error: --direction backward asks a net for the symbols",
        ),
        (
            ["long_memory", "--direction", "backward"],
            "error: --direction backward asks a net for the symbols",
        ),
        (["long_memory", "--tasks"], "error: --tasks is empty: give at least one"),
        (["long_memory", "--lengths", "5", "5"], "error: --lengths names one twice: 5 5"),
        (["long_memory", "--cells", "gru(resett=before)"], "GRU has no option 'resett': did you mean reset?"),
        (
            ["long_memory", "--steps", "120"],
            "error: --steps 120 is no multiple of --eval-every 50: a task is",
        ),
        (
            ["speed", "--methods", "associative"],
            "error: --methods associative: lstm goes none of them, but scan, ",
        ),
        (["speed", "--newton-memory", "0"], "error: --newton-memory must be above 0 and finite, but is 0"),
        (
            ["jacobian_spectra", "--shown-lags", "0"],
            "error: --shown-lags must be a whole number of at least 1",
        ),
        (
            ["flossing", "--exponents", "100"],
            "error: --exponents 100 are more than the 64 numbers in the state",
        ),
        (
            ["gradients", "--optimizer.average-from", "2000"],
            "error: --optimizer.average-from is 2000, but the run",
        ),
        (
            ["jacobian_spectra", "--optimizer.average-from", "600"],
            "--optimizer.average-from is 600, but the run",
        ),
        (
            ["edge_of_chaos", "--optimizer.average-from", "200"],
            "--optimizer.average-from is 200, but the run",
        ),
        (
            ["flossing", "--health.every", "4000"],
            "error: --health.every is 4000, but the run ends at step 3000",
        ),
        (
            ["lyapunov", "--optimizer.schedule", "warmup_cosine", "--optimizer.warmup-steps", "200"],
            "error: --measure-every 100 stops training within a schedule: optimizer.warmup_steps is 200",
        ),
        (
            ["sweep", "speed", "--seeds", "2", "--seed", "1"],
            "error: --seed can't be given to the runs of a sweep",
        ),
        (["inspect"], ""),
        (["report"], "error: report names no run: python -m experiments report RUN …"),
        (["inspect", "nowhere"], "error: nowhere is not a run folder (it has no config.json)"),
        (["adding", "--resume", "nowhere"], "error: nowhere is not a run folder (it has no config.json)"),
        (["adding", "--resume"], "there is no unfinished run of adding in runs/adding: leave --resume out"),
        (
            ["adding", "--resume", "a", "--run-dir", "b"],
            "error: --resume a and --run-dir b are two folders: ",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_words(mistake: Callable[..., str], arguments: list[str], said: str) -> None:
    assert said in mistake(*arguments)


SIZES = ["hidden-size", "batch-size", "steps", "log-every", "eval-every", "save-every", "chunk", "keep"]


@pytest.mark.parametrize("size", [0, -3])
@pytest.mark.parametrize(
    ("name", "option"),
    [*[("digits", size) for size in SIZES], *[("gradients", size) for size in ("images", "trajectories")]]
    + [("long_memory", "lengths"), ("speed", "lengths"), ("speed", "repeats")]
    + [(name, "length") for name in ("adding", "copy_memory", "temporal_order")],
)
def test_sizes_below_one(mistake: Callable[..., str], name: str, option: str, size: int) -> None:
    said = mistake(name, f"--{option}", size)
    assert said.startswith(f"error: --{option} ")
    assert str(size) in said


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


# --- mistakes about folders


def test_taken_folder(mistake: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    assert "error: taken exists already: choose another --run-dir" in mistake("adding", "--run-dir", "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]
    said = mistake("adding", "--run-dir", "taken/mine.txt")
    assert "error: taken/mine.txt exists already" in said
    assert "Not a directory" in mistake("adding", "--run-dir", "taken/mine.txt/run")
    assert "taken is not a run folder" in mistake("adding", "--resume", "taken")
    assert "taken is not a run folder" in mistake("inspect", "taken")


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """A finished run of adding, to be spoilt."""
    return shutil.copytree(finished("adding"), tmp_path / "copied")


def test_resume_refuses_another_run(mistake: Callable[..., str], copied: Path, options: Options) -> None:
    """With another option, or of another experiment, or of fewer steps; the run stays as it was."""
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    given = ("adding", *options["adding"], "--resume", copied)
    said = mistake(*given, "--length", 11)
    assert (
        said
        == f"error: {copied} was begun with --length 10, not 11: resume with the same, or begin a new run"
    )
    assert "was begun with --cell elman, not lstm" in mistake(*given, "--cell", "lstm")
    assert "with --optimizer.clip-at 1.0, not 2.0" in mistake(*given, "--optimizer.clip-at", 2)
    assert f"{copied} is a run of adding, not of digits" in mistake("digits", "--resume", copied)
    said = mistake(*given, "--steps", 99)
    assert said == f"error: {copied} has been trained for 100 steps already: resume with --steps 100 or more"
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before


def test_refused_where_no_checkpoint_is_whole(
    mistake: Callable[..., str], copied: Path, options: Options
) -> None:
    """And nothing is written: results, config and all else stay, byte for byte."""
    steps = sorted((copied / "checkpoints").iterdir())
    assert len(steps) == 2
    for step in steps:
        os.truncate(step / "state" / "_METADATA", 7)
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    said = mistake("adding", *options["adding"], "--resume", copied, "--steps", 999)
    assert "100 is damaged (state/_METADATA has been altered), and so are all older checkpoints" in said
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before
    assert copied / "results.json" in before


@pytest.mark.parametrize("name", ["config.json", "environment.json", "nonfinite.json", "metrics.jsonl"])
def test_refused_where_a_file_is_nested_without_end(
    mistake: Callable[..., str], copied: Path, options: Options, name: str
) -> None:
    (copied / name).write_text("[" * 100_000 + "\n")
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    said = mistake("adding", *options["adding"], "--resume", copied)
    assert f"{copied / name} " in said
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_resume_refuses_another_models_checkpoint(
    mistake: Callable[..., str], copied: Path, options: Options, finished: Finished
) -> None:
    shutil.rmtree(copied / "checkpoints")
    shutil.copytree(finished("copy_memory") / "checkpoints", copied / "checkpoints")
    said = mistake("adding", *options["adding"], "--resume", copied)
    assert f"{copied}/checkpoints/100" in said
    assert "is a checkpoint of another run: --length was 5 there and is 10 here" in said
    assert said.count("error: ") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"experiment": 3, "config": {}}', "\x00"])
def test_damaged_config(mistake: Callable[..., str], copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content)
    for arguments in (("inspect", copied), ("adding", "--resume", copied)):
        assert mistake(*arguments) == (
            f"error: {copied}/config.json is damaged: copy config.json from a run with the same options, or "
            "start a new run"
        )


@pytest.mark.parametrize("name", ["environment.json", "results.json", "arrays/curves.npz"])
def test_damaged_run(mistake: Callable[..., str], copied: Path, name: str) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[:-20])
    assert f"error: {path} is damaged: " in mistake("inspect", copied)
    path.write_bytes(b"")
    assert f"error: {path} is damaged: " in mistake("inspect", copied)
    path.write_text('[{"devices": []}]')  # JSON, but not what a run writes there
    assert f"error: {path} is damaged: " in mistake("inspect", copied)
    path.unlink()
    if name != "results.json":  # without it the run counts as unfinished
        assert name in mistake("inspect", copied)


# --- inspect


@pytest.mark.parametrize("name", ["adding", pytest.param("gradients", marks=pytest.mark.slow)])
def test_inspect_draws_the_same_figures(
    name: str, finished: Finished, options: Options, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = shutil.copytree(finished(name), tmp_path / "copied")
    drawn = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    shutil.rmtree(folder / "figures")
    capsys.readouterr()
    assert command("inspect", folder) == 0
    said = capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} == drawn
    assert f"{name}: {folder}" in said
    for key, value in flat(json.loads((folder / "config.json").read_text())["config"]).items():
        shown = " ".join(value) if isinstance(value, list) else str(value)
        assert re.search(rf"^  {option_name(key)} +{re.escape(shown)}$", said, re.MULTILINE)
    assert "validation, step 100: " in said
    assert (
        (folder / "table.txt").read_text() in said
        if name == "gradients"
        else "test.mean_square_error" in said
    )
    assert all(str(folder / "figures" / file) in said for file in drawn)


def test_inspect_unfinished(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "results.json").unlink()
    shutil.rmtree(copied / "arrays")
    assert command("inspect", copied) == 0
    assert "not finished: run the same command with --resume to continue" in capsys.readouterr().out


# --- no option at all


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


def test_refusals_and_bugs(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence that our own `raise` gives is the user's; what Python raises in a line of ours is a bug."""
    with pytest.raises(ValueError, match="not a run folder") as ours:
        read_run(Path("nowhere"))
    assert report_refusal(ours.value) == 2
    assert capsys.readouterr().err.startswith("error: nowhere is not a run folder")
    with pytest.raises(ValueError, match="empty") as pythons:
        longest_line([])
    with pytest.raises(ValueError, match="empty"):
        report_refusal(pythons.value)
    with pytest.raises(ValueError, match="invalid literal") as tests:
        raise ValueError("invalid literal")
    with pytest.raises(ValueError, match="invalid literal"):
        report_refusal(tests.value)


def test_a_library_field_becomes_an_option() -> None:
    """`loop.steps` is `--steps` on the command line; any other sentence, and any bug, stays as it is."""
    fields = option_fields(adding.Config())
    with pytest.raises(UserError, match=r"^--steps is 0; ") as refused, name_options(fields):
        LoopConfig(steps=0)
    assert refused.value.option == "--steps"
    assert pickle.loads(pickle.dumps(refused.value)).option == "--steps"
    with pytest.raises(ValueError, match="unknown cell") as other, name_options(fields):
        parse_cell("lsmt", 4)
    assert not isinstance(other.value, UserError)
    with pytest.raises(ValueError, match=r"^invalid literal for int") as bug, name_options({"invalid"}):
        int("a")
    assert not isinstance(bug.value, UserError)


@pytest.mark.parametrize(
    ("check", "fields", "told"),
    [
        (check_at_least, {"lengths": 0}, "--lengths must be a whole number of at least 1, but is 0"),
        (check_at_least, {"loop.steps": True}, "--steps must be a whole number of at least 1, but is True"),
        (
            check_at_least,
            {"batch_size": 3 * 10**9},
            "--batch-size must be at most 2147483647, but is 3000000000",
        ),
        (check_positive, {"rate": math.nan}, "--rate must be above 0 and finite, but is nan"),
        (check_positive, {"rate": 0.0}, "--rate must be above 0 and finite, but is 0"),
        (check_not_negative, {"noise": -1.0}, "--noise must be at least 0 and finite, but is -1"),
        (check_finite, {"bias": math.inf}, "--bias must be finite, but is inf"),
        (check_distinct, {"gains": ()}, "--gains is empty: give at least one"),
        (check_distinct, {"gains": (1.0, 2.0, 1.0)}, "--gains names one twice: 1.0 2.0 1.0"),
        (check_rising, {"gains": (1.0, 1.0)}, "--gains must rise, but are 1.0 1.0"),
    ],
)
def test_checks_of_values(check: Callable[..., None], fields: dict[str, Any], told: str) -> None:
    arguments = (1,) if check in (check_at_least, check_distinct) else ()
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        check(*arguments, **fields)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_of_no_key(mistake: Callable[..., str], seed: int) -> None:
    said = mistake("adding", "--seed", seed)
    assert f"--seed must be a whole number from 0 to 4294967295, but is {seed}" in said


def test_a_bug_in_a_nested_check_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tyro catches every ValueError of a nested config, Python's own included."""
    monkeypatch.setattr(
        "train.optimizer.require_positive", lambda field, value: int("a") if value == 7.0 else None
    )
    with pytest.raises(ValueError, match="invalid literal for int"):
        command("adding", "--optimizer.learning-rate", 7)


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
        "fixed_points",
    }
    assert takes == one_net
    several = {name for name in NAMES if hasattr(module_of(name), "run_tasks")}
    assert several
    assert all(module_of(name).SEVERAL_NETS for name in several)


@pytest.mark.parametrize("named", ["runs/x/", "./runs/x", str(Path("runs/x"))])
def test_one_folder_named_twice(named: str) -> None:
    assert resumed_folder("adding", Launch(run_dir=Path("runs/x"), resume=named)) == Path("runs/x")
