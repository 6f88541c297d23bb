"""The ways through time by name, with their options, and which of them is taken."""

import math
from dataclasses import dataclass, field
from typing import Literal

import jax

from models.cell import Array, Cell, State, Weights, check_at_least
from models.recurrence.associative import can_associate
from models.recurrence.free_memory import fits
from models.recurrence.fused import can_fuse
from models.recurrence.lyapunov_bound import check_exponent, expected_rounds
from models.recurrence.newton import Newton, can_newton, held


@dataclass(frozen=True)
class Scan:
    """One step after the other by `jax.lax.scan`; serves every cell.

    With `checkpoint_every=k` the way back keeps the state of every k-th step only and computes those between again:
    memory falls from T steps to T/k states and k steps, for about a third more time.
    """

    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        if self.checkpoint_every is not None:
            check_at_least(1, checkpoint_every=self.checkpoint_every)


@dataclass(frozen=True)
class Fused:
    """A scan with a hand-driven way back (`fused.py`); serves cells of the product form."""


@dataclass(frozen=True)
class Associative:
    """All steps at once in log T rounds (`associative.py`); serves cells linear in their state."""


@dataclass(frozen=True)
class Auto:
    """The way that is fastest for the cell and the device (`choose`), which may depend on λ₁, its largest Lyapunov
    exponent: a number, or "measure", where Newton's method is a choice, to have it estimated (see `Newton`)."""

    lyapunov: float | Literal["measure"] | None = None

    def __post_init__(self) -> None:
        check_exponent(self.lyapunov, "Auto")


Way = Scan | Fused | Associative | Newton
Method = Literal["auto", "scan", "fused", "associative", "newton"] | Way | Auto
NAMED: dict[str, Way] = {"scan": Scan(), "fused": Fused(), "associative": Associative(), "newton": Newton()}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UnrollInfo:
    """Facts about the way that was taken.

    `method` is the way, `why` the reason where "auto" chose it. For `Newton`, example by example `[*batch]`:
    `iterations`, `converged` (where it is False the result is that of scan) and `residual`, and where it was to be
    measured `exponent`, λ₁ in nats per step; else None.
    """

    method: Way = field(metadata={"static": True})
    why: str = field(metadata={"static": True})
    iterations: Array | None = None
    converged: Array | None = None
    residual: Array | None = None
    exponent: Array | None = None


def resolve_method(
    method: Method, cell: Cell, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[Way, str]:
    """The way that `method` comes to, and why. Newton's, where λ₁ is given, only if that promises few rounds."""
    if method == "auto" or isinstance(method, Auto):
        exponent = method.lyapunov if isinstance(method, Auto) else None
        return auto_method(cell, weights, state, xs, mask, exponent)
    way = named(method)
    if isinstance(way, Newton) and isinstance(way.lyapunov, float | int):
        rounds, told = expected_rounds(way.lyapunov), f"the largest Lyapunov exponent is {way.lyapunov:+.3g}"
        if rounds > way.iterations:
            return Scan(), f"{told}: more than Newton's {way.iterations} rounds are to be expected"
        return way, f"asked for, and {told}: about {rounds:.0f} rounds are to be expected"
    return way, "asked for"


def auto_method(
    cell: Cell,
    weights: Weights,
    state: State,
    xs: Array,
    mask: Array | None,
    exponent: float | str | None = None,
) -> tuple[Way, str]:
    """Returns what "auto" takes, and why.

    - A cell linear in its state on an accelerator: `Associative`. On the CPU it does log T times the work with
      nothing to do it in parallel, and a scan is several times faster.
    - Where λ₁ is given, on an accelerator and for a state with a derivative: `Newton` if it promises so few rounds,
      of log₂ T products each, that the T steps of a scan are more, and its Jacobians fit into memory. On the CPU a
      scan is always faster than that.
    - A cell of the product form: `Fused`.
    - Any other: `Scan`.
    """
    backend = jax.default_backend()
    if can_associate(cell, mask) and backend != "cpu":
        return Associative(), f"linear in its state, on a {backend}"
    if exponent is not None and backend != "cpu" and can_newton(state) and newton_fits(state, xs):
        if exponent == "measure":
            why = f"on a {backend}, where the exponent measured promises few rounds"
            return Newton(lyapunov="measure"), why
        assert not isinstance(exponent, str)
        if expected_rounds(exponent) * math.log2(max(xs.shape[0], 2)) < xs.shape[0]:
            told = f"the largest Lyapunov exponent is {exponent:+.3g}"
            return Newton(lyapunov=exponent), f"on a {backend}, and {told}: few rounds are to be expected"
    if can_fuse(cell, weights, state, xs):
        return Fused(), "a product and something local"
    return Scan(), "neither of the product form nor, on an accelerator, linear in its state"


def newton_fits(state: State, xs: Array) -> bool:
    """Returns True where the Jacobians of Newton's method are no more than the memory that is free."""
    return fits(held(Newton(), xs.shape[0], state, max(1, math.prod(xs.shape[1:-1]))))


def named(method: Method) -> Way:
    """The way with that name, or the one given. Raises ValueError for any other."""
    if isinstance(method, str) and method in NAMED:
        return NAMED[method]
    if isinstance(method, Way):
        return method
    raise ValueError(f"unknown method {method!r}: there are auto, {', '.join(NAMED)}")
