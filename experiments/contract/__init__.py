"""The contract: checks every cell that is named, built-in or of your own, against what all cells must do.

    python -m experiments contract lstm "gru(reset=before)" path/to/mine.py:MyCell

A test of your own calls `run(check, cell)` for each of `CHECKS`.
"""

import sys

from experiments.cell_spec import parse_cell
from experiments.contract.checks import CHECKS, run
from experiments.harness.terminal import program

__all__ = ["CHECKS", "main", "run"]


def main(expressions: list[str]) -> int:
    """Runs every check on every cell named; prints a line each; 0 where all pass, 1 where one fails."""
    if {"-h", "--help"} & set(expressions):
        print((__doc__ or "").strip().replace("python -m experiments", program()))
        return 0
    if not expressions:
        print(
            f"usage: {program()} contract CELL …   (lstm, or path/to/mine.py:MyCell)",
            file=sys.stderr,
        )
        return 2
    failures = 0
    for expression in expressions:
        try:
            cell = parse_cell(expression, hidden_size=4, memory=True)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(cell)
        for name, check in CHECKS.items():
            try:
                run(check, cell)
                print(f"  ok      {name.replace('_', ' ')}")
            except Exception as error:  # whatever the cell raises is the cell's failure, to be shown as such
                failures += 1
                print(f"  FAILED  {name.replace('_', ' ')}: {type(error).__name__}: {error}")
    print(f"{failures} failed" if failures else "all passed")
    return 1 if failures else 0
