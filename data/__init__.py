"""Where batches come from: tasks made from a key, and examples read through one pipeline."""

from data.batch import Array, Batch, Batches
from data.digits import DIGITS_CLASSES, DIGITS_PIXELS, digits, digits_indices, digits_permutation
from data.examples import ArrayExamples, Example, Source, collate, nothing_like
from data.lengths import Multiple
from data.order import random_order
from data.pipeline import EvaluationBatches, GrainBatches, evaluation_batches, train_batches
from data.task_batches import Task, TaskBatches, split_key
from data.tasks import (
    COPY_BLANK,
    COPY_CATEGORIES,
    COPY_DELIMITER,
    COPY_LENGTH,
    COPY_SYMBOLS,
    ORDER_SYMBOLS,
    adding,
    adding_baseline,
    copy_baseline,
    copy_memory,
    delayed_recall,
    delayed_recall_baseline,
    flip_flop,
    temporal_order,
    temporal_order_baseline,
)

__all__ = [
    "COPY_BLANK",
    "COPY_CATEGORIES",
    "COPY_DELIMITER",
    "COPY_LENGTH",
    "COPY_SYMBOLS",
    "DIGITS_CLASSES",
    "DIGITS_PIXELS",
    "ORDER_SYMBOLS",
    "Array",
    "ArrayExamples",
    "Batch",
    "Batches",
    "EvaluationBatches",
    "Example",
    "GrainBatches",
    "Multiple",
    "Source",
    "Task",
    "TaskBatches",
    "adding",
    "adding_baseline",
    "collate",
    "copy_baseline",
    "copy_memory",
    "delayed_recall",
    "delayed_recall_baseline",
    "digits",
    "digits_indices",
    "digits_permutation",
    "evaluation_batches",
    "flip_flop",
    "nothing_like",
    "random_order",
    "split_key",
    "temporal_order",
    "temporal_order_baseline",
    "train_batches",
]
