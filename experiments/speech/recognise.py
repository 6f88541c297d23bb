"""Write down what a file of sound says, by a trained recogniser.

python -m experiments recognise RUN FILE.wav [--stream]

With --stream the file is read in pieces, and letters are printed as they come; the run's net must be causal.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data.speech.sound import Samples, read_sound, resample
from experiments.harness.checks import check_at_least, check_positive
from experiments.harness.command_line import read_command
from experiments.harness.errors import UserError
from experiments.speech.recogniser import trained_recogniser


@dataclass(frozen=True)
class Config:
    """Recognise."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of speech, finished or not, that trains the net ctc. A cell from a Python file is executed."""
    file: Annotated[Path, tyro.conf.Positional]
    """The file of sound: WAV, or with soundfile installed FLAC or MP3, at any rate."""
    stream: bool = False
    """Read the file in pieces, and print letters as they come."""
    piece: float = 0.1
    """Seconds of a piece, with --stream."""
    width: int = 1
    """Prefixes kept by the search; 1 takes the likeliest path."""
    trust: bool = False
    """Execute the cell's Python file even if the run lies elsewhere or the file has changed since training."""

    def __post_init__(self) -> None:
        check_at_least(1, width=self.width)
        check_positive(piece=self.piece)
        if self.stream and self.width > 1:
            raise UserError("--width", f"{self.width} searches whole files: leave --stream out, or take 1")


def in_pieces(samples: Samples, size: int) -> Iterator[Samples]:
    """Yields a recording piece by piece."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def main(arguments: list[str]) -> int:
    """Runs `python -m experiments recognise RUN FILE.wav`."""
    config = read_command(Config, arguments, "recognise", __doc__)
    sound = read_sound(config.file)
    found = trained_recogniser(config.run, trust=config.trust)
    samples = resample(sound.samples, sound.rate, found.front.config.rate)
    if not config.stream:
        print(found.recognise(samples, config.width), flush=True)
        return 0
    size = max(1, round(config.piece * found.front.config.rate))
    for text in found.listen(in_pieces(samples, size)):
        sys.stdout.write(text)
        sys.stdout.flush()
    print(flush=True)
    return 0
