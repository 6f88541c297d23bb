"""Damage to a run's folder ends in one sentence and exit code 2: no traceback, nothing that hangs."""

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.harness.files import read_arrays
from tests.experiments.command import command
from tests.experiments.conftest import OPTIONS
from tests.experiments.damage import damage, nested
from train import read_metrics
from train.nonfinite import read_incidents

Finished = Callable[[str], Path]


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    return shutil.copytree(finished("adding"), tmp_path / "run")


@pytest.fixture
def sentence(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns the sentence of a command that is refused."""

    def refused(*words: Any) -> str:
        capsys.readouterr()
        assert command(*words) == 2, words
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        return err

    return refused


def change(path: Path, keys: tuple[Any, ...], value: Any) -> None:
    """Sets a value within a JSON file."""
    content = json.loads(path.read_text())
    within = content
    for key in keys[:-1]:
        within = within[key]
    within[keys[-1]] = value
    path.write_text(json.dumps(content))


CONFIGS: list[tuple[tuple[str, ...], Any]] = [
    (("experiment",), "nope"),
    (("experiment",), ["adding"]),
    (("config",), None),
    (("config", "seed"), "x"),
    (("config", "seed"), True),
    (("config", "seed"), 10**30),
    (("config", "loop"), 3),
    (("config", "loop", "health"), []),
    (("config", "optimizer"), []),
    (("config", "optimizer", "name"), "adan"),
    (("config", "network", "depth"), 2.5),
    (("config", "cell"), None),
    (("config", "cell"), "\ud800"),
    (("config", "length"), {}),
]


@pytest.mark.parametrize(("keys", "value"), CONFIGS, ids=lambda x: x[-1] if isinstance(x, tuple) else repr(x))
def test_values_of_another_type_in_the_config(
    keys: tuple[str, ...], value: Any, copy: Path, sentence: Callable[..., str]
) -> None:
    change(copy / "config.json", keys, value)
    for words in (("inspect", copy), ("report", copy)):
        assert f"{copy}/config.json is damaged: " in sentence(*words)
    if "loop" not in keys[:-1]:  # which a resumed run may change
        sentence("adding", *OPTIONS["adding"], "--resume", copy)


BROKEN: dict[str, tuple[str, str]] = {
    "nested": ("metrics.jsonl", nested(100_000) + "\n"),
    "null": ("metrics.jsonl", '{"step": 1, "split": "train", "loss": null}\n'),
    "bool": ("metrics.jsonl", '{"step": true, "split": "train", "loss": 1.0}\n'),
    "negative": ("metrics.jsonl", '{"step": -1, "split": "train", "loss": 1.0}\n'),
    "text": ("metrics.jsonl", '{"step": 1, "split": "train", "loss": "low"}\n'),
    "half": ("metrics.jsonl", '{"step": 1, "split": "tr\\ud800", "loss": 1.0}\n'),
    "large": ("metrics.jsonl", '{"step": 1, "split": "train", "loss": 1' + "0" * 400 + "}\n"),
    "nonfinite": (
        "metrics.jsonl",
        '{"step": 1, "split": "train", "loss": null, "nonfinite": {"loss": []}}\n',
    ),
    "results": ("results.json", nested(100_000)),
    "number": ("results.json", '{"test": 1' + "0" * 400 + "}"),
    "environment": ("environment.json", '[{"devices": ["cpu"]}]'),
    "incidents": ("nonfinite.json", '[{"goes_on_from": null}]'),
    "tensorboard": ("tensorboard", "a file"),
    "arrays": ("arrays", "a file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_no_run_writes(name: str, copy: Path, sentence: Callable[..., str]) -> None:
    file, content = BROKEN[name]
    path = copy / file
    if path.is_dir():
        shutil.rmtree(path)
    path.write_text(content)
    assert str(path) in sentence("inspect", copy)
    if name != "incidents":  # which a report doesn't show
        assert str(path) in sentence("report", copy)
    if file != "results.json":  # which is made anew
        sentence("adding", *OPTIONS["adding"], "--resume", copy)


@pytest.mark.parametrize(
    "file", ["metrics.jsonl", "config.json", "environment.json", "results.json", "arrays/curves.npz"]
)
def test_a_pipe_in_place_of_a_file(file: str, copy: Path, sentence: Callable[..., str]) -> None:
    """Nothing waits for its other end."""
    (copy / file).unlink()
    os.mkfifo(copy / file)
    assert str(copy) in sentence("inspect", copy)
    if "/" not in file:
        sentence("report", copy)
    if file not in ("results.json", "arrays/curves.npz"):
        sentence("adding", *OPTIONS["adding"], "--resume", copy)


def test_pipes_in_place_of_what_is_shown(copy: Path, sentence: Callable[..., str]) -> None:
    for path in (copy / "figures" / "training.png", copy / "table.txt"):
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        assert str(path) in sentence("report", copy)


def flipped(content: bytes, step: int) -> Iterator[bytes]:
    """The content with a bit of every `step`-th byte flipped."""
    for at in range(0, len(content), step):
        yield content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :]


def test_flipped_bytes_of_arrays(tmp_path: Path) -> None:
    """Whatever zipfile, zlib and NumPy raise: the same numbers, or a sentence, when they are read or asked for."""
    path, arrays = tmp_path / "arrays" / "some.npz", {"a": np.arange(40.0), "b": np.ones((3, 2), np.int32)}
    path.parent.mkdir()
    np.savez_compressed(path, allow_pickle=False, **arrays)
    same = 0
    for content in flipped(path.read_bytes(), 1):
        path.write_bytes(content)
        try:
            found = read_arrays(tmp_path, "some")
            same += all(np.array_equal(found[name], array) for name, array in arrays.items())
        except ValueError as error:
            assert str(error).startswith(f"{path} is damaged: ")  # noqa: PT017
        else:
            assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert same > 0  # times and attributes of the files within aren't read


def test_reports_of_what_was_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "nonfinite.json"
    report: dict[str, Any] = {
        "step": 3,
        "batch": {},
        "loss": "nan",
        "grad_norm": "inf",
        "parameters": {},
        "first": {"sentence": "here"},
        "done": "stopped",
        "goes_on_from": None,
    }
    path.write_text(json.dumps([report]))
    assert read_incidents(path) == [report]
    for name in ("step", "loss", "first", "done", "goes_on_from"):
        for broken in ({**report, name: []}, {k: v for k, v in report.items() if k != name}):
            path.write_text(json.dumps([broken]))
            with pytest.raises(ValueError, match=r"nonfinite\.json is damaged"):
                read_incidents(path)


def test_metrics_that_look_odd_and_are_not(tmp_path: Path) -> None:
    """NaN and infinities come back as they were; a name may hold a character at which Python breaks lines."""
    lines = [
        '{"step": 0, "split": "train", "loss": null, "up": null, "nonfinite": {"loss": "nan", "up": "-inf"}}',
        '{"step": 1, "split": "train", "a\u2028b": 2}',
        '{"step": 2, "split": "tr',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    first, second = read_metrics(tmp_path)
    assert np.isnan(first["loss"])
    assert first["up"] == -np.inf
    assert second["a\u2028b"] == 2


def fuzz(run: Path, folder: Path, seeds: range, *commands: tuple[Any, ...]) -> None:
    """Damages a copy of a run by each seed; every command, with the copy at its end, must end with 0 or 2."""
    for seed in seeds:
        copy = folder / f"run{seed}"
        shutil.copytree(run, copy)
        done = damage(copy, random.Random(seed))
        for words in commands:
            try:
                with warnings.catch_warnings():  # of a damaged checkpoint, and the older one in its place
                    warnings.simplefilter("ignore", UserWarning)
                    code = command(*words, copy)
            except Exception as error:
                raise AssertionError(f"seed {seed} ({done}): {words[0]} raises {error!r}") from error
            assert code in (0, 2), f"seed {seed} ({done}): {words[0]} ends with {code}"
        shutil.rmtree(copy)


def test_any_damage_is_reported(finished: Finished, tmp_path: Path) -> None:
    fuzz(finished("adding"), tmp_path, range(60), ("report",))


@pytest.mark.full
def test_any_damage(finished: Finished, tmp_path: Path) -> None:
    resume = ("adding", *OPTIONS["adding"], "--resume")
    fuzz(finished("adding"), tmp_path, range(100, 125), ("report",), ("inspect",), resume)


@pytest.mark.full
def test_any_damage_to_a_language_model(words: Path, text: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(words.parent / "cache"))
        fuzz(words, tmp_path, range(200, 220), ("generate", "--tokens", 3), ("report",), ("inspect",))


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(keys, marks=pytest.mark.full)
        for keys in (("experiment",), ("config", "network", "depth"), ("config", "data", "unit"))
    ],
)
def test_generate_from_a_damaged_config(
    keys: tuple[str, ...], words: Path, tmp_path: Path, sentence: Callable[..., str]
) -> None:
    copy = shutil.copytree(words, tmp_path / "run")
    change(copy / "config.json", keys, ["x"])
    assert f"{copy}/config.json is damaged: " in sentence("generate", copy)


@pytest.mark.parametrize("content", ["", "[]", '{"types": [1], "counts": [1], "unknown": null, "end": null}'])
def test_generate_with_a_damaged_vocabulary(
    content: str, words: Path, tmp_path: Path, sentence: Callable[..., str]
) -> None:
    copy = shutil.copytree(words, tmp_path / "run")
    (copy / "vocabulary.json").write_text(content)
    assert f"{copy}/vocabulary.json is damaged: " in sentence("generate", copy)


@pytest.mark.parametrize("config", [{}, {"experiment": "adding", "grid": 3, "seeds": 1, "options": []}])
def test_a_damaged_sweep(
    config: dict[str, Any], tmp_path: Path, sentence: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "config.json").write_text(json.dumps({"experiment": "sweep", "config": config}))
    for words in (("inspect", "sweep"), ("sweep", "adding", "--resume", "sweep", "--dry-run")):
        assert "sweep/config.json is damaged: " in sentence(*words)
