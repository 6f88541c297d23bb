"""`python -m benchmarks`: our recurrent layer beside those of other libraries.

Writes docs/benchmarks.json (every time), docs/benchmarks.md (the page) and docs/benchmarks.png (the plot).
"""

import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import tyro

from benchmarks import eager, jacobians, kernels, language_model, lyapunov
from benchmarks.compare import compare, peers
from benchmarks.record import DOCS, save
from benchmarks.report import summary
from benchmarks.work import FAMILIES, SIZES, Family, Work

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
    eager: bool = True
    """Calls without `jit` around them, too."""
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
        "eager": eager.measure() if config.eager else [],
        "kernels": kernels.measure() if config.kernels else [],
        "jacobians": jacobians.measure() if config.analysis else [],
        "lyapunov": lyapunov.measure() if config.analysis else [],
        "language_model": language_model.measure() if config.language_model else [],
    }
    save(record, config.out)
    print("\n".join(["forward and backward:", *summary(record, "both")]))
    print(f"look at: {config.out / 'benchmarks.md'}")


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
