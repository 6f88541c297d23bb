"""Refusals at the door of what doesn't fit, in one sentence that names the argument, what it is and what it should
be; nothing of it comes out as a number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from analysis import (
    find_fixed_points,
    first_nonfinite,
    gradient_by_lag,
    influence,
    jacobian_eigenvalues,
    jacobian_singular_values,
    leading_singular_values,
    lyapunov_spectrum,
    parameter_gradient_by_lag,
    product_spectrum,
    step_jacobians,
)
from models import (
    GRU,
    LSTM,
    S4D,
    SLSTM,
    Cell,
    Elman,
    LSTMState,
    Scan,
    SelfAttentive,
    Stacked,
    from_linen,
    from_torch,
    state_from_torch,
    stream,
    to_torch,
    to_torch_stack,
    unroll,
)
from models.cell import Array, Params
from models.cells.batch_norm import observe_sequence
from models.recurrence.unroll import last_output

pytestmark = pytest.mark.usefixtures("quick_compilation")
D, KEY = 2, jax.random.key(0)
XS, ONE = jnp.ones((5, 3, D)), jnp.ones((5, D))
ELMAN, LSTM4, STACK = Elman(4), LSTM(4), Stacked((LSTM(4), GRU(3)))
OF_ELMAN, OF_LSTM, OF_STACK = (cell.init(KEY, D) for cell in (ELMAN, LSTM4, STACK))
HALF = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), OF_ELMAN)
TORCH = to_torch(LSTM4, OF_LSTM)
LINEN = {
    f"{side}{gate}": {"kernel": np.zeros((D if side == "i" else 5, 5))} for side in "ih" for gate in "ifgo"
}


def total(state: Any, ys: Array) -> Array:
    return jnp.sum(ys)


@dataclass(frozen=True)
class Taps(Elman):
    taps: Any = ()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    # Parameters of another cell.
    "unroll": (
        lambda: unroll(LSTM4, OF_ELMAN, XS),
        r"params doesn't fit LSTM\(hidden_size=4\): bias is \[4\], but \[16\] is wanted",
    ),
    "other size": (lambda: unroll(Elman(3), OF_ELMAN, XS), r"Elman\(hidden_size=3\): .* is wanted"),
    "scalar bias": (
        lambda: unroll(ELMAN, OF_ELMAN | {"bias": jnp.zeros(())}, XS),
        r"bias is \[\], but \[4\] is wanted",
    ),
    "bias of one": (
        lambda: unroll(ELMAN, OF_ELMAN | {"bias": jnp.zeros(1)}, XS),
        r"bias is \[1\], but \[4\]",
    ),
    "missing": (lambda: unroll(GRU(4), OF_LSTM, XS), r"params doesn't fit GRU"),
    "too much": (
        lambda: unroll(ELMAN, OF_ELMAN | {"gate": jnp.zeros(4)}, XS),
        r"it has 'gate' \[4\], which this cell doesn't take",
    ),
    "no parameters": (lambda: unroll(ELMAN, {}, XS), r"it has no 'bias' \[4\], but no leaf"),
    "state space": (lambda: unroll(S4D(4), S4D(5).init(KEY, D), XS), r"params doesn't fit S4D"),
    "stack": (
        lambda: unroll(STACK, {"layers": OF_STACK["layers"][::-1]}, XS),
        r"params doesn't fit Stacked: layers\.0",
    ),
    "last output": (
        lambda: last_output(STACK, OF_LSTM, XS),
        r"params doesn't fit Stacked: it has no 'layers\.0",
    ),
    "stream": (lambda: stream(LSTM4, OF_ELMAN), r"params doesn't fit LSTM"),
    "jacobians": (lambda: step_jacobians(LSTM4, OF_ELMAN, ONE), r"params doesn't fit LSTM"),
    "exponents": (lambda: lyapunov_spectrum(LSTM4, OF_ELMAN, ONE), r"params doesn't fit LSTM"),
    "leading": (lambda: leading_singular_values(LSTM4, OF_ELMAN, ONE, k=1), r"params doesn't fit LSTM"),
    "lags": (lambda: gradient_by_lag(LSTM4, OF_ELMAN, XS, total), r"params doesn't fit LSTM"),
    "parameters": (lambda: parameter_gradient_by_lag(LSTM4, OF_ELMAN, XS, total), r"params doesn't fit LSTM"),
    "influence": (lambda: influence(LSTM4, OF_ELMAN, ONE, 2), r"params doesn't fit LSTM"),
    "nonfinite": (lambda: first_nonfinite(LSTM4, OF_ELMAN, XS), r"params doesn't fit LSTM"),
    "observed": (lambda: observe_sequence(LSTM4, OF_ELMAN, XS), r"params doesn't fit LSTM"),
    "points": (
        lambda: find_fixed_points(ELMAN, OF_LSTM, ONE[0], jnp.zeros((2, 4))),
        r"params doesn't fit El",
    ),
    # Other libraries.
    "from_linen": (
        lambda: from_linen(LSTM4, LINEN),
        r"ii/kernel is \[2, 5\], but LSTM\(hidden_size=4.*\) takes \[D, 4\]",
    ),
    "one bias": (
        lambda: from_torch(LSTM4, {name: a for name, a in TORCH.items() if "bias_hh" not in name}),
        r"bias_ih_l0 but not the other",
    ),
    "to_torch": (lambda: to_torch(LSTM4, OF_ELMAN), r"params doesn't fit LSTM"),
    "to_torch_stack": (lambda: to_torch_stack(STACK.layers[1], OF_LSTM), r"params doesn't fit GRU"),
    "h of another size": (lambda: state_from_torch(GRU(4), jnp.zeros((1, 3, 5))), r"h must be .*H = 4.*5\]"),
    "h without c": (lambda: state_from_torch(LSTM4, jnp.zeros((1, 3, 4))), r"state of LSTM needs h and c"),
    # Inputs and states.
    "list": (lambda: unroll(ELMAN, OF_ELMAN, [[1.0, 2.0]]), r"xs must be an array .*list"),  # pyright: ignore
    "mask of a list": (lambda: unroll(ELMAN, OF_ELMAN, XS, mask=[True] * 5), r"mask must be an array.*list"),  # pyright: ignore
    "one axis": (lambda: step_jacobians(ELMAN, OF_ELMAN, ONE[0]), r"xs must be \[T, D\].*is \[2\]"),
    "batch": (
        lambda: step_jacobians(ELMAN, OF_ELMAN, XS),
        r"one sequence \[T, D\], but is \[5, 3, 2\].*vmap",
    ),
    "batch of exponents": (lambda: lyapunov_spectrum(ELMAN, OF_ELMAN, XS), r"one sequence \[T, D\].*vmap"),
    "batch of influence": (lambda: influence(ELMAN, OF_ELMAN, XS, 2), r"one sequence \[T, D\].*vmap"),
    "step beyond the end": (
        lambda: influence(ELMAN, OF_ELMAN, ONE, 5),
        r"t is 5, but the 5 steps of the sequence are 0 … 4",
    ),
    "batched state": (
        lambda: step_jacobians(ELMAN, OF_ELMAN, ONE, jnp.zeros((3, 4))),
        r"state given to Elman .*leaf h is \[3, 4\], but \[4\] is wanted",
    ),
    "batched state of exponents": (
        lambda: lyapunov_spectrum(ELMAN, OF_ELMAN, ONE, jnp.zeros((3, 4))),
        r"state given to Elman",
    ),
    "method": (
        lambda: step_jacobians(ELMAN, OF_ELMAN, ONE, method="nope"),  # pyright: ignore
        r"unknown method 'nope': there are auto and forward",
    ),
    "width": (lambda: step_jacobians(ELMAN, OF_ELMAN, jnp.ones((5, 3))), r"axis D is 3 .* but 2 in the par"),
    "x of two axes": (
        lambda: find_fixed_points(ELMAN, OF_ELMAN, ONE, jnp.zeros((2, 4))),
        r"x must be an array \[D\].*\[5, 2\]",
    ),
    "NaN": (
        lambda: find_fixed_points(ELMAN, OF_ELMAN, ONE[0], jnp.full((2, 4), jnp.nan)),
        r"starts must be finite",
    ),
    "NaN weight": (
        lambda: find_fixed_points(
            ELMAN, OF_ELMAN | {"bias": jnp.full(4, jnp.nan)}, ONE[0], jnp.zeros((2, 4))
        ),
        r"params must be finite, but bias",
    ),
    "complex": (lambda: product_spectrum(jnp.ones((2, 3, 3), jnp.complex64)), r"must be real.*complex64"),  # pyright: ignore
    "complex step": (lambda: jacobian_singular_values(np.ones((2, 3, 3), complex)), r"must be real"),  # pyright: ignore
    "complex eigenvalues": (lambda: jacobian_eigenvalues(np.ones((2, 3, 3), complex)), r"must be real"),  # pyright: ignore
    "stream's batch": (lambda: stream(ELMAN, OF_ELMAN, 3), r"batch_shape must be a tuple.*but is 3"),  # pyright: ignore
    "stream's state": (
        lambda: stream(ELMAN, OF_ELMAN, (3,)).step(jnp.zeros(4), XS[0]),
        r"state given to a stream of Elman .*\[4\], but \[3, 4\]",
    ),
    # Types, and fields.
    "half weights": (
        lambda: unroll(ELMAN, HALF, XS),
        r"inputs xs are float32, but the parameters of Elman are bfloat16",
    ),
    "half weights, Jacobians": (
        lambda: step_jacobians(ELMAN, HALF, ONE),
        r"inputs xs are float32, but the par",
    ),
    "half weights, lags": (lambda: gradient_by_lag(ELMAN, HALF, XS, total), r"inputs xs are float32, but"),
    "half weight": (
        lambda: unroll(ELMAN, OF_ELMAN | {"recurrent": HALF["recurrent"]}, XS),
        r"one type, but are .*recurrent \(bfloat16\)",
    ),
    "half state": (
        lambda: unroll(ELMAN, OF_ELMAN, XS, jnp.zeros((3, 4), jnp.bfloat16)),
        r"state given to Elman has another type .*bfloat16\[3, 4\], but float32\[3, 4\]",
    ),
    "state of integers": (
        lambda: lyapunov_spectrum(LSTM4, OF_LSTM, ONE, LSTMState(*jnp.zeros((2, 4), jnp.int32))),
        r"state given to LSTM has another type .*int32",
    ),
    "list field": (lambda: Taps(4, taps=[1]), r"its field 'taps' holds a list: .*tuples"),
    "array field": (lambda: Taps(4, taps=np.ones(2)), r"its field 'taps' holds a ndarray: .*as parameters"),
    "score": (
        lambda: SelfAttentive(ELMAN, score="cosine"),  # pyright: ignore
        r"score must be a score, such as General\(\), but is 'cosine'",
    ),
    "fraction": (lambda: Elman(np.float32(4.5)), r"hidden_size must be a whole number"),  # pyright: ignore
    # Masks.
    "mask of a trace": (
        lambda: jax.jit(lambda m: step_jacobians(ELMAN, OF_ELMAN, ONE, mask=m))(jnp.ones(5, bool)),
        r"mask .* must be known outside jit or vmap",
    ),
}


@pytest.fixture
def as_users_have_it() -> Any:
    """Leaves out the suite's own check of annotations, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str, as_users_have_it: None) -> None:
    call, message = REFUSED[case]
    for _ in range(2):  # an error isn't kept with what was compiled or traced
        with pytest.raises(ValueError, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)


def test_integers_of_numpy_are_sizes(as_users_have_it: None) -> None:
    cell = LSTM(np.int64(4), forget_bias=np.float64(2.0))  # pyright: ignore
    assert cell == LSTM(4, forget_bias=2.0)
    assert repr(cell) == repr(LSTM(4, forget_bias=2.0))
    assert type(cell.hidden_size) is int
    assert Elman(np.int32(4)).init(KEY, np.int64(D))["kernel"].shape == (D, 4)  # pyright: ignore
    assert Scan(np.int64(2)) == Scan(2)  # pyright: ignore


@dataclass(frozen=True)
class Untraceable(Elman):
    """Draws its parameters by what a trace doesn't allow, as a user's cell may."""

    def init(self, key: Any, input_size: int) -> Params:
        return OF_ELMAN if float(jax.random.normal(key)) < 100 else {}


def test_a_cell_whose_init_cannot_be_traced_runs() -> None:
    cell = Untraceable(4)
    _, ys = unroll(cell, cell.init(KEY, D), XS)
    np.testing.assert_array_equal(ys, unroll(ELMAN, OF_ELMAN, XS)[1])
    assert stream(cell, OF_ELMAN).initial_state.shape == (4,)


MASK = jnp.array([True, False, True, True, False])


def test_masked_steps_are_left_out_of_spectra() -> None:
    """With NaN at them: what is left is the sequence without them."""
    xs = jax.random.normal(KEY, (5, D))
    holes, kept = jnp.where(MASK[:, None], xs, jnp.nan), xs[MASK]
    np.testing.assert_array_equal(
        step_jacobians(LSTM4, OF_LSTM, holes, mask=MASK), step_jacobians(LSTM4, OF_LSTM, kept)
    )
    options: Any = {"k": 2, "warmup": 0, "qr_every": 1}
    found = lyapunov_spectrum(LSTM4, OF_LSTM, holes, mask=MASK, **options)
    np.testing.assert_array_equal(
        found.exponents, lyapunov_spectrum(LSTM4, OF_LSTM, kept, **options).exponents
    )
    np.testing.assert_array_equal(
        leading_singular_values(LSTM4, OF_LSTM, holes, k=1, mask=MASK),
        leading_singular_values(LSTM4, OF_LSTM, kept, k=1),
    )


@pytest.mark.parametrize("cell", [LSTM4, pytest.param(SLSTM(4), marks=pytest.mark.full)])
def test_lags_count_valid_steps(cell: Cell) -> None:
    """Of each example by itself, NaN beyond its own length; for a cell with coordinates of its own as well."""
    params = cell.init(KEY, D)
    xs = jax.random.normal(KEY, (5, 2, D))
    mask = jnp.stack([MASK, jnp.ones(5, bool)], axis=1)
    holes = jnp.where(mask[..., None], xs, jnp.nan)

    def last(state: Any, ys: Array) -> Array:
        return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(state)), jnp.zeros(()))

    found = gradient_by_lag(cell, params, holes, last, mask=mask)
    alone = gradient_by_lag(cell, params, xs[MASK, 0], last)
    whole = gradient_by_lag(cell, params, xs[:, 1], last)
    np.testing.assert_allclose(found[:3, 0], alone, rtol=1e-5)
    assert np.isnan(found[3:, 0]).all()
    np.testing.assert_allclose(found[:, 1], whole, rtol=1e-5)
