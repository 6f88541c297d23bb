"""Sweeps: what is planned, what is refused, what becomes of runs that fail or are stopped, and what is drawn."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.sweep import engines as sweep_engines
from experiments.sweep import quoted
from experiments.sweep.outcomes import curves, default_metric, format_table, most_numbers
from experiments.sweep.plan import Job, read_grid
from tests.experiments.command import SMALL, command

GRID = ("--grid", "cell=elman", "length=5,10", "--seeds", "2", *SMALL)
# What stands in for a run: it leaves the files of one, its result made of its options, in a moment.
RUN = """
import json, pathlib, sys, time
words = sys.argv[1:]
options = dict(word[2:].split("=", 1) for word in words if "=" in word)
folder = pathlib.Path(words[words.index("--run-dir") + 1])
folder.mkdir(parents=True, exist_ok=True)
described = json.loads((pathlib.Path(__file__).parent / (folder.name + ".json")).read_text())
print("resumed" if "--resume" in words else "begun", flush=True)
(folder / "config.json").write_text(json.dumps(described))
if {wait} and options["seed"] == "1":
    time.sleep(60)
if {fails} and options["length"] == "10" and options["seed"] == "0":
    print("error: there is no room", file=sys.stderr)
    sys.exit(2)
error = len(options["cell"]) / float(options["length"]) + float(options["seed"]) / 1000
(folder / "results.json").write_text(json.dumps(
    {{"test": {{"loss": 9, "mean_square_error": error}}, "baseline": {{"mean_square_error": 1}}}}))
"""


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets sweeps start such stand-ins, from now on."""
    monkeypatch.chdir(tmp_path)

    def stand_in(*, fails: bool = False, wait: bool = False) -> None:
        script = tmp_path / "run.py"
        script.write_text(RUN.format(fails=fails, wait=wait))

        def start(job: Job) -> subprocess.Popen:
            (tmp_path / f"{job.folder.name}.json").write_text(json.dumps(job.described))
            job.log.parent.mkdir(parents=True, exist_ok=True)
            with job.log.open("ab") as log:
                words = [sys.executable, str(script), *job.command()]
                return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

        monkeypatch.setattr(sweep_engines, "start", start)

    return stand_in


def sweep(*words: Any) -> int:
    return command("sweep", "adding", *GRID, *words)


def test_a_sweep(quick: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """Every combination and seed; medians, least and most by hand; `inspect` draws it again."""
    quick()
    grid = ("--grid", "cell=elman,gru(reset=before)", "length=5,10", "--seeds", "2", *SMALL)
    assert command("sweep", "adding", *grid, "--run-dir", "here", "--jobs", "3") == 0
    said = capsys.readouterr().out
    assert said.count("took 0:0") == 8
    table = Path("here/table.txt").read_text()
    assert table in said
    assert table.splitlines()[0] == "test.mean_square_error"
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in table.splitlines()[2:]}
    assert rows["elman", "5"] == ["1.0005", "1", "1.001", "2", "of", "2"]
    assert rows["gru(reset=before)", "10"] == ["1.7005", "1.7", "1.701", "2", "of", "2"]
    results = json.loads(Path("here/results.json").read_text())
    assert results["median"]["cell=elman length=10"] == pytest.approx(0.5005)
    picture = Path("here/figures/sweep.png")
    picture.unlink()
    assert command("inspect", "here") == 0
    assert picture.stat().st_size > 5000


def test_only_listed(quick: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    quick()
    assert sweep("--dry-run", "--run-dir", "here") == 0
    lines = capsys.readouterr().out.splitlines()
    assert not Path("here").exists()
    assert lines[-1] == "4 runs, 0 of them finished, in here"
    assert lines[0].startswith(
        "new       python -m experiments adding --cell=elman --length=5 --hidden-size 6"
    )
    assert "--devices=1 --seed=0 --run-dir here/runs/cell_elman_length_5_seed_0" in lines[0]
    assert quoted("--cell=gru(reset=before)") == '"--cell=gru(reset=before)"'


@pytest.mark.full
def test_one_fails_and_the_others_are_told(
    quick: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Named with its sentence; on resuming it alone is run again, and more seeds if they are asked for."""
    quick(fails=True)
    assert sweep("--run-dir", "here") == 1
    told = capsys.readouterr()
    assert told.out.count("cell=elman length=10 seed=0") == 2
    assert "  cell=elman length=10 seed=0: there is no room" in Path("here/table.txt").read_text()
    assert "1 of 4 runs failed; try again with the same command and --resume here" in told.err
    assert not Path("here/results.json").exists()
    row = next(line for line in told.out.splitlines() if re.match(r"elman +10 ", line))
    assert row.split()[2:] == ["0.501", "0.501", "0.501", "1", "of", "2"]
    quick()
    assert sweep("--run-dir", "here", "--resume", "--seeds", "3") == 0
    said = capsys.readouterr().out
    assert "3 of 6 runs are finished already" in said
    logs = {path.stem: path.read_text() for path in Path("here/logs").iterdir()}
    assert logs["cell_elman_length_5_seed_0"] == "begun\n"
    assert logs["cell_elman_length_10_seed_0"].split("\n")[::2][:2] == ["begun", "resumed"]
    assert len(logs) == 6
    assert command("sweep", "adding", *GRID, "--hidden-size", 7, "--run-dir", "here", "--resume") == 2
    assert "was begun with --hidden-size 6, not 7" in capsys.readouterr().err


def test_a_signal_ends_the_runs(quick: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends those under way; what is left is run later."""
    quick(wait=True)

    def press() -> None:
        while len(list(Path("here").glob("runs/*seed_1/config.json"))) < 1:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    began = time.monotonic()
    assert sweep("--run-dir", "here", "--jobs", "1") == 128 + signal.SIGINT
    assert time.monotonic() - began < 20
    assert "stopped with 1 of 4 runs finished; run the same command with --resume here to continue" in (
        capsys.readouterr().err
    )
    quick()
    assert sweep("--run-dir", "here", "--resume", "here") == 0
    assert Path("here/logs/cell_elman_length_5_seed_1.txt").read_text() == "begun\nresumed\n"


def test_waits_for_a_run_that_is_still_written(
    quick: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """One that an earlier sweep left behind goes on when it is free; a second sweep in the folder is refused."""
    quick()
    one = ("sweep", "adding", "--grid", "cell=elman", "length=5", "--seeds", "2", *SMALL)
    one = (*one, "--run-dir", "here")
    assert command(*one) == 0
    folder = Path("here/runs/cell_elman_length_5_seed_0")
    (folder / "results.json").unlink()
    capsys.readouterr()
    lock = (folder / ".lock").open("w+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("process 7 on there", file=lock, flush=True)
    free = threading.Timer(2.0, lock.close)
    free.start()
    assert command(*one, "--resume") == 0
    assert not free.is_alive()
    told = capsys.readouterr().out
    assert told.count("cell=elman length=5 seed=0 is still being written by process 7 on there: waiting") == 1
    assert "failed" not in told
    with Path("here/.lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print("process 8 on there", file=lock, flush=True)
        assert command(*one, "--resume") == 2
    assert "here is being written by process 8 on there: wait until it ends" in capsys.readouterr().err


@pytest.mark.full
def test_killed_it_takes_its_runs_along(tmp_path: Path) -> None:
    """SIGKILL of the sweep: the run saves itself and ends; resumed at once, the sweep goes on with it."""
    words = ["sweep", "adding", "--grid", "length=5", *map(str, SMALL), "--run-dir", "here", "--steps"]

    def start(*more: str) -> subprocess.Popen:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-m", "experiments", *words, *more],
            cwd=tmp_path,
            env=sweep_engines.surroundings(),
            stdout=pipe,
            stderr=subprocess.STDOUT,
            text=True,
        )

    first = start("2000000", "--log-every", "10")
    run = tmp_path / "here" / "runs" / "length_5_seed_0"
    began = time.monotonic()
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
        assert first.poll() is None, first.communicate()
        assert time.monotonic() - began < 100
        time.sleep(0.01)
    first.kill()
    first.communicate()
    second = start("2000000", "--resume", "here")
    while (tmp_path / "here" / "logs" / "length_5_seed_0.txt").read_text().count("run folder:") != 2:
        assert second.poll() is None, second.communicate()
        assert time.monotonic() - began < 200
        time.sleep(0.01)
    second.send_signal(signal.SIGTERM)
    said = second.communicate()[0]
    assert second.returncode == 128 + signal.SIGTERM, said
    assert "failed" not in said
    assert list((run / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("unknown experiment 'ading': did you mean adding?", ("ading",)),
        ("--grid 'length' must be OPTION=VALUE,VALUE,…", ("adding", "--grid", "length")),
        ("--grid 'length=5,' must be OPTION=VALUE,VALUE,…", ("adding", "--grid", "length=5,")),
        ("names a value twice", ("adding", "--grid", "length=5,5")),
        ("--grid names length twice", ("adding", "--grid", "length=5", "length=6")),
        ("--grid can't vary seed: --seeds says how many", ("adding", "--grid", "seed=5,6")),
        ("--seed can't be given to the runs of a sweep", ("adding", "--seed", "4")),
        ("--length is given both by --grid and by itself", ("adding", "--grid", "length=5", "--length", "7")),
        ("cell=elmn: unknown cell 'elmn'", ("adding", "--grid", "cell=elman,elmn")),
        ("length must be a whole number of at least 2", ("adding", "--grid", "length=5,1")),
        ("invalid choice", ("adding", "--grid", "method=scan,sacn")),
        ("--hiden-size", ("adding", "--grid", "length=5", "--hiden-size", "7")),
        ("seeds must be a whole number of at least 1", ("adding", "--seeds", "0")),
    ],
)
def test_refused_before_anything_starts(said: str, words: tuple[str, ...], refused: Callable) -> None:
    refused(said, "sweep", *words)


@pytest.mark.slow
def test_a_metric_that_is_not_there(quick: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    quick()
    one = ("sweep", "adding", "--grid", "cell=elman", "length=5", "--seeds", "2", "--run-dir", "here")
    assert command(*one, "--metric", "test.loss") == 0
    assert command(*one, "--resume", "--metric", "test.acuracy") == 2
    assert "give as --metric one of test.loss, test.mean_square_error" in capsys.readouterr().err


def test_commas_in_brackets_belong_to_a_value() -> None:
    grid = read_grid(["cell=lstm(forget_bias=1, max_lag=T),gru", "--hidden-size=3,4"])
    assert grid == {"cell": ["lstm(forget_bias=1, max_lag=T)", "gru"], "hidden_size": ["3", "4"]}


def test_what_is_compared() -> None:
    assert (
        default_metric({"test.loss": 1.0, "test.accuracy": 2.0, "baseline.accuracy": 3.0}) == "test.accuracy"
    )
    assert default_metric({"test.loss": 1.0, "test.accuracy": 2.0, "reported": "accuracy"}) == "test.accuracy"
    assert default_metric({"valid.tokens": 1.0, "valid.perplexity": 2.0}) == "valid.perplexity"
    assert default_metric({"a": 1.0}) == "a"
    assert default_metric({}) == ""


def test_what_stands_where_in_the_figure() -> None:
    """The option with the most numbers along the axis, in their order; then lines, then panels."""
    keys = ["cell", "length", "depth"]
    settings = [[c, n, d] for c in ("gru", "elman") for n in ("10", "9", "100") for d in ("1", "2")]
    values = np.arange(24.0).reshape(12, 2)
    values[0, 1] = np.nan
    assert most_numbers(keys, settings) == 1
    assert most_numbers(["cell", "length"], [["gru", "10"], ["elman", "10"]]) is None
    panels = curves(keys, settings, values, 1)
    assert list(panels) == ["depth 1", "depth 2"]
    assert list(panels["depth 1"]) == ["gru", "elman"]
    np.testing.assert_array_equal(panels["depth 1"]["gru"]["x"], [9, 10, 100])
    np.testing.assert_array_equal(panels["depth 1"]["gru"]["values"], [[4, 5], [0, 0], [8, 9]])
    table = format_table(["cell"], [(("cell", "gru"),)], np.array([[np.nan, np.nan]]), "x", {"a": "why"})
    assert table.splitlines()[2].split() == ["gru", "–", "–", "–", "0", "of", "2"]


@pytest.mark.full
def test_real_runs_by_either_engine(tmp_path: Path) -> None:
    """Runs of their own processes, by both engines (Ray where it is installed): the same table."""
    found = {}
    for engine in ("local", "ray"):
        if engine == "ray":
            pytest.importorskip("ray.tune")
        words = ["sweep", "adding", "--grid", "length=5,6", *map(str, SMALL), "--run-dir", engine]
        done = subprocess.run(
            [sys.executable, "-m", "experiments", *words, "--engine", engine, "--jobs", "2"],
            cwd=tmp_path,
            env=sweep_engines.surroundings(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found[engine] = (tmp_path / engine / "table.txt").read_text()
        assert (tmp_path / engine / "figures" / "sweep.png").is_file()
    assert len(set(found.values())) == 1
