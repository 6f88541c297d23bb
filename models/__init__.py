"""Models: cells, their recurrences over time, and whole models made of them."""

from models.cell import Cell, LinearCell, ProductCell
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
    LearnedLinearState,
    LearnedState,
    LSTMState,
    MinGRU,
    MinLSTM,
    NeuralTuringMachine,
    OrthogonalRNN,
    PeepholeLSTM,
    SelfAttentive,
    TuringState,
    UnitaryRNN,
    chrono_gru,
    chrono_lstm,
    irnn,
)
from models.classifier import SequenceClassifier, SequenceTagger
from models.crf import (
    ChainWeights,
    chain_losses,
    chain_scores,
    init_chain,
    log_partition,
    tag_probabilities,
    viterbi,
)
from models.decoding.allowed import Automaton, FiniteAutomaton
from models.decoding.beam_search import Average, Beams, WuPenalty, beam_search
from models.decoding.ctc import ctc_greedy, ctc_loss, ctc_possible, trim_repeats
from models.decoding.prefix_beam import Fusion, ctc_prefix_beam
from models.decoding.sampling import Sampling, generate, scheduled_inputs
from models.decoding.scheduled import (
    exponential_schedule,
    free_running,
    greedy,
    inverse_sigmoid_schedule,
    linear_schedule,
    sampled,
    scheduled_sampling,
    teacher_forcing,
)
from models.decoding.steps import decoder_step, scheduled_targets
from models.decoding.trees import TreeAutomaton
from models.encoder_decoder import Encoded, EncoderDecoder
from models.initializers import Gaussian, Glorot, Identity, Orthogonal
from models.language_model import LanguageModel, initial_carry, language_step
from models.layers.attention import Additive, Dot, General, ScaledDot, attend
from models.layers.attention_readout import AttentionReadout
from models.layers.bidirectional import Backward, Bidirectional, Directions
from models.layers.cross_attention import CrossAttention
from models.layers.dropout import Dropout, RecurrentDropout, VariationalDropout
from models.layers.fed_context import FedContext
from models.layers.layer import Layer
from models.layers.pointwise import Dense, FeedForward, Norm, Projection
from models.layers.position_code import PositionCode, max_steps
from models.layers.recurrent import Recurrent
from models.layers.residual import Residual
from models.layers.self_attention import KeyValueCache, SelfAttention, holds_cache
from models.layers.stacked import Stacked
from models.layers.transformer import Transformer
from models.masked_language_model import MaskedLanguageModel
from models.memory import Memory
from models.named_cells import CELLS, LAYERS
from models.output_distributions import BitByBit, Bits, GaussianMixture, Mixture, mixture_quantiles
from models.readers import Reader, TokenReader, TokenWriter
from models.recurrence.methods import Associative, Auto, Fused, Scan, UnrollInfo
from models.recurrence.newton import Newton
from models.recurrence.streaming import stream
from models.recurrence.truncated import carried, truncated_value_and_gradient
from models.recurrence.unroll import unroll, unroll_with_info
from models.sequence_density import SequenceDensity, free_run
from models.softmax import cross_entropies, summed_cross_entropy
from models.tagger import Tagged, Tagger
from models.text_classifier import TextClassifier
from models.trees.pcfg import Pcfg
from models.weights.equinox import from_equinox, to_equinox
from models.weights.keras import from_keras, to_keras
from models.weights.linen import from_linen, to_linen
from models.weights.nnx import from_nnx, to_nnx
from models.weights.safetensors import from_safetensors, to_safetensors
from models.weights.torch import from_torch, load_torch, to_torch
from models.weights.torch_attention import from_torch_attention, to_torch_attention
from models.weights.torch_stack import from_torch_stack, state_from_torch, to_torch_stack
from models.word_reader import CharacterConvolution, CharacterRecurrence, TagReader, WordReader

__all__ = [
    "CELLS",
    "GRU",
    "LAYERS",
    "LRU",
    "LSTM",
    "MLSTM",
    "RGLRU",
    "S4D",
    "S5",
    "SLSTM",
    "Additive",
    "Associative",
    "AttentionCell",
    "AttentionReadout",
    "Auto",
    "Automaton",
    "Average",
    "Backward",
    "BasicGRU",
    "BatchNormLSTM",
    "Beams",
    "Bidirectional",
    "BitByBit",
    "Bits",
    "Cell",
    "ChainWeights",
    "CharacterConvolution",
    "CharacterRecurrence",
    "CrossAttention",
    "Dense",
    "Directions",
    "Dot",
    "Dropout",
    "Elman",
    "Encoded",
    "EncoderDecoder",
    "FedContext",
    "FeedForward",
    "FiniteAutomaton",
    "FixedWindow",
    "Fused",
    "Fusion",
    "Gaussian",
    "GaussianMixture",
    "General",
    "Glorot",
    "Identity",
    "IndRNN",
    "Jordan",
    "KeyValueCache",
    "LSTMState",
    "LanguageModel",
    "Layer",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LearnedLinearState",
    "LearnedState",
    "LinearCell",
    "MaskedLanguageModel",
    "Memory",
    "MinGRU",
    "MinLSTM",
    "Mixture",
    "NeuralTuringMachine",
    "Newton",
    "Norm",
    "Orthogonal",
    "OrthogonalRNN",
    "Pcfg",
    "PeepholeLSTM",
    "PositionCode",
    "ProductCell",
    "Projection",
    "Reader",
    "Recurrent",
    "RecurrentDropout",
    "Residual",
    "Sampling",
    "ScaledDot",
    "Scan",
    "SelfAttention",
    "SelfAttentive",
    "SequenceClassifier",
    "SequenceDensity",
    "SequenceTagger",
    "Stacked",
    "TagReader",
    "Tagged",
    "Tagger",
    "TextClassifier",
    "TokenReader",
    "TokenWriter",
    "Transformer",
    "TreeAutomaton",
    "TuringState",
    "UnitaryRNN",
    "UnrollInfo",
    "VariationalDropout",
    "WordReader",
    "WuPenalty",
    "attend",
    "beam_search",
    "carried",
    "chain_losses",
    "chain_scores",
    "chrono_gru",
    "chrono_lstm",
    "cross_entropies",
    "ctc_greedy",
    "ctc_loss",
    "ctc_possible",
    "ctc_prefix_beam",
    "decoder_step",
    "exponential_schedule",
    "free_run",
    "free_running",
    "from_equinox",
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_safetensors",
    "from_torch",
    "from_torch_attention",
    "from_torch_stack",
    "generate",
    "greedy",
    "holds_cache",
    "init_chain",
    "initial_carry",
    "inverse_sigmoid_schedule",
    "irnn",
    "language_step",
    "linear_schedule",
    "load_torch",
    "log_partition",
    "max_steps",
    "mixture_quantiles",
    "sampled",
    "scheduled_inputs",
    "scheduled_sampling",
    "scheduled_targets",
    "state_from_torch",
    "stream",
    "summed_cross_entropy",
    "tag_probabilities",
    "teacher_forcing",
    "to_equinox",
    "to_keras",
    "to_linen",
    "to_nnx",
    "to_safetensors",
    "to_torch",
    "to_torch_attention",
    "to_torch_stack",
    "trim_repeats",
    "truncated_value_and_gradient",
    "unroll",
    "unroll_with_info",
    "viterbi",
]
