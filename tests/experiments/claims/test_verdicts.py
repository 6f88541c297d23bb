"""Claims: each verdict follows from the numbers."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from experiments.claims.exact import judge_ratios, judge_scores, judge_window, two_to_three_times
from experiments.claims.finding import FAILED, HELD, OPEN, PARTLY, UNRUN, Finding, difference, smaller
from experiments.claims.recurrence import format_half_life, largest_rate
from experiments.claims.rows import ROWS, judge
from experiments.claims.runs import Config, commands_of
from tests.experiments.claims.evidence import EXPECTED, Pieces, made_up

WIDE = np.array([0.2, 1.0, 5.0])


def test_all_hold() -> None:
    """But for those that can't hold beside the others; each has its command."""
    claims = judge(made_up(), commands_of(Config()))
    assert {name: claim.verdict for name, claim in claims.items()} == EXPECTED
    assert claims["heads_differ"].command == "translation_analysis"
    assert claims["both_sides"].command == "sentiment --seed=0 (and 2 more)"
    assert claims["gru_twice"].command == "computed here"


def test_claims_without_evidence_name_the_command() -> None:
    pieces = made_up()
    del pieces["families"]
    claims = judge(pieces, commands_of(Config()))
    unrun = {name for name, claim in claims.items() if claim.verdict == UNRUN}
    assert unrun == {"neural_window", "wide_window"}
    assert claims["wide_window"].command == "families"
    assert claims["wide_window"].sentence == ROWS["wide_window"].sentence


def verdict_of(name: str, pieces: Pieces) -> str:
    row = ROWS[name]
    return row.judge(*(pieces[piece] for piece in row.pieces)).verdict


def test_every_piece_of_evidence_has_a_run() -> None:
    wanted = {piece for row in ROWS.values() for piece in row.pieces}
    assert wanted == set(commands_of(Config())) == set(made_up())


def to(values: object) -> Callable[[np.ndarray], np.ndarray]:
    return lambda _: np.asarray(values)


ROW = np.array([[1.0]] * 4)


@pytest.mark.parametrize(
    ("claim", "key", "value", "verdict"),
    [
        ("long_path", "elman", lambda a: a * [[1], [-1]], PARTLY),
        ("long_path", "elman", lambda a: a * [-1, 1, 1], FAILED),
        ("lstm_explodes", "lstm", lambda a: -np.abs(a), FAILED),
        ("lstm_explodes", "lstm", lambda a: a * [1, 1, -1], OPEN),
        ("lstm_vanishes", "lstm|bias", lambda a: 100 * a, FAILED),
        ("lstm_vanishes", "lstm|bias", lambda a: 5 * a * WIDE, OPEN),
        ("lstm_still_vanishes", "lstm|bias", lambda a: 100 * a, HELD),
        ("lstm_still_vanishes", "lstm|bias", lambda a: 5 * a * WIDE, OPEN),
        ("initialisation", "elman|orthogonal", lambda a: 50 * a, PARTLY),
        ("initialisation", "elman|orthogonal", lambda a: 500 * a, FAILED),
        ("initialisation", "elman|orthogonal", lambda a: 50 * a * WIDE, OPEN),
        ("batch_norm", "loss|batch_norm_lstm", lambda a: 5 * a, FAILED),
        ("batch_norm", "loss|batch_norm_lstm", lambda a: a * WIDE, OPEN),
        ("lstm_rate", "lstm|held_out", lambda a: 0 * a, FAILED),
        ("loss_swings", "elman|climbed", lambda a: 0.01 * a, FAILED),
        ("loss_swings", "elman|climbed", lambda a: a * [0.0, 0.2, 1.0], OPEN),
        ("clipping_helps", "elman, clipped|held_out", lambda a: a + 9, FAILED),
        ("depth_helps", "held_out", lambda a: a * np.array([[0.4, 1, 1, 1, 1, 1]]).T, FAILED),
        ("depth_helps", "held_out", lambda a: a * WIDE, OPEN),
        ("four_layers", "held_out", lambda a: a * np.array([[1, 1, 1, 1, 0.5, 1]]).T, FAILED),
        ("four_layers", "held_out", lambda a: a * WIDE, OPEN),
        ("lstm_eight", "loss|lstm|8", lambda a: 0.5 * a, FAILED),
        ("lstm_eight", "loss|lstm|8", lambda a: a * WIDE, OPEN),
        ("transformer_eight", "loss|pre_norm|8", lambda a: 2 * a, FAILED),
        ("transformer_eight", "loss|pre_norm|8", lambda a: a * WIDE, OPEN),
        ("residual_helps", "loss|residual_lstm|8", lambda a: 2 * a, FAILED),
        ("residual_helps", "loss|residual_lstm|8", lambda a: a * WIDE, OPEN),
        ("gru_parameters", "gru|weights", lambda a: a + 1, FAILED),
        ("gru_quality", "gru|held_out", lambda a: 2 * a, FAILED),
        ("gru_equal", "gru|held_out", lambda a: a * WIDE, OPEN),
        ("lstm_dear", "gru", lambda a: 3 * a, PARTLY),
        ("lstm_dear", "lstm", lambda a: 0.1 * a, FAILED),
        ("simple_forgets", "elman", to([0, 200]), PARTLY),
        ("simple_forgets", "elman", to([200, 200]), FAILED),
        ("cells_that_remember", "lru", to([200, 50]), PARTLY),
        ("cells_that_remember", "tried", to(500), FAILED),
        ("turing_machine", "ntm", to([0.1, 9.0]), PARTLY),
        ("turing_machine", "lstm", to([0.0, 0.0]), FAILED),
        ("short_truncation", "loss|60", lambda a: 0.9 * a, FAILED),
        ("short_truncation", "loss|60", lambda a: a * WIDE, OPEN),
        ("teacher_forcing", "exact|0.9", to([0.2, 0.3, 0.4]), HELD),
        ("teacher_forcing", "exact|0.9", to([0.3, 0.3, 0.3]), PARTLY),
        ("teacher_forcing", "exact|0.9", to([0.9, 0.9, 0.91]), FAILED),
        ("teacher_forcing", "exact|0.9", to([0.1, 0.8, 0.9]), OPEN),
        ("context_tells", "ambiguous", to(0.7), PARTLY),
        ("context_tells", "ambiguous", to(0.5), FAILED),
        ("both_sides", "accuracy|both", lambda a: 0.5 * a, FAILED),
        ("both_sides", "accuracy|both", lambda a: a * WIDE, OPEN),
        ("unseen", "mle", to([900.0, 300.0, 200.0]), FAILED),
        ("unseen", "kneser_ney", to([250.0, 80.0, np.inf]), HELD),
        ("longer_ngrams", "kneser_ney", to([250.0, 80.0, 79.9]), PARTLY),
        ("longer_ngrams", "kneser_ney", to([80.0, 80.0, 80.0]), FAILED),
        ("neural_window", "window", to(70.0), PARTLY),
        ("wide_window", "windows", to([70.0, 65.0, 65.1]), PARTLY),
        ("wide_window", "windows", to([70.0, 65.0, 60.0]), FAILED),
        ("grows_with_size", "losses", to([2.0, 1.8, 1.9]), PARTLY),
        ("grows_with_size", "losses", to([1.7, 1.8, 1.9]), FAILED),
        ("slow_steps", "attention", lambda a: 10 * a, PARTLY),
        ("slow_steps", "attention", lambda a: 1000 * a, FAILED),
        ("dearer", "attention", to([0.001, 0.004, 0.02]), PARTLY),
        ("dearer", "attention", to([0.001, 0.004, 0.01]), FAILED),
        ("last_state", "fixed context, source reversed", to([0.8, 0.5, 0.1]), PARTLY),
        ("last_state", "lengths", to([5, 20, 20]), PARTLY),
        ("even_gradient", "reach|attention", to([1.0, 0.01, 0.01]), PARTLY),
        ("even_gradient", "reach|attention", to([0.01, 0.01, 0.01]), FAILED),
        ("shorter_way", "recurrence", to([1e-6, 0.4]), PARTLY),
        ("shorter_way", "recurrence", to([0.9, 0.4]), FAILED),
        ("weights_tell", "tau", to([0.1, 0.1, 0.8]), PARTLY),
        ("weights_tell", "tau", to([0.1, 0.1, 0.1]), FAILED),
        ("reaches_far", "length_bleu", lambda a: a * [[1, 1, 90], [1, 1, 1], [1, 1, 1], [1, 1, 1]], PARTLY),
        ("reaches_far", "length_bleu", lambda a: a * [[90], [1], [1], [1]], FAILED),
        ("transformer_far", "length_bleu", lambda a: a * [[1, 1, 1], [1, 1, 1], [1, 1, 9], [1, 1, 1]], PARTLY),
        ("transformer_far", "length_bleu", lambda a: a * [[1], [1], [9], [1]], FAILED),
        ("heads_differ", "divergence", to([0.01, 0.4]), PARTLY),
        ("heads_differ", "divergence", to([0.01, 0.01]), FAILED),
        ("wider_beams", "bleu", to([[5.0, 6.0], [20.0, 20.0], [8.0, 7.0], [8.0, 8.0]]), PARTLY),
        ("wider_beams", "bleu", to(ROW * [[1.0, 1.0]]), FAILED),
        ("without_pairs", "no pairs", to(0.5), PARTLY),
        ("without_pairs", "no pairs", to(0.2), FAILED),
        ("few_pairs", "back-translation", to(0.42), FAILED),
        ("autoencoder_grammar", "grammar|autoencoder", lambda a: a * [[1], [0.1]], PARTLY),
        ("autoencoder_grammar", "grammar|autoencoder", lambda a: 0.1 * a, FAILED),
        ("skip_thought_meaning", "meaning|autoencoder", lambda a: a * [[9], [1]], PARTLY),
        ("skip_thought_meaning", "meaning|autoencoder", lambda a: a * WIDE, OPEN),
        ("trimming", "bound", to(0.3), PARTLY),
        ("trimming", "ctc", to(0.3), PARTLY),
    ],
)  # fmt: skip
def test_each_may_fall(claim: str, key: str, value: Callable[[np.ndarray], np.ndarray], verdict: str) -> None:
    pieces, piece = made_up(), ROWS[claim].pieces[0]
    pieces[piece][key] = value(pieces[piece][key])
    assert verdict_of(claim, pieces) == verdict


def test_those_with_two_sides_fall_on_both() -> None:
    pieces = made_up()
    pieces["trimming"] |= {"bound": np.array(0.3), "ctc": np.array(0.3)}
    pieces["families"] |= {"window": np.array(70.0), "window_size": np.array(1e6)}
    pieces["source"] |= dict.fromkeys(("fixed context", "fixed context, source reversed"), np.full(3, 0.1))
    for claim in ("trimming", "neural_window", "last_state"):
        assert verdict_of(claim, pieces) == FAILED


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (judge_ratios(100, 150, 300), PARTLY),
        (judge_ratios(100, 150, 400), FAILED),
        (judge_scores(np.array([2.0, 8.0, 32.0]), np.full(3, 2.0), np.ones(3), np.ones(3)), PARTLY),
        (judge_scores(np.full(3, 9.0), np.full(3, 2.0), np.ones(3), np.ones(3)), FAILED),
        (judge_window(np.array([1, 2, 4, 8]), 9, 0.1, 0.1), PARTLY),
        (judge_window(np.array([2, 2, 2, 2]), 9, 0.1, 0.1), FAILED),
    ],
)
def test_what_is_computed_may_fall(found: Finding, verdict: str) -> None:
    assert found.verdict == verdict


def test_weights_by_hand() -> None:
    """A matrix for the input and one for the state: 2 · 32² a gate or candidate."""
    assert "2,048, 4,096 of a GRU of one gate, 6,144" in two_to_three_times().measured


@pytest.mark.parametrize(
    ("slopes", "fate"),
    [([0.03, 0.04, 0.05], "explodes"), ([-0.03, -0.04, -0.05], "vanishes"), ([-0.03, 0.0, 0.04], "neither")],
)
def test_the_largest_forget_bias_is_said_to_explode_or_vanish(slopes: list[float], fate: str) -> None:
    arrays = made_up()["gradients"]
    arrays["lstm|bias"] = np.concatenate([arrays["lstm|bias"][:-1], [slopes]])
    said = ROWS["lstm_vanishes"].judge(arrays).measured
    assert f"forget bias {arrays['bias'][-1]:g}: " in said
    assert said.count(f", {fate}; the bound is") == 1


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
    pieces = made_up()
    pieces["depth"]["held_out"][1:, 0] = math.inf
    pieces["gradients"]["lstm"] = np.full_like(pieces["gradients"]["lstm"], -math.inf)
    found = judge(pieces, commands_of(Config()))
    assert found["depth_helps"].verdict == OPEN
    assert not any("nan" in claim.measured for claim in found.values())
    assert "not finite for" in found["lstm_explodes"].measured
    one, other = np.array([1.0, math.inf]), np.array([1.0, 2.0])
    assert smaller(one, other) == smaller(other, one) == OPEN


def test_a_slope_that_does_not_fall_has_no_half_life() -> None:
    assert format_half_life(-math.log(2) / 7) == "a half-life of 7 steps"
    assert format_half_life(0.0) == format_half_life(0.1) == "no half-life, as it doesn't fall"
