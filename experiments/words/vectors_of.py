"""The vectors that the commands about words ask: of a run of word_vectors, or of a file."""

from pathlib import Path

from analysis.words.vectors import Distance, Vectors
from data import read_vectors
from experiments.harness.errors import UserError
from experiments.harness.files import read_run
from experiments.task_report import padded
from experiments.words.word_vectors import VECTORS
from train.progress import columns_of

DISTANCES: dict[Distance, str] = {"cosine": "cosine", "euclidean": "Euclidean distance"}


def vectors_of(location: Path) -> Vectors:
    """Reads the vectors of a run's folder, or of a file in word2vec's or GloVe's text format.

    Raises ValueError where the folder is no finished run of word_vectors, or as `read_vectors`."""
    if location.is_file():
        return Vectors(*read_vectors(location))
    name = read_run(location)["experiment"]
    if name != "word_vectors":
        raise ValueError(
            f"{location} is a run of {name}, which has no word vectors: name one of word_vectors"
        )
    if not (location / VECTORS).is_file():
        raise ValueError(f"{location} has no {VECTORS} yet: finish the run with --resume {location}")
    return Vectors(*read_vectors(location / VECTORS))


def check_known(vectors: Vectors, words: tuple[str, ...]) -> None:
    """Raises UserError, naming them, for words without a vector."""
    unknown = [word for word in words if vectors.row(word) is None]
    if unknown:
        raise UserError(
            "WORD",
            f"{', '.join(map(repr, unknown))} is not in the vocabulary of {len(vectors.words):,} words",
        )


def format_answers(answers: list[tuple[str, float]], distance: Distance) -> str:
    """Formats words with their cosines or distances, one a line."""
    width = max((columns_of(word) for word, _ in answers), default=0)
    head = f"{'':<{width}}  {DISTANCES[distance]}"
    return "\n".join([head, *(f"{padded(word, width)}  {value:.3f}" for word, value in answers)])
