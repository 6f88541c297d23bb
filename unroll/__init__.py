"""Unroll in your own code: the names that one begins with, from `models`, `analysis`, `train` and `data`.

    from unroll import LSTM, product_spectrum, step_jacobians, unroll

Everything else is imported from these packages, which are attributes here: `unroll.models`, `unroll.analysis`,
`unroll.train`, `unroll.data`.
"""

# ruff: noqa: E402, what is found is checked before it is imported

try:
    from experiments.harness.home import check_home
except ImportError as error:
    raise ImportError(f"experiments is another package than Unroll's, which it hides: {error}") from error

check_home()

import analysis
import data
import models
import train
from analysis import (
    find_fixed_points,
    gradient_by_lag,
    influence,
    lyapunov_spectrum,
    product_spectrum,
    sequence_jacobians,
    step_jacobians,
)
from models import (
    GRU,
    LRU,
    LSTM,
    Bidirectional,
    Cell,
    Dropout,
    Elman,
    EncoderDecoder,
    LanguageModel,
    NeuralTuringMachine,
    ProductCell,
    SequenceClassifier,
    Stacked,
    Transformer,
    beam_search,
    from_linen,
    from_torch,
    generate,
    stream,
    to_torch,
    unroll,
)
from train import (
    Checkpoints,
    LoopConfig,
    OptimizerConfig,
    create_state,
    evaluate,
    fit,
    make_optimizer,
    train_step,
)

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "Bidirectional",
    "Cell",
    "Checkpoints",
    "Dropout",
    "Elman",
    "EncoderDecoder",
    "LanguageModel",
    "LoopConfig",
    "NeuralTuringMachine",
    "OptimizerConfig",
    "ProductCell",
    "SequenceClassifier",
    "Stacked",
    "Transformer",
    "analysis",
    "beam_search",
    "create_state",
    "data",
    "evaluate",
    "find_fixed_points",
    "fit",
    "from_linen",
    "from_torch",
    "generate",
    "gradient_by_lag",
    "influence",
    "lyapunov_spectrum",
    "make_optimizer",
    "models",
    "product_spectrum",
    "sequence_jacobians",
    "step_jacobians",
    "stream",
    "to_torch",
    "train",
    "train_step",
    "unroll",
]
