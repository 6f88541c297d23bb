"""A judgement of how good a state is, by its evaluation."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Judge = Callable[[Mapping[str, float]], float]
"""`means of an evaluation -> a score`, lower for a better state."""


def judged(evaluation: Mapping[str, float], judge: Judge | None) -> float | None:
    """The score of an evaluation; None where nobody says which of its figures counts, or that isn't finite."""
    if judge is None and len(evaluation) != 1:
        return None
    score = judge(evaluation) if judge is not None else next(iter(evaluation.values()))
    return score if math.isfinite(score) else None


def scores(records: Iterable[Mapping[str, Any]], names: Iterable[str], judge: Judge | None) -> list[float]:
    """The scores of all evaluations so far, each a record of these figures; ∞ for one that isn't finite.

    Raises ValueError where nobody says which of several figures counts.
    """
    names = list(names)
    if judge is None and len(names) != 1:
        raise ValueError(f"validation_plateau can't tell which of {', '.join(names)} to watch: give a judge")
    found = [judged({name: record[name] for name in names if name in record}, judge) for record in records]
    return [math.inf if score is None else score for score in found]
