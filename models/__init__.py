"""What is computed: cells, their way through time, and models made of them."""

from models.cell import Cell, LinearCell, ProductCell
from models.cells import CELLS, GRU, LSTM, BasicGRU, Elman, LSTMState
from models.classifier import SequenceClassifier, SequenceTagger
from models.initializers import Gaussian, Glorot, Identity, Orthogonal
from models.recurrence import Associative, Fused, Scan, unroll
from models.recurrent import Recurrent

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "Associative",
    "BasicGRU",
    "Cell",
    "Elman",
    "Fused",
    "Gaussian",
    "Glorot",
    "Identity",
    "LSTMState",
    "LinearCell",
    "Orthogonal",
    "ProductCell",
    "Recurrent",
    "Scan",
    "SequenceClassifier",
    "SequenceTagger",
    "unroll",
]
