"""ROUGE-L of summaries: the longest common subsequence of words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class RougeL:
    """The mean over texts of the F-score of the longest common subsequence, 0 … 1 (Lin 2004):

        P = LCS / words of the prediction        R = LCS / words of the reference        F = 2 P R / (P + R)

    Words are lower-cased runs of Latin letters and digits, as in Google's rouge-score without stemming. Counts: F,
    P, R and 1; `value` is the mean of F."""

    size = 4

    def of(self, prediction: str, reference: str) -> Float[np.ndarray, "4"]:
        """Returns the scores of one text; 0 where either has no words."""
        found, true = (WORD.findall(text.lower()) for text in (prediction, reference))
        common = longest_common(found, true)
        if not common:
            return np.array([0.0, 0.0, 0.0, 1.0])
        precision, recall = common / len(found), common / len(true)
        return np.array([2 * precision * recall / (precision + recall), precision, recall, 1.0])

    def value(self, total: Float[np.ndarray, "4"]) -> float:
        """Returns the mean F of a sum of counts. Raises ValueError without a text."""
        if not total[3]:
            raise ValueError("there is no text to score: give at least one")
        return float(total[0] / total[3])


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns the length of the longest sequence of words that stands in both, in order, with gaps or without."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0  # the entry up and to the left
        for place, candidate in enumerate(other, 1):
            above = row[place]
            row[place] = before + 1 if word == candidate else max(above, row[place - 1])
            before = above
    return row[-1]
