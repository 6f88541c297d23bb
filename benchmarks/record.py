"""What was measured, kept as docs/benchmarks.json, and the page and the plot made of it."""

import json
from pathlib import Path
from typing import Any

from benchmarks.report import page, plot

DOCS = Path(__file__).resolve().parent.parent / "docs"


def save(record: dict[str, Any], folder: Path) -> None:
    """Writes the measurements, their page and their plot into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(record), encoding="utf-8")
    plot(record, folder / "benchmarks.png")


def put_in(part: str, measured: list[dict[str, Any]], docs: Path = DOCS) -> list[dict[str, Any]]:
    """Puts one part of the page in place of what it was and leaves the others; gives back what was measured."""
    record = json.loads((docs / "benchmarks.json").read_text(encoding="utf-8"))
    save(record | {part: measured}, docs)
    return measured
