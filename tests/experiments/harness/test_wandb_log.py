"""Weights & Biases, by a stand-in for its package: what it is told, and what is said where it isn't installed."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.harness.errors import UserError
from experiments.harness.launch import Launch
from experiments.harness.run import open_run
from experiments.harness.wandb_log import wandb_log
from experiments.memory.adding import Config
from experiments.registry import with_resume_value
from tests.train.toy import LOOP, train_toy
from train import read_metrics


class Told:
    """Takes the place of the package, and of the run that it begins."""

    def __init__(self) -> None:
        self.begun: dict[str, Any] = {}
        self.records: list[dict[str, Any]] = []
        self.ended = False

    def init(self, **given: Any) -> Any:
        self.begun = given
        return SimpleNamespace(
            log=self.records.append, finish=self.finish, define_metric=lambda *a, **k: None
        )

    def finish(self) -> None:
        self.ended = True

    Settings = dict


def test_it_is_told_what_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setitem(sys.modules, "wandb", told)
    with wandb_log("offline", tmp_path, "toy", {"--steps": 90}) as log:
        train_toy(tmp_path, LOOP, also_log=log)
    assert told.ended
    assert (told.begun["mode"], told.begun["name"], told.begun["dir"]) == ("offline", "toy", str(tmp_path))
    records = read_metrics(tmp_path)
    assert [record["step"] for record in told.records] == [record["step"] for record in records]
    assert told.records[1]["train/loss"] == records[1]["loss"]


def test_not_asked_for_or_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with wandb_log("off", tmp_path, "toy", {}) as log:
        assert log is None
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("experiments.harness.wandb_log.find_spec", lambda name: None)
    with pytest.raises(UserError, match="--wandb offline needs the package wandb, which isn't installed"):
        open_run("adding", Config(), Launch(run_dir=tmp_path / "run", wandb="offline"), 1)
    assert not (tmp_path / "run").exists()
    assert with_resume_value(["--wandb", "--steps", "3"]) == ["--wandb", "offline", "--steps", "3"]
