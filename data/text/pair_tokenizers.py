"""The tokenizers of a parallel text: one for each language, or one that is shared."""

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from data.text.tokenizers import SentencePiece
from data.text.vocabulary import Vocabulary

Ids = Int32[np.ndarray, "_"]


def encode_sentence(tokenizer: SentencePiece, sentence: str, longest: int) -> Ids:
    """Returns the ids of a sentence, the end mark last: see `ParallelText.encode_source`."""
    sentence = sentence.strip()
    if not sentence:
        raise ValueError("the source is empty: give a sentence to translate")
    if "\n" in sentence:
        raise ValueError("the source has several lines: give one sentence at a time")
    named = repr(sentence if len(sentence) <= 60 else f"{sentence[:60]}…")
    unknown = tokenizer.unknown(sentence)
    if unknown:
        more = f" and {len(unknown) - 5} more" if unknown[5:] else ""
        raise ValueError(
            f"the source {named} has characters that the pieces of the training text can't spell: "
            f"{', '.join(map(repr, unknown[:5]))}{more}; leave them out"
        )
    ids = tokenizer.encode(sentence)
    if len(ids) - 1 > longest:
        raise ValueError(
            f"the source {named} has {len(ids) - 1:,} tokens, more than {longest:,}: break it into sentences"
        )
    return ids


def tokenizer_files(source: SentencePiece, target: SentencePiece) -> dict[str, bytes]:
    """Returns the files of two tokenizers, or of one that is shared."""
    sides = {"shared": source} if source is target else {"source": source, "target": target}
    files = {}
    for side, tokenizer in sides.items():
        files |= {f"{side}_vocabulary.json": tokenizer.vocabulary.to_json(), f"{side}.model": tokenizer.model}
    return files


def load_tokenizers(folder: Path) -> tuple[SentencePiece, SentencePiece]:
    """Reads the tokenizers of sources and targets, one object if it is shared, from the files of `tokenizer_files`
    in a run's folder. Raises ValueError if there are none."""

    def load(side: str) -> SentencePiece:
        path = folder / f"{side}.model"
        vocabulary = Vocabulary.load(folder / f"{side}_vocabulary.json")
        if not path.is_file():
            raise ValueError(f"there are no pieces {path}: name a folder written by a run or in a cache")
        return SentencePiece(vocabulary, path.read_bytes())

    if (folder / "shared_vocabulary.json").is_file():
        tokenizer = load("shared")
        return tokenizer, tokenizer
    return load("source"), load("target")
