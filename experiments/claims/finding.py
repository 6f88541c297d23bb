"""The findings of `claims`: rows, verdicts, and the statistics on which verdicts rest."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]
HELD, PARTLY, FAILED, OPEN, UNRUN = "holds", "holds partly", "does not hold", "undecided", "not run"
VERDICTS = (HELD, PARTLY, FAILED, OPEN, UNRUN)


class Finding(NamedTuple):
    """The measurement behind a claim, the verdict by its rule, and one sentence why."""

    measured: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Row:
    """A claim, where in the notes it stands, the pieces of evidence it needs, and its rule."""

    sentence: str
    where: str
    pieces: tuple[str, ...]
    judge: Callable[..., Finding]


@dataclass(frozen=True)
class Claim:
    """A row with its finding, and the commands that measure it."""

    sentence: str
    where: str
    command: str
    measured: str
    verdict: str
    why: str


def explained(measured: str, verdict: str, holds: str, otherwise: str) -> Finding:
    """Builds a finding, with one sentence why the claim holds, or doesn't or only partly; what is undecided needs
    none."""
    why = {HELD: holds, OPEN: "The spread over the seeds is larger than the difference."}
    return Finding(measured, verdict, why.get(verdict, otherwise))


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Computes mean(a) − mean(b) ∓ two standard errors √(var a / n + var b / m), the seeds taken as independent; −∞
    to ∞ where a net diverged, because there is no mean then."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -math.inf, math.inf
    error = math.sqrt(float(a.var(ddof=1)) / len(a) + float(b.var(ddof=1)) / len(b))
    middle = float(a.mean() - b.mean())
    return middle - 2 * error, middle + 2 * error


def smaller(a: np.ndarray, b: np.ndarray) -> str:
    """Judges whether a is smaller than b: holds, does not hold (it is larger, or both are the same), undecided."""
    low, high = difference(a, b)
    return HELD if high < 0 else FAILED if low > 0 or low == high else OPEN


def interval(values: np.ndarray) -> tuple[float, float]:
    """Computes the mean ∓ two standard errors; −∞ to ∞ where a value isn't finite."""
    if not np.isfinite(values).all():
        return -math.inf, math.inf
    error = 2 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - error, float(values.mean()) + error


def share(yes: np.ndarray) -> str:
    """Judges a claim about several cases: holds in all of them, partly in some, not in any."""
    return HELD if np.all(yes) else PARTLY if np.any(yes) else FAILED


def mean_spread(values: np.ndarray, digits: int = 3) -> str:
    """Formats mean and standard deviation over the seeds: `−0.123 ± 0.004`."""
    if lost := int(np.sum(~np.isfinite(values))):
        return f"not finite for {lost} of {len(values)} nets"
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def geometric(logs: np.ndarray) -> str:
    """Formats the geometric mean of numbers, of which the logarithms are given."""
    return f"{math.exp(float(logs.mean())):.3g}"


def listed(values: np.ndarray, spec: str = ".3g") -> str:
    """Formats numbers in a row."""
    return ", ".join(f"{value:{spec}}" for value in values.tolist())
