"""Shared by the experiments on text: the corpus that a config names, prompts, and figures of its losses."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from data import Corpus, Size, TextConfig, Tokenizer, load_corpus
from experiments.harness.errors import UserError

VOCABULARY = "the vocabulary"  # its digest in checkpoints, beside the options


def checked_corpus(config: TextConfig) -> Corpus:
    """Loads the corpus, which must have something to validate on. Raises ValueError if it has not."""
    corpus = load_corpus(config)
    corpus.split("valid")
    return corpus


def encoded_prompt(tokenizer: Tokenizer, prompt: str) -> Int[np.ndarray, "T"]:
    """Encodes a prompt. Raises ValueError, naming them, for words or characters the training text doesn't hold."""
    unknown = tokenizer.unknown(prompt)
    if unknown:
        named = ", ".join(map(repr, unknown[:5])) + (f" and {len(unknown) - 5} more" if unknown[5:] else "")
        raise UserError(
            "--prompt",
            f"{prompt!r} holds what the vocabulary of the training text doesn't: {named}; choose other words",
        )
    return tokenizer.encode_prompt(prompt)


def perplexity_of(loss: float) -> float:
    """Returns the exponential of a mean loss in nats; infinity where that is beyond all floats."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def finite_or_none(results: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces numbers that aren't finite by None at any depth, as JSON has none of them."""
    return {
        key: finite_or_none(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for key, value in results.items()
    }


def bits_per_character(loss: float, tokens: int, size: Size) -> float:
    """Returns, for each character of the text, the bits of its tokens, whose mean loss is in nats, and those that
    spell what is unknown.

    By it units can be compared: without the spelling a vocabulary that knows nothing would cost nothing.
    """
    return (loss / math.log(2) * tokens + size.spelling) / size.characters
