"""The verdicts of `claims`: each sentence with its rule, a function of what was measured alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Arrays = Mapping[str, np.ndarray]
HELD, FAILED, OPEN = "held", "did not hold", "not decided"
LEARNT = 0.5  # of the trivial answer's loss: below it a net has learnt


@dataclass(frozen=True)
class Claim:
    """A sentence, what was measured of it, and what came of it."""

    sentence: str
    measured: str
    verdict: str


def judge(found: Mapping[str, Arrays]) -> dict[str, Claim]:
    """Judges every claim by what was measured of it."""
    gradients, rates, depth, gated = (found[name] for name in ("gradients", "rates", "depth", "gated"))
    return {
        "lstm_explodes": lstm_explodes(gradients),
        "lstm_vanishes": lstm_vanishes(gradients),
        "lstm_rate": lstm_rate(rates),
        "loss_swings": loss_swings(rates),
        "clipping_helps": clipping_helps(rates),
        "depth_helps": depth_helps(depth),
        "four_layers": four_layers(depth),
        "gru_parameters": gru_parameters(gated),
        "gru_quality": gru_quality(gated, "equal units", 0),
        "gru_equal": gru_quality(gated, "equal parameters", 1),
    }


def lstm_explodes(arrays: Arrays) -> Claim:
    """Held where the gradient of every seed grows backwards in time at some scale of the weights."""
    slopes, gains = arrays["lstm"], arrays["gain"]
    exploding = (slopes > 0).all(1)
    some = (slopes > 0).any(1)
    verdict = HELD if exploding.any() else OPEN if some.any() else FAILED
    where = f"from gain {gains[exploding][0]:g} on" if exploding.any() else "at no gain for all seeds"
    simple = (arrays["elman"] > 0).all(1)
    beside = f"from {gains[simple][0]:g} on" if simple.any() else "at none"
    return Claim(
        "An LSTM does away with vanishing gradients, but not with exploding ones: very steep places remain.",
        f"log gradient per step back, untrained, recurrent weights N(0, g²/H): positive {where} (a simple net "
        f"{beside}); at gain {gains[-1]:g} {mean_spread(slopes[-1])}",
        verdict,
    )


def lstm_vanishes(arrays: Arrays) -> Claim:
    """Held where the gradient of a fresh LSTM with forget bias 1 falls by less than a tenth over 20 steps; failed
    where it falls by more."""
    slopes, bias = arrays["lstm|bias"], arrays["bias"]
    usual = slopes[list(bias).index(1.0)]
    bound = math.log(0.9) / 20
    low, high = interval(usual)
    verdict = HELD if low > bound else FAILED if high < bound else OPEN
    last = slopes[-1]
    fate = "explodes" if interval(last)[0] > 0 else "vanishes" if interval(last)[1] < 0 else "neither"
    return Claim(
        "In an LSTM memory and input are added, not overwritten, so its gradient does not vanish.",
        f"log gradient per step back, untrained, forget bias 1: {mean_spread(usual)}, "
        f"{format_half_life(float(usual.mean()))}; forget bias {bias[-1]:g}: {mean_spread(last, 4)}, {fate}; the "
        f"bound is {bound:.4f}",
        verdict,
    )


def lstm_rate(arrays: Arrays) -> Claim:
    """Held where the largest rate at which each LSTM learns is smaller than that of the simple nets."""
    largest = {name: largest_rate(arrays, name) for name in ("elman", "lstm")}
    logs = {name: np.log10(values) for name, values in largest.items()}
    verdict = smaller(logs["lstm"], logs["elman"])
    said = " and ".join(f"{10 ** float(v.mean()):.2g} ({n})" for n, v in logs.items())
    return Claim(
        "Since its gradients explode, an LSTM has to be trained with a very small learning rate.",
        f"largest rate at which a net learns the temporal order unclipped (geometric mean over seeds): {said}",
        verdict,
    )


def loss_swings(arrays: Arrays) -> Claim:
    """Held where the loss of a simple net climbs further in training than an LSTM's, each at its best rate."""
    climbed = {}
    for name in ("elman", "lstm"):
        best = int(np.argmin(np.median(arrays[f"{name}|held_out"], axis=1)))
        climbed[name] = arrays[f"{name}|climbed"][best]
    return Claim(
        "A simple recurrent net is hard to train: its loss swings violently.",
        "how far ln loss climbs in all, between means of 10 steps, at each net's best rate: simple net "
        f"{mean_spread(climbed['elman'], 2)}, LSTM {mean_spread(climbed['lstm'], 2)}",
        smaller(climbed["lstm"], climbed["elman"]),
    )


def clipping_helps(arrays: Arrays) -> Claim:
    """Held where clipping lets the simple nets learn at a larger rate than they do without."""
    free, bound = (np.log10(largest_rate(arrays, name)) for name in ("elman", "elman, clipped"))
    return Claim(
        "The cure for exploding gradients is simple: bound them, and training goes on.",
        "largest rate at which a simple net learns the temporal order (geometric mean over seeds): "
        f"{10 ** float(free.mean()):.2g} without, {10 ** float(bound.mean()):.2g} with the norm bounded at 1",
        smaller(free, bound),
    )


def depth_helps(arrays: Arrays) -> Claim:
    """Held where the best depth above one has a smaller loss than one layer."""
    losses = np.log(arrays["held_out"])
    best = 1 + int(np.argmin(losses[1:].mean(1)))
    return Claim(
        "A recurrent net of several layers does better than one of a single layer.",
        f"held-out loss on digits read row by row, geometric mean: {geometric(losses[0])} with one layer, "
        f"{geometric(losses[best])} with {arrays['depth'][best]:.0f}, the best of the others",
        smaller(losses[best], losses[0]),
    )


def four_layers(arrays: Arrays) -> Claim:
    """Failed where five or six layers have a smaller loss than four; held if neither can be 10 % smaller."""
    losses = np.log(arrays["held_out"])
    four, deeper = losses[3], losses[4:]
    if any(smaller(deep, four) == HELD for deep in deeper):
        verdict = FAILED
    else:
        verdict = HELD if all(difference(deep, four)[0] > math.log(0.9) for deep in deeper) else OPEN
    first = arrays["first_layer"].mean(1)
    return Claim(
        "More than four layers bring a recurrent net no further gain.",
        f"the same: {geometric(four)} with four, "
        + ", ".join(f"{geometric(deep)} with {4 + i}" for i, deep in enumerate(deeper, 1))
        + f"; gradient norm of the first layer, untrained: {first[0]:.2g} of one, {first[-1]:.2g} of {len(first)}",
        verdict,
    )


def gru_parameters(arrays: Arrays) -> Claim:
    """Held where the count is exactly 3/4."""
    lstm, gru = (int(arrays[f"{name}|weights"][0]) for name in ("lstm", "gru"))
    return Claim(
        "A layer of LSTM has four matrices of weights, one of GRU only three.",
        f"weights in matrices at equal units and inputs: {gru:,} of {lstm:,}, {gru / lstm:.4f}",
        HELD if 4 * gru == 3 * lstm else FAILED,
    )


def gru_quality(arrays: Arrays, what: str, column: int) -> Claim:
    """Held where the interval of the ratio of losses, GRU to LSTM, lies below 1.25; failed where it lies above."""
    lstm, gru = np.log(arrays["lstm|held_out"][0]), np.log(arrays["gru|held_out"][column])
    low, high = difference(gru, lstm)
    bound = math.log(1.25)
    verdict = HELD if high < bound else FAILED if low > bound else OPEN
    return Claim(
        f"A GRU does as well as an LSTM ({what}).",
        f"held-out loss on adding, geometric mean: GRU {geometric(gru)} with "
        f"{arrays['gru|parameters'][column]:,.0f} parameters, LSTM {geometric(lstm)} with "
        f"{arrays['lstm|parameters'][0]:,.0f}; ratio between {math.exp(low):.2f} and {math.exp(high):.2f}",
        verdict,
    )


def format_half_life(slope: float) -> str:
    """Formats the number of steps in which e to the slope per step halves."""
    return (
        f"a half-life of {math.log(2) / -slope:.0f} steps"
        if slope < 0
        else "no half-life, as it doesn't fall"
    )


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Computes mean(a) − mean(b) ∓ two standard errors √(var a / n + var b / m), the seeds taken as independent; −∞
    to ∞ where a net diverged, because there is no mean then."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -math.inf, math.inf
    error = math.sqrt(float(a.var(ddof=1)) / len(a) + float(b.var(ddof=1)) / len(b))
    middle = float(a.mean() - b.mean())
    return middle - 2 * error, middle + 2 * error


def smaller(a: np.ndarray, b: np.ndarray) -> str:
    """Judges whether a is smaller than b: held, did not hold (it is larger, or both are the same), not decided."""
    low, high = difference(a, b)
    return HELD if high < 0 else FAILED if low > 0 or low == high else OPEN


def interval(values: np.ndarray) -> tuple[float, float]:
    """Computes the mean ∓ two standard errors; −∞ to ∞ where a value isn't finite."""
    if not np.isfinite(values).all():
        return -math.inf, math.inf
    error = 2 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - error, float(values.mean()) + error


def largest_rate(arrays: Arrays, name: str) -> np.ndarray:
    """Returns the largest learning rate at which the net of each seed learns, `[N]`; one below those tried if none
    does."""
    rates, losses = arrays["rate"], arrays[f"{name}|held_out"]
    learns = losses < LEARNT * math.log(4)
    padded = np.concatenate([[rates[0] ** 2 / rates[1]], rates])  # one step below the smallest
    return padded[np.where(learns.any(0), len(rates) - np.argmax(learns[::-1], axis=0), 0)]


def mean_spread(values: np.ndarray, digits: int = 3) -> str:
    """Formats mean and standard deviation over the seeds: `−0.123 ± 0.004`."""
    if lost := int(np.sum(~np.isfinite(values))):
        return f"not finite for {lost} of {len(values)} nets"
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def geometric(logs: np.ndarray) -> str:
    """Formats the geometric mean of numbers, of which the logarithms are given."""
    return f"{math.exp(float(logs.mean())):.3g}"
