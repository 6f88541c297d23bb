"""The cells, one family a file."""

from models.cells.attention_cell import AttentionCell
from models.cells.batch_norm import BatchNormLSTM
from models.cells.elman import Elman, irnn
from models.cells.gru import GRU, BasicGRU, chrono_gru
from models.cells.independent import IndRNN
from models.cells.jordan import Jordan
from models.cells.layer_norm import LayerNormGRU, LayerNormLSTM
from models.cells.learned_state import LearnedLinearState, LearnedState
from models.cells.linear_recurrent_unit import LRU
from models.cells.lstm import LSTM, LSTMState, chrono_lstm
from models.cells.minimal import MinGRU, MinLSTM
from models.cells.neural_turing_machine import NeuralTuringMachine, TuringState
from models.cells.orthogonal import OrthogonalRNN
from models.cells.peephole import PeepholeLSTM
from models.cells.rg_lru import RGLRU
from models.cells.self_attentive import SelfAttentive, SelfAttentiveState
from models.cells.state_space import S4D, S5
from models.cells.unitary import UnitaryRNN
from models.cells.window import FixedWindow
from models.cells.xlstm import MLSTM, SLSTM

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "MLSTM",
    "RGLRU",
    "S4D",
    "S5",
    "SLSTM",
    "AttentionCell",
    "BasicGRU",
    "BatchNormLSTM",
    "Elman",
    "FixedWindow",
    "IndRNN",
    "Jordan",
    "LSTMState",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LearnedLinearState",
    "LearnedState",
    "MinGRU",
    "MinLSTM",
    "NeuralTuringMachine",
    "OrthogonalRNN",
    "PeepholeLSTM",
    "SelfAttentive",
    "SelfAttentiveState",
    "TuringState",
    "UnitaryRNN",
    "chrono_gru",
    "chrono_lstm",
    "irnn",
]
