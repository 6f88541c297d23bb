"""Sources of batches: tasks generated from a key, and examples read through one pipeline."""

from data.batch import Array, Batch, Batches
from data.buckets import BucketBatches, SortedBatches, bucket_batches, length_bounds, sorted_batches
from data.digits import DIGITS_CLASSES, DIGITS_PIXELS, digits, digits_indices, digits_permutation
from data.dynamics import Lorenz, MackeyGlass, settled, trajectory
from data.examples import (
    ArrayExamples,
    Example,
    PadToMultiple,
    Source,
    array_digest,
    collate,
    empty_example,
)
from data.images import ImagesConfig, load_images
from data.music import MusicConfig, load_music, midi_bytes
from data.pipeline import EvaluationBatches, GrainBatches, evaluation_batches, train_batches
from data.position import random_order
from data.series import Series, SeriesConfig, collate_gaps, load_series, next_values
from data.synthetic.batches import MakeBatch, TaskBatches, split_key
from data.synthetic.grammar import GrammarSentence, grammar_sentences
from data.synthetic.memory_tasks import (
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
from data.synthetic.pairs import copy_pairs, number_pairs, reversal_pairs
from data.text.builtin_text import builtin_text
from data.text.cache import load_corpus, load_tokenizer
from data.text.classified import ClassifiedConfig, ClassifiedSentence, ClassifiedText, load_classified
from data.text.corpus import Corpus, Size, TextConfig
from data.text.key_terms import Document, DocumentText, KeyTermsConfig, load_documents
from data.text.masked import MaskedBatch, MaskedBatches, Sentences, masked_batch, split_sentences
from data.text.pair_batches import (
    PairBatch,
    PairExample,
    collate_pairs,
    held_out_pairs,
    pair_batches,
    pair_bounds,
)
from data.text.pair_files import Pair, join_pairs, read_pairs
from data.text.pair_tokenizers import encode_sentence, load_tokenizers
from data.text.parallel import ParallelSplit, ParallelText, load_parallel
from data.text.parallel_config import ParallelConfig
from data.text.streams import StreamBatch, StreamBatches, pairs, sentences, windows
from data.text.tagged import TaggedConfig, TaggedSentence, TaggedText, load_tagged
from data.text.tokenizers import Tokenizer, vocabulary_digest
from data.text.vector_files import WordVectors, format_vectors, read_vectors
from data.text.vocabulary import Vocabulary
from data.text.windows import WindowBatches
from data.text.word_encoder import SentenceEncoder, TokenEncoder, WordEncoder, load_encoder
from data.trees.corpus import TreesConfig, TreeText, load_trees
from data.trees.tree import Constituent, Tree, format_tree, read_trees
from data.words.questions import WordTests, read_word_tests
from data.words.text import WordText, WordTextConfig, load_word_text
from data.words.windows import WindowBatch, WordWindows

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
    "ClassifiedConfig",
    "ClassifiedSentence",
    "ClassifiedText",
    "Constituent",
    "Corpus",
    "Document",
    "DocumentText",
    "EvaluationBatches",
    "Example",
    "GrainBatches",
    "GrammarSentence",
    "ImagesConfig",
    "KeyTermsConfig",
    "Lorenz",
    "MackeyGlass",
    "MakeBatch",
    "MaskedBatch",
    "MaskedBatches",
    "MusicConfig",
    "PadToMultiple",
    "Pair",
    "PairBatch",
    "PairExample",
    "ParallelConfig",
    "ParallelSplit",
    "ParallelText",
    "SentenceEncoder",
    "Sentences",
    "Series",
    "SeriesConfig",
    "Size",
    "SortedBatches",
    "Source",
    "StreamBatch",
    "StreamBatches",
    "TaggedConfig",
    "TaggedSentence",
    "TaggedText",
    "TaskBatches",
    "TextConfig",
    "TokenEncoder",
    "Tokenizer",
    "Tree",
    "TreeText",
    "TreesConfig",
    "Vocabulary",
    "WindowBatch",
    "WindowBatches",
    "WordEncoder",
    "WordTests",
    "WordText",
    "WordTextConfig",
    "WordVectors",
    "WordWindows",
    "adding",
    "adding_baseline",
    "array_digest",
    "bucket_batches",
    "builtin_text",
    "collate",
    "collate_gaps",
    "collate_pairs",
    "copy_baseline",
    "copy_memory",
    "copy_pairs",
    "delayed_recall",
    "delayed_recall_baseline",
    "digits",
    "digits_indices",
    "digits_permutation",
    "empty_example",
    "encode_sentence",
    "evaluation_batches",
    "flip_flop",
    "format_tree",
    "format_vectors",
    "grammar_sentences",
    "held_out_pairs",
    "join_pairs",
    "length_bounds",
    "load_classified",
    "load_corpus",
    "load_documents",
    "load_encoder",
    "load_images",
    "load_music",
    "load_parallel",
    "load_series",
    "load_tagged",
    "load_tokenizer",
    "load_tokenizers",
    "load_trees",
    "load_word_text",
    "masked_batch",
    "midi_bytes",
    "next_values",
    "number_pairs",
    "pair_batches",
    "pair_bounds",
    "pairs",
    "random_order",
    "read_pairs",
    "read_trees",
    "read_vectors",
    "read_word_tests",
    "reversal_pairs",
    "sentences",
    "settled",
    "sorted_batches",
    "split_key",
    "split_sentences",
    "temporal_order",
    "temporal_order_baseline",
    "train_batches",
    "trajectory",
    "vocabulary_digest",
    "windows",
]
