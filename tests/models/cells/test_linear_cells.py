"""Every cell that is linear in its state can be run in parallel over time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import LinearCell, unroll
from models.cells.linear_recurrent_unit import LRU
from models.cells.minimal import MinGRU, MinLSTM
from models.cells.rg_lru import RGLRU
from models.cells.state_space import S4D, S5
from tests.models.cells.agreement import assert_near, by_associative_scan, random_params

pytestmark = pytest.mark.usefixtures("quick_compilation")

CELLS = [S4D(3, state_size=2), S5(3, state_size=4), LRU(3), MinGRU(3), MinLSTM(3), RGLRU(4, blocks=2)]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
@pytest.mark.usefixtures("x64")
def test_associative_scan_is_step_after_step(cell: LinearCell) -> None:
    """Final state, outputs and the gradient in everything."""
    params = jax.tree.map(jnp.asarray, random_params(cell))
    xs = jax.random.normal(jax.random.key(0), (6, 2, 2))
    state = jax.tree.map(lambda leaf: leaf + 0.7, cell.initial_state(params, (2,)))

    def scalar(run, params, xs, state):
        final, ys = run(cell, params, xs, state)
        return jnp.sum(jnp.sin(jnp.arange(ys.size)) * ys.ravel()) + jnp.sum(jnp.abs(final)), (final, ys)

    @jax.jit
    def both(*given):
        gradient = jax.grad(scalar, argnums=(1, 2, 3), has_aux=True)
        return gradient(by_associative_scan, *given), gradient(unroll, *given)

    found, expected = both(params, xs, state)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_near(a, np.asarray(b), 1e-12)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_coefficients_have_the_form_of_the_state(cell: LinearCell) -> None:
    """Of one step and of all, with no batch axes, one and two; in the types of single precision."""
    for batch in ((), (5,), (2, 5)):
        params, state = jax.eval_shape(
            lambda key, b=batch: (p := cell.init(key, 2), cell.initial_state(p, b)), jax.random.key(0)
        )
        for time in ((), (7,)):
            a, b = jax.eval_shape(
                lambda p, x: cell.coefficients(w := cell.prepare(p), cell.drive(w, x)),
                params,
                jax.ShapeDtypeStruct((*time, *batch, 2), jnp.float32),
            )
            assert a.shape == b.shape == (*time, *state.shape)
            assert a.dtype == b.dtype == state.dtype
