"""Options from a JSON file, other spellings of options, and the word latest."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.harness.errors import UserError
from experiments.harness.latest import name_latest
from experiments.harness.options import describe
from experiments.memory import adding
from experiments.registry import options_read, read_options, with_resume_value


def written(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_file_gives_the_defaults_and_options_override_them(tmp_path: Path) -> None:
    """By the config of a run, by its folder, and by options as the command line names them, nested or with dots."""
    run = adding.Config(length=7, cell="gru")
    file = written(tmp_path / "run" / "config.json", describe("adding", run))
    for named in (file, str(tmp_path / "run")):
        assert read_options("adding", ["--config", named]).config == run
    changed = read_options("adding", ["--steps", "5", f"--config={file}"]).config
    assert (changed.length, changed.cell, changed.loop.steps) == (7, "gru", 5)
    mine = {
        "steps": 9,
        "log-every": 3,
        "optimizer": {"name": "lion"},
        "optimizer.learning_rate": 1,
        "length": 8,
    }
    config = read_options("adding", ["--config", written(tmp_path / "mine.json", mine)]).config
    assert (config.loop.steps, config.loop.log_every, config.length) == (9, 3, 8)
    assert (config.optimizer.name, config.optimizer.learning_rate, config.optimizer.beta1) == (
        "lion",
        1.0,
        0.9,
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"lenght": 3}, "has an unknown option lenght: did you mean length"),
        ({"optimizer": {"rate": 3}}, "has an unknown option optimizer.rate"),
        ({"length": "long"}, "can't be read: length can't be 'long'"),
        ({"length": 0}, "--length must be"),
        ("{", "isn't JSON"),
        ([1], "holds no options"),
        ({"experiment": "copy_memory", "config": {}}, "is of a run of copy_memory, not of adding"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_options("adding", ["--config", written(tmp_path / "x.json", content)])


def test_other_spellings() -> None:
    given = read_options("adding", ["--optimizer", "lion", "--learning_rate=0.5", "--optimizer.beta1", "0.5"])
    assert (given.config.optimizer.name, given.config.optimizer.learning_rate) == ("lion", 0.5)
    assert with_resume_value(["--resume", "latest", "--cell", "latest"])[:2] == ["--resume", "newest"]


def test_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run begun last of the right experiments, as an argument or an option's value, and nowhere else."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="there is no run of adding or mnist in runs"):
        name_latest(["latest"], ("adding", "mnist"), {})
    for name, hour in (("adding/b", 1), ("adding/a", 2), ("mnist/c", 0), ("digits/d", 3)):
        written(Path("runs") / name / "config.json", {})
        environment = {"started": f"2026-01-01T0{hour}:00:00+00:00", "devices": ["x"], "cores": 1}
        written(Path("runs") / name / "environment.json", [environment])
    monkeypatch.setattr(
        "experiments.harness.latest.environments",
        lambda run: json.loads((run / "environment.json").read_text()),
    )
    assert name_latest(["latest", "--prompt", "latest"], ("adding", "mnist"), {}) == [
        "runs/adding/a",
        "--prompt",
        "latest",
    ]
    named = name_latest(["--config", "latest", "--cell=latest", "--config=latest"], (), options_read("mnist"))
    assert named == ["--config", "runs/mnist/c", "--cell=latest", "--config=runs/mnist/c"]
    Path("latest").mkdir()
    assert name_latest(["latest"], ("adding",), {}) == ["latest"]
