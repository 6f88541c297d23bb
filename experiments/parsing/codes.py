"""Trees as ids: words with their tags, labels of words, sequences of brackets."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int32

from data import (
    Example,
    PairExample,
    SortedBatches,
    Tree,
    TreesConfig,
    TreeText,
    Vocabulary,
    WordEncoder,
    load_trees,
)
from data.trees.sequences import CLOSE, OPEN, linearise, tree_of_sequence
from data.trees.word_labels import tree_of_labels, word_labels
from models.decoding import trees as kinds_of_tokens

END = "<eos>"
WORDS, SYMBOLS, LABELS = "words.json", "symbols.json", "labels.json"  # in a run's folder


@dataclass(frozen=True, eq=False)
class TreeCodes:
    """Trees, and the ids of what they are made of.

    Attributes:
        text: the trees.
        words: the words that are known.
        symbols: tags and brackets, the tokens of trees as sequences.
        labels: the labels of words.
    """

    text: TreeText
    words: WordEncoder
    symbols: Vocabulary
    labels: Vocabulary

    @property
    def origin(self) -> Mapping[str, str]:
        """The checksums of the files, by their names."""
        return self.text.origin

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns the files that a run keeps of its ids."""
        return {
            WORDS: self.words.to_json(),
            SYMBOLS: self.symbols.to_json(),
            LABELS: self.labels.to_json(),
        }

    @cached_property
    def digest(self) -> str:
        """Returns sixteen hexadecimal digits of what the ids stand for."""
        return hashlib.sha256(b"".join(self.tokenizer_files().values())).hexdigest()[:16]

    @property
    def kinds(self) -> tuple[int, ...]:
        """Returns what each symbol is for the automaton of trees."""
        named = {self.symbols.end: kinds_of_tokens.END, CLOSE: kinds_of_tokens.CLOSE}
        return tuple(
            named.get(symbol, kinds_of_tokens.OPEN if symbol.startswith(OPEN) else kinds_of_tokens.TAG)
            for symbol in self.symbols.types
        )

    def rows(self, tree: Tree) -> Int32[np.ndarray, "N 2"]:
        """Returns the id of each word, and of its tag."""
        tags = self.symbols.encode(tree.tags)
        return np.stack([self.words.encode(tree.words)[:, 0], tags], axis=-1)

    def labelled(self, tree: Tree) -> Example:
        """Returns a sentence as its words and their labels."""
        return Example(self.rows(tree), self.labels.encode(word_labels(tree)))

    def pair(self, tree: Tree) -> PairExample:
        """Returns a sentence as its words, and as the sequence of its tree, the end mark last."""
        return PairExample(self.rows(tree), self.symbols.encode([*linearise(tree), END]))

    def tree_of_labels(self, ids: Sequence[int], tree: Tree) -> Tree:
        """Returns the tree of the labels that were predicted for a sentence; the mark for unseen ones counts as
        the commonest."""
        labels = [self.labels.types[number or 1] for number in ids]
        return tree_of_labels(labels, tree.words, tree.tags)

    def tree_of_symbols(self, ids: Sequence[int], tree: Tree) -> Tree:
        """Returns the tree of a sequence that was predicted for a sentence. Raises ValueError if it is none."""
        return tree_of_sequence([self.symbols.types[number] for number in ids], tree.words, tree.tags)


def load_codes(config: TreesConfig) -> TreeCodes:
    """Loads trees, and numbers what those of training are made of."""
    text = load_trees(config)
    train = text.splits["train"]
    words = WordEncoder.build(
        (tree.words for tree in train), characters=False, lowercase=True, min_count=config.min_count
    )
    symbols = Counter(symbol for tree in train for symbol in (*linearise(tree), END))
    labels = Counter(label for tree in train for label in word_labels(tree))
    return TreeCodes(text, words, Vocabulary.build(symbols, end=END), Vocabulary.build(labels))


class HeldOut(list):
    """Held-out batches, which know the trees in them, in their order."""

    def __init__(self, trees: Sequence[Tree], batches: SortedBatches) -> None:
        super().__init__(batches.batches)
        self.trees = [trees[place] for place in batches.order.tolist()]
        self.sorted = batches
