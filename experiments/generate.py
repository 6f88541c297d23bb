"""`python -m experiments generate RUN …`: text from a trained model, by the generator of the run's subject."""

import os
from pathlib import Path

from experiments.harness.files import CONFIG
from experiments.registry import generator_of, read_known_run


def main(arguments: list[str]) -> int:
    """Hands the options to the generator of the run that they name; to that of language models where none is named.

    Raises ValueError where runs of that experiment generate nothing."""
    # A sentence to translate may be longer than any name, for which Path.is_file raises.
    folders = [Path(argument) for argument in arguments if not argument.startswith("-")]
    found = [folder for folder in folders if os.path.isfile(folder / CONFIG)]
    name = read_known_run(found[0])["experiment"] if found else "language_model"
    return generator_of(name, *found[:1]).main(arguments)
