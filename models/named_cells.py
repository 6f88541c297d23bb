"""The names by which a command line knows cells and layers."""

from models.cell import Cell
from models.cells import (
    GRU,
    LRU,
    LSTM,
    MLSTM,
    RGLRU,
    S4D,
    S5,
    SLSTM,
    AttentionCell,
    BasicGRU,
    BatchNormLSTM,
    Elman,
    FixedWindow,
    IndRNN,
    Jordan,
    LayerNormGRU,
    LayerNormLSTM,
    MinGRU,
    MinLSTM,
    NeuralTuringMachine,
    OrthogonalRNN,
    PeepholeLSTM,
    SelfAttentive,
    UnitaryRNN,
)
from models.layers.attention_readout import AttentionReadout
from models.layers.bidirectional import Bidirectional
from models.layers.cross_attention import CrossAttention
from models.layers.fed_context import FedContext
from models.layers.pointwise import Dense, FeedForward, Norm, Projection
from models.layers.residual import Residual
from models.layers.self_attention import SelfAttention
from models.layers.stacked import Stacked
from models.layers.transformer import Transformer

# Cells that a size alone makes.
CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "jordan": Jordan,
    "basic_gru": BasicGRU,
    "gru": GRU,
    "lstm": LSTM,
    "peephole_lstm": PeepholeLSTM,
    "layer_norm_lstm": LayerNormLSTM,
    "layer_norm_gru": LayerNormGRU,
    "batch_norm_lstm": BatchNormLSTM,
    "ind_rnn": IndRNN,
    "orthogonal": OrthogonalRNN,
    "unitary": UnitaryRNN,
    "s4d": S4D,
    "s5": S5,
    "lru": LRU,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "rg_lru": RGLRU,
    "slstm": SLSTM,
    "mlstm": MLSTM,
    "window": FixedWindow,
    "ntm": NeuralTuringMachine,
    "transformer": Transformer,
}

# Cells around cells, and the layers that a stack may be made of.
LAYERS: dict[str, type[Cell]] = {
    "attention_cell": AttentionCell,
    "self_attentive": SelfAttentive,
    "stacked": Stacked,
    "bidirectional": Bidirectional,
    "residual": Residual,
    "self_attention": SelfAttention,
    "cross_attention": CrossAttention,
    "attention_readout": AttentionReadout,
    "fed_context": FedContext,
    "dense": Dense,
    "feed_forward": FeedForward,
    "norm": Norm,
    "projection": Projection,
}
