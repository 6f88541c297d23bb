"""A small corpus of references and predictions."""

import numpy as np

WORDS = [
    "the",
    "The",
    "a",
    "dog",
    "Dog's",
    "over,",
    "(small)",
    "houses.",
    "in",
    "3.5",
    "New-York",
    "?",
    "ß",
    "&amp;",
]
SEED = 5


def corpus(seed: int, count: int) -> tuple[list[str], list[str]]:
    """References, and predictions that share most of their words with them; some are empty."""
    rng = np.random.default_rng(seed)
    references = [" ".join(rng.choice(WORDS, rng.integers(0, 15))) for _ in range(count)]
    longer = [(text + " a dog").split() for text in references]
    predictions = [
        " ".join(rng.choice([word, word.title()], p=[0.9, 0.1]) for word in words if rng.random() > 0.2)
        for words in longer
    ]
    return predictions, references
