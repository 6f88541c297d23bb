"""The contract on orthogonal, complex, linear and exponentially gated cells."""

from collections.abc import Callable

import pytest

from experiments.contract import checks as contract
from models import Cell
from models.cells.linear_recurrent_unit import LRU
from models.cells.minimal import MinGRU, MinLSTM
from models.cells.orthogonal import OrthogonalRNN
from models.cells.rg_lru import RGLRU
from models.cells.state_space import S4D, S5
from models.cells.unitary import UnitaryRNN
from models.cells.xlstm import MLSTM, SLSTM

pytestmark = pytest.mark.usefixtures("quick_compilation")

CELLS = [
    OrthogonalRNN(4),
    UnitaryRNN(4),
    S4D(4, state_size=2),
    S5(3, state_size=4, blocks=2),
    LRU(4, state_size=3),
    MinGRU(4),
    MinLSTM(3, positive=False),
    RGLRU(4, blocks=2),
    SLSTM(4, heads=2),
    MLSTM(4, heads=2),
]


@pytest.mark.parametrize("check", contract.CHECKS.values(), ids=contract.CHECKS.keys())
@pytest.mark.parametrize("cell", CELLS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_passes(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)
