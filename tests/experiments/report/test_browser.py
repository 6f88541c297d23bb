"""The report in a real browser, where there is one: nothing fails, nothing is fetched, and the curves answer."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.report import write_report
from tests.experiments.reported import Page, made_run

pytestmark = pytest.mark.slow
Finished = Callable[[str], Path]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# Goes before everything else of a copy of the page, whose own policy lets it run; its answer is read off the page.
PROBE = """<script>
const wrong = [];
addEventListener("error", (event) => wrong.push(event.message ?? "not loaded"), true);
addEventListener("securitypolicyviolation", (event) => wrong.push(event.blockedURI));
addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const seen = (element) => getComputedStyle(element).display !== "none";
  const figure = document.querySelector("[data-chart]"), svg = figure.querySelector("svg");
  const box = svg.getBoundingClientRect(), at = (share) => ({ clientX: box.left + share * box.width,
    clientY: box.top + box.height / 2, bubbles: true });
  svg.dispatchEvent(new PointerEvent("pointermove", at(0.96)));
  const told = document.getElementById("values").innerText;
  svg.dispatchEvent(new PointerEvent("pointerleave", at(0.96)));
  const buttons = all(".legend [data-key]"), lines = () => all("[data-chart] g[data-key]").filter(seen).length;
  const before = lines();
  buttons[0]?.click();
  const without = lines();
  document.querySelector(".legend .none")?.click();
  const none = lines();
  document.querySelector(".legend .all")?.click();
  document.documentElement.dataset.probe = JSON.stringify({
    wrong, told, chart: figure.dataset.chart, before, without, none, after: lines(),
    cleared: document.getElementById("values").innerText,
    images: all("img").map((image) => [image.complete, image.naturalWidth]),
    fetched: performance.getEntriesByType("resource").map((one) => one.name).filter((name) => !/^data:/.test(name)),
    wide: document.documentElement.scrollWidth - innerWidth,
  });
});
</script>"""


def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is installed")


def opened(page: Path, home: Path, width: int) -> tuple[dict[str, Any], str, str]:
    """At a width in pixels what the probe found in the page, the document, and the console's words."""
    copy = home / f"probed{width}.html"
    copy.write_text(page.read_text().replace('<meta name="viewport"', PROBE + '<meta name="viewport"', 1))
    command = [browser(), "--headless", "--disable-gpu", f"--user-data-dir={home / 'profile'}", "--dump-dom"]
    command += [f"--window-size={width},900", "--virtual-time-budget=5000", "--disable-background-networking"]
    command += ["--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run"]
    command += ["--no-sandbox"] if os.getuid() == 0 else []  # which it can't have for root
    done = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    answer = Page(done.stdout).all("html")[0][0]["data-probe"]
    return json.loads(str(answer)), done.stdout, "\n".join(re.findall(".*CONSOLE.*", done.stderr))


@pytest.mark.parametrize("width", [1280, 500])
def test_several_runs_in_a_browser(width: int, finished: Finished, tmp_path: Path) -> None:
    nets = {"cells/gru": [0.6 + i / 1000 for i in range(700)], "cells/lstm": [0.5, float("nan"), 0.3]}
    runs = [made_run(tmp_path / "nets", nets, table="wide " * 60), finished("adding")]
    found, document, said = opened(write_report(runs, tmp_path / "report.html"), tmp_path, width)
    assert found["wrong"] == []
    assert found["fetched"] == []
    assert said == ""
    assert found["wide"] <= 0  # nothing sticks out sideways
    pictures = sum(len(list((run / "figures").glob("*.png"))) for run in runs)
    assert len(found["images"]) == pictures
    assert all(complete and natural > 0 for complete, natural in found["images"])
    # Two nets and one, each a line in every chart of what it logged.
    page = Page(document)
    numbers = page.numbers()
    lines = sum(len(chart["lines"]) for chart in numbers["charts"].values())
    assert found["before"] == found["after"] == lines == len(page.all("g"))
    first = next(iter(numbers["names"]))
    assert found["without"] == lines - sum(first in chart["lines"] for chart in numbers["charts"].values())
    assert found["none"] == 0
    # At the right edge the last step, and each line's last value.
    chart = numbers["charts"][found["chart"]]["lines"]
    step, *rows = found["told"].split("\n")
    assert step == "step 7000"
    expected = [f"{line['values'][-1]} {numbers['names'][key]}" for key, line in chart.items()]
    assert sorted(re.sub(r" \(step \d+\)", "", row) for row in rows) == sorted(expected)
    assert found["cleared"] == ""


def test_a_mistake_is_seen(finished: Finished, tmp_path: Path) -> None:
    """The probe itself: the page's policy refuses a picture from elsewhere, and a script's fault is told."""
    page = write_report([finished("adding")], tmp_path / "report.html")
    more = '<img src="https://elsewhere.example/a.png"><script>console.error("bad"); nowhere()</script>'
    page.write_text(page.read_text().replace("<main>", f"<main>{more}"))
    found, _, said = opened(page, tmp_path, 1280)
    assert [True for wrong in found["wrong"] if "nowhere is not defined" in wrong]
    assert [True for wrong in found["wrong"] if "elsewhere.example" in wrong]
    assert "bad" in said
