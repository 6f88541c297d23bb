"""The claims about the gradients of recurrent cells and their training, each with its rule: a function of what was
measured alone."""

import math

import numpy as np

from experiments.claims.finding import (
    FAILED,
    HELD,
    OPEN,
    PARTLY,
    Arrays,
    Finding,
    difference,
    explained,
    geometric,
    interval,
    listed,
    mean_spread,
    smaller,
)

LEARNT = 0.5  # of the trivial answer's loss: below it a net has learnt
LOSES_A_TENTH = math.log(0.9) / 20  # slope of a gradient that falls by a tenth over 20 steps


def long_path(arrays: Arrays) -> Finding:
    """Holds where the gradient falls or grows exponentially at every scale of the weights, and does either at some;
    partly where it does so at some scales."""
    gains, slopes = arrays["gain"], arrays["elman"]
    ends = np.array([interval(row) for row in slopes])
    vanish, explode = ends[:, 1] < 0, ends[:, 0] > 0
    every, both = bool((vanish | explode).all()), bool(vanish.any() and explode.any())
    return explained(
        f"log gradient per step back, untrained, recurrent weights N(0, g²/H): {listed(slopes.mean(1), '+.2f')} at "
        f"g = {listed(gains, 'g')}",
        HELD if every and both else PARTLY if vanish.any() or explode.any() else FAILED,
        "A slope other than 0 is a constant factor a step, which multiplies over a long path.",
        "At some scales the factor a step is 1, as far as can be told, and a long path changes nothing.",
    )


def lstm_explodes(arrays: Arrays) -> Finding:
    """Holds where the gradient of every seed grows backwards in time at some scale of the weights."""
    slopes, gains = arrays["lstm"], arrays["gain"]
    exploding = (slopes > 0).all(1)
    some = (slopes > 0).any(1)
    verdict = HELD if exploding.any() else OPEN if some.any() else FAILED
    where = f"from gain {gains[exploding][0]:g} on" if exploding.any() else "at no gain for all seeds"
    simple = (arrays["elman"] > 0).all(1)
    beside = f"from {gains[simple][0]:g} on" if simple.any() else "at none"
    return explained(
        f"log gradient per step back, untrained, recurrent weights N(0, g²/H): positive {where} (a simple net "
        f"{beside}); at gain {gains[-1]:g} {mean_spread(slopes[-1])}",
        verdict,
        "Gates bound what a memory keeps, not what goes round through the recurrent weights.",
        "At the scales tried the gates kept all that went round through the recurrent weights small.",
    )


def lstm_vanishes(arrays: Arrays) -> Finding:
    """Holds where the gradient of a fresh LSTM with forget bias 1 falls by less than a tenth over 20 steps; doesn't
    where it falls by more."""
    slopes, bias = arrays["lstm|bias"], arrays["bias"]
    usual = slopes[list(bias).index(1.0)]
    low, high = interval(usual)
    verdict = HELD if low > LOSES_A_TENTH else FAILED if high < LOSES_A_TENTH else OPEN
    last = slopes[-1]
    fate = "explodes" if interval(last)[0] > 0 else "vanishes" if interval(last)[1] < 0 else "neither"
    return explained(
        f"log gradient per step back, untrained, forget bias 1: {mean_spread(usual)}, "
        f"{format_half_life(float(usual.mean()))}; forget bias {bias[-1]:g}: {mean_spread(last, 4)}, {fate}; the "
        f"bound is {LOSES_A_TENTH:.4f}",
        verdict,
        "The forget gate begins near enough to 1.",
        "What is added is also multiplied by a forget gate at every step, which begins well below 1.",
    )


def lstm_still_vanishes(arrays: Arrays) -> Finding:
    """The contrary of `lstm_vanishes`, by the same measurement."""
    found = lstm_vanishes(arrays)
    contrary = {HELD: FAILED, FAILED: HELD}
    return Finding(
        found.measured,
        contrary.get(found.verdict, found.verdict),
        "This and the claim above contradict each other; one measurement judges both.",
    )


def initialisation(arrays: Arrays) -> Finding:
    """Holds where a simple net with orthogonal weights keeps its gradient as `lstm_vanishes` asks; partly where it
    only loses less than one with Gaussian weights of gain 1."""
    orthogonal, gaussian = arrays["elman|orthogonal"], arrays["elman"][list(arrays["gain"]).index(1.0)]
    low, high = interval(orthogonal)
    keeps = low > LOSES_A_TENTH and high < -LOSES_A_TENTH
    better = smaller(np.abs(orthogonal), np.abs(gaussian))
    return explained(
        f"log gradient per step back, untrained: orthogonal {mean_spread(orthogonal)}, Gaussian of gain 1 "
        f"{mean_spread(gaussian)}; kept within ±{-LOSES_A_TENTH:.4f}",
        HELD if keeps else {HELD: PARTLY}.get(better, better),
        "An orthogonal matrix keeps lengths, and tanh is nearly linear near 0.",
        "An orthogonal matrix keeps lengths, but tanh behind it still shrinks every step.",
    )


def lstm_rate(arrays: Arrays) -> Finding:
    """Holds where the largest rate at which each LSTM learns is smaller than that of the simple nets."""
    largest = {name: largest_rate(arrays, name) for name in ("elman", "lstm")}
    logs = {name: np.log10(values) for name, values in largest.items()}
    said = " and ".join(f"{10 ** float(v.mean()):.2g} ({n})" for n, v in logs.items())
    return explained(
        f"largest rate at which a net learns the temporal order unclipped (geometric mean over seeds): {said}",
        smaller(logs["lstm"], logs["elman"]),
        "Of the two it is the net with the steeper gradients that needs the smaller rate.",
        "Here the simple net has the steeper gradients, and needs the smaller rate.",
    )


def loss_swings(arrays: Arrays) -> Finding:
    """Holds where the loss of a simple net climbs further in training than an LSTM's, each at its best rate."""
    climbed = {}
    for name in ("elman", "lstm"):
        best = int(np.argmin(np.median(arrays[f"{name}|held_out"], axis=1)))
        climbed[name] = arrays[f"{name}|climbed"][best]
    return explained(
        "how far ln loss climbs in all, between means of 10 steps, at each net's best rate: simple net "
        f"{mean_spread(climbed['elman'], 2)}, LSTM {mean_spread(climbed['lstm'], 2)}",
        smaller(climbed["lstm"], climbed["elman"]),
        "The rises are compared over all of training, at the rate with which each net does best.",
        "At the rate with which each does best the LSTM's loss rises as much.",
    )


def clipping_helps(arrays: Arrays) -> Finding:
    """Holds where clipping lets the simple nets learn at a larger rate than they do without."""
    free, bound = (np.log10(largest_rate(arrays, name)) for name in ("elman", "elman, clipped"))
    return explained(
        "largest rate at which a simple net learns the temporal order (geometric mean over seeds): "
        f"{10 ** float(free.mean()):.2g} without, {10 ** float(bound.mean()):.2g} with the norm bounded at 1",
        smaller(free, bound),
        "A bounded step can't leave the region in which the gradient means something.",
        "A bounded gradient still points where it pointed, and the rate is what it was.",
    )


def depth_helps(arrays: Arrays) -> Finding:
    """Holds where the best depth above one has a smaller loss than one layer."""
    losses = np.log(arrays["held_out"])
    best = 1 + int(np.argmin(losses[1:].mean(1)))
    return explained(
        f"held-out loss on digits read row by row, geometric mean: {geometric(losses[0])} with one layer, "
        f"{geometric(losses[best])} with {arrays['depth'][best]:.0f}, the best of the others",
        smaller(losses[best], losses[0]),
        "The layers are equally wide, so that the deeper net is also the larger one.",
        "The gradient has further to go, which outweighs what more layers could compute.",
    )


def four_layers(arrays: Arrays) -> Finding:
    """Doesn't hold where five or six layers have a smaller loss than four; holds if neither can be 10 % smaller."""
    losses = np.log(arrays["held_out"])
    four, deeper = losses[3], losses[4:]
    if any(smaller(deep, four) == HELD for deep in deeper):
        verdict = FAILED
    else:
        verdict = HELD if all(difference(deep, four)[0] > math.log(0.9) for deep in deeper) else OPEN
    first = arrays["first_layer"].mean(1)
    return explained(
        f"held-out loss on digits read row by row, geometric mean: {geometric(four)} with four, "
        + ", ".join(f"{geometric(deep)} with {4 + i}" for i, deep in enumerate(deeper, 1))
        + f"; gradient norm of the first layer, untrained: {first[0]:.2g} of one, {first[-1]:.2g} of {len(first)}",
        verdict,
        "The differences are set against the spread over the seeds, and must reach 10 %.",
        "Nets of five or six layers still learn in these few steps, and have more parameters.",
    )


def gru_parameters(arrays: Arrays) -> Finding:
    """Holds where the count is exactly 3/4."""
    lstm, gru = (int(arrays[f"{name}|weights"][0]) for name in ("lstm", "gru"))
    return explained(
        f"weights in matrices at equal units and inputs: {gru:,} of {lstm:,}, {gru / lstm:.4f}",
        HELD if 4 * gru == 3 * lstm else FAILED,
        "Each gate and each candidate has one matrix of the same size.",
        "The counts are another ratio.",
    )


def gru_equal_units(arrays: Arrays) -> Finding:
    """Judges a GRU of as many units as the LSTM: see `gru_quality`."""
    return gru_quality(arrays, 0)


def gru_equal_parameters(arrays: Arrays) -> Finding:
    """Judges a GRU of as many parameters as the LSTM: see `gru_quality`."""
    return gru_quality(arrays, 1)


def gru_quality(arrays: Arrays, column: int) -> Finding:
    """Holds where the interval of the ratio of losses, GRU to LSTM, lies below 1.25; doesn't where above."""
    lstm, gru = np.log(arrays["lstm|held_out"][0]), np.log(arrays["gru|held_out"][column])
    low, high = difference(gru, lstm)
    bound = math.log(1.25)
    verdict = HELD if high < bound else FAILED if low > bound else OPEN
    return explained(
        f"held-out loss on adding, geometric mean: GRU {geometric(gru)} with "
        f"{arrays['gru|parameters'][column]:,.0f} parameters, LSTM {geometric(lstm)} with "
        f"{arrays['lstm|parameters'][0]:,.0f}; ratio between {math.exp(low):.2f} and {math.exp(high):.2f}",
        verdict,
        "As good means a loss of at most 1.25 times the LSTM's, each at the better of two rates.",
        "Its loss is more than 1.25 times the LSTM's, each at the better of two rates.",
    )


def format_half_life(slope: float) -> str:
    """Formats the number of steps in which e to the slope per step halves."""
    return (
        f"a half-life of {math.log(2) / -slope:.0f} steps"
        if slope < 0
        else "no half-life, as it doesn't fall"
    )


def largest_rate(arrays: Arrays, name: str) -> np.ndarray:
    """Returns the largest learning rate at which the net of each seed learns, `[N]`; one below those tried if none
    does."""
    rates, losses = arrays["rate"], arrays[f"{name}|held_out"]
    learns = losses < LEARNT * math.log(4)
    padded = np.concatenate([[rates[0] ** 2 / rates[1]], rates])  # one step below the smallest
    return padded[np.where(learns.any(0), len(rates) - np.argmax(learns[::-1], axis=0), 0)]
