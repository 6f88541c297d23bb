"""What experiments on text share: the corpus that a config names, and prompts."""

import numpy as np
from jaxtyping import Int

from data import Corpus, TextConfig, Tokenizer, load_corpus


def checked_corpus(config: TextConfig) -> Corpus:
    """The corpus, which has something to validate on. Raises ValueError as a sentence for the user."""
    corpus = load_corpus(config)
    corpus.split("valid")
    return corpus


def encoded_prompt(tokenizer: Tokenizer, prompt: str) -> Int[np.ndarray, "T"]:
    """A prompt's tokens. Raises ValueError, naming them, for words or characters the training text doesn't hold."""
    unknown = tokenizer.unknown(prompt)
    if unknown:
        named = ", ".join(map(repr, unknown[:5])) + (f" and {len(unknown) - 5} more" if unknown[5:] else "")
        raise ValueError(
            f"--prompt {prompt!r} holds what the vocabulary of the training text doesn't: {named}; "
            "choose other words"
        )
    return tokenizer.encode_prompt(prompt)


def bits_per_character(perplexity: float, tokens: int, characters: int) -> float:
    """log₂ of the perplexity, a token, for each character of the text: units can be compared by it."""
    return float(np.log2(perplexity)) * tokens / characters
