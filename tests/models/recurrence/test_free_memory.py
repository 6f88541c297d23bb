"""Memory: work that would not fit is refused before it is begun, in a sentence that says what does without it."""

import jax
import jax.numpy as jnp
import pytest

from models import Elman, Newton, unroll
from models.recurrence import free_memory
from models.recurrence.methods import newton_fits

pytestmark = pytest.mark.usefixtures("quick_compilation")
T, B, H = 5, 2, 4


@pytest.mark.parametrize(
    ("options", "size"),
    [(Newton(), 6 * T * B * H * H * 4), (Newton(jacobian="diagonal"), 30 * T * B * H * 4)],
)
def test_newton(options: Newton, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six arrays [T, B, S, S] of float32, or thirty [T, B, S]; under `jit` as without."""
    cell, xs = Elman(H), jnp.zeros((T, B, 1))
    params = cell.init(jax.random.key(0), 1)
    monkeypatch.setattr(free_memory, "available_memory", lambda: size - 1)
    message = rf"{options.jacobian} Jacobians \(T = 5, B = 2, S = 4\) would take .* use method='scan'"
    for run in (unroll, jax.jit(unroll, static_argnames="method")):
        with pytest.raises(ValueError, match=message):
            run(cell, params, xs, method=options)
    monkeypatch.setattr(free_memory, "available_memory", lambda: size)
    assert unroll(cell, params, xs, method=options)[1].shape == (T, B, H)


def test_auto_takes_newton_only_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    state, xs, size = jnp.zeros((B, H)), jnp.zeros((T, B, 1)), 6 * T * B * H * H * 4
    monkeypatch.setattr(free_memory, "available_memory", lambda: size)
    assert newton_fits(state, xs)
    monkeypatch.setattr(free_memory, "available_memory", lambda: size - 1)
    assert not newton_fits(state, xs)


def test_gru_of_the_size_that_compiled_to_86_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "available_memory", lambda: 80 * 2**30)
    assert not newton_fits(jnp.zeros((16, 256)), jnp.zeros((4000, 16, 8)))
