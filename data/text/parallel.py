"""A parallel text: pairs in two languages, their tokens, and the two tokenizers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.text.cache_folder import Written, prepare_once
from data.text.pair_batches import PairExample, pair_lengths
from data.text.pair_files import Pair
from data.text.pair_tokenizers import Ids, encode_sentence, load_tokenizers, tokenizer_files
from data.text.parallel_config import ParallelConfig, ParallelPairs, read_parallel
from data.text.tokenizers import SentencePiece, vocabulary_digest

MANY_UNKNOWN = 0.05  # fraction of tokens above which the summary warns


class ParallelSplit(NamedTuple):
    """Pairs as text and as token ids, in one order."""

    pairs: Sequence[Pair]
    examples: Sequence[PairExample]


@dataclass(frozen=True, eq=False)
class ParallelText:
    """A tokenised parallel text.

    Attributes:
        splits: train and valid and, if there is one, test.
        source: the tokenizer of the sources.
        target: that of the targets; the same object if both languages share one.
        left_out: how many training pairs were too long.
        longest: the most tokens of a held-out source, the end mark not counted.
        origin: a checksum by the name of each file, or of what was made.
    """

    splits: Mapping[str, ParallelSplit]
    source: SentencePiece
    target: SentencePiece
    left_out: int
    longest: int
    origin: Mapping[str, str]

    @property
    def shared(self) -> bool:
        """Tells whether both languages have one tokenizer."""
        return self.source is self.target

    @cached_property
    def digest(self) -> str:
        """Returns sixteen hexadecimal digits of what the ids of both languages stand for."""
        return vocabulary_digest(self.source, self.target)

    @property
    def held_out(self) -> list[str]:
        """Returns the names of the splits besides train: valid, and test if it exists."""
        return [split for split in self.splits if split != "train"]

    def split(self, name: str) -> ParallelSplit:
        """Returns a split. Raises ValueError if there is none of this name."""
        if name not in self.splits:
            raise ValueError(
                f"the pairs have no {name} split, only {' and '.join(self.splits)}: give files for it"
            )
        return self.splits[name]

    def encode_source(self, sentence: str) -> Ids:
        """Returns the ids of a sentence to translate, the end mark last.

        Raises ValueError if it is empty, longer than held-out sentences may be, or has a character that the pieces
        of the training text can't spell.
        """
        return encode_sentence(self.source, sentence, self.longest)

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns the files from which `load_tokenizers` reads both tokenizers in a run's folder."""
        return tokenizer_files(self.source, self.target)

    def summary(self) -> str:
        """Describes the pairs: a line in total, one for each split, what was left out, and what misleads scores."""
        types = [len(side.vocabulary) for side in (self.source, self.target)]
        counted = f"{types[0]:,} shared types" if self.shared else f"{types[0]:,} and {types[1]:,} types"
        lines = [f"pairs: {', '.join(self.origin)}; {counted}"]
        known = {pair.source for pair in self.split("train").pairs}
        for name, (pairs, examples) in self.splits.items():
            tokens = np.sum([pair_lengths(example) for example in examples], axis=0)
            line = f"  {name:<6}{len(pairs):>9,} pairs, {tokens[0]:,} and {tokens[1]:,} tokens"
            repeated = 0 if name == "train" else sum(pair.source in known for pair in pairs)
            lines.append(line + (f"; {repeated:,} sources occur in train" if repeated else ""))
        if self.left_out:
            lines.append(f"  {self.left_out:,} training pairs were left out: longer than --data.longest")
        return "\n".join([*lines, *self._warnings()])

    def _warnings(self) -> list[str]:
        warnings = []
        for name, (_, examples) in self.splits.items():
            for side, tokenizer in enumerate((self.source, self.target)):
                ids = np.concatenate([example[side] for example in examples])
                share = np.mean(ids == tokenizer.vocabulary.unknown_id)
                if share > MANY_UNKNOWN:
                    warnings.append(
                        f"warning: {share:.1%} of the {name} {PairExample._fields[side]} can't be spelt with "
                        "pieces of the training text: are they of the same language and encoding?"
                    )
        return warnings


class _Tokens(NamedTuple):
    """The ids of every split and side, `train_source` and so on, each sentence ended by an end mark."""

    ids: Mapping[str, Ids]
    source: SentencePiece
    target: SentencePiece


def load_parallel(config: ParallelConfig) -> ParallelText:
    """Returns the tokenised pairs of a config; those from files are prepared once and then read from the cache, as
    `prepare_once` does.

    Raises ValueError for every fault of files or settings.
    """
    pairs = read_parallel(config)
    if "valid" not in pairs.splits:
        raise ValueError("there is no valid split: give a file for it, or a --data.valid-share above 0")
    if config.dir is None:
        return _assemble(config, pairs, _tokenise(config, pairs))
    vocabulary = {"vocabulary": config.vocabulary, "types": config.most_types}
    tokens = prepare_once(
        config.cache,
        name=config.dir.resolve().name,
        options={**pairs.settings, **vocabulary},
        sources=dict(pairs.origin),
        prepare=lambda: _tokenise(config, pairs),
        write=_write,
        read=_read,
    )
    return _assemble(config, pairs, tokens)


def _tokenise(config: ParallelConfig, pairs: ParallelPairs) -> _Tokens:
    """Learns the tokenizers from the training pairs, and encodes all."""
    sides = [[pair[side] for pair in pairs.splits["train"]] for side in range(2)]

    def learn(*languages: Sequence[str]) -> SentencePiece:
        text = "\n".join(sentence for sentences in languages for sentence in sentences)
        return SentencePiece.learn(text, config.most_types, at_most=True, option="--data.types")

    if config.vocabulary == "shared":
        source = target = learn(*sides)
    else:
        source, target = map(learn, sides)
    ids = {}
    for split, found in pairs.splits.items():
        for side, tokenizer in enumerate((source, target)):
            text = "\n".join(pair[side] for pair in found)
            ids[f"{split}_{Pair._fields[side]}"] = tokenizer.encode(text)
    return _Tokens(ids, source, target)


def _assemble(config: ParallelConfig, pairs: ParallelPairs, tokens: _Tokens) -> ParallelText:
    """Leaves out training pairs that are too long. Raises ValueError for held-out ones, and if none is left."""
    splits, left_out = {}, 0
    for split, found in pairs.splits.items():
        sides = [
            _sentences(tokens.ids[f"{split}_{side}"], tokenizer)
            for side, tokenizer in zip(Pair._fields, tokens[1:], strict=True)
        ]
        examples = [PairExample(*example) for example in zip(*sides, strict=True)]
        lengths = [max(pair_lengths(example)) - 1 for example in examples]
        if split == "train":
            kept = [index for index, length in enumerate(lengths) if length <= config.longest]
            left_out = len(lengths) - len(kept)
            if not kept:
                raise ValueError(
                    f"every training pair has more than {config.longest} tokens on a side: raise --data.longest"
                )
            found, examples = [found[index] for index in kept], [examples[index] for index in kept]
        elif max(lengths) > config.longest_held_out:
            number = int(np.argmax(lengths))
            raise ValueError(
                f"pair {number + 1} of the {split} split has {lengths[number]:,} tokens on a side, more than "
                f"--data.longest-held-out {config.longest_held_out:,}: raise it, or take the pair out"
            )
        splits[split] = ParallelSplit(found, examples)
    return ParallelText(splits, tokens.source, tokens.target, left_out, config.longest_held_out, pairs.origin)


def _sentences(ids: Ids, tokenizer: SentencePiece) -> list[Ids]:
    """Splits ids after each end mark."""
    ends = np.flatnonzero(ids == tokenizer.vocabulary.end_id) + 1
    return np.split(ids, ends[:-1])


def _write(folder: Path, tokens: _Tokens) -> Written:
    from data.text.tfds_cache import write_splits

    write_splits(folder, tokens.ids)
    return tokenizer_files(tokens.source, tokens.target), {"splits": list(tokens.ids)}


def _read(folder: Path, details: dict[str, Any]) -> _Tokens:
    from data.text.tfds_cache import read_splits

    return _Tokens(read_splits(folder, details["splits"]), *load_tokenizers(folder))
