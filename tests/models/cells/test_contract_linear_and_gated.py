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
from tests.contract import each_check

pytestmark = pytest.mark.usefixtures("quick_compilation")

CELLS: dict[str, Cell] = {
    "orthogonal": OrthogonalRNN(4),
    "unitary": UnitaryRNN(4),
    "s4d": S4D(4, state_size=2),
    "s5": S5(3, state_size=4, blocks=2),
    "lru": LRU(4, state_size=3),
    "min_gru": MinGRU(4),
    "min_lstm": MinLSTM(3, positive=False),
    "rg_lru": RGLRU(4, blocks=2),
    "slstm": SLSTM(4, heads=2),
    "mlstm": MLSTM(4, heads=2),
}


@each_check(CELLS, whole=("mlstm",))  # coordinates of its own
def test_passes(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)
