"""List the nearest words of each word, by cosine or Euclidean distance.

python -m experiments neighbours RUN WORD …
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from analysis.words.vectors import Distance, neighbours
from experiments.harness.checks import check_at_least
from experiments.harness.command_line import read_command
from experiments.harness.errors import UserError
from experiments.words.vectors_of import check_known, format_answers, vectors_of


@dataclass(frozen=True)
class Config:
    """Neighbours."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of word_vectors, or a file of vectors in word2vec's or GloVe's text format."""
    words: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Words of its vocabulary."""
    count: int = 10
    """Neighbours of each."""
    distance: Distance = "cosine"
    """Nearness by the cosine or by the Euclidean distance of vectors."""

    def __post_init__(self) -> None:
        check_at_least(1, count=self.count)
        if not self.words:
            raise UserError("WORD", "is missing: name at least one")


def main(arguments: list[str]) -> int:
    """Runs `python -m experiments neighbours RUN WORD …`."""
    config = read_command(Config, arguments, "neighbours", __doc__)
    vectors = vectors_of(config.run)
    check_known(vectors, config.words)
    for word in config.words:
        found = neighbours(vectors, word, config.count, config.distance)
        print(f"{word}\n{format_answers(found, config.distance)}\n", flush=True)
    return 0
