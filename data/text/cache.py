"""The cache of tokenised texts: folders of `prepare_once`, token ids in them by TFDS."""

import dataclasses
from pathlib import Path
from typing import Any

from data.text.cache_folder import Written, prepare_once
from data.text.corpus import Corpus, Size, TextConfig, Texts, read_texts, tokenise
from data.text.tokenizers import Bytes, Characters, SentencePiece, Tokenizer, Words
from data.text.vocabulary import Vocabulary


def load_corpus(config: TextConfig) -> Corpus:
    """Returns the tokenised text of a config; a text from files is prepared once and then read from the cache, as
    `prepare_once` does.

    Raises ValueError for every fault of files or settings.
    """
    config.check()
    if config.dir is None and config.tfds is None:
        return tokenise(read_texts(config), config)
    if config.tfds is None:
        texts = read_texts(config)
    else:
        from data.text.tfds_text import load_tfds_text

        texts = load_tfds_text(config)
    return prepare_once(
        config.cache,
        name=config.dir.resolve().name if config.dir is not None else str(config.tfds).replace("/", "_"),
        options=_options(config, texts),
        sources=dict(texts.origin),
        prepare=lambda: tokenise(texts, config),
        write=_write,
        read=lambda folder, details: _read(folder, details, config, texts),
    )


def _options(config: TextConfig, texts: Texts) -> dict[str, Any]:
    """Returns the options that the prepared data depend on, with their values."""
    used: dict[str, Any] = {"unit": config.unit}
    if config.encoding != TextConfig.encoding:
        used["encoding"] = config.encoding
    if config.unit in ("character", "word"):
        used |= {"min_count": config.min_count, "vocabulary_limit": config.vocabulary_limit}
    if config.unit == "bpe":
        used["bpe_size"] = config.bpe_size
    if config.tfds is not None:
        used |= {"tfds": config.tfds, "tfds_feature": config.tfds_feature}
    elif len(texts.origin) != len(texts.splits) or any("part)" in name for name in texts.names.values()):
        used |= {"valid_share": config.valid_share, "test_share": config.test_share}
    return used


def _write(folder: Path, corpus: Corpus) -> Written:
    from data.text.tfds_cache import write_splits

    write_splits(folder, corpus.splits)
    sizes = {split: dataclasses.asdict(size) for split, size in corpus.sizes.items()}
    return corpus.tokenizer_files(), sizes


def _read(folder: Path, details: dict[str, Any], config: TextConfig, texts: Texts) -> Corpus:
    from data.text.tfds_cache import read_splits

    sizes = {split: Size(**size) for split, size in details.items()}
    return Corpus(read_splits(folder, list(sizes)), load_tokenizer(folder, config.unit), sizes, texts.origin)


def load_tokenizer(folder: Path, unit: str) -> Tokenizer:
    """Reads the files written from `Corpus.tokenizer_files`, in the cache or in a run's folder."""
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    if unit == "bpe":
        return SentencePiece(vocabulary, (folder / "bpe.model").read_bytes())
    return {"character": Characters, "byte": Bytes, "word": Words}[unit](vocabulary)
