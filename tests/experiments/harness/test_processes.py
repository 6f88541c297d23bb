"""Several processes that train one net: the numbers of one, and a sentence where one is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from experiments.harness import launch, processes
from experiments.harness.launch import Launch
from experiments.memory.adding import Config
from tests.experiments.command import untimed
from train import Checkpoints

ROOT = Path(__file__).parents[3]
ADDING = ("adding", "--cell", "elman", "--hidden-size", 6, "--batch-size", 10, "--length", 10)
STEPS = ("--steps", 60, "--eval-every", 30, "--save-every", 30)
LONG = ("--steps", 600, "--chunk", 10, "--eval-every", 300, "--save-every", 100)
DIGITS = ("digits", "--cell", "gru", "--hidden-size", 6, "--batch-size", 12, *STEPS)
TEXT = (
    *("char_lm", "--hidden-size", 8, "--embedding-size", 4, "--batch-size", 4, "--length", 10, *STEPS),
    *("--sample-tokens", 20, "--examples", 4, "--positions", 8, "--lags", 8),
)
WINDOWS = (
    *("char_lm", "--reading", "windows", "--cell", "transformer(layers=1)", "--hidden-size", 8),
    *("--embedding-size", 8, "--batch-size", 4, "--length", 10, "--optimizer.warmup-steps", 5, *STEPS),
    *("--sample-tokens", 20, "--examples", 4, "--positions", 8, "--lags", 8),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder: Path, *words: Any) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *map(str, words)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(folder: Path, *words: Any, other: Sequence[Any] = ()) -> list[subprocess.Popen]:
    """Two processes on one machine, a device each; `other` are more words for the second."""
    where = ("--processes.coordinator", f"127.0.0.1:{free_port()}", "--processes.count", 2, "--devices", 1)
    more: tuple[Sequence[Any], ...] = ((), other)
    return [start(folder, *words, *where, "--processes.index", i, *more[i]) for i in range(2)]


def ends(processes: Sequence[subprocess.Popen], timeout: float = 240) -> list[tuple[int, str, str]]:
    """Exit code and words of each; none outlives the test."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
            if process.stdout is not None and not process.stdout.closed:
                process.communicate()
    return [(process.returncode, *words) for process, words in zip(processes, said, strict=True)]


def newest_checkpoint(folder: Path) -> tuple[int, dict[str, bytes]]:
    """The step, and the bytes of every leaf, on this process's device: it was saved on those of others too."""
    step = Checkpoints(folder / "checkpoints").steps()[-1]
    path = folder.absolute() / "checkpoints" / str(step)
    leaves = json.loads((path / "manifest.json").read_text())["content"]["leaves"]
    here = SingleDeviceSharding(jax.devices()[0])
    wanted = {
        name: jax.ShapeDtypeStruct((2,), np.uint32, sharding=here)
        if dtype.startswith("key")
        else jax.ShapeDtypeStruct(shape, dtype, sharding=here)
        for name, (dtype, shape) in leaves.items()
        if 0 not in shape
    }
    found: Any = ocp.load_checkpointables(str(path), {"state": wanted})["state"]
    return step, {name: np.asarray(leaf).tobytes() for name, leaf in found.items()}


def wait_for(happened: Callable[[], Any], processes: Sequence[subprocess.Popen]) -> None:
    deadline = time.monotonic() + 200
    while not happened():
        assert all(process.poll() is None for process in processes), ends(processes, 5)
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("must be HOST:PORT, or auto", ("--processes.coordinator", "here", "--processes.count", 2)),
        ("needs --processes.count and --processes.index too", ("--processes.coordinator", "a:1")),
        ("give all", ("--processes.count", 2, "--processes.index", 0)),
        ("give all", ("--processes.coordinator", "auto", "--processes.index", 0)),
        (
            "--processes.index 2 must lie in 0 … 1",
            ("--processes.coordinator", "a:1", "--processes.count", 2, "--processes.index", 2),
        ),
    ],
)
def test_refused(said: str, words: tuple[Any, ...], refused: Callable) -> None:
    if "here" in words:
        words = (*words, "--processes.index", 0)
    refused(said, *ADDING, *words)


def test_compares_with_the_first_before_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was told of three, of which two exist, names the option and doesn't wait for the third."""
    said: dict[str, str] = {}

    class Client:
        def key_value_set(self, key: str, value: str) -> None:
            said[key] = value

        def blocking_key_value_get(self, key: str, timeout: int) -> str:
            return said[key]  # a KeyError for one that never comes

    monkeypatch.setattr(processes, "client", Client)
    monkeypatch.setattr(processes, "next_key", lambda: "key")
    config = Config()
    for index, count in ((1, 3), (0, 2)):
        monkeypatch.setattr(processes, "process_count", lambda count=count: count)
        monkeypatch.setattr(launch, "process_count", lambda count=count: count)
        share = {"process_index": index, "process_count": count}
        monkeypatch.setattr(processes, "process_shard", lambda share=share: share)
        if index == 1:  # what the first says, before this one asks
            first = launch.described_for_all("adding", config, Launch())
            first["config"]["processes.count"] = 2
            said["key/0"] = json.dumps(first)
        with pytest.raises(ValueError, match=r"process 1 .* \(--processes.count 3, not 2\)"):
            launch.check_started_alike("adding", config, Launch())


def test_not_for_every_experiment(refused: Callable) -> None:
    refused(
        "--processes.coordinator shares the training of one net, and ngram trains several or none: leave it out",
        *("ngram", "--processes.coordinator", "a:1", "--processes.count", 2, "--processes.index", 0),
    )


@pytest.mark.full
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(ADDING + STEPS, id="adding", marks=pytest.mark.full),
        pytest.param(DIGITS, id="digits"),
        pytest.param(TEXT, id="text", marks=pytest.mark.full),
        pytest.param(WINDOWS, id="windows", marks=pytest.mark.full),
    ],
)
def test_as_one_process(words: tuple[Any, ...], tmp_path: Path) -> None:
    """Two processes of a device each, and one of two devices: metrics, parameters, carried states and what is
    measured in the end; written once, told once."""
    (code, _, said), *_ = ends([start(tmp_path, *words, "--devices", 2, "--run-dir", "one")])
    assert code == 0, said
    first, second = ends(start_two(tmp_path, *words, "--run-dir", "two"))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "run folder: two" in first[1]
    assert second[1].replace("[Gloo]", "").count("run folder") == 0
    assert "step" not in second[2]
    for one, two in zip(untimed(tmp_path / "one"), untimed(tmp_path / "two"), strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() - {"split", "step"}:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-5, atol=1e-6, err_msg=name)
    step, ours = newest_checkpoint(tmp_path / "two")
    also, theirs = newest_checkpoint(tmp_path / "one")
    assert (step, ours.keys()) == (also, theirs.keys())
    for name in ours:
        if name.startswith(("params", "carry")):
            mine, its = (np.frombuffer(leaves[name], np.float32) for leaves in (ours, theirs))
            np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6, err_msg=name)
    results = [json.loads((tmp_path / run / "results.json").read_text()) for run in ("one", "two")]
    loss = "mean_square_error" if words[0] == "adding" else "cross_entropy"
    np.testing.assert_allclose(results[0]["test"][loss], results[1]["test"][loss], rtol=1e-5)
    (environment,) = json.loads((tmp_path / "two" / "environment.json").read_text())
    assert environment["processes"] == 2
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    (code, _, said), *_ = ends([start(tmp_path, *words, "--resume", "two")])
    assert code == 2
    assert "two was begun with --processes.count 2, not 1, and would end with other bits" in said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that nothing happened to."""
    home = tmp_path_factory.mktemp("home")
    ended = ends(start_two(home, *ADDING, *LONG, "--run-dir", "whole"))
    assert [code for code, *_ in ended] == [0, 0], ended
    return home / "whole"


@pytest.mark.full
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_peer(lost: int, whole: Path, tmp_path: Path) -> None:
    """One is killed: the other ends soon, with a sentence; the run goes on to the bits of one that was never
    disturbed."""
    run = tmp_path / "run"
    # Who is waiting for the other to have saved, and not for its share of a sum, notices by the patience alone.
    pair = start_two(tmp_path, *ADDING, *LONG, "--run-dir", "run", "--processes.patience", 10)
    wait_for(lambda: list(run.glob("checkpoints/*/manifest.json")), pair)
    pair[lost].send_signal(signal.SIGKILL)
    code, _, said = ends([pair[1 - lost]], 90)[0]
    pair[lost].communicate()  # and closes its pipes
    assert code == 1, said
    assert "error: another process of this run has ended or can't be reached" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (run / "results.json").exists()
    again = ends(start_two(tmp_path, *ADDING, *LONG, "--resume", "run"))
    assert [code for code, *_ in again] == [0, 0], again
    assert newest_checkpoint(run) == newest_checkpoint(whole)
    assert untimed(run) == untimed(whole)


@pytest.mark.full  # whoever waits for a lost peer's checkpoint notices by the same patience
@pytest.mark.parametrize("lost", [0, 1])
def test_a_silent_peer(lost: int, tmp_path: Path) -> None:
    """One stands still, as where its machine hangs: the other waits for `--processes.patience`, and no longer."""
    run = tmp_path / "run"
    pair = start_two(tmp_path, *ADDING, *LONG, "--run-dir", "run", "--processes.patience", 10)
    wait_for(lambda: list(run.glob("checkpoints/*/manifest.json")), pair)
    pair[lost].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        code, _, said = ends([pair[1 - lost]], 90)[0]
    finally:
        pair[lost].kill()
        pair[lost].communicate()
    assert time.monotonic() - began > 5
    assert code == 1, said
    assert "error: another process of this run has ended or can't be reached" in said.splitlines()[-1]
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_signal_to_one_stops_all(tmp_path: Path) -> None:
    """They save at the same step and leave with the same code."""
    run = tmp_path / "run"
    pair = start_two(tmp_path, *ADDING, *LONG, "--run-dir", "run")
    log = run / "metrics.jsonl"
    wait_for(lambda: log.exists() and '"train"' in log.read_text(), pair)
    pair[1].send_signal(signal.SIGTERM)
    first, second = ends(pair)
    assert (first[0], second[0]) == (143, 143), first[2] + second[2]
    assert "run the same command with --resume run to continue" in first[2]
    assert 0 < newest_checkpoint(run)[0] < 600


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "other", "said"),
    [
        (ADDING, ("--hidden-size", 7), "other options than process 0 (--hidden-size 7, not 6)"),
        pytest.param(
            (*ADDING, "--batch-size", 9),
            (),
            "--batch-size 9 doesn't divide over 2 processes",
            marks=pytest.mark.full,
        ),
        *(
            pytest.param(ADDING, other, f"other options than process 0 ({said})", marks=pytest.mark.full)
            for other, said in (
                (("--devices", 2), "--devices 2, not 1"),
                (("--processes.count", 3), "--processes.count 3, not 2"),
                (("--resume", "run"), "--resume given, not left out"),
                (("--batch-size", 9), "--batch-size 9, not 10"),
            )
        ),
    ],
)
def test_options_that_cannot_be(
    words: Sequence[Any], other: Sequence[Any], said: str, tmp_path: Path
) -> None:
    """Other options in one process, a batch that doesn't divide."""
    for code, _, error in ends(start_two(tmp_path, *words, *STEPS, "--run-dir", "run", other=other)):
        assert code == 2, error
        assert said in error
        assert "Traceback" not in error
        assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_what_cannot_be(tmp_path: Path) -> None:
    """A port that is taken, a peer that never comes, a cluster that JAX doesn't know."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        where = ("--processes.coordinator", f"127.0.0.1:{taken.getsockname()[1]}", "--processes.count", 2)
        ((code, _, error),) = ends([start(tmp_path, *ADDING, *where, "--processes.index", 0)])
        assert (code, "this port can't be opened here" in error) == (2, True), error
    where = ("--processes.coordinator", f"127.0.0.1:{free_port()}", "--processes.count", 2)
    for index in (0, 1):
        alone = start(tmp_path, *ADDING, *where, "--processes.index", index, "--processes.wait", 3)
        ((code, _, error),) = ends([alone])
        assert code == 1, error
        assert "not all processes came to 127.0.0.1:" in error.splitlines()[-1]
    ((code, _, error),) = ends([start(tmp_path, *ADDING, "--processes.coordinator", "auto")])
    assert (code, "JAX knows no cluster here" in error) == (2, True), error
