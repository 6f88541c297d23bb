"""A cell through time: one door, `unroll`, and several ways behind it."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from models.associative import associative, can_associate
from models.cell import (
    Array,
    BatchShape,
    Cell,
    Drive,
    Key,
    Output,
    Params,
    ProductCell,
    State,
    Weights,
    at_least,
)
from models.contraction import check_exponent, expected_rounds
from models.fused import can_fuse, fused
from models.layer import Layer
from models.newton import Newton, can_newton, newton
from models.scan import checkpointed_scan, scan


@dataclass(frozen=True)
class Scan:
    """One step after the other by `jax.lax.scan`; serves every cell.

    With `checkpoint_every=k` the way back keeps the state of every k-th step only and computes those between again:
    memory falls from T steps to T/k states and k steps, for about a third more time.
    """

    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        if self.checkpoint_every is not None:
            at_least(1, checkpoint_every=self.checkpoint_every)


@dataclass(frozen=True)
class Fused:
    """A scan with a hand-driven way back (`models/fused.py`); serves cells of the product form."""


@dataclass(frozen=True)
class Associative:
    """All steps at once in log T rounds (`models/associative.py`); serves cells linear in their state."""


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
class Info:
    """What the way taken has to tell.

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


def unroll(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
) -> tuple[State, Output]:
    """Runs a cell over a sequence: `xs [T, *batch, D]` → final state `[*batch, ...]`, outputs `[T, *batch, ...]`.

        w = prepare(params);   s_t, y_t = step(w, s_{t−1}, drive(w, x_t))   for t = 1 … T

    `state` is s_0 (the cell's initial state by default). `reverse` reads from the last step to the first and
    leaves the outputs where their inputs stand. Where `mask [T, *batch]` is False the state stays as it was, the
    output is zero, and nothing of the input, NaN included, reaches a value or a gradient. `key` and `train` are
    handed to the cell's `prepare`.

    Raises ValueError where the shapes of inputs, mask or state don't fit, and TypeError where the cell's step
    doesn't return a state of the form that it was given.
    """
    options: Any = {"mask": mask, "reverse": reverse, "method": method, "key": key, "train": train}
    if isinstance(cell, Layer):
        return cell.unroll(params, xs, state, **options)
    state, ys, _ = unroll_with_info(cell, params, xs, state, **options)
    return state, ys


def unroll_with_info(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
) -> tuple[State, Output, Info]:
    """`unroll`, and what the way taken has to tell; for a single cell, not for a stack of them."""
    if isinstance(cell, Layer):
        raise ValueError(f"a {type(cell).__name__} goes a way in each of its parts: ask them one by one")
    if xs.ndim < 2:
        raise ValueError(f"xs must be [T, *batch, D], time first and inputs last, but is {list(xs.shape)}")
    batch_shape = xs.shape[1:-1]
    if state is None:
        state = cell.initial_state(params, batch_shape)
    else:
        check_state(cell, params, state, batch_shape)
    if mask is not None:
        check_mask(mask, xs)
        # Zeros in place of what is masked: a NaN times a zero cotangent would still be NaN.
        xs = jnp.where(mask[..., None], xs, 0)
    weights = cell.prepare(params, key=key, train=train, batch_shape=batch_shape)
    drive = cell.drive(weights, xs)
    check_step(cell, weights, state, drive)
    way, why = decide(method, cell, state, mask, xs.shape[0])
    if isinstance(way, Newton):
        final, ys, told = newton(
            cell, weights, state, drive, batch_shape=batch_shape, options=way, mask=mask, reverse=reverse
        )
        return final, ys, Info(way, why, **told)
    return *run(way, cell, weights, state, drive, mask, reverse), Info(way, why)


def decide(method: Method, cell: Cell, state: State, mask: Array | None, length: int) -> tuple[Way, str]:
    """The way that `method` comes to, and why. Newton's, where λ₁ is given, only if that promises few rounds."""
    if method == "auto" or isinstance(method, Auto):
        return choose(cell, state, mask, length, method.lyapunov if isinstance(method, Auto) else None)
    way = named(method)
    if isinstance(way, Newton) and isinstance(way.lyapunov, float | int):
        rounds, told = expected_rounds(way.lyapunov), f"the largest Lyapunov exponent is {way.lyapunov:+.3g}"
        if rounds > way.iterations:
            return Scan(), f"{told}: more than Newton's {way.iterations} rounds are to be expected"
        return way, f"asked for, and {told}: about {rounds:.0f} rounds are to be expected"
    return way, "asked for"


def choose(
    cell: Cell, state: State, mask: Array | None, length: int = 1, exponent: float | str | None = None
) -> tuple[Way, str]:
    """What "auto" takes, and why.

    - A cell linear in its state on an accelerator: `Associative`. On the CPU it does log T times the work with
      nothing to do it in parallel, and a scan is several times faster.
    - Where λ₁ is given, on an accelerator and for a state with a derivative: `Newton` if it promises so few rounds,
      of log₂ T products each, that the T steps of a scan are more. On the CPU a scan is always faster than that.
    - An additive cell of the product form: `Fused`. (A GRU, which isn't additive, was slower fused than scanned.)
    - Any other: `Scan`.
    """
    backend = jax.default_backend()
    if can_associate(cell, mask) and backend != "cpu":
        return Associative(), f"linear in its state, on a {backend}"
    if exponent is not None and backend != "cpu" and can_newton(state):
        if exponent == "measure":
            return Newton(
                lyapunov="measure"
            ), f"on a {backend}, where the exponent measured promises few rounds"
        assert not isinstance(exponent, str)
        if expected_rounds(exponent) * math.log2(max(length, 2)) < length:
            told = f"the largest Lyapunov exponent is {exponent:+.3g}"
            return Newton(lyapunov=exponent), f"on a {backend}, and {told}: few rounds are to be expected"
    if can_fuse(cell, state) and isinstance(cell, ProductCell) and cell.additive:
        return Fused(), "a product and something local that takes it added to the drive"
    return Scan(), "neither additive nor, on an accelerator, linear in its state"


def named(method: Method) -> Way:
    """The way with that name, or the one given. Raises ValueError for any other."""
    if isinstance(method, str) and method in NAMED:
        return NAMED[method]
    if isinstance(method, Way):
        return method
    raise ValueError(f"unknown method {method!r}: there are auto, {', '.join(NAMED)}")


def run(
    way: Scan | Fused | Associative,
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    mask: Array | None,
    reverse: bool,
) -> tuple[State, Output]:
    """The recurrence by the way given. Raises ValueError where the cell can't go it, naming those that can."""
    match way:
        case Scan(checkpoint_every=every):
            if every is None:
                return scan(cell, weights, state, drive, mask=mask, reverse=reverse)
            return checkpointed_scan(cell, weights, state, drive, every=every, mask=mask, reverse=reverse)
        case Fused():
            if not can_fuse(cell, state):
                raise ValueError(
                    f"method 'fused' can't run {cell}: it is for a ProductCell in the product form with no integer "
                    "in its state; use 'scan'"
                )
            return fused(cell, reverse, weights, state, drive, mask)
        case Associative():
            if not can_associate(cell, mask):
                raise ValueError(
                    f"method 'associative' can't run {cell}: it is for a LinearCell, or an Elman cell with "
                    "activation 'identity' and no mask; use 'scan'"
                )
            return associative(cell, weights, state, drive, mask=mask, reverse=reverse)


def check_mask(mask: Array, xs: Array) -> None:
    """Raises ValueError where the mask is not boolean `[T, *batch]`."""
    if mask.shape != xs.shape[:-1]:
        raise ValueError(
            f"the mask must be [T, *batch] = {list(xs.shape[:-1])} for these inputs, but is {list(mask.shape)}"
        )
    if mask.dtype != jnp.bool_:
        raise ValueError(f"the mask must be boolean, True where a step is valid, but is {mask.dtype}")


def check_state(cell: Cell, params: Params, state: State, batch_shape: BatchShape) -> None:
    """Raises ValueError where a given state has not the form of the cell's own."""
    expected = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    difference = first_difference(expected, state, dtypes=False)
    if difference:
        raise ValueError(
            f"the state given to {type(cell).__name__} doesn't fit inputs of batch {batch_shape}: {difference}"
        )


def check_step(cell: Cell, weights: Weights, state: State, drive: Drive) -> None:
    """Raises TypeError where the step's new state has not the form of the old one."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), drive)
    stepped, _ = jax.eval_shape(cell.step, weights, state, one)
    difference = first_difference(state, stepped, dtypes=True)
    if difference:
        raise TypeError(
            f"{type(cell).__name__}.step must return a state of the form it was given: {difference}"
        )


def first_difference(expected: Any, found: Any, *, dtypes: bool) -> str:
    """In words, the first leaf by which two pytrees differ in structure, shape or type; empty where none does."""
    if jax.tree.structure(expected) != jax.tree.structure(found):
        return f"it is {jax.tree.structure(found)}, but {jax.tree.structure(expected)} is wanted"

    def name(leaf: Any) -> str:
        return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" if dtypes else f"{list(jnp.shape(leaf))}"

    leaves = zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True)
    for (path, leaf), other in leaves:
        if name(leaf) != name(other):
            return f"leaf {jax.tree_util.keystr(path) or 'h'} is {name(other)}, but {name(leaf)} is wanted"
    return ""
