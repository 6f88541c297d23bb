"""Claims: the runs they rest on are found where they are finished, and started where they are missing."""

import json
import math
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import style
from experiments import claims
from experiments.claims import reading
from experiments.claims.finding import HELD, UNRUN
from experiments.claims.reading import BIASES, GAINS, LAYERS, RATES
from experiments.claims.results import find_runs, read_numbers
from experiments.claims.rows import judge
from experiments.claims.runs import Config, commands_of, needed, needed_jobs, starts
from experiments.depth import elman_depth
from experiments.ensemble import as_list
from experiments.gradients import initial_gradients
from experiments.harness.environment import environment
from experiments.harness.files import write_json
from experiments.harness.options import describe
from experiments.harness.run import Run
from experiments.memory import gated_cells
from experiments.sweep import engines
from experiments.sweep.plan import Job
from tests.experiments.command import arrays_bytes, command, unboxed

SIZES: dict[str, Any] = {"seeds": 2, "hidden_size": 3, "batch_size": 4, "steps": 10, "length": 5, "lags": 6}
SMALL = ("claims", *(f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()))
Arrays = dict[str, dict[str, np.ndarray]]


def drawn_pieces() -> Arrays:
    """Numbers of every needed run, drawn at random; one net diverged."""
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return rng.uniform(0.1, 2.0, shape)

    rates = {
        f"{cell}{words}|{key}": some(len(RATES), 2)
        for cell in ("elman", "lstm")
        for words in ("", ", clipped")
        for key in ("held_out", "largest", "climbed")
    }
    rates["elman|held_out"][-1, 0] = math.inf
    return {
        "gradients": {
            "gain": np.array(GAINS),
            "bias": np.array(BIASES),
            "elman": some(len(GAINS), 2),
            "lstm": some(len(GAINS), 2),
            "lstm|bias": some(len(BIASES), 2),
            "elman|orthogonal": some(2),
        },
        "rates": {"rate": np.array(RATES), **rates},
        "depth": {
            "depth": np.arange(1.0, LAYERS + 1),
            **{key: some(LAYERS, 2) for key in ("held_out", "first_layer", "last_layer")},
        },
        "gated": {
            "lstm|parameters": np.array([400.0]),
            "gru|parameters": np.array([305.0, 405.0]),
            "lstm|weights": np.array([360.0]),
            "gru|weights": np.array([270.0, 350.0]),
            "lstm|held_out": some(1, 2),
            "gru|held_out": some(2, 2),
        },
        "tags": {"ambiguous": some(), "commonest": some()},
        "ngrams": {name: some(3) for name in ("mle", "kneser_ney", "sizes")},
        "speed": {"length": np.array([64, 256, 1024])}
        | {name: some(3) for name in ("attention", "elman", "gru", "lstm")},
        "sentiment": {"accuracy|both": some(3), "accuracy|forward": some(3)},
    }


def results_of(pieces: Arrays) -> dict[str, dict[str, Any]]:
    """The results that the needed runs would leave with those numbers."""

    def clipping(cell: str) -> dict[str, Any]:
        keys = {"losses": "held_out", "largest_norms": "largest", "climbs": "climbed"}
        return {
            clip: {
                f"{rate:g}": {
                    theirs: as_list(pieces["rates"][f"{cell}{words}|{key}"][i])
                    for theirs, key in keys.items()
                }
                for i, rate in enumerate(RATES)
            }
            for clip, words in (("none", ""), ("global_norm", ", clipped"))
        }

    return {
        "initial_gradients": initial_gradients.results(pieces["gradients"]),
        "clipping_elman": {"temporal_order": clipping("elman")},
        "clipping_lstm": {"temporal_order": clipping("lstm")},
        "depth": elman_depth.results(pieces["depth"]),
        "gated_cells": gated_cells.results(pieces["gated"]),
        **results_of_others(pieces),
    }


def results_of_others(pieces: Arrays) -> dict[str, dict[str, Any]]:
    """The results that the other short runs would leave with those numbers."""
    tags, ngrams, speed = (pieces[name] for name in ("tags", "ngrams", "speed"))
    timed = {
        cell: {way: {"length": speed["length"].tolist(), "seconds": speed[name].tolist()}}
        for cell, way, name in (
            ("elman", "scan", "elman"),
            ("gru", "scan", "gru"),
            ("lstm", "scan", "lstm"),
            ("transformer layers=1, context=T", "whole", "attention"),
        )
    }
    commonest = {"the commonest tag of each word": {"ambiguous": float(tags["commonest"])}}
    both, forward = pieces["sentiment"]["accuracy|both"], pieces["sentiment"]["accuracy|forward"]
    return {
        "tags": {"test": {"ambiguous": float(tags["ambiguous"])}, "baselines": commonest},
        "ngrams": {"n_grams": ngrams["sizes"].tolist()}
        | {f"{name}/test": ngrams[name].tolist() for name in ("mle", "kneser_ney")},
        "speed": timed,
        **{
            f"sentiment_{seed}": {
                "nets": {
                    "lstm, both directions": {"accuracy": float(both[seed])},
                    "lstm": {"accuracy": float(forward[seed])},
                }
            }
            for seed in range(len(both))
        },
    }


def write_run(job: Job, results: dict[str, Any], folder: Path) -> None:
    """A finished run of a job, in that folder."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", dict(job.described))
    write_json(folder / "environment.json", [environment(1)])
    write_json(folder / "results.json", results)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Finished runs of everything that is needed, made without training, and other runs beside them."""
    jobs, results = needed_jobs(Config(**SIZES), tmp_path), results_of(drawn_pieces())
    folder = tmp_path / "elsewhere"
    for name, job in jobs.items():
        write_run(job, results[name], folder / "claims" / name)
    other = needed_jobs(Config(**dict(SIZES, seed=1)), tmp_path)
    write_run(other["depth"], results["depth"], folder / "another")
    write_run(jobs["depth"], {"1": {"loss": 0.5}}, folder / "a_run_of_an_older_version")
    (folder / "damaged").mkdir()
    for name in ("config.json", "results.json"):
        (folder / "damaged" / name).write_text("{")
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that are started: each writes its results at once. Figures are not drawn."""
    jobs, results = list[Job](), results_of(drawn_pieces())

    def start(job: Job) -> subprocess.Popen:
        jobs.append(job)
        write_run(job, results[job.folder.name], job.folder)
        return subprocess.Popen(["true"])

    monkeypatch.setattr(engines, "start", start)
    monkeypatch.setattr(claims, "draw", lambda folder: [])
    return jobs


def check_judged(folder: Path) -> None:
    """Checks that a run of `claims` read what the runs found, and judged by that."""
    expected = drawn_pieces()
    for piece, arrays in expected.items():
        with np.load(folder / "arrays" / f"{piece}.npz") as found:
            assert found.keys() == arrays.keys()
            for key, values in arrays.items():
                np.testing.assert_array_equal(found[key], values, strict=True)
    results = json.loads((folder / "results.json").read_text())
    claims = judge(expected, commands_of(Config(**SIZES)))
    assert results == {name: vars(claim) for name, claim in claims.items()}
    table = (folder / "table.txt").read_text()
    assert all(claim["sentence"] in table and claim["command"] in table for claim in results.values())
    assert results["wider_beams"]["verdict"] == UNRUN


def test_finished_runs_are_read_and_none_is_started(
    elsewhere: Path, tmp_path: Path, started: list[Job]
) -> None:
    """Runs with the same config are found; those of another seed, an older version or damaged are passed over."""
    assert command(*SMALL, "--runs", elsewhere, "--run-dir", tmp_path / "here") == 0
    assert not started
    check_judged(tmp_path / "here")


def test_missing_runs_are_started_and_finished_ones_kept(
    elsewhere: Path, tmp_path: Path, started: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that no folder holds are started, with the options asked for; resuming starts what is lost."""
    here = tmp_path / "here"
    for name in ("depth", "clipping_lstm"):
        shutil.rmtree(elsewhere / "claims" / name)
    assert command(*SMALL, "--runs", elsewhere, "--run-dir", here) == 0
    assert [job.folder for job in started] == [here / "runs" / "depth", here / "runs" / "clipping_lstm"]
    assert started[0].command()[:6] == [
        *("elman_depth", "--seeds=2", "--hidden-size=3", "--seed=0", "--batch-size=4", "--steps=10"),
    ]
    assert {"--order-cell=lstm", "--order-length=5"} < set(started[1].command())
    check_judged(here)
    shutil.rmtree(here / "runs" / "depth")
    started.clear()
    assert command(*SMALL, "--runs", elsewhere, "--resume", here) == 0
    assert [job.folder.name for job in started] == ["depth"]
    check_judged(here)
    assert f"clipping_lstm: finished in {here / 'runs' / 'clipping_lstm'}" in capsys.readouterr().out


def test_a_run_that_fails_is_named_and_started_again(
    tmp_path: Path,
    started: list[Job],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    succeed = engines.start

    def fail(job: Job) -> subprocess.Popen:
        if job.folder.name != "depth":
            return succeed(job)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_text("error: there is no room\n")
        return subprocess.Popen(["false"])

    monkeypatch.setattr(engines, "start", fail)
    here = tmp_path / "here"
    assert command(*SMALL, "--run-dir", here) == 2
    error = unboxed(capsys.readouterr().err)
    assert "1 of 10 runs failed" in error
    assert "there is no room" in error
    assert f"--resume {here}" in error
    assert not (here / "results.json").exists()
    monkeypatch.setattr(engines, "start", succeed)
    started.clear()
    assert command(*SMALL, "--resume", here) == 0
    assert [job.folder.name for job in started] == ["depth", "speed"]  # which is timed, alone
    check_judged(here)


def test_a_signal_stops_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = list[subprocess.Popen]()

    def start(job: Job) -> subprocess.Popen:
        if not processes:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        processes.append(subprocess.Popen(["sleep", "60"]))
        return processes[-1]

    monkeypatch.setattr(engines, "start", start)
    assert command(*SMALL, "--run-dir", tmp_path / "here") == 128 + signal.SIGTERM
    assert f"--resume {tmp_path / 'here'}" in capsys.readouterr().err
    assert processes
    assert all(process.poll() == -signal.SIGTERM for process in processes)


def test_a_run_made_before_claims_rested_on_others_is_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the same arrays and has no `--runs`."""
    run, config = Run(tmp_path), describe("claims", Config(**SIZES))
    del config["config"]["runs"]
    write_json(tmp_path / "config.json", config)
    write_json(tmp_path / "environment.json", [environment(1)])
    for piece, arrays in drawn_pieces().items():
        run.write_arrays(piece, arrays)
    run.write_table("a table")
    run.finish({})
    drawn = dict[str, Figure]()

    def save(figure: Figure, folder: Path, name: str) -> list[Path]:
        drawn[name] = figure
        return [folder / f"{name}.png"]

    monkeypatch.setattr(style, "save", save)
    assert command("inspect", tmp_path) == 0
    assert drawn.keys() == {
        *("lstm_explodes", "lstm_vanishes", "learning_rates", "loss_swings", "largest_gradients"),
        *("depth", "depth_gradients", "gru_beside_lstm"),
    }
    assert command("report", tmp_path) == 0


def test_results_that_lack_a_number_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", {"lstm": {"losses": [1.0]}})
    with pytest.raises(ValueError, match=r"results\.json lacks numbers"):
        read_numbers(reading.gated, tmp_path)


@pytest.mark.full
def test_a_run_that_is_started(elsewhere: Path, tmp_path: Path) -> None:
    """Its numbers are those that were read; a run that is lost is made again, with the same bits."""
    shutil.rmtree(elsewhere / "claims" / "gated_cells")
    finished, folder = tmp_path / "finished", tmp_path / "run"
    assert command(*SMALL, "--runs", elsewhere, "--run-dir", finished) == 0
    with np.load(finished / "arrays" / "gated.npz") as read:
        for net, key, row in (("lstm", "lstm", 0), ("gru", "gru", 0), ("gru_wide", "gru", 1)):
            with np.load(finished / "runs" / "gated_cells" / "arrays" / f"{net}.npz") as own:
                np.testing.assert_array_equal(read[f"{key}|held_out"][row], own["held_out"])
    results = json.loads((finished / "results.json").read_text())
    assert results["gru_parameters"]["verdict"] == HELD
    assert "run folder: " in (finished / "logs" / "gated_cells.txt").read_text()
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "runs" / "gated_cells")
    assert command(*SMALL, "--runs", elsewhere, "--resume", folder) == 0
    assert arrays_bytes(folder) == arrays_bytes(finished)
    for name in ("results.json", "table.txt", "figures/gru_beside_lstm.png"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()


def test_an_own_run_of_an_older_version_is_named_before_others_are_started(tmp_path: Path) -> None:
    jobs = needed_jobs(Config(**SIZES), tmp_path)
    write_run(jobs["depth"], {}, jobs["depth"].folder)
    with pytest.raises(ValueError, match=r"results.json lacks numbers that claims needs: delete that folder"):
        find_runs(jobs, (), {name: one.read for name, one in needed(Config(**SIZES)).items()})


def test_what_is_started() -> None:
    """By default what is short: all runs of several nets, and a few others."""
    short, every, none = (Config(**SIZES, start=start) for start in ("short", "all", "none"))
    wanted = {
        start.start: [n for n, one in needed(start).items() if starts(start, one)]
        for start in (short, every, none)
    }
    assert not wanted["none"]
    assert wanted["all"] == list(needed(every))
    assert {"depth", "ngrams", "sentiment_2"} < set(wanted["short"]) < set(wanted["all"])
