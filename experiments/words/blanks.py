"""Sentences with a word hidden, and the likeliest words for it, by a masked language model."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import Sentences
from experiments.task_report import padded
from models import MaskedLanguageModel
from models.cell import Params

BLANKS, GUESSES = 20, 3  # sentences of the table, and words for each blank


def blanks(
    text: Sentences, names: Sequence[str], model: MaskedLanguageModel, params: Params, length: int
) -> str:
    """Formats sentences of a text with a word hidden, that word, and the likeliest words for it.

    Args:
        text: the sentences.
        names: the types of its vocabulary.
        model: a masked language model of it.
        params: its parameters.
        length: tokens of the longest sentence with its two marks.
    """
    types, rng, lines = len(names), np.random.default_rng(1), ["word hidden, likeliest words, sentence", ""]
    fill = jax.jit(lambda p, ids, mask, at: jnp.argsort(-words_at(model, p, ids, mask, at))[:GUESSES])
    sizes = np.diff(text.bounds)
    unknown = np.add.reduceat(text.ids == text.unknown, text.bounds[:-1])
    long = np.flatnonzero((sizes >= 6) & (sizes <= min(length - 2, 24)) & (unknown <= 1))
    for sentence in rng.permutation(long)[:BLANKS].tolist():
        words = text.ids[text.bounds[sentence] : text.bounds[sentence + 1]]
        known = np.flatnonzero(words[:-1] != text.unknown)  # without the full stop
        at = int(rng.choice(known))
        ids = np.zeros(length, np.int32)
        ids[: len(words) + 2] = [types, *words, types + 1]
        ids[at + 1] = types + 2
        guesses = fill(params, jnp.asarray(ids), jnp.arange(length) < len(words) + 2, at + 1)
        shown = [names[int(word)] for word in words]
        answer, shown[at] = shown[at], "____"
        best = ", ".join(names[int(guess)] for guess in guesses)
        lines.append(f"{padded(answer, 16)}  {padded(best, 40)}  {' '.join(shown)}")
    return "\n".join(lines)


def words_at(model: MaskedLanguageModel, params: Params, ids: Any, mask: Any, at: Any) -> Any:
    """Computes the logits of the word at a place of one sequence `[T]`, `[V]`."""
    ys: Any = model.apply(params, ids[:, None], mask=mask[:, None])
    return model.apply(params, ys[at, 0], method="words")
