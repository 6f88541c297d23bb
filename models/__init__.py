"""What is computed: cells, their way through time, and models made of them."""

from models.bidirectional import Bidirectional, Directions
from models.cell import Cell, LinearCell, ProductCell
from models.cells import CELLS, GRU, LSTM, BasicGRU, Elman, LSTMState
from models.classifier import SequenceClassifier, SequenceTagger
from models.dropout import Dropout, RecurrentDropout, VariationalDropout
from models.initializers import Gaussian, Glorot, Identity, Orthogonal
from models.layer import Layer
from models.newton import Newton
from models.recurrence import Associative, Fused, Info, Scan, unroll, unroll_with_info
from models.recurrent import Recurrent
from models.stacked import Stacked
from models.streaming import stream
from models.truncated import carried, truncated_value_and_gradient

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "Associative",
    "BasicGRU",
    "Bidirectional",
    "Cell",
    "Directions",
    "Dropout",
    "Elman",
    "Fused",
    "Gaussian",
    "Glorot",
    "Identity",
    "Info",
    "LSTMState",
    "Layer",
    "LinearCell",
    "Newton",
    "Orthogonal",
    "ProductCell",
    "Recurrent",
    "RecurrentDropout",
    "Scan",
    "SequenceClassifier",
    "SequenceTagger",
    "Stacked",
    "VariationalDropout",
    "carried",
    "stream",
    "truncated_value_and_gradient",
    "unroll",
    "unroll_with_info",
]
