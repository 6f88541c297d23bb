"""`unroll` refuses what it can't use in one sentence that says what, where and what is wanted."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from models import GRU, LSTM, Cell, Elman, unroll
from models.cell import Array

D = 2


@dataclass(frozen=True)
class Coupled(Elman):
    """Its examples see one another in training."""

    couples_batch: ClassVar[bool] = True


@dataclass(frozen=True)
class WrongShape(Elman):
    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Array, Array]:
        h, y = super().step(weights, state, drive)
        return h[..., :-1], y


@dataclass(frozen=True)
class WrongType(Elman):
    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Array, Array]:
        h, y = super().step(weights, state, drive)
        return h.astype(jnp.bfloat16), y


@dataclass(frozen=True)
class WrongTree(Elman):
    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Any, Array]:
        h, y = super().step(weights, state, drive)
        return (h, h), y


XS = jnp.zeros((4, 2, D))
REFUSED: dict[str, tuple[Cell, dict[str, Any], type[Exception], str]] = {
    "rank of xs": (Elman(3), {"xs": jnp.zeros(4)}, ValueError, r"xs must be \[T, \*batch, D\].*is \[4\]"),
    "inputs too wide": (
        LSTM(3),
        {"xs": jnp.zeros((4, 2, 5))},
        ValueError,
        r"axis D is 5 in the inputs \[4, 2, 5\] but 2",
    ),
    "inputs too narrow": (GRU(3), {"xs": jnp.zeros((4, 1))}, ValueError, "axis D is 1 in .* but 2"),
    "mask of one axis": (
        GRU(3),
        {"mask": jnp.ones(4, bool)},
        ValueError,
        r"mask must be .* \[4, 2\] .* is \[4\]",
    ),
    "mask of other length": (
        GRU(3),
        {"mask": jnp.ones((3, 2), bool)},
        ValueError,
        r"mask must be .*\[3, 2\]",
    ),
    "mask of floats": (GRU(3), {"mask": jnp.ones((4, 2))}, ValueError, "mask must be boolean.*float32"),
    "state without batch": (
        GRU(3),
        {"state": jnp.zeros(3)},
        ValueError,
        r"state given to GRU .*\(2,\): leaf h is \[3\], but \[2, 3\]",
    ),
    "state of another cell": (LSTM(3), {"state": jnp.zeros((2, 3))}, ValueError, "state given to LSTM"),
    "method": (GRU(3), {"method": "nowton"}, ValueError, "unknown method 'nowton'.*scan"),
    "newton on a coupled batch": (
        Coupled(3),
        {"method": "newton", "train": True},
        ValueError,
        r"method 'newton' can't train Coupled",
    ),
    "step of another shape": (WrongShape(3), {}, TypeError, r"WrongShape\.step .*\[2, 2\], but .*\[2, 3\]"),
    "step of another type": (WrongType(3), {}, TypeError, r"WrongType\.step .*bfloat16.*float32.* is wanted"),
    "step of another form": (WrongTree(3), {}, TypeError, r"WrongTree\.step must return"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str) -> None:
    cell, options, error, message = REFUSED[case]
    params = cell.init(jax.random.key(0), D)
    given: dict[str, Any] = {"xs": XS} | options
    # As a user has it: without the suite's own check of annotations, which would speak first.
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(error, match=message) as raised:
            unroll(cell, params, **given)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert "\n" not in str(raised.value)
