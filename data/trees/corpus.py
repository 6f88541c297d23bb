"""A corpus of trees: files in brackets, or sentences of a grammar made from a seed."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data.synthetic.grammar import grammar_sentences
from data.text.files import SPLITS, group_by_split, read_file
from data.trees.tree import Tree, read_trees

_ENDINGS = (".ptb", ".mrg", ".brackets")


@dataclass(frozen=True)
class TreesConfig:
    """The choice of trees."""

    dir: Path | None = None
    """Folder of files in brackets, NAME.ptb, .mrg or .brackets, plain or gzipped, whose names tell train, valid (or
    dev) and test. Without a test file that of dev is tested on, and the last training trees validate. Default:
    sentences of a grammar, made from --data.seed."""
    encoding: str = "utf-8"
    """Encoding of the files of --data.dir, by its Python name."""
    valid_share: float = 0.08
    """Fraction of the training trees that validate, the last ones, where there is no test file."""
    longest: int = 40
    """Leave out sentences of more words, from all splits; the summary says how many."""
    min_count: int = 2
    """Words seen less often in training are unknown words."""
    sentences: int = 2000
    """Training sentences that are made."""
    held_out: int = 300
    """Sentences that are made for validation, and as many for test."""
    seed: int = 0
    """Seed of the sentences that are made."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        for name in ("longest", "min_count", "sentences", "held_out"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise ValueError(f"--data.{option} must be 1 or more, but is {getattr(self, name)}")
        if not 0 < self.valid_share < 1:
            raise ValueError(f"--data.valid-share must lie between 0 and 1, but is {self.valid_share}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"--data.seed must lie in 0 … 2**64 - 1, but is {self.seed}")


class TreeText(NamedTuple):
    """Trees by split: train, valid and test; of each how many were left out as too long; a checksum by the name of
    each file."""

    splits: Mapping[str, Sequence[Tree]]
    left_out: Mapping[str, int]
    origin: Mapping[str, str]

    def labels(self, split: str = "train") -> Counter[str]:
        """Counts the labels of constituents."""
        return Counter(one.label for tree in self.splits[split] for one in tree.constituents)

    def tags(self, split: str = "train") -> Counter[str]:
        """Counts the tags of words."""
        return Counter(tag for tree in self.splits[split] for tag in tree.tags)

    def summary(self) -> str:
        """Describes the trees: a line in total, and one for each split."""
        lines = [f"trees: {', '.join(self.origin)}; {len(self.labels())} labels, {len(self.tags())} tags"]
        known = {word for tree in self.splits["train"] for word in tree.words}
        for name, trees in self.splits.items():
            words = [word for tree in trees for word in tree.words]
            line = f"  {name:<6}{len(trees):>7,} sentences, {len(words):,} words"
            if name != "train":
                line += f", {sum(word not in known for word in words) / len(words):.1%} not in train"
            too_long = self.left_out.get(name, 0)
            lines.append(line + (f"; {too_long:,} longer than --data.longest left out" if too_long else ""))
        return "\n".join(lines)


def load_trees(config: TreesConfig) -> TreeText:
    """Reads the trees of `--data.dir`, or makes them.

    Raises ValueError for every fault of files or settings, naming the line, and for a split without a tree of at
    most `longest` words.
    """
    config.check()
    splits, origin = _made(config) if config.dir is None else _from_files(config, config.dir)
    kept = {
        name: [tree for tree in trees if len(tree.words) <= config.longest] for name, trees in splits.items()
    }
    for name, trees in kept.items():
        if not trees:
            raise ValueError(
                f"no {name} sentence has at most {config.longest} words: raise --data.longest or give more trees"
            )
    left_out = {name: len(trees) - len(kept[name]) for name, trees in splits.items()}
    return TreeText(kept, left_out, origin)


Splits = Mapping[str, Sequence[Tree]]


def _made(config: TreesConfig) -> tuple[Splits, Mapping[str, str]]:
    ends = (0, *(config.sentences + parts * config.held_out for parts in range(3)))
    text = "\n".join(sentence.tree for sentence in grammar_sentences(config.seed, ends[-1]))
    trees = read_trees(text, "the grammar")
    splits = {split: trees[a:b] for split, a, b in zip(SPLITS, ends, ends[1:], strict=False)}
    return splits, {f"made from seed {config.seed}": hashlib.sha256(text.encode()).hexdigest()}


def _from_files(config: TreesConfig, location: Path) -> tuple[Splits, Mapping[str, str]]:
    files = {split: read_file(path) for split, path in find_tree_files(location).items()}
    splits: dict[str, Sequence[Tree]] = {
        split: read_trees(file.text(config.encoding), str(file.path)) for split, file in files.items()
    }
    if "test" not in splits:
        train = splits["train"]
        count = max(round(len(train) * config.valid_share), 1)
        splits = {"train": train[:-count], "valid": train[-count:], "test": splits["valid"]}
    return splits, {file.path.name: file.checksum for file in files.values()}


def find_tree_files(location: Path) -> dict[str, Path]:
    """Finds the files of a folder by the splits that their names tell: train, and valid or test or both.

    Raises ValueError if there is no such folder, or a file is missing."""
    if not location.is_dir():
        raise ValueError(f"there is no folder {location}: name one that holds trees with --data.dir")
    endings = (*_ENDINGS, *(f"{ending}.gz" for ending in _ENDINGS))
    found = [path for path in sorted(location.iterdir()) if path.name.endswith(endings) and path.is_file()]
    grouped = group_by_split(location, found) if found else {}
    if "train" not in grouped or "valid" not in grouped:
        raise ValueError(
            f"{location} has no trees of train and dev: give files whose names say so and end in "
            f"{', '.join(_ENDINGS)}, or in .gz after it"
        )
    return {split: grouped[split][0] for split in SPLITS if split in grouped}
