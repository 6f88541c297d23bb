"""Probes of vectors of sentences, two of grammar and two of meaning.

Grammar: are words swapped, is one missing? Meaning: which sentence follows, which is of the same text?
Adi et al. 2017; Conneau et al. 2018, who call the first bigram shift.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from data.running_text import RunningText
from experiments.autoencoders.skip_scores import AMONG, Vectors, groups_of, next_first, unit

GRAMMATICAL, MEANING = ("word order", "missing word"), ("next sentence", "same text")
PROBES = (*GRAMMATICAL, *MEANING)
FOLDS = 5
MOST = 2000  # sentences of a grammatical probe, and of a search for the nearest
GROUPS = 4  # of sentences among which the next is sought
Damage = Callable[[str, np.random.Generator], str | None]


def swapped(sentence: str, rng: np.random.Generator) -> str | None:
    """Swaps two neighbouring words; None where no two differ."""
    words = sentence.split()
    places = [place for place in range(len(words) - 1) if words[place] != words[place + 1]]
    if not places:
        return None
    place = places[int(rng.integers(len(places)))]
    words[place : place + 2] = words[place + 1], words[place]
    return " ".join(words)


def shortened(sentence: str, rng: np.random.Generator) -> str | None:
    """Leaves out one word; None where there is but one."""
    words = sentence.split()
    if len(words) < 2:
        return None
    del words[int(rng.integers(len(words)))]
    return " ".join(words)


def told_apart(vectors: Vectors, sentences: Sequence[str], damage: Damage) -> float:
    """Returns how often a logistic regression on vectors tells damaged sentences from whole ones.

    Each sentence is there as it is and damaged, and both are in the same of five folds: a half is guessing."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    pairs = [(one, other) for one in sentences if (other := damage(one, rng)) is not None]
    rows = vectors([one for pair in pairs for one in pair])
    labels = np.tile([0, 1], len(pairs))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    groups = np.repeat(np.arange(len(pairs)), 2)
    return float(cross_val_score(classifier, rows, labels, groups=groups, cv=GroupKFold(FOLDS)).mean())


def nearest_is_of_same(vectors: Float[np.ndarray, "N S"], texts: Int[np.ndarray, " N"]) -> float:
    """Returns how often the vector of the greatest cosine with one is of the same text."""
    unit_vectors = unit(vectors)
    cosines = unit_vectors @ unit_vectors.T
    np.fill_diagonal(cosines, -np.inf)
    return float(np.mean(texts[cosines.argmax(axis=1)] == texts))


def chance(text: RunningText) -> dict[str, float]:
    """Returns what guessing reaches in each probe."""
    _, texts = placed(text)
    alike = (np.bincount(texts)[texts] - 1) / (len(texts) - 1)
    first = float(np.mean([1 / len(group) for group in groups_of(text, "test", GROUPS)]))
    return dict(zip(PROBES, (0.5, 0.5, first, float(alike.mean())), strict=True))


def placed(text: RunningText) -> tuple[list[str], Int[np.ndarray, " N"]]:
    """Returns up to `MOST` different test sentences, and the number of the text that each is of: sentences in a row
    of at most `AMONG`, of a tale all of them."""
    found: dict[str, int] = {}
    number = 0
    for chain in text.chains["test"]:
        for first in range(0, len(chain), AMONG):
            for one in chain[first : first + AMONG]:
                found.setdefault(one, number)
            number += 1
    sentences = list(found)[:MOST]
    return sentences, np.array([found[one] for one in sentences])


def probe_vectors(text: RunningText, vectors: Vectors) -> dict[str, float]:
    """Measures each of `PROBES` on held-out sentences: shares of right answers."""
    held = list(dict.fromkeys((*text.splits["valid"], *text.splits["test"])))[:MOST]
    sentences, texts = placed(text)
    found = (
        told_apart(vectors, held, swapped),
        told_apart(vectors, held, shortened),
        next_first(vectors, groups_of(text, "test", GROUPS)),
        nearest_is_of_same(vectors(sentences), texts),
    )
    return dict(zip(PROBES, found, strict=True))


def format_probes(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Formats a row for each system, a column for each probe."""
    width = max(map(len, scores))
    heads = "".join(f"  {name:>13}" for name in PROBES)
    lines = ["shares of right answers: two probes of grammar, two of meaning", "", " " * width + heads]
    for name, found in scores.items():
        lines.append(f"{name:<{width}}" + "".join(f"  {found[probe]:>13.1%}" for probe in PROBES))
    return "\n".join(lines)
