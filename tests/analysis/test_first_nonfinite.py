"""Numbers that leave floating point at a step that is known beforehand, and are found there under their
name."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import FirstNonfinite, first_nonfinite
from models import GRU, LSTM, Cell, Elman, SelfAttention, SelfAttentive
from models.cell import Array

T, D, H = 12, 2, 3


def of(cell: Cell, batch: tuple[int, ...] = ()) -> tuple[Any, Array]:
    return cell.init(jax.random.key(0), D), jax.random.normal(jax.random.key(1), (T, *batch, D))


def total(final: Any, ys: Array) -> Array:
    return jnp.sum(ys**2)


def found(*given: Any) -> FirstNonfinite:
    report = first_nonfinite(*given)
    assert report is not None
    return report


@pytest.mark.parametrize("cell", [Elman(H), GRU(H), LSTM(H)], ids=["elman", "gru", "lstm"])
def test_nothing(cell: Cell) -> None:
    params, xs = of(cell, (4,))
    assert first_nonfinite(cell, params, xs, total) is None


def test_a_state_that_doubles() -> None:
    """h' = 2^8 h in float32 from h_0 = 2^100: 2^(100 + 8t) is infinite at t = 4, and each singular value is
    256."""
    cell = Elman(1, activation="identity")
    params = {"kernel": jnp.zeros((D, 1)), "recurrent": jnp.full((1, 1), 256.0), "bias": jnp.zeros(1)}
    report = found(cell, params, jnp.zeros((T, D)), None, jnp.full(1, 2.0**100))
    assert (report.direction, report.step, report.example, report.fault) == ("forward", 4, (), "inf")
    assert report.quantity == "gate hidden"  # what `observe` shows of the step stands before its state
    assert report.singular_value == 256
    text = str(report)
    assert "gate hidden at time step 4: inf" in text
    assert "is 256" in text


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_an_input(value: float) -> None:
    """By step, example and name; what comes of it later isn't reported."""
    params, xs = of(LSTM(H), (2, 3))
    report = found(LSTM(H), params, xs.at[7, 1, 2, 0].set(value), total)
    assert (report.direction, report.step, report.example) == ("forward", 8, (1, 2))
    assert (report.quantity, report.fault) == ("input", "nan" if math.isnan(value) else "inf")
    assert report.singular_value is not None
    assert report.singular_value_before is not None
    assert np.isnan(report.singular_value) == math.isnan(value)
    assert np.isfinite(report.singular_value_before)


@pytest.mark.parametrize(
    "cell", [SelfAttention(4, context=8), SelfAttentive(Elman(H))], ids=["cache", "holds a cache"]
)
def test_a_cache(cell: Cell) -> None:
    """Its Jacobian only copies: no singular value is quoted."""
    params, xs = of(cell)
    report = found(cell, params, xs.at[7, 0].set(np.inf))
    assert (report.step, report.quantity, report.fault) == (8, "input", "inf")
    assert report.singular_value is report.singular_value_before is None
    assert str(report).endswith("is input at time step 8: inf")


def test_no_step_with_a_finite_jacobian() -> None:
    """Of the first step on the way there: nothing is quoted that isn't known."""
    params, xs = of(Elman(H))
    report = found(Elman(H), params, xs.at[0].set(np.nan))
    assert (
        str(report) == "the first value that is not finite in the forward pass is input at time step 1: nan"
    )


def test_a_drive() -> None:
    """Inputs of 1e30 through a kernel of 1e20: the input is finite, the drive isn't."""
    params, xs = of(GRU(H))
    params["kernel"] = jnp.full_like(params["kernel"], 1e20)
    report = found(GRU(H), params, xs.at[4].set(1e30))
    assert (report.quantity, report.step, report.fault) == ("drive", 5, "inf")


def test_a_part_of_the_state() -> None:
    """The LSTM's memory from an infinite one: known before the first step, by its name."""
    params, xs = of(LSTM(H))
    state = LSTM(H).initial_state(params)
    report = found(LSTM(H), params, xs, total, state._replace(c=state.c.at[1].set(jnp.inf)))
    assert (report.quantity, report.step, report.fault) == ("initial state c", None, "inf")


def test_parameters_come_first() -> None:
    params, xs = of(Elman(H))
    report = found(Elman(H), params | {"bias": params["bias"].at[0].set(jnp.nan)}, xs.at[0].set(jnp.nan))
    assert (report.direction, report.quantity) == ("parameters", "parameter bias")
    assert str(report) == "the first value that is not finite in the parameters is parameter bias: nan"


def test_a_loss() -> None:
    params, xs = of(Elman(H))
    report = found(Elman(H), params, xs, lambda final, ys: jnp.sum(jnp.log(ys - ys)))
    assert (report.direction, report.quantity, report.fault) == ("loss", "the loss", "inf")


def test_a_gradient_that_explodes() -> None:
    """h' = h + 0 with a gradient of 2^8 a step: finite on the way forward, infinite 16 steps back at 2^128."""
    cell = Elman(1, activation="identity")
    params = {"kernel": jnp.zeros((D, 1)), "recurrent": jnp.full((1, 1), 256.0), "bias": jnp.zeros(1)}
    report = found(cell, params, jnp.zeros((20, D)), lambda final, ys: jnp.sum(final))
    # ∂h_20/∂h_t = 2^(8 (20 − t)) is infinite for 20 − t = 16, so t = 4: sent back by step 5.
    assert (report.direction, report.step, report.quantity) == ("backward", 5, "gradient in state")
    assert report.fault == "inf"
    assert report.singular_value == 256
    assert "backward pass" in str(report)


@dataclass(frozen=True)
class Root(Elman):
    """h' = √(h − 1) + …: finite at h = 1, where its slope isn't."""

    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Array, Array]:
        h = jnp.sqrt(state - 1) + 1 + drive
        return h, h


def test_a_slope_that_is_infinite() -> None:
    """At the step where h touches one exactly."""
    params = Root(1).init(jax.random.key(0), D)
    params["kernel"] = jnp.ones((D, 1))
    xs = jnp.zeros((5, D)).at[:, 0].set(jnp.array([2.0, -2.0, 0.5, 0.5, 0.5]))
    # h: 5, √4 + 1 + 2 = 5, √4 + 1 − 2 = 1, √0 + 1.5, …: the third step begins where the slope is infinite.
    report = found(Root(1), params, xs, lambda final, ys: jnp.sum(final), jnp.full(1, 5.0))
    assert (report.direction, report.step) == ("backward", 3)
    assert report.singular_value is not None
    assert math.isnan(report.singular_value)
