"""The sources of batches: tasks made from a key, and examples read through one pipeline."""

from data.batch import Array, Batch, Batches
from data.buckets import BucketBatches, bucket_batches
from data.corpus import Corpus, Size, TextConfig
from data.digits import DIGITS_CLASSES, DIGITS_PIXELS, digits, digits_indices, digits_permutation
from data.embedded_text import embedded_text
from data.examples import ArrayExamples, Example, Source, collate, nothing_like
from data.lengths import Multiple
from data.order import random_order
from data.pipeline import EvaluationBatches, GrainBatches, evaluation_batches, train_batches
from data.prepared import load_corpus, load_tokenizer
from data.streams import StreamBatch, StreamBatches, pairs, sentences, windows
from data.task_batches import MakeBatch, TaskBatches, split_key
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
from data.units import Tokenizer
from data.vocabulary import Vocabulary

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
    "BucketBatches",
    "Corpus",
    "EvaluationBatches",
    "Example",
    "GrainBatches",
    "MakeBatch",
    "Multiple",
    "Size",
    "Source",
    "StreamBatch",
    "StreamBatches",
    "TaskBatches",
    "TextConfig",
    "Tokenizer",
    "Vocabulary",
    "adding",
    "adding_baseline",
    "bucket_batches",
    "collate",
    "copy_baseline",
    "copy_memory",
    "delayed_recall",
    "delayed_recall_baseline",
    "digits",
    "digits_indices",
    "digits_permutation",
    "embedded_text",
    "evaluation_batches",
    "flip_flop",
    "load_corpus",
    "load_tokenizer",
    "nothing_like",
    "pairs",
    "random_order",
    "sentences",
    "split_key",
    "temporal_order",
    "temporal_order_baseline",
    "train_batches",
    "windows",
]
