"""The cells, one family a file, and the names by which a command line knows them."""

from models.cell import Cell
from models.cells.elman import Elman
from models.cells.gru import GRU, BasicGRU
from models.cells.lstm import LSTM, LSTMState

CELLS: dict[str, type[Cell]] = {"elman": Elman, "basic_gru": BasicGRU, "gru": GRU, "lstm": LSTM}

__all__ = ["CELLS", "GRU", "LSTM", "BasicGRU", "Elman", "LSTMState"]
