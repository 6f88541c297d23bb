"""Claims: each verdict follows from the numbers."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from experiments.claims.verdicts import (
    FAILED,
    HELD,
    OPEN,
    difference,
    format_half_life,
    judge,
    largest_rate,
    smaller,
)

Arrays = dict[str, dict[str, np.ndarray]]


def made_up() -> Arrays:
    """Measurements by which every claim holds."""
    spread = np.array([0.99, 1.0, 1.01])
    rates = np.array([0.01, 0.1, 1.0])
    learns, fails = 0.1 * spread, 2.0 * spread
    return {
        "gradients": {
            "gain": np.array([1.0, 4.0]),
            "bias": np.array([0.0, 1.0]),
            "elman": np.stack([0.1 * spread, 0.5 * spread]),
            "lstm": np.stack([-0.1 * spread, 0.2 * spread]),
            "lstm|bias": np.stack([-0.5 * spread, -0.001 * spread]),
            "elman|orthogonal": -0.1 * spread,
        },
        "rates": {
            "rate": rates,
            "elman|held_out": np.stack([learns, learns, fails]),
            "elman, clipped|held_out": np.stack([learns, learns, learns]),
            "lstm|held_out": np.stack([learns, fails, fails]),
            "lstm, clipped|held_out": np.stack([learns, fails, fails]),
            **{f"elman|{key}": np.stack([5 * spread] * 3) for key in ("climbed", "largest")},
            **{f"lstm|{key}": np.stack([spread] * 3) for key in ("climbed", "largest")},
        },
        "depth": {
            "depth": np.arange(1.0, 7.0),
            "held_out": np.outer([1.0, 0.8, 0.6, 0.5, 0.52, 0.53], spread),
            "first_layer": np.ones((6, 3)),
            "last_layer": np.ones((6, 3)),
        },
        "gated": {
            "lstm|parameters": np.array([400.0]),
            "gru|parameters": np.array([305.0, 405.0]),
            "lstm|weights": np.array([360.0]),
            "gru|weights": np.array([270.0, 350.0]),
            "lstm|held_out": np.array([0.1 * spread]),
            "gru|held_out": np.array([0.1 * spread, 0.09 * spread]),
        },
    }


def test_all_hold() -> None:
    assert {claim.verdict for claim in judge(made_up()).values()} == {HELD}


def change(piece: str, key: str, value: Callable[[np.ndarray], np.ndarray]) -> Arrays:
    arrays = made_up()
    arrays[piece][key] = value(arrays[piece][key])
    return arrays


WIDE = np.array([0.2, 1.0, 5.0])


@pytest.mark.parametrize(
    ("slopes", "fate"),
    [([0.03, 0.04, 0.05], "explodes"), ([-0.03, -0.04, -0.05], "vanishes"), ([-0.03, 0.0, 0.04], "neither")],
)
def test_the_largest_forget_bias_is_said_to_explode_or_vanish(slopes: list[float], fate: str) -> None:
    arrays = change("gradients", "lstm|bias", lambda a: np.concatenate([a[:-1], [slopes]]))
    said = judge(arrays)["lstm_vanishes"].measured
    assert f"forget bias {arrays['gradients']['bias'][-1]:g}: " in said
    assert said.count(f", {fate}; the bound is") == 1


@pytest.mark.parametrize(
    ("claim", "arrays", "verdict"),
    [
        ("lstm_explodes", change("gradients", "lstm", lambda a: -np.abs(a)), FAILED),
        ("lstm_explodes", change("gradients", "lstm", lambda a: a * [1, 1, -1]), OPEN),
        ("lstm_vanishes", change("gradients", "lstm|bias", lambda a: 100 * a), FAILED),
        ("lstm_vanishes", change("gradients", "lstm|bias", lambda a: 5 * a * WIDE), OPEN),
        ("lstm_rate", change("rates", "lstm|held_out", lambda a: 0 * a), FAILED),
        ("loss_swings", change("rates", "elman|climbed", lambda a: 0.01 * a), FAILED),
        ("loss_swings", change("rates", "elman|climbed", lambda a: a * [0.0, 0.2, 1.0]), OPEN),
        ("clipping_helps", change("rates", "elman, clipped|held_out", lambda a: a + 9), FAILED),
        ("depth_helps", change("depth", "held_out", lambda a: a * np.array([[0.4, 1, 1, 1, 1, 1]]).T), FAILED),
        ("depth_helps", change("depth", "held_out", lambda a: a * WIDE), OPEN),
        ("four_layers", change("depth", "held_out", lambda a: a * np.array([[1, 1, 1, 1, 0.5, 1]]).T), FAILED),
        ("four_layers", change("depth", "held_out", lambda a: a * WIDE), OPEN),
        ("gru_parameters", change("gated", "gru|weights", lambda a: a + 1), FAILED),
        ("gru_quality", change("gated", "gru|held_out", lambda a: 2 * a), FAILED),
        ("gru_equal", change("gated", "gru|held_out", lambda a: a * WIDE), OPEN),
    ],
)  # fmt: skip
def test_each_may_fall(claim: str, arrays: Arrays, verdict: str) -> None:
    assert judge(arrays)[claim].verdict == verdict


def test_difference_by_hand() -> None:
    """Means 2 and 5, variances 1 and 4 of three: 2 √(5/3) to either side."""
    low, high = difference(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0]))
    assert (low, high) == pytest.approx((-3 - 2 * math.sqrt(5 / 3), -3 + 2 * math.sqrt(5 / 3)))
    assert smaller(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0])) == HELD
    assert smaller(np.ones(2), np.ones(2)) == FAILED


def test_largest_rate_by_hand() -> None:
    """Of three seeds one learns at all rates but the middle, one at the first, one at none."""
    losses = np.array([[0.1, 0.1, 2.0], [2.0, 2.0, 2.0], [0.1, 2.0, np.inf]])
    arrays = {"rate": np.array([0.01, 0.1, 1.0]), "net|held_out": losses}
    np.testing.assert_allclose(largest_rate(arrays, "net"), [1.0, 0.01, 0.001])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--seeds", 1), "--seeds must be 2 or more"),
        (("--lags", 1), "--lags"),
        (("--length", 3), "--length"),
        (("--runs", "nowhere"), "--runs nowhere"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_mistakes(given: tuple, said: str, refused: Callable[..., None]) -> None:
    refused(said, "claims", *given)


def test_a_net_that_diverged_decides_nothing() -> None:
    """Its loss is infinite and so has no spread; no warning, and no nan in the table."""
    arrays = made_up()
    arrays["depth"] = dict(arrays["depth"])
    arrays["depth"]["held_out"] = arrays["depth"]["held_out"].copy()
    arrays["depth"]["held_out"][1:, 0] = math.inf
    arrays["gradients"] = arrays["gradients"] | {"lstm": np.full_like(arrays["gradients"]["lstm"], -math.inf)}
    found = judge(arrays)
    assert found["depth_helps"].verdict == OPEN
    assert not any("nan" in claim.measured for claim in found.values())
    assert "not finite for" in found["lstm_explodes"].measured
    one, other = np.array([1.0, math.inf]), np.array([1.0, 2.0])
    assert smaller(one, other) == smaller(other, one) == OPEN


def test_a_slope_that_does_not_fall_has_no_half_life() -> None:
    assert format_half_life(-math.log(2) / 7) == "a half-life of 7 steps"
    assert format_half_life(0.0) == format_half_life(0.1) == "no half-life, as it doesn't fall"
