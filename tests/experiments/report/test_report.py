"""The report: what its page says of runs written here by hand, read as HTML, and its mistakes."""

import json
import math
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.harness.files import write_json
from experiments.report import write_report
from experiments.report.charts import MOST, chart, style_of, thinned
from experiments.report.reading import Line, read_reported
from tests.experiments.command import command
from tests.experiments.reported import Page, made_run


def rows(text: str, section: str) -> list[list[str]]:
    """The cells of every row of a section's tables, without tags."""
    (body,) = re.findall(rf'<section id="{section}">.*?</section>', text, re.DOTALL)
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    return [[re.sub("<[^>]*>", "", c) for c in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)] for row in found]


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a run's folder by its name within the folder where commands are then given."""
    monkeypatch.chdir(tmp_path)

    def run(name: str = "runs/adding/first", nets: dict[str, list[float]] | None = None, **more: Any) -> Path:
        return made_run(tmp_path / name, nets or {".": [0.5, 0.25, 0.2]}, **more)

    return run


def said_by(capsys: pytest.CaptureFixture[str], code: int, *arguments: Any) -> str:
    capsys.readouterr()
    assert command("report", *arguments) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return err if code else out


def test_one_run(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(table="what  was found\na     1", length=77)
    said = said_by(capsys, 0, folder)
    assert said.startswith(f"report of {folder}: {folder}/report.html (0.0 MB)")
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert [name for _, name in page.all("h2")] == [
        *("Runs", "Results", "Figures", "Curves", "Training", "Config", "Environment")
    ]
    assert page.all("pre")[0][1] == "what  was found\na     1"
    assert ["test.mean_square_error", "0.125"] in rows(text, "results")
    assert ["--length", "77"] in rows(text, "config")
    assert ["--optimizer.learning-rate", "0.003"] in rows(text, "config")
    (here,) = json.loads((folder / "environment.json").read_text())
    for name in ("jax", "numpy"):
        assert [name, here["packages"][name]] in rows(text, "environment")
    assert ["devices", "1 × cpu: cpu"] in rows(text, "environment")
    # 30 steps in 6 seconds, by the clock logged with them.
    assert rows(text, "training")[1] == [
        "adding",
        "30",
        "0:06",
        "5",
        "none",
        "loss 0.2, mean_square_error 0.1",
    ]
    ((image, _),) = page.all("img")
    assert (
        b64decode(str(image["src"]).removeprefix("data:image/png;base64,"))
        == (folder / "figures/training.png").read_bytes()
    )
    write_report([folder])
    assert (folder / "report.html").read_text() == text


def test_nothing_is_fetched(make: Make) -> None:
    """No address at all, and a policy by which a browser would refuse one."""
    text = write_report([make(), make("second", cell="gru")]).read_text()
    assert not re.search(
        r"//\w|@import|url\(|srcset|<link|<iframe|<object|<base", re.sub(r"base64,[^\"]*", "", text)
    )
    assert not re.search(r"\w+://", text)
    page = Page(text)
    for _, attributes, _ in page.elements:
        assert attributes.get("src", "data:").startswith("data:")  # type: ignore
        assert attributes.get("href", "#").startswith("#")  # type: ignore
    ((policy, _),) = page.all("meta", http_equiv="Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'; img-src data:;")
    ids = {attributes["id"] for _, attributes, _ in page.elements if "id" in attributes}
    assert {str(link["href"])[1:] for link, _ in page.all("a")} <= ids


def test_curves_stand_where_their_values_are(make: Make) -> None:
    """Read off the drawing by its own ticks: a linear axis, and a logarithmic one where there are two decades."""
    losses = [0.9, 0.15, 0.4, 0.61]
    text = write_report([make(nets={".": losses})]).read_text()
    numbers = Page(text).numbers()
    assert list(numbers["charts"]) == ["loss, train", "mean_square_error, validation", "grad_norm, train"]
    for name, values in (("loss, train", losses), ("grad_norm, train", [0.1, 0.01, 0.001, 0.0001])):
        line = numbers["charts"][name]["lines"]["0-0"]
        assert line["steps"] == [10, 20, 30, 40]
        assert line["values"] == pytest.approx(values, rel=1e-5)
        (svg,) = re.findall(rf'<figure data-chart="{name}">.*?</figure>', text, re.DOTALL)
        assert ("log scale" in svg) == (name == "grad_norm, train")
        (path,) = re.findall(r'class="line"[^>]* d="M([^"]*)"', svg)
        points = np.array([pair.split() for pair in path.split("L")], float)
        labels = re.findall(r'<text class="tick" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]+)<', svg)
        scale = np.log10 if "log scale" in svg else np.asarray
        marks = {"10⁻⁴": 1e-4, "10⁻³": 1e-3}
        across = np.array([(float(x), float(t)) for x, y, t in labels if t != "step" and float(y) > 220])
        upwards = np.array([(float(y), marks.get(t) or float(t)) for x, y, t in labels if float(y) < 220])
        assert len(across) >= 2
        assert len(upwards) >= 3
        steps = np.polyval(np.polyfit(across[:, 0], across[:, 1], 1), points[:, 0])
        np.testing.assert_allclose(steps, [10, 20, 30, 40], atol=0.05)
        heights = np.polyval(np.polyfit(upwards[:, 0], scale(upwards[:, 1]), 1), points[:, 1])
        np.testing.assert_allclose(heights, scale(np.array(values)), atol=0.01)


def test_values_that_are_not_finite(make: Make) -> None:
    """The line breaks there, a cross marks it, a point alone is a dot."""
    text = write_report([make(nets={".": [0.5, 0.4, math.nan, 0.3, math.inf, 0.2]})]).read_text()
    (svg,) = re.findall(r'<figure data-chart="loss, train">.*?</figure>', text, re.DOTALL)
    (path,) = re.findall(r'class="line"[^>]* d="([^"]*)"', svg)
    assert [stretch.count("L") + 1 for stretch in path.split("M")[1:]] == [2, 1, 1]
    assert svg.count("<circle") == 2
    (crosses,) = re.findall(r'class="odd"[^>]* d="([^"]*)"', svg)
    assert crosses.count("M") == 2
    assert "A cross at the upper edge marks a value that was not finite." in text
    values = Page(text).numbers()["charts"]["loss, train"]["lines"]["0-0"]["values"]
    assert values == [0.5, 0.4, "nan", 0.3, "inf", 0.2]


def test_nothing_finite_or_all_the_same() -> None:
    for values in ([math.nan, math.inf], [0.3, 0.3], [0.0], [-2.0, -2.0]):
        line = Line("train", "loss", np.arange(1.0, len(values) + 1), np.array(values))
        svg, _ = chart({"0-0": (style_of(0, 0, False), line)}, "loss", (1.0, 2.0))
        assert "nan" not in svg
        assert "inf" not in svg


def test_long_lines_keep_their_extremes() -> None:
    values = np.sin(np.arange(20_000) / 700)
    values[[777, 15_001]] = 40.0, -40.0
    values[9_000] = math.nan
    steps = np.arange(20_000.0)
    short = thinned(Line("train", "loss", steps, values))
    assert len(short.steps) <= MOST
    assert {777.0, 15_001.0, 9_000.0, 0.0, 19_999.0} <= set(short.steps.tolist())
    assert (np.diff(short.steps) > 0).all()
    np.testing.assert_array_equal(short.values, values[short.steps.astype(int)])


def test_several_compared(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that differ stand in front, marked; figures stand side by side; colours tell runs apart."""
    first, second = make(), make("runs/adding/second", nets={".": [0.5, 0.1]}, cell="gru", length=30)
    said = said_by(capsys, 0, first, second)
    (written,) = Path("runs").glob("report-*.html")
    assert said.startswith(f"report of 2 runs: {written} ")
    text = written.read_text()
    page = Page(text)
    heads = ["1 · first", "2 · second"]
    assert rows(text, "differences") == [
        ["option", *heads], ["--cell", "lstm", "gru"], ["--length", "100", "30"]
    ]  # fmt: skip
    marked = [
        re.sub("<[^>]*>", " ", row).split() for row in re.findall(r'<tr class="different">.*?</tr>', text)
    ]
    assert ["--length", "100", "30"] in marked
    assert not [row for row in marked if row[0] == "--seed"]
    assert len(page.all("img", alt="training")) == 2
    assert [name for _, name in page.all("figcaption")][:2] == heads
    assert page.numbers()["names"] == {"0-0": "1 · first", "1-0": "2 · second"}
    strokes = re.findall(r'<g data-key="(\d-0)"><path class="line" stroke="([^"]*)"', text)
    assert set(strokes) == {("0-0", "var(--c0)"), ("1-0", "var(--c1)")}
    assert [name for _, name in page.all("button")] == [*heads, "show all", "none"]
    # Named by the runs, wherever it is written; the other way round it's another comparison.
    assert said_by(capsys, 0, first, second, "--out", "mine.html").startswith("report of 2 runs: mine.html ")
    assert Path("mine.html").read_text() == text
    said_by(capsys, 0, second, first)
    assert len(list(Path("runs").glob("report-*.html"))) == 2


def test_several_nets(make: Make) -> None:
    """By the names and in the order of the config, lengths by size; a run has one colour, and a net keeps its
    dashes from run to run."""
    nets = {
        f"nets/adding/{cell}/{t}": [0.5, 0.2] for cell in ("gru", "elman_recurrent_glorot") for t in (50, 100)
    }
    folders = [make("a", nets), make("b", nets)]
    for folder in folders:
        described = json.loads((folder / "config.json").read_text())
        described["config"]["cells"] = ["gru", "elman(recurrent_init=glorot)"]
        write_json(folder / "config.json", described)
    names = ["adding / gru / 50", "adding / gru / 100"]
    names += [name.replace("gru", "elman recurrent=glorot") for name in names]
    assert [net.name for net in read_reported(folders[0]).nets] == names
    page = Page(write_report(folders, Path("both.html")).read_text())
    assert list(page.numbers()["names"].values()) == [f"{run} · {name}" for run in (1, 2) for name in names]
    looks = [
        str(found["stroke"]) + str(found.get("stroke-dasharray"))
        for found, _ in page.all("path", d="M0 4H30")
    ]
    assert len(set(looks)) == 8
    lines = [(str(f["stroke"]), f.get("stroke-dasharray")) for f, _ in page.all("path", d="M0 4H30")]
    assert [colour for colour, _ in lines] == ["var(--c0)"] * 4 + ["var(--c1)"] * 4
    assert [dashes for _, dashes in lines[:4]] == [dashes for _, dashes in lines[4:]]
    alone = Page(write_report(folders[:1], Path("one.html")).read_text())
    assert [str(f["stroke"]) for f, _ in alone.all("path", d="M0 4H30")] == [f"var(--c{i})" for i in range(4)]


def test_no_word_of_a_run_becomes_part_of_the_page(make: Make) -> None:
    evil = '</script><script>alert("1")</script>&amp;<b'
    folder = make("<i>'\"&", nets={"nets/<b>x": [0.5, 0.1], "nets/</script>": [1.0]}, table=evil, cell=evil)
    page = Page(write_report([folder], Path("out.html")).read_text())
    assert len(page.all("script")) == 2
    assert not page.all("i")
    assert not page.all("b") or {text for _, text in page.all("b")} == {
        "loss",
        "mean_square_error",
        "grad_norm",
    }
    assert page.all("pre")[0][1] == evil
    assert [text for _, text in page.all("h1")] == ["adding: <i>'\"&"]
    assert "<b>x" in page.numbers()["names"].values()


def test_unfinished_is_said(make: Make) -> None:
    text = write_report([make(finished=False), make("other")], Path("out.html")).read_text()
    page = Page(text)
    assert len(page.all("span", class_="unfinished")) == len(page.all("span", class_="finished")) == 1
    assert "Not finished: 1 · first." in text


# --- mistakes


def test_nothing_to_show(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(finished=False)
    (folder / "metrics.jsonl").write_text("")
    (folder / "figures/training.png").unlink()
    assert said_by(capsys, 2, folder) == (
        f"error: {folder} has nothing to report yet, no metrics, table or figure: continue it by "
        f"--resume {folder}\n"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[
            (name, content)
            for name in ("config.json", "environment.json", "results.json")
            for content in ("", "[]")
        ],
        ("environment.json", '[{"devices": []}]'),
        ("metrics.jsonl", "[]\n"),
        ("metrics.jsonl", '{"loss": 1}\n'),
        ("figures/training.png", ""),
        ("figures/training.png", "a picture"),
    ],
)
def test_damaged(name: str, content: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make("spoilt")
    (folder / name).write_text(content)
    said = said_by(capsys, 2, make(), folder)
    assert said.startswith(f"error: {folder / name} ")
    assert len(said.splitlines()) == 1
    assert not list(Path("runs").glob("*.html"))


def test_half_a_picture(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    path = make() / "figures/training.png"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path} is damaged: it isn't a whole PNG; draw it anew by " in said_by(capsys, 2, path.parents[1])


def test_wrong_words(make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = make()
    assert said_by(capsys, 2) == (
        "error: report names no run: python -m experiments report RUN …, with the folder of each\n"
    )
    assert f"error: report names {folder} twice: " in said_by(capsys, 2, folder, folder)
    assert "report names runs/../runs/adding/first twice" in said_by(
        capsys, 2, folder, "runs/../runs/adding/first"
    )
    assert "error: nowhere is not a run folder (it has no config.json)" in said_by(capsys, 2, "nowhere")
    assert "is not a run folder" in said_by(capsys, 2, folder / "config.json")
    assert "error: --out mine must be a file whose name ends in .html" in said_by(
        capsys, 2, folder, "--out", "mine"
    )
    (tmp_path / "folder.html").mkdir()
    assert "--out folder.html is a folder: name a file in it" in said_by(
        capsys, 2, folder, "--out", "folder.html"
    )
    (tmp_path / "file").write_text("")
    assert "File exists: 'file'" in said_by(capsys, 2, folder, "--out", "file/out.html")
    assert "Unrecognized options: --outt" in said_by(capsys, 2, folder, "--outt", "a.html")


def test_a_run_still_in_training_can_be_reported(make: Make) -> None:
    """A last line half written is passed over."""
    folder = make(finished=False)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "spl')
    assert read_reported(folder).nets[0].steps == 30
