"""The claims that are computed, not measured in a run: counts of parameters, the size of scores, the reach of a
window."""

import math
from functools import cache

import jax
import numpy as np

from experiments.cell_spec import parse_cell
from experiments.claims.finding import FAILED, HELD, PARTLY, Finding, explained, listed
from models import Cell, unroll

UNITS = 32  # of every cell, H, and numbers a step, D
SIZES = (4, 64, 1024)  # of queries and keys, d
KEYS, QUERIES = 64, 2000
WINDOWS = (2, 4, 8, 16)  # tokens a window sees
INPUTS = 4  # units, and numbers a step, of the nets whose outputs are compared


def weights_of(expression: str) -> int:
    """Counts a cell's weights in matrices, its inputs as many as its units."""
    return sum(math.prod(leaf.shape) for leaf in leaves_of(parse_cell(expression, UNITS)) if leaf.ndim > 1)


def leaves_of(cell: Cell) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of a cell's parameters."""
    return jax.tree.leaves(jax.eval_shape(lambda: cell.init(jax.random.key(0), UNITS)))


@cache
def two_to_three_times() -> Finding:
    """Counts the weights of both GRUs of the notes and of a simple net: see `judge_ratios`."""
    return judge_ratios(*map(weights_of, ("elman", "basic_gru", "gru")))


def judge_ratios(simple: int, basic: int, full: int) -> Finding:
    """Holds where GRUs of one gate and of two have two to three times the weights of a simple net; partly where one
    of them has."""
    ratios = np.array([basic, full]) / simple
    within = (ratios >= 2) & (ratios <= 3)
    return explained(
        f"weights in matrices at {UNITS} units and inputs: {simple:,}, {basic:,} of a GRU of one gate, {full:,} of "
        f"one of two: {listed(ratios, '.2f')} times",
        HELD if within.all() else PARTLY if within.any() else FAILED,
        "Each gate is one more matrix beside that of the candidate.",
        "The counts are another ratio.",
    )


@cache
def scaled_scores() -> Finding:
    """Draws scores of standard normal queries and keys, and judges their size: see `judge_scores`."""
    random = np.random.default_rng(0)
    plain, scaled, sharp, soft = [], [], [], []
    for size in SIZES:
        keys = random.standard_normal((KEYS, size))
        scores = random.standard_normal((QUERIES, size)) @ keys.T
        plain.append(scores.std())
        scaled.append((scores / math.sqrt(size)).std())
        sharp.append(largest_weight(scores))
        soft.append(largest_weight(scores / math.sqrt(size)))
    return judge_scores(*map(np.array, (plain, scaled, sharp, soft)))


def largest_weight(scores: np.ndarray) -> float:
    """Returns the mean over rows of the largest weight of a softmax."""
    exps = np.exp(scores - scores.max(axis=1, keepdims=True))
    return float((exps.max(axis=1) / exps.sum(axis=1)).mean())


def judge_scores(plain: np.ndarray, scaled: np.ndarray, sharp: np.ndarray, soft: np.ndarray) -> Finding:
    """Holds where the deviation of scores is √d within a tenth, and 1 once divided; partly where only one is."""
    roots = np.sqrt(SIZES)
    grow = bool(np.all(np.abs(plain / roots - 1) < 0.1))
    level = bool(np.all(np.abs(scaled - 1) < 0.1))
    return explained(
        f"deviation of q·k for standard normal entries, exactly √d: {listed(plain)} at d = "
        f"{listed(np.array(SIZES), 'd')}; divided by √d {listed(scaled, '.2f')}; largest of {KEYS} weights "
        f"{listed(sharp, '.2f')}, divided {listed(soft, '.2f')}",
        HELD if grow and level else PARTLY if grow or level else FAILED,
        "The variances of d products add up; at weights of 0 and 1 a softmax has no gradient.",
        "The scores drawn have another deviation.",
    )


@cache
def window_stays() -> Finding:
    """Counts the parameters of windows and of an LSTM, and measures what changes beyond: see `judge_window`."""
    sizes = [sum(math.prod(leaf.shape) for leaf in leaves_of(window(n))) for n in WINDOWS]
    recurrent = sum(math.prod(leaf.shape) for leaf in leaves_of(parse_cell("lstm", UNITS)))
    small = (window(WINDOWS[1], INPUTS), parse_cell("lstm", INPUTS))
    return judge_window(np.array(sizes), recurrent, *map(beyond, small))


def window(tokens: int, units: int = UNITS) -> Cell:
    """Returns the net that sees so many tokens, the present one among them."""
    return parse_cell(f"window(order={tokens + 1})", units)


def beyond(cell: Cell) -> float:
    """Returns how much the last output changes where every input beyond the second of `WINDOWS` is changed."""

    @jax.jit
    def last(xs: jax.Array) -> jax.Array:
        return unroll(cell, cell.init(jax.random.key(0), INPUTS), xs)[1][-1]

    xs = np.random.default_rng(0).standard_normal((2 * WINDOWS[1], INPUTS), np.float32)
    changed = np.concatenate([-xs[: -WINDOWS[1]], xs[-WINDOWS[1] :]])
    return float(np.abs(last(xs) - last(changed)).max())  # type: ignore[arg-type]


def judge_window(sizes: np.ndarray, recurrent: int, outside: float, before: float) -> Finding:
    """Holds where a wider window has more parameters and nothing beyond it changes the output, as it does of an
    LSTM; partly where only one is so."""
    grows, blind = bool((np.diff(sizes) > 0).all()), outside == 0 < before
    return explained(
        f"parameters of windows of {listed(np.array(WINDOWS), 'd')} tokens: {listed(sizes, ',d')}, of an LSTM "
        f"{recurrent:,} at any length; change of the output by what lies beyond a window of {WINDOWS[1]}: "
        f"{outside:g}, in the LSTM {before:.2g}",
        HELD if grows and blind else PARTLY if grows or blind else FAILED,
        "Every place of a window has a matrix of its own; a recurrence uses one for all steps.",
        "What is shared between places doesn't grow with them.",
    )
