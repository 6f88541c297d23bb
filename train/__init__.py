"""Training: state, step, loop, optimizer, losses, metrics, checkpoints, tracking."""

from train.checkpoint import Checkpoints, NotSaved, Restored
from train.config import HealthConfig, LoopConfig, next_boundary
from train.evaluate import EvalFn, evaluate
from train.feed import Batches
from train.hooks import Hook, Renewal, StopWhen
from train.loop import Result, fit
from train.losses import cross_entropy, squared_error
from train.manifest import DamagedCheckpoint
from train.metrics import SumCount, accuracy, mean
from train.nonfinite import INCIDENTS_FILE, Diagnose, NonFinite, nonfinite_counts
from train.optimizer import OptimizerConfig, make_clipping, make_optimizer, make_schedule
from train.probe import Probe
from train.progress import Progress
from train.sharding import BATCH_AXIS, batch_mesh
from train.state import TrainState, create_state, evaluated_params
from train.step import LossFn, UpdateAverages, train_chunk, train_step
from train.stop import StopRequest, stop_on_signals, stopping_signals
from train.tracking import Tracker, read_metrics

__all__ = [
    "BATCH_AXIS",
    "INCIDENTS_FILE",
    "Batches",
    "Checkpoints",
    "DamagedCheckpoint",
    "Diagnose",
    "EvalFn",
    "HealthConfig",
    "Hook",
    "LoopConfig",
    "LossFn",
    "NonFinite",
    "NotSaved",
    "OptimizerConfig",
    "Probe",
    "Progress",
    "Renewal",
    "Restored",
    "Result",
    "StopRequest",
    "StopWhen",
    "SumCount",
    "Tracker",
    "TrainState",
    "UpdateAverages",
    "accuracy",
    "batch_mesh",
    "create_state",
    "cross_entropy",
    "evaluate",
    "evaluated_params",
    "fit",
    "make_clipping",
    "make_optimizer",
    "make_schedule",
    "mean",
    "next_boundary",
    "nonfinite_counts",
    "read_metrics",
    "squared_error",
    "stop_on_signals",
    "stopping_signals",
    "train_chunk",
    "train_step",
]
