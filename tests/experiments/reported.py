"""Shared by the report's tests: a run's folder made without training, and the page read as HTML."""

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.harness.environment import environment
from experiments.harness.files import write_json
from experiments.harness.options import describe
from experiments.memory.adding import Config
from train import Tracker

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Page(HTMLParser):
    """A page's elements `(name, attributes, text directly within)`; each must be closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open, [self.elements[i][0] for i in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        opened = self.elements[self.open.pop()][0]
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.elements[self.open[-1]][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (found, "".join(text))
            for name, found, text in self.elements
            if name == tag
            and all(found.get(k.strip("_").replace("_", "-")) == v for k, v in attributes.items())
        ]

    def numbers(self) -> dict[str, Any]:
        ((_, text),) = self.all("script", id="numbers")
        return json.loads(text)


def made_run(
    folder: Path, nets: dict[str, list[float]], *, finished: bool = True, table: str = "", **config: Any
) -> Path:
    """The folder of a run of adding, written as the experiments do, with these losses of each of its nets."""
    (folder / "figures").mkdir(parents=True)
    write_json(folder / "config.json", describe("adding", dataclasses.replace(Config(), **config)))
    write_json(folder / "environment.json", [environment(1)])
    for net, losses in nets.items():
        tracker = Tracker(folder / net)
        for i, loss in enumerate(losses, 1):
            tracker.log(10 * i, "train", {"loss": loss, "grad_norm": 10.0**-i, "seconds": 2.0 * i})
        tracker.log(10 * len(losses), "validation", {"mean_square_error": losses[-1] / 2})
        tracker.close()
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([1, 2], [1, len(folder.name)])
    figure.savefig(folder / "figures" / "training.png")
    if table:
        (folder / "table.txt").write_text(table)
    if finished:
        write_json(folder / "results.json", {"test": {"mean_square_error": 0.125}, "solved": True})
    return folder
