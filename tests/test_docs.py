"""Commands and code in the documents run as shown, and every figure has its command."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cell_spec import parse_cell
from experiments.contract import main as contract
from experiments.harness.home import PACKAGES
from experiments.harness.terminal import wrapped
from experiments.registry import NAMES, module_of, overview, read_options
from models import unroll
from models.layers.layer import is_causal
from models.recurrence.methods import Fused
from models.recurrence.unroll import unroll_with_info
from tests.experiments.command import newest_checkpoint
from train import OptimizerConfig, make_optimizer

DOCS = Path(__file__).resolve().parent.parent / "docs"


def shown_file(tmp_path: Path, name: str) -> Path:
    """A file of `adding_a_cell.md`, as a user would have it."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "adding_a_cell.md").read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith(f"# {name}\n")]
    text = text.removeprefix(f"# {name}\n")
    assert len(text.splitlines()) < 35
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture
def gated(tmp_path: Path) -> str:
    """The cell of `adding_a_cell.md`."""
    return f"{shown_file(tmp_path, 'gated.py')}:Gated"


@pytest.fixture
def running_mean(tmp_path: Path) -> str:
    """The layer of `adding_a_cell.md`."""
    return f"{shown_file(tmp_path, 'running_mean.py')}:RunningMean"


def test_the_cell_shown_goes_the_fast_way(gated: str) -> None:
    cell = parse_cell(gated, 5)
    params = jax.tree.map(lambda p: p + 0.1, cell.init(jax.random.key(0), 3))
    xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
    assert unroll_with_info(cell, params, xs)[2].method == Fused()

    def gradient(method: Any) -> list[jax.Array]:
        return jax.tree.leaves(
            jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, method=method)[1] ** 2))(params)
        )

    for a, b in zip(gradient("fused"), gradient("scan"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_cell_shown_keeps_the_contract(gated: str) -> None:
    assert contract([gated]) == 0


def test_the_layer_shown(running_mean: str) -> None:
    """Means by NumPy, of the valid steps alone, in reverse too; in a stack."""
    cell = parse_cell(running_mean, 5)
    params = cell.init(jax.random.key(0), 3)
    xs, mask = np.random.default_rng(0).normal(size=(7, 3)).astype("float32"), np.arange(7) % 3 != 1
    for reverse in (False, True):
        valid = np.flatnonzero(mask)[:: -1 if reverse else 1]
        means = np.cumsum(xs[valid], axis=0) / np.arange(1, len(valid) + 1)[:, None]
        padded = jnp.where(mask[:, None], xs, jnp.nan)
        _, ys = unroll(cell, params, padded, mask=jnp.asarray(mask), reverse=reverse)
        np.testing.assert_allclose(ys[valid], means @ np.asarray(params["kernel"]), rtol=1e-4, atol=1e-6)
        assert not np.any(ys[~mask])
    assert is_causal(parse_cell(f"stacked((lstm, residual({running_mean})))", 5))


@pytest.mark.full
def test_the_layer_shown_keeps_the_contract(running_mean: str) -> None:
    assert contract([running_mean]) == 0


TASK = ("pos_tagger", "--hidden-size=8", "--sentences=100", "--save-every=20", "--devices=1")
WHOLE = (*TASK, "--steps=200")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of `experiments` with the task of `adding_a_task.md` in it, as its reader would have it."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "adding_a_task.md").read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith("# experiments/language/pos_tagger.py\n")]
    text = text.removeprefix("# experiments/language/pos_tagger.py\n")
    assert len(text.splitlines()) <= 120
    path = "experiments/language/pos_tagger.py"
    for checks in (("check", "--quiet"), ("format", "--check", "--quiet")):
        linter = [sys.executable, "-m", "ruff", *checks, "--stdin-filename", path, "-"]
        done = subprocess.run(linter, input=text, text=True, cwd=DOCS.parent, capture_output=True)
        assert done.returncode == 0, done.stdout
    without = shutil.ignore_patterns("__pycache__")  # to which other processes write meanwhile
    copy = shutil.copytree(DOCS.parent / "experiments", tmp_path / "experiments", ignore=without)
    (copy / "language" / "pos_tagger.py").write_text(text)
    registry = (copy / "registry.py").read_text()
    (copy / "registry.py").write_text(registry.replace('"language": (', '"language": ("pos_tagger", '))
    for name in {*PACKAGES} - {"experiments"}:
        (tmp_path / name).symlink_to(DOCS.parent / name)
    return tmp_path


def begin(tree: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command in the tree, whose other packages are those of this checkout."""
    environment = os.environ | {"PYTHONPATH": str(DOCS.parent)}
    command = [sys.executable, "-m", "experiments", *arguments]
    return subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    """Its words, once it has ended well."""
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return out


@pytest.mark.slow
def test_the_task_shown_trains(tree: Path) -> None:
    assert "accuracy on words never seen" in said(begin(tree, *TASK, "--steps=20", "--run-dir=short"))
    assert (tree / "short" / "results.json").exists()


@pytest.mark.full
def test_the_task_shown_resumes_sweeps_and_reports(tree: Path) -> None:
    said(begin(tree, *WHOLE, "--run-dir=whole"))
    process = begin(tree, *WHOLE, "--run-dir=part")
    while not list((tree / "part").glob("checkpoints/*/manifest.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (tree / "part" / "results.json").exists()
    said(begin(tree, *WHOLE, "--resume=part"))
    assert newest_checkpoint(tree / "part") == newest_checkpoint(tree / "whole")
    results = [json.loads((tree / run / "results.json").read_text()) for run in ("whole", "part")]
    assert results[0] == results[1]
    assert (
        results[0]["test"]["accuracy"]
        > results[0]["baselines"]["the commonest class of each word"]["accuracy"]
    )
    said(begin(tree, "sweep", *TASK, "--steps=20", "--grid", "cell=lstm,gru", "--seeds=1", "--run-dir=sweep"))
    assert len(list((tree / "sweep").rglob("results.json"))) >= 2
    said(begin(tree, "report", "whole", "part"))
    assert list(tree.rglob("*.html"))


ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md", *DOCS.glob("*.md")]
CHINESE = [ROOT / "README.zh.md", *DOCS.glob("zh/*.md")]
FIGURES = runpy.run_path(str(DOCS / "figures.py"))
SOURCES: dict[str, Any] = FIGURES["SOURCES"]


def test_every_figure_shown_has_one_command() -> None:
    """The list of `make figures` and the pages name the same files, and each page the command of its figures."""
    shown = {
        path.relative_to(ROOT).as_posix(): {
            (path.parent / link).resolve().relative_to(DOCS).as_posix()
            for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
        }
        for path in PAGES
        if path.name != "gallery.md"
    }
    listed = [(source.page, f"{file}.png") for source in SOURCES.values() for file in source.figures.values()]
    listed.append(("docs/benchmarks.md", f"{FIGURES['BENCHMARK']}.png"))
    assert sorted(listed) == sorted((page, file) for page, files in shown.items() for file in files)
    assert sorted(file for _, file in listed) == sorted(path.name for path in DOCS.glob("*.png"))
    for source in SOURCES.values():
        text = (ROOT / source.page).read_text(encoding="utf-8")
        assert re.search(rf"(?:`|python -m experiments |make ){re.escape(source.command)}`", text), source


def test_the_gallery_is_that_of_the_list() -> None:
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == FIGURES["gallery"](), (
        'write it anew: make figures ARGS="gallery"'
    )


def test_every_table_quoted_has_one_command() -> None:
    blocks = [
        m for path in PAGES for m in re.findall(r"<!-- table of (\w+) -->", path.read_text(encoding="utf-8"))
    ]
    assert sorted(blocks) == sorted(name for name, source in SOURCES.items() if source.table)
    for name in blocks:
        source, paragraphs = SOURCES[name], [f"paragraph {i}\nof a table" for i in range(9)]
        page = (ROOT / source.page).read_text(encoding="utf-8")
        written = FIGURES["quoted"](name, source, page, "\n\n".join(paragraphs) + "\n")
        assert "\n\n".join(paragraphs[i] for i in source.table) in written
        assert len(written) < len(page)  # that table has gone, and nothing else
        assert FIGURES["quoted"](name, source, written, "\n\n".join(paragraphs)) == written
    with pytest.raises(ValueError, match="not one"):
        FIGURES["quoted"]("families", SOURCES["families"], "no block", "a table")


def test_every_command_shown_is_read() -> None:
    """Those of figures, and those that stand in backquotes or in a line of a shell block of their own."""
    commands = {shlex.join(FIGURES["arguments"](source)) for source in SOURCES.values()}
    for path in (*PAGES, *CHINESE):
        text = path.read_text(encoding="utf-8")
        lines = re.findall(r"^(?:\.venv/bin/)?python -m experiments (\w.*?)(?: +#.*)?$", text, re.MULTILINE)
        commands |= {*lines, *re.findall(r"`python -m experiments (\w[^`]*)`", text)}
    commands = {
        c for c in commands if c.split()[0] in NAMES and not set(c) & set("…$\\") and "--help" not in c
    }
    assert len(commands) > 30
    for command in sorted(commands):
        experiment, *options = shlex.split(command)
        read_options(experiment, options)


def test_links_lead_somewhere() -> None:
    for path in (*PAGES, *CHINESE):
        for link in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            file, _, anchor = link.partition("#")
            if "://" in link:
                continue
            target = path.parent / file if file else path
            assert target.exists(), f"{path}: {link}"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in anchors, f"{path}: {link}"


def test_times_are_those_of_the_list_of_experiments() -> None:
    table = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    times = dict(re.findall(r"^\| `python -m experiments ([^`]+)`[^|]*\| ([^|]+) \|", table, re.MULTILINE))
    common = [source for source in SOURCES.values() if source.command in times]
    assert len(common) > 10
    for source in common:
        assert times[source.command].startswith(source.time), source


def test_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """tyro doesn't wrap descriptions: a terminal would break them within words."""
    monkeypatch.setenv("COLUMNS", "80")
    for text in (overview(), *(wrapped(module_of(name).__doc__) for name in (*NAMES, "sweep"))):
        assert max(map(len, text.splitlines())) <= 80, text
        assert all(line.startswith(" ") for line in wrapped(text).splitlines() if line)


@pytest.mark.full
def test_the_page_on_attention_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A step streams to the number of the whole, as the page says."""
    (text,) = re.findall(
        r"```python\n# attention.py\n(.*?)```", (DOCS / "attention.md").read_text(), re.DOTALL
    )
    path = tmp_path / "attention.py"
    path.write_text(text)
    runpy.run_path(str(path))
    difference, norms = capsys.readouterr().out.split("\n", 1)
    assert float(difference) < 1e-4
    assert len(norms.split()) >= 40


@pytest.mark.full
def test_the_page_for_those_who_come_from_elsewhere_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Masked steps are zero, and a step streams to the number of the whole, as the page says."""
    (text,) = re.findall(r"```python\n(.*?)```", (DOCS / "coming_from.md").read_text(), re.DOTALL)
    left: dict[str, Any] = {}
    exec(compile(text, "coming_from.md", "exec"), left)
    assert left["ys"].shape == (7, 4, 16)
    assert not left["ys"][2:, 2].any()
    assert float(capsys.readouterr().out) < 1e-4


def test_the_optimizer_shown_trains(tmp_path: Path) -> None:
    """By a file, as the page has it: a matrix shrinks without a gradient, a bias doesn't."""
    (text,) = re.findall(r"```python\n(.*?)```", (DOCS / "optimizers.md").read_text(), re.DOTALL)
    path = tmp_path / "mine.py"
    path.write_text(text)
    optimizer = make_optimizer(OptimizerConfig(f"{path}:make_optimizer(decay=0.5)", learning_rate=0.1))
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    still = jax.tree.map(jnp.zeros_like, params)
    updates: Any = optimizer.update(still, optimizer.init(params), params)[0]
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-5)
    np.testing.assert_allclose(updates["bias"], 0)


@pytest.mark.slow
def test_the_page_on_translation_runs(tmp_path: Path) -> None:
    """A model, its loss and a search, as the page has them."""
    text = re.findall(r"```python\n(.*?)```", (DOCS / "translation.md").read_text(), re.DOTALL)[0]
    path = tmp_path / "translation.py"
    path.write_text(text)
    left = runpy.run_path(str(path))
    assert (left["count"], left["beams"].scores.shape) == (4, (2, 2))
    assert (left["beams"].scores[:, 0] >= left["beams"].scores[:, 1]).all()


@pytest.mark.slow
def test_the_page_on_labelling_runs(tmp_path: Path) -> None:
    """A tagger, its loss and its tags, as the page has them."""
    text = re.findall(r"```python\n(.*?)```", (DOCS / "labelling.md").read_text(), re.DOTALL)[0]
    path = tmp_path / "labelling.py"
    path.write_text(text)
    left = runpy.run_path(str(path))
    assert left["count"] == 8
    assert left["best"].shape == (5, 2)
    assert not left["best"][4].any()


@pytest.mark.slow
def test_the_page_on_series_runs(tmp_path: Path) -> None:
    """A density over piano rolls, and a continuation, as the page has them."""
    (text,) = re.findall(r"```python\n(.*?)```", (DOCS / "series.md").read_text(), re.DOTALL)
    path = tmp_path / "series.py"
    path.write_text(text)
    left = runpy.run_path(str(path))
    assert left["log_p"].shape == (19, 2)
    assert left["continued"].shape == (8, 2, 88)


def test_the_page_on_parsing_runs(tmp_path: Path) -> None:
    """A tree, and both its encodings, as the page asserts them."""
    (text,) = re.findall(r"```python\n(.*?)```", (DOCS / "parsing.md").read_text(), re.DOTALL)
    path = tmp_path / "page.py"
    path.write_text(text)
    assert runpy.run_path(str(path))["tree"].tags == ("PRP", "VBD", "DT", "NN")


PEERS = {"with_torch": "torch", "with_keras": "keras", "with_equinox": "equinox"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # of NumPy, by its variables
@pytest.mark.parametrize(
    "name", ["with_flax", "in_files", *(pytest.param(name, marks=pytest.mark.peers) for name in PEERS)]
)
def test_the_page_on_weights_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each example by itself; what it prints of two libraries is rounding errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if name in PEERS:
        pytest.importorskip(PEERS[name], reason="make test-peers")
    page = (DOCS / "weights.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"```python\n# {name}.py\n(.*?)```", page, re.DOTALL)
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    with jax.numpy_rank_promotion("allow" if name == "with_keras" else "raise"):
        left, printed = runpy.run_path(str(path)), capsys.readouterr().out
    if name == "in_files":
        assert set(left["first"]) == set(left["params"]["layers"][0])
    elif printed:
        assert float(printed) < 1e-5


@pytest.mark.full
def test_the_page_on_machines_runs() -> None:
    """A machine read through and watched, as the page has it."""
    (text,) = re.findall(r"```python\n(.*?)```", (DOCS / "machines.md").read_text(), re.DOTALL)
    left: dict[str, Any] = {}
    exec(compile(text, "machines.md", "exec"), left)
    assert left["ys"].shape == (20, 2, 40)
    np.testing.assert_allclose(jnp.sum(left["state"].heads, axis=-1), 1, rtol=1e-5)
    assert left["seen"]["read_weights"].shape == (2, 1, 16)
