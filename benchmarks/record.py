"""The measurements in docs/benchmarks.json, and the page and plot made from them."""

import importlib.metadata
import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.report import page, plot, provenance

PACKAGES = ("jax", "flax", "equinox", "torch")
DOCS = Path(__file__).resolve().parent.parent / "docs"


def save(record: dict[str, Any], folder: Path) -> None:
    """Writes the measurements, their page and their plot into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(record), encoding="utf-8")
    plot(record, folder / "benchmarks.png")


def put_in(part: str, measured: list[dict[str, Any]], docs: Path = DOCS) -> list[dict[str, Any]]:
    """Replaces one part of the page, and returns the measurements."""
    save(kept_beside(about() | {"rows": [], part: measured}, docs), docs)
    return measured


def kept_beside(record: dict[str, Any], docs: Path) -> dict[str, Any]:
    """Merges new measurements into those of the page in `docs`.

    `apart` records when and on what machine the parts of another run were measured. Layers are replaced row by row.
    """
    old = json.loads((docs / "benchmarks.json").read_text(encoding="utf-8"))
    when = provenance(record)

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["peer"], row["way"], *row["work"].values()

    fresh = {key(row): row for row in record["rows"]}
    rows = [fresh.pop(key(row), row) for row in old["rows"]]
    parts = {
        part: found for part, found in record.items() if isinstance(found, list) and found and part != "rows"
    }
    apart = dict.fromkeys(
        [*parts, *sorted({f"{r['way']} {r['work']['family']}" for r in record["rows"]})], when
    )
    return old | parts | {"rows": [*rows, *fresh.values()], "apart": old.get("apart", {}) | apart}


def about() -> dict[str, Any]:
    """Returns the date, the machine and the libraries' versions."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": f"{date.today():%-d %B %Y}",
        "machine": f"{processor()}, {cores} cores, {memory:.0f} GiB, Python {platform.python_version()}",
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of the compared libraries."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Returns the processor's name, if the system provides it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
