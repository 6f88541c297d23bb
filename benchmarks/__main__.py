"""`python -m benchmarks`: compares our recurrent layer with those of other libraries.

Writes docs/benchmarks.json (the numbers), docs/benchmarks.md (the page) and docs/benchmarks.png (the plot).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks import (
    attention,
    beam,
    decoding,
    eager,
    gpt,
    jacobians,
    kernels,
    language_model,
    lyapunov,
    sentiment,
    start,
    tagging,
    translation,
    turing,
)
from benchmarks.command import refuse
from benchmarks.compare import compare, peers
from benchmarks.record import DOCS, about, kept_beside, save
from benchmarks.report import TITLES, summary
from benchmarks.speech import ctc, recogniser
from benchmarks.work import FAMILIES, SIZES, WAYS, Family, Way, Work


@dataclass(frozen=True)
class Config:
    """Compares our recurrent layer with those of Linen, NNX, Equinox and PyTorch, forward and backward."""

    families: tuple[Family, ...] = FAMILIES
    """Cells to measure."""
    sizes: tuple[str, ...] = tuple(",".join(map(str, size)) for size in SIZES)
    """Sizes T,B,D,H."""
    ways: tuple[Way, ...] = WAYS
    """Passes to measure: forward, and forward and backward ("both")."""
    rounds: int = 5
    """Turns of each library."""
    seconds: float = 0.4
    """Seconds of each turn; at least three calls."""
    eager: bool = True
    """Measure calls without `jit` too."""
    kernels: bool = True
    """Measure our LSTM's time by kernel too."""
    analysis: bool = True
    """Measure step Jacobians and Lyapunov spectra too."""
    language_model: bool = True
    """Measure the training step of a language model too."""
    attention: bool = True
    """Measure training step and decoding of a Transformer, attention in a recurrence, training steps
    of a translation model and of a tagger, and beam search too."""
    speech: bool = True
    """Measure the loss of CTC and the training step of a recogniser too."""
    start: bool = True
    """Measure start-up times of commands and runs too."""
    keep: bool = False
    """Keep the parts of the page in `out` that aren't measured now; the page says when each was measured."""
    out: Path = DOCS
    """Folder of the page, the plot and the numbers."""


def main(config: Config) -> None:
    sizes = [read_size(size) for size in config.sizes]
    works = [Work(family, *size) for family in config.families for size in sizes]
    cores = len(os.sched_getaffinity(0))
    rows = compare(peers(cores), works, rounds=config.rounds, seconds=config.seconds, ways=config.ways)
    record = about() | {
        "accelerator": "On an accelerator: not measured.",
        "rows": [row.summary() for row in rows],
        "eager": eager.measure() if config.eager else [],
        "kernels": kernels.measure() if config.kernels else [],
        "jacobians": jacobians.measure() if config.analysis else [],
        "lyapunov": lyapunov.measure() if config.analysis else [],
        "language_model": language_model.measure() if config.language_model else [],
        "gpt": gpt.STEPS.measure() if config.attention else [],
        "decoding": decoding.measure() if config.attention else [],
        "beam": beam.measure() if config.attention else [],
        "attention": attention.measure() if config.attention else [],
        "translation": translation.STEPS.measure() if config.attention else [],
        "tagging": tagging.STEPS.measure() if config.attention else [],
        "sentiment": sentiment.STEPS.measure() if config.attention else [],
        "turing": turing.measure() if config.attention else [],
        "ctc": ctc.STEPS.measure() if config.speech else [],
        "recogniser": recogniser.STEPS.measure() if config.speech else [],
        "start": start.measure() if config.start else [],
    }
    if config.keep:
        record = kept_beside(record, config.out)
    save(record, config.out)
    for way in config.ways:
        print("\n".join([f"{TITLES[way]}:", *summary(record, way)]))
    print(f"look at: {config.out / 'benchmarks.md'}")


def read_size(text: str) -> tuple[int, ...]:
    """Returns T, B, D and H."""
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.isdecimal() and int(number) for number in numbers):
        refuse(f"--sizes takes sizes T,B,D,H of four whole numbers, as in 100,16,64,64, but got {text!r}")
    return tuple(map(int, numbers))


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks"))
