"""The ways through time agree with the plain scan, which is itself checked against NumPy, Flax and PyTorch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import models.recurrence.fused
from models import GRU, LSTM, BasicGRU, Cell, Elman, Gaussian, LinearCell, LSTMState, Scan, unroll
from models.cell import Array, BatchShape, Key, Params, affine, matmul
from models.recurrence.fused import block_size
from models.recurrence.methods import Associative, Fused, auto_method
from models.recurrence.unroll import unroll_with_info

T, B, D = 7, 3, 2


@dataclass(frozen=True)
class Peephole(LSTM):
    """Its local part reads a small parameter, and what it exposes is scaled by another."""

    def init(self, key: Key, input_size: int) -> Params:
        own = jax.random.normal(jax.random.fold_in(key, 9), (2, self.hidden_size))
        return super().init(key, input_size) | {"peephole": own[0], "scale": own[1]}

    def recurrent_input(self, weights: Params, state: LSTMState) -> Array:
        return state.h * weights["scale"].reshape((1,) * (state.h.ndim - 1) + (-1,))

    def pointwise(self, weights: Params, state: LSTMState, drive: Array, r: Array) -> tuple[LSTMState, Array]:
        seen = state.c * weights["peephole"].reshape((1,) * (state.c.ndim - 1) + (-1,))
        return super().pointwise(weights, state, drive + jnp.concatenate([seen, seen, seen, seen], -1), r)


@dataclass(frozen=True)
class Blocks(Elman):
    """A block-diagonal recurrent matrix."""

    additive: ClassVar[bool] = False

    def init(self, key: Key, input_size: int) -> Params:
        size = self.hidden_size // 2
        return super().init(key, input_size) | {"recurrent": jax.random.normal(key, (2, size, size)) / 2}


@dataclass(frozen=True)
class Decay(LinearCell):
    """s_t = σ(x_t W) ∘ s_{t−1} + x_t V, complex."""

    hidden_size: int = 3

    def init(self, key: Key, input_size: int) -> Params:
        return {"kernel": jax.random.normal(key, (input_size, 2 * self.hidden_size))}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), jnp.result_type(params["kernel"], 1j))

    def drive(self, weights: Params, x: Array) -> Array:
        return affine(x, weights["kernel"])

    def coefficients(self, weights: Params, drive: Array) -> tuple[Array, Array]:
        a, b = jnp.split(drive, 2, axis=-1)
        return jax.nn.sigmoid(a) * jnp.exp(1j * b), b + 0j

    def readout(self, weights: Params, state: Array, drive: Array) -> Array:
        return state.real


def weigh(tree: Any) -> Array:
    leaves = [jnp.stack([leaf.real, leaf.imag]) for leaf in jax.tree.leaves(tree)]
    return sum((jnp.sum(jnp.sin(1.0 + jnp.arange(v.size)) * v.reshape(-1)) for v in leaves), jnp.zeros(()))


def values_and_gradients(cell: Cell, method: Any, mask: Array | None, reverse: bool) -> Any:
    key = jax.random.key(3)
    params = jax.tree.map(lambda p: p + 0.1, cell.init(key, D))
    xs = jax.random.normal(jax.random.fold_in(key, 1), (T, B, D))
    state = jax.tree.map(lambda s: s + 0.3, cell.initial_state(params, (B,)))

    def run(params: Params, xs: Array, real: Any) -> Any:
        begun = jax.tree.map(lambda s, r: s + r, state, real)
        return unroll(cell, params, xs, begun, mask=mask, reverse=reverse, method=method)

    shift = jax.tree.map(lambda s: jnp.zeros(s.shape), state)
    value = jax.jit(run)(params, xs, shift)
    return value, jax.jit(jax.grad(lambda *given: weigh(run(*given)), argnums=(0, 1, 2)))(params, xs, shift)


def assert_equal(cell: Cell, method: Any, mask: Array | None, reverse: bool, tolerance: float) -> None:
    found = values_and_gradients(cell, method, mask, reverse)
    expected = values_and_gradients(cell, "scan", mask, reverse)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max())))


MASK = np.arange(T)[:, None] * 7 % 5 < np.array([2, 3, 5])
FUSED = [Elman(4), Elman(3, activation="relu"), BasicGRU(4), GRU(4), LSTM(4), Peephole(3), Blocks(4)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("masked", "reverse"),
    [
        (True, True),
        *(
            pytest.param(*both, marks=pytest.mark.full)
            for both in ((False, False), (False, True), (True, False))
        ),
    ],
)
@pytest.mark.parametrize(
    "cell",
    [cell if type(cell) in (GRU, LSTM) else pytest.param(cell, marks=pytest.mark.full) for cell in FUSED],
    ids=lambda cell: f"{type(cell).__name__}{cell.hidden_size}",
)
@pytest.mark.usefixtures("x64")
def test_fused_is_scan(cell: Cell, masked: bool, reverse: bool) -> None:
    assert_equal(cell, "fused", jnp.asarray(MASK) if masked else None, reverse, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "masked", "reverse"),
    [
        (LSTM(3), False, False),
        pytest.param(Peephole(3), True, True, marks=pytest.mark.full),
        *(
            pytest.param(cell, masked, not masked, marks=pytest.mark.full)
            for cell, masked in ((GRU(3), False), (Blocks(4), True))
        ),
    ],
    ids=["LSTM", "Peephole", "GRU", "Blocks"],
)
@pytest.mark.parametrize(
    "rows",
    [pytest.param(B, marks=pytest.mark.full), 2 * B, pytest.param(6 * B, marks=pytest.mark.full)],
    ids=["7 blocks", "3 blocks and 1 step", "1 block and 1 step"],
)
@pytest.mark.usefixtures("x64")
def test_fused_block_by_block(
    cell: Cell, masked: bool, reverse: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the sequence is cut, and where its length is prime."""
    monkeypatch.setattr(models.recurrence.fused, "BLOCK_ROWS", rows)
    monkeypatch.setattr(models.recurrence.fused, "BLOCK_SLACK", 1.0)
    jax.clear_caches()  # what was compiled for other blocks
    assert_equal(cell, "fused", jnp.asarray(MASK) if masked else None, reverse, 1e-12)


@pytest.mark.parametrize(
    ("length", "batch", "size"), [(1000, 8, 40), (997, 8, 32), (40, 8, 40), (50, 256, 1), (7, 0, 7)]
)
def test_block_size(length: int, batch: int, size: int) -> None:
    assert block_size(length, batch) == size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "masked", "reverse", "length"),
    [(Peephole(3), True, True, 11), (GRU(3), False, False, 12), (GRU(3), True, True, 7)],
    ids=["one by one", "by fours", "all seven at once"],
)
@pytest.mark.usefixtures("x64")
def test_forward_only(cell: Cell, masked: bool, reverse: bool, length: int) -> None:
    """The results are those computed where something is differentiated, and nothing as wide
    as the gates is held for all of time."""
    params = jax.tree.map(lambda p: p + 0.1, cell.init(jax.random.key(0), D))
    xs = jax.random.normal(jax.random.key(1), (length, B, D))
    mask = jnp.asarray(np.arange(length)[:, None] % 3 < np.array([1, 2, 3])) if masked else None

    def run(params: Params) -> Any:
        return unroll(cell, params, xs, mask=mask, reverse=reverse, method="fused")

    alone, beside = jax.jit(run)(params), jax.jit(lambda params: jax.vjp(run, params)[0])(params)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(beside), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)
    if length == 12:
        assert widest(jax.make_jaxpr(run)(params).jaxpr, length) == 3
        assert widest(jax.make_jaxpr(lambda p: jax.vjp(run, p)[0])(params).jaxpr, length) > 3


def widest(jaxpr: Any, length: int) -> int:
    """The last axis of the widest array that a trace holds for all steps at once, in blocks or not."""
    found = [jaxprs_in_params(equation.params) for equation in jaxpr.eqns]
    inner = [widest(nested, length) for each in found for nested in each]
    shapes = [v.aval.shape for equation in jaxpr.eqns for v in equation.outvars]
    whole = [s[-1] for s in shapes if len(s) >= 3 and math.prod(s[:-1]) == length * B]
    return max([0, *inner, *whole])


def test_fused_sums_half_precision_in_single(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias's gradient in bfloat16 is a sum over 512 steps, a number above 256 here: in bfloat16 it would stop
    growing there, and be off by half."""
    monkeypatch.setattr(models.recurrence.fused, "BLOCK_ROWS", 4)
    jax.clear_caches()
    cell, length = Elman(2, activation="identity", recurrent_init=Gaussian(0.0)), 512
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), cell.init(jax.random.key(0), D))
    xs = jnp.zeros((length, D), jnp.bfloat16)
    gradient = jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, method="fused")[1].astype(jnp.float32)))(params)
    assert gradient["bias"].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(gradient["bias"], np.float32), length, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("method", [Scan(checkpoint_every=316), "auto"], ids=["checkpointed", "auto"])
def test_a_long_sequence_fits(method: Any) -> None:
    """T = 100,000, H = 64, B = 1: what XLA sets aside for a gradient is below 1 GB."""
    cell, xs = LSTM(64), jnp.zeros((100_000, 1, 64))
    params = cell.init(jax.random.key(0), 64)
    gradient = jax.jit(jax.grad(lambda p: jnp.mean(unroll(cell, p, xs, method=method)[1] ** 2)))
    memory: Any = gradient.lower(params).compile().memory_analysis()
    assert memory.temp_size_in_bytes + memory.argument_size_in_bytes < 1e9


def test_fused_takes_token_ids() -> None:
    """Inputs that are integers have no gradient; the weights that they pick have."""

    @dataclass(frozen=True)
    class Tokens(Elman):
        def drive(self, weights: Params, x: Array) -> Array:
            return weights["kernel"][x[..., 0]]

    cell, ids = Tokens(3), jax.random.randint(jax.random.key(1), (T, B, 1), 0, D)
    params = cell.init(jax.random.key(0), D)
    found, expected = (
        jax.grad(lambda p: weigh(unroll(cell, p, ids, method=method)[1]))(params)  # noqa: B023
        for method in ("fused", "scan")
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", [*FUSED, GRU(4, reset="after")], ids=lambda cell: type(cell).__name__)
def test_added_columns(cell: Any) -> None:
    """In the columns that a cell names, its local part takes the drive and r by their sum alone; in no others."""
    params = jax.tree.map(lambda p: p + 0.1, cell.init(jax.random.key(3), D))
    state = jax.tree.map(lambda s: s + 0.3, cell.initial_state(params, (B,)))
    drive = jax.random.normal(jax.random.key(4), (B, cell.drive(params, jnp.ones((1, D))).shape[-1]))
    r = jax.random.normal(jax.random.key(5), drive.shape)
    added = cell.added_columns(drive.shape[-1])

    def moved(columns: int) -> list[np.ndarray]:
        shift = jnp.where(jnp.arange(drive.shape[-1]) < columns, r, 0)
        return [
            np.asarray(leaf)
            for leaf in jax.tree.leaves(cell.pointwise(params, state, drive + shift, r - shift))
        ]

    for a, b in zip(moved(0), moved(added), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.full
def test_fused_is_scan_in_single_precision() -> None:
    assert_equal(LSTM(8), Fused(), jnp.asarray(MASK), False, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("every", [3, *(pytest.param(every, marks=pytest.mark.full) for every in (1, 7, 50))])
@pytest.mark.parametrize(
    "reverse", [pytest.param(False, marks=pytest.mark.full), True], ids=["forward", "reverse"]
)
@pytest.mark.usefixtures("x64")
def test_checkpointed_is_scan(every: int, reverse: bool) -> None:
    assert_equal(LSTM(3), Scan(checkpoint_every=every), jnp.asarray(MASK), reverse, 1e-12)
    assert_equal(GRU(3, reset="before"), Scan(checkpoint_every=every), None, reverse, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "reverse", [pytest.param(False, marks=pytest.mark.full), True], ids=["forward", "reverse"]
)
@pytest.mark.usefixtures("x64")
def test_associative_is_scan(reverse: bool) -> None:
    assert_equal(Decay(), "associative", None, reverse, 1e-12)
    assert_equal(Decay(), Associative(), jnp.asarray(MASK), reverse, 1e-12)
    linear = Elman(4, activation="identity", recurrent_init=Gaussian(0.9))
    assert_equal(linear, "associative", None, reverse, 1e-12)


@pytest.mark.full
def test_checkpointing_keeps_less() -> None:
    """XLA sets aside less for a backward pass and for a forward pass alone: the drive of k steps, not of T."""
    cell, xs = LSTM(16), jnp.zeros((1024, 1, 2))
    params = cell.init(jax.random.key(0), 2)

    def kept(method: Any, transform: Callable[..., Any]) -> int:
        program = transform(lambda p: jnp.sum(unroll(cell, p, xs, method=method)[1]))
        analysis = jax.jit(program).lower(params).compile().memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    for transform in (jax.grad, lambda program: program):
        assert kept(Scan(checkpoint_every=32), transform) < 0.3 * kept("scan", transform)


@pytest.mark.parametrize(
    ("method", "cell", "message"),
    [
        ("fused", GRU(3, reset="before"), "'fused' can't run GRU.*use 'scan'"),
        ("associative", LSTM(3), "'associative' can't run LSTM.*use 'scan'"),
    ],
)
def test_refusals(method: Any, cell: Cell, message: str) -> None:
    params = cell.init(jax.random.key(0), D)
    with pytest.raises(ValueError, match=message):
        unroll(cell, params, jnp.zeros((T, D)), method=method)


def test_linear_elman_refuses_a_mask() -> None:
    cell = Elman(3, activation="identity")
    with pytest.raises(ValueError, match="no mask"):
        unroll(
            cell,
            cell.init(jax.random.key(0), D),
            jnp.zeros((T, D)),
            mask=jnp.ones(T, bool),
            method="associative",
        )


@pytest.mark.parametrize(
    ("cell", "way"),
    [(LSTM(2), Fused()), (GRU(2), Fused()), (GRU(2, reset="before"), Scan()), (Elman(2), Fused())],
    ids=str,
)
def test_auto(cell: Cell, way: Any) -> None:
    params = cell.init(jax.random.key(0), D)
    _, _, info = unroll_with_info(cell, params, jnp.zeros((T, D)))
    assert info.method == way
    assert auto_method(cell, params, cell.initial_state(params), jnp.zeros((T, D)), None)[1] == info.reason
    assert info.reason


def test_block_diagonal_product() -> None:
    rng = np.random.default_rng(0)
    x, blocks = rng.normal(size=(5, 6)), rng.normal(size=(2, 3, 4))
    whole = np.zeros((6, 8))
    whole[:3, :4], whole[3:, 4:] = blocks
    np.testing.assert_allclose(matmul(jnp.asarray(x), jnp.asarray(blocks)), x @ whole, rtol=1e-5, atol=1e-5)


def test_forward_mode_says_what_to_do() -> None:
    """The fused scan and Newton's method have none and say so; the scan has it."""
    cell = Elman(2)
    params = cell.init(jax.random.key(0), D)

    def run(method: Any) -> Callable[[Array], Array]:
        return lambda xs: unroll(cell, params, xs, method=method)[1]

    xs = jnp.ones((T, D))
    for method in ("fused", "newton", "auto"):
        with pytest.raises(ValueError, match=r"no forward mode .*: use method='scan'"):
            jax.jvp(run(method), (xs,), (xs,))
    tangent = jax.jvp(run("scan"), (xs,), (xs,))[1]
    step = 1e-3
    difference = (run("scan")(xs + step * xs) - run("scan")(xs - step * xs)) / (2 * step)
    np.testing.assert_allclose(tangent, difference, atol=1e-3)
