"""`python -m benchmarks`: our recurrent layer beside those of other libraries.

Writes docs/benchmarks.json (every time), docs/benchmarks.md (the page) and docs/benchmarks.png (the plot).
"""

import importlib.metadata
import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import tyro

from benchmarks import jacobians, kernels, language_model, lyapunov
from benchmarks.compare import compare, peers
from benchmarks.report import page, plot, summary
from benchmarks.work import FAMILIES, SIZES, Family, Work

DOCS = Path(__file__).resolve().parent.parent / "docs"
PACKAGES = ("jax", "flax", "equinox", "torch")


@dataclass(frozen=True)
class Config:
    """Our recurrent layer beside those of Linen, NNX, Equinox and PyTorch, forward and backward."""

    families: tuple[Family, ...] = FAMILIES
    """Which cells."""
    sizes: tuple[str, ...] = tuple(",".join(map(str, size)) for size in SIZES)
    """Sizes T,B,D,H."""
    rounds: int = 5
    """Turns of each library."""
    seconds: float = 0.4
    """Of each turn; at least three calls."""
    kernels: bool = True
    """Where our LSTM's time goes, kernel by kernel, too."""
    analysis: bool = True
    """Step Jacobians and Lyapunov spectra too."""
    language_model: bool = True
    """The training step of a language model too."""
    out: Path = DOCS
    """Folder of the page, the plot and the times."""


def main(config: Config) -> None:
    sizes = [tuple(int(number) for number in size.split(",")) for size in config.sizes]
    works = [Work(family, *size) for family in config.families for size in sizes]
    cores = len(os.sched_getaffinity(0))
    rows = compare(peers(cores), works, rounds=config.rounds, seconds=config.seconds)
    record = {
        "date": f"{date.today():%-d %B %Y}",
        "machine": f"{processor()}, {cores} cores, {memory() / 2**30:.0f} GiB, Python {platform.python_version()}",
        "versions": versions(),
        "accelerator": "On an accelerator: not measured.",
        "rows": [asdict(row) for row in rows],
        "kernels": kernels.measure() if config.kernels else [],
        "jacobians": jacobians.measure() if config.analysis else [],
        "lyapunov": lyapunov.measure() if config.analysis else [],
        "language_model": language_model.measure() if config.language_model else [],
    }
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "benchmarks.json").write_text(json.dumps(record), encoding="utf-8")
    write(record, config.out)
    print("\n".join(["forward and backward:", *summary(record, "both")]))
    print(f"look at: {config.out / 'benchmarks.md'}")


def write(record: dict, out: Path) -> None:
    """Page and plot from what was measured."""
    (out / "benchmarks.md").write_text(page(record), encoding="utf-8")
    plot(record, out / "benchmarks.png")


def put_in(part: str, measured: list[dict[str, Any]], docs: Path = DOCS) -> list[dict[str, Any]]:
    """One part of the page measured anew, the others left as they are; gives back what was measured."""
    path = docs / "benchmarks.json"
    record = json.loads(path.read_text(encoding="utf-8")) | {part: measured}
    path.write_text(json.dumps(record), encoding="utf-8")
    write(record, docs)
    return measured


def versions() -> dict[str, str]:
    """Of the libraries that take part."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks"))
