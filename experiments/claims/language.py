"""The claims about language models, long memory, depth and cost, each with its rule: a function of what was
measured."""

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
    listed,
    mean_spread,
    share,
    smaller,
)

PERCENT = 0.01


def unseen(arrays: Arrays) -> Finding:
    """Holds where counts alone give held-out text no probability, and smoothing doesn't help; partly where it
    does."""
    counts, smoothed = arrays["mle"][1:], arrays["kneser_ney"]
    lost = ~np.isfinite(counts)
    cured = bool(np.isfinite(smoothed).all())
    return explained(
        f"test perplexity for n = 2 … {len(smoothed)}: {listed(counts, '.1f')} of counts alone, "
        f"{listed(smoothed[1:], '.1f')} with Kneser–Ney's smoothing",
        FAILED if not lost.any() else PARTLY if cured else HELD,
        "One unseen n-gram gives a text probability 0.",
        "One unseen n-gram gives a text probability 0; smoothing gives it that of a shorter one.",
    )


def longer_ngrams(arrays: Arrays) -> Finding:
    """Holds where each longer n-gram lowers perplexity by 1 % and makes the model larger; partly where some do."""
    perplexity, sizes = arrays["kneser_ney"], arrays["sizes"]
    gains = 1 - perplexity[1:] / perplexity[:-1]
    return explained(
        f"test perplexity for n = 1 … {len(perplexity)}: {listed(perplexity, '.1f')}; n-grams: "
        f"{listed(sizes, ',.0f')}",
        share((gains > PERCENT) & (np.diff(sizes) > 0)),
        "Every word of context says something, and is stored once more.",
        "The model goes on growing with n when there is little left to gain.",
    )


def neural_window(arrays: Arrays) -> Finding:
    """Holds where a net with a window has a lower perplexity than n-grams that see as much, and fewer numbers;
    partly where one of them is so."""
    better, lighter = arrays["window"] < arrays["ngram"], arrays["window_size"] < arrays["ngram_size"]
    return explained(
        f"test perplexity {float(arrays['window']):.1f} of a net that sees 4 words, {float(arrays['ngram']):.1f} "
        f"of 5-grams with Kneser–Ney's smoothing; {float(arrays['window_size']):,.0f} weights, "
        f"{float(arrays['ngram_size']):,.0f} n-grams",
        HELD if better and lighter else PARTLY if better or lighter else FAILED,
        "A net shares what it learns among similar words.",
        "A net shares what it learns among similar words, but smoothed counts are strong on a small text.",
    )


def wide_window(arrays: Arrays) -> Finding:
    """Holds where the widest window is 1 % worse than a narrower one; partly where it gains less than 1 % on it."""
    windows = arrays["windows"]
    gain = 1 - windows[-1] / windows[:-1].min()
    return explained(
        f"test perplexity of windows of 2, 4 and 7 words: {listed(windows, '.1f')}; of an LSTM "
        f"{float(arrays['lstm']):.1f}",
        HELD if gain < -PERCENT else PARTLY if gain < PERCENT else FAILED,
        "Each further place has weights of its own to learn, and says less than the one before it.",
        "Further places say something on their own, whatever they cost.",
    )


def grows_with_size(arrays: Arrays) -> Finding:
    """Holds where every larger Transformer has a lower loss, trained for equal time; partly where another than the
    smallest has the lowest."""
    losses = arrays["losses"]
    verdict = HELD if (np.diff(losses) < 0).all() else FAILED if losses.argmin() == 0 else PARTLY
    return explained(
        f"nats a character of Transformers of {listed(arrays['parameters'], ',.0f')} parameters, trained for equal "
        f"time: {listed(losses, '.3f')}",
        verdict,
        "Larger nets learn more a step; abilities that appear all at once can't be seen at this size.",
        "In equal time a larger net sees less text; abilities that appear all at once can't be seen at this size.",
    )


def short_truncation(arrays: Arrays) -> Finding:
    """Holds where a truncation of 60 steps can't be 1 % better than one of 20; doesn't where it is."""
    short, twenty, long = (np.log(arrays[f"loss|{steps}"]) for steps in (5, 20, 60))
    low, high = difference(long, twenty)
    bound = math.log(1 - PERCENT)
    verdict = HELD if low > bound else FAILED if high < bound else OPEN
    return explained(
        f"nats a character after equal steps on as many characters, the gradient cut after 5, 20 and 60: "
        f"{mean_spread(np.exp(short))}, {mean_spread(np.exp(twenty))}, {mean_spread(np.exp(long))}",
        verdict,
        "The state is carried on whatever the cut; only what must be learnt from further back is lost.",
        "There is something to be learnt from further back than 20 characters.",
    )


def simple_forgets(arrays: Arrays) -> Finding:
    """Holds where the LSTM solves every task at longer lengths than a simple net; partly some."""
    return explained(
        longest(arrays, ("elman", "lstm")),
        share(arrays["elman"] < arrays["lstm"]),
        "What a simple net keeps is overwritten at every step; gates can leave it as it is.",
        "Where a gated cell fails as well, or neither does, nothing tells them apart.",
    )


def cells_that_remember(arrays: Arrays) -> Finding:
    """Holds where LSTM and LRU solve every task at the longest length tried; partly some."""
    solved = np.array([arrays["lstm"], arrays["lru"]]) == arrays["tried"]
    return explained(
        longest(arrays, ("lstm", "lru")) + f"; tried up to {int(arrays['tried'])}",
        share(solved),
        "Both can keep a state unchanged for as long as is asked.",
        "A cell that can keep its state still has to find out within its steps that it should.",
    )


def longest(arrays: Arrays, cells: tuple[str, str]) -> str:
    """Formats the greatest lengths that two cells solve."""
    of_tasks = [
        f"{task} {int(arrays[cells[0]][i])} and {int(arrays[cells[1]][i])}"
        for i, task in enumerate(arrays["tasks"].tolist())
    ]
    return f"longest sequences solved, {cells[0]} and {cells[1]}: {'; '.join(of_tasks)}"


def turing_machine(arrays: Arrays) -> Finding:
    """Holds where a Neural Turing machine has fewer wrong bits than an LSTM on sequences twice as long as in
    training, on every task; partly on some."""
    machine, lstm = arrays["ntm"], arrays["lstm"]
    of_tasks = [
        f"{task} {machine[i]:.2g} and {lstm[i]:.2g}" for i, task in enumerate(arrays["tasks"].tolist())
    ]
    return explained(
        f"bits wrong a sequence at twice the length of training, machine and LSTM: {'; '.join(of_tasks)}",
        share(machine < lstm),
        "Its memory has rows that a head can leave alone, and attention that finds them.",
        "Within these steps the machine hasn't learnt to use its memory.",
    )


def batch_norm(arrays: Arrays) -> Finding:
    """Holds where an LSTM with batch normalisation has a lower loss than one without, after equal steps."""
    normed, plain = arrays["loss|batch_norm_lstm"], arrays["loss|lstm"]
    return explained(
        f"loss on digits read pixel by pixel, after equal steps: {mean_spread(normed)} with batch normalisation, "
        f"{mean_spread(plain)} without",
        smaller(normed, plain),
        "It sets the size of what enters the gates at every step, which is one way to keep gradients level.",
        "An LSTM's gates keep what enters them in bounds, and statistics of small batches are noisy.",
    )


def lstm_eight(arrays: Arrays) -> Finding:
    """Holds where eight layers of LSTM have a higher loss than four with as many parameters, or one that can't be
    1 % lower; doesn't where it is lower."""
    four, eight = arrays["loss|lstm|4"], arrays["loss|lstm|8"]
    low, high = difference(np.log(eight), np.log(four))
    bound = math.log(1 - PERCENT)
    return explained(
        f"nats a character at equal parameters and steps: {mean_spread(four)} with four layers, "
        f"{mean_spread(eight)} with eight",
        HELD if low > bound else FAILED if high < 0 else OPEN,
        "A deeper net of as many parameters is narrower, and its gradient has further to go.",
        "Depth is worth more than width here.",
    )


def transformer_eight(arrays: Arrays) -> Finding:
    """Holds where eight layers of a Transformer have a lower loss than four with as many parameters."""
    four, eight = arrays["loss|pre_norm|4"], arrays["loss|pre_norm|8"]
    return explained(
        f"nats a character at equal parameters and steps: {mean_spread(four)} with four layers, "
        f"{mean_spread(eight)} with eight",
        smaller(eight, four),
        "At this size eight layers are narrow; large Transformers have both depth and width.",
        "At this size eight layers are narrow, and few steps don't train them.",
    )


def residual_helps(arrays: Arrays) -> Finding:
    """Holds where eight layers of LSTM with residual connections have a lower loss than plain ones."""
    plain, residual = arrays["loss|lstm|8"], arrays["loss|residual_lstm|8"]
    return explained(
        f"nats a character of eight layers of LSTM: {mean_spread(residual)} with residual connections, "
        f"{mean_spread(plain)} without",
        smaller(residual, plain),
        "The gradient goes past a layer as well as through it.",
        "Eight plain layers are trained in these steps all the same.",
    )


def slow_steps(arrays: Arrays) -> Finding:
    """Holds where attention takes less time than an LSTM's loop over steps at every length; partly at some."""
    loop, whole = arrays["lstm"], arrays["attention"]
    return explained(
        f"ms of a training step at T = {listed(arrays['length'], 'd')}: LSTM {listed(1e3 * loop)}, attention "
        f"{listed(1e3 * whole)}",
        share(whole < loop),
        "A loop waits for each step, but a processor of few cores has little to do at the same time anyway.",
        "A loop waits for each step, but a processor of few cores has little to do at the same time anyway.",
    )


def dearer(arrays: Arrays) -> Finding:
    """Holds where the time of attention grows with the length by a power that is greater by a half than that of an
    LSTM's; partly where it is greater."""
    steps = np.log(arrays["length"][-1] / arrays["length"][-2])
    loop, whole = (
        float(np.log(arrays[name][-1] / arrays[name][-2]) / steps) for name in ("lstm", "attention")
    )
    return explained(
        f"power of the length by which time grows, between T = {listed(arrays['length'][-2:], 'd')}: {whole:.2f} "
        f"of attention, {loop:.2f} of an LSTM",
        HELD if whole > loop + 0.5 else PARTLY if whole > loop else FAILED,
        "Every step is scored against every other, T² of them.",
        "At these lengths the scores, T² of them, aren't yet what takes the time.",
    )


def lstm_dear(arrays: Arrays) -> Finding:
    """Holds where an LSTM takes longer than a GRU and a simple net of as many units, at every length; partly at
    some."""
    simple, gru, lstm = (arrays[name] for name in ("elman", "gru", "lstm"))
    return explained(
        f"ms of a training step at T = {listed(arrays['length'], 'd')}: simple net {listed(1e3 * simple)}, GRU "
        f"{listed(1e3 * gru)}, LSTM {listed(1e3 * lstm)}",
        share(np.array([lstm > 1.05 * gru, lstm > 1.05 * simple])),
        "It has four products of matrices where a GRU has three, though these are one product in the code.",
        "Its products are one in the code, and what surrounds them takes the time.",
    )
