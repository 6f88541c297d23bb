"""The contract of cells as CI checks it: what catches most on every cell, all of it on a few."""

from collections.abc import Collection, Mapping

import pytest

from experiments.contract.checks import CHECKS
from models import Cell

ALWAYS = ("stepping", "jacobian")
"""Steps and derivatives, which a cell's own equations decide; the others check code that cells share."""


def each_check(cells: Mapping[str, Cell], whole: Collection[str] = ()) -> pytest.MarkDecorator:
    """Gives a test every pair of `cell` and `check`, of which those not for CI are marked `full`.

    CI makes all checks of the cells named in `whole`, and those in `ALWAYS` of every other cell.
    """
    assert set(whole) <= set(cells)
    pairs = [
        pytest.param(
            cell,
            check,
            id=f"{name}-{what}",
            marks=[] if name in whole or what in ALWAYS else [pytest.mark.full],
        )
        for name, cell in cells.items()
        for what, check in CHECKS.items()
    ]
    return pytest.mark.parametrize(("cell", "check"), pairs)
