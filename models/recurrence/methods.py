"""The methods of unrolling a cell, with their options, and the choice among them."""

import math
from dataclasses import dataclass, field
from typing import Literal

import jax

from models.cell import Array, Cell, State, Weights, check_at_least
from models.recurrence.associative import can_associate
from models.recurrence.attentive import can_attend
from models.recurrence.free_memory import fits
from models.recurrence.fused import can_fuse
from models.recurrence.lyapunov_estimate import check_exponent, expected_rounds
from models.recurrence.newton import Newton, can_newton, memory_needed


@dataclass(frozen=True)
class Scan:
    """One step after the other by `jax.lax.scan`; supports every cell.

    With `checkpoint_every=k` only the state of every k-th step is stored for the backward pass, which recomputes
    those in between: memory falls from T steps to T/k states and k steps, for about a third more time.
    """

    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        if self.checkpoint_every is not None:
            check_at_least(1, checkpoint_every=self.checkpoint_every)


@dataclass(frozen=True)
class Fused:
    """A scan with a backward pass of its own; supports cells of the product form (`fused.py`) and cells that
    attend to a memory (`attentive.py`)."""


@dataclass(frozen=True)
class Associative:
    """All steps at once in log T rounds (`associative.py`); supports cells linear in their state."""


@dataclass(frozen=True)
class Auto:
    """The fastest method for the cell and the device (`auto_method`).

    It may depend on `lyapunov`, the cell's largest Lyapunov exponent λ₁: a number, or "measure" to estimate it
    where Newton's method is an option (see `Newton`).
    """

    lyapunov: float | Literal["measure"] | None = None

    def __post_init__(self) -> None:
        check_exponent(self.lyapunov, "Auto")


ConcreteMethod = Scan | Fused | Associative | Newton
Method = Literal["auto", "scan", "fused", "associative", "newton"] | ConcreteMethod | Auto
METHODS_BY_NAME: dict[str, ConcreteMethod] = {
    "scan": Scan(),
    "fused": Fused(),
    "associative": Associative(),
    "newton": Newton(),
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UnrollInfo:
    """Information about the method that was used.

    `method` is the method, `reason` why "auto" chose it. For `Newton`, for each example `[*batch]`: `iterations`,
    `converged` (if False the result is that of scan), `residual`, and `exponent`, λ₁ in nats per step, if it was
    measured; else None.
    """

    method: ConcreteMethod = field(metadata={"static": True})
    reason: str = field(metadata={"static": True})
    iterations: Array | None = None
    converged: Array | None = None
    residual: Array | None = None
    exponent: Array | None = None


def resolve_method(
    method: Method, cell: Cell, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[ConcreteMethod, str]:
    """Returns the method to use and the reason. Newton's method with a given λ₁ becomes scan if that predicts too
    many rounds."""
    if method == "auto" or isinstance(method, Auto):
        exponent = method.lyapunov if isinstance(method, Auto) else None
        return auto_method(cell, weights, state, xs, mask, exponent)
    way = method_by_name(method)
    if isinstance(way, Newton) and isinstance(way.lyapunov, float | int):
        rounds, measured = (
            expected_rounds(way.lyapunov),
            f"the largest Lyapunov exponent is {way.lyapunov:+.3g}",
        )
        if rounds > way.iterations:
            return Scan(), f"{measured}: more than Newton's {way.iterations} rounds are expected"
        return way, f"requested, and {measured}: about {rounds:.0f} rounds are expected"
    return way, "requested"


def auto_method(
    cell: Cell,
    weights: Weights,
    state: State,
    xs: Array,
    mask: Array | None,
    exponent: float | str | None = None,
) -> tuple[ConcreteMethod, str]:
    """Returns the method that "auto" chooses, and the reason.

    - A cell linear in its state on an accelerator: `Associative`. On the CPU it does log T times the work without
      parallelism, and a scan is several times faster.
    - With λ₁ given, on an accelerator and for a state with a derivative: `Newton` if the expected rounds, of log₂ T
      products each, are fewer than the T steps of a scan, and its Jacobians fit into memory. On the CPU a scan is
      always faster.
    - A cell of the product form, or one that attends to a memory: `Fused`.
    - Any other: `Scan`.
    """
    backend = jax.default_backend()
    if can_associate(cell, mask) and backend != "cpu":
        return Associative(), f"linear in its state, on a {backend}"
    if exponent is not None and backend != "cpu" and can_newton(state) and newton_fits(state, xs):
        if exponent == "measure":
            reason = f"on a {backend}, if the measured exponent predicts few rounds"
            return Newton(lyapunov="measure"), reason
        assert not isinstance(exponent, str)
        if expected_rounds(exponent) * math.log2(max(xs.shape[0], 2)) < xs.shape[0]:
            measured = f"the largest Lyapunov exponent is {exponent:+.3g}"
            return Newton(lyapunov=exponent), f"on a {backend}, and {measured}: few rounds are expected"
    if can_fuse(cell, weights, state, xs):
        return Fused(), "of the product form"
    if can_attend(cell, weights, state, xs):
        return Fused(), "attends to a memory"
    return Scan(), "neither of the product form nor, on an accelerator, linear in its state"


def newton_fits(state: State, xs: Array) -> bool:
    """Returns True if the Jacobians of Newton's method fit into the free memory."""
    return fits(memory_needed(Newton(), xs.shape[0], state, max(1, math.prod(xs.shape[1:-1]))))


def method_by_name(method: Method) -> ConcreteMethod:
    """Returns the method with that name, or the given one. Raises ValueError for any other."""
    if isinstance(method, str) and method in METHODS_BY_NAME:
        return METHODS_BY_NAME[method]
    if isinstance(method, ConcreteMethod):
        return method
    raise ValueError(f"unknown method {method!r}: there are auto, {', '.join(METHODS_BY_NAME)}")
