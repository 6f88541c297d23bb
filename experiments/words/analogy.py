"""Find the words d for which a is to b as c is to d, by the vector b − a + c.

python -m experiments analogy RUN a b c
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from analysis.words.vectors import Distance, analogy
from experiments.harness.checks import check_at_least
from experiments.harness.command_line import read_command
from experiments.words.vectors_of import check_known, format_answers, vectors_of


@dataclass(frozen=True)
class Config:
    """Analogy."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of word_vectors, or a file of vectors in word2vec's or GloVe's text format."""
    words: Annotated[tuple[str, str, str], tyro.conf.Positional]
    """Three words a b c of its vocabulary, which no answer repeats."""
    count: int = 10
    """Answers to list."""
    distance: Distance = "cosine"
    """Nearness by the cosine or by the Euclidean distance of vectors."""

    def __post_init__(self) -> None:
        check_at_least(1, count=self.count)


def main(arguments: list[str]) -> int:
    """Runs `python -m experiments analogy RUN a b c`."""
    config = read_command(Config, arguments, "analogy", __doc__)
    vectors = vectors_of(config.run)
    check_known(vectors, config.words)
    a, b, c = config.words
    print(f"{a} is to {b} as {c} is to")
    print(
        format_answers(analogy(vectors, a, b, c, config.count, config.distance), config.distance), flush=True
    )
    return 0
