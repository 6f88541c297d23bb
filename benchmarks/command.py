"""The command line of one benchmark, `python -m benchmarks.NAME`, which measures and updates the page."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

WORKER = "worker"  # the word by which a benchmark starts a process of its own


def run(
    name: str,
    about: str | None,
    measure: Callable[[], list[dict[str, Any]]],
    worker: Callable[..., None] | None = None,
) -> None:
    """Measures, updates that part of the page, and prints it; after the word `worker` calls that function with the
    other words. `--help` prints `about`, the module's docstring. Any other word is refused."""
    words = sys.argv[1:]
    show_help(words, about)
    if not words:
        from benchmarks.record import put_in
        from benchmarks.report import PARTS

        part = name.rpartition(".")[2]  # of benchmarks.speech.ctc it is ctc
        _, section = PARTS[part]
        print("\n".join(section(put_in(part, measure()))))
    elif worker and words[0] == WORKER:
        worker(*words[1:])
    else:
        refuse(
            f"python -m benchmarks.{name} takes no options, but got {' '.join(words)!r}: leave them out, or take "
            "python -m benchmarks, whose --help lists its options"
        )


def show_help(words: list[str], about: str | None) -> None:
    """Prints a module's docstring and leaves, if that is asked for."""
    if {"-h", "--help"} & set(words):
        print((about or "").strip())
        sys.exit(0)


def refuse(sentence: str) -> NoReturn:
    """Prints what is wrong with a command, and leaves with exit code 2."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)
