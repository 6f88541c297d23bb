"""Influence split by path, against the enumeration of all paths on tiny nets."""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import influence, influence_by_path
from models import GRU, LSTM, AttentionCell, Cell, Elman, LearnedState, Memory, SelfAttentive
from models.state import ravel_state

T, D = 5, 2
CELLS: dict[str, Cell] = {
    "lstm": LSTM(2),
    "self-attentive": SelfAttentive(Elman(2), context=2),
    "reader": LearnedState(AttentionCell(Elman(2), memory_size=3)),
}


def reading(cell: Cell) -> dict[str, Any]:
    """The keyword `memory` for a cell that reads one."""
    memory = Memory(jnp.sin(jnp.arange(9.0)).reshape(3, 3), jnp.ones(3, bool))
    return {"memory": memory} if cell.reads_memory else {}


def enumerated(
    cell: Cell, params: Any, xs: jax.Array, t: int
) -> dict[tuple[str, ...], dict[int, np.ndarray]]:
    """∂y_t/∂x_s summed over the paths that go through the same set of parts: `{parts: {s: [N, D]}}`."""
    weights, state = cell.prepare(params, **reading(cell)), cell.initial_state(params)
    after, seen = [], []
    for x in xs[: t + 1]:
        vector, restore = ravel_state(state)

        def step(vector: jax.Array, x: jax.Array, restore: Any = restore) -> tuple[jax.Array, jax.Array]:
            state, y = cell.step(weights, restore(vector), cell.drive(weights, x))
            return ravel_state(state)[0], y

        after.append(jax.jacfwd(step, argnums=(0, 1))(vector, x))
        seen.append(step(vector, x))
        state, _ = cell.step(weights, state, cell.drive(weights, x))
    sizes = {name: ravel_state(getattr(state, name))[0].size for name in state._fields}
    ends = dict(zip(sizes, np.cumsum(list(sizes.values())), strict=True))
    index = np.arange(sum(sizes.values()))
    only = {p: np.diag((ends[p] - sizes[p] <= index) & (index < ends[p])).astype(float) for p in sizes}

    found: dict[tuple[str, ...], dict[int, np.ndarray]] = {}
    for s in range(t + 1):
        for word in product(sizes, repeat=t - s):  # the part at each transition s → s + 1 → … → t
            if s == t:
                matrix = np.asarray(after[t][1][1])
            else:
                matrix = np.asarray(after[s][0][1])
                for r, part in enumerate(word, s + 1):
                    matrix = np.asarray(after[r][1 if r == t else 0][0]) @ only[part] @ matrix
            of = found.setdefault(tuple(sorted(set(word))), {})
            of[s] = of.get(s, 0) + matrix
    return found


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.full) if n == "reader" else n for n in CELLS]
)
def test_enumeration_of_paths(name: str) -> None:
    cell = CELLS[name]
    t = 2 if cell.reads_memory else 3
    key, inputs = jax.random.split(jax.random.key(4))
    params, xs = cell.init(key, D), jax.random.normal(inputs, (T, D))
    found = influence_by_path(cell, params, xs, t, **reading(cell))
    np.testing.assert_allclose(found["total"], influence(cell, params, xs, t, **reading(cell)), rtol=1e-12)
    expected = enumerated(cell, params, xs, t)
    here = float(np.linalg.norm(expected[()][t]))
    for part in set(found) - {"total", "mixed"}:
        norms = [float(np.linalg.norm(expected[(part,)][s])) for s in range(t)]
        np.testing.assert_allclose(found[part][: t + 1], [*norms, here], rtol=1e-9)
    several = {s: sum(of.get(s, 0) for parts, of in expected.items() if len(parts) > 1) for s in range(t)}
    np.testing.assert_allclose(
        found["mixed"][: t + 1],
        [*(float(np.linalg.norm(m)) for m in several.values()), 0.0],
        rtol=1e-9,
        atol=1e-15,
    )
    assert found["mixed"][0] > 1e-6
    assert found["mixed"][t - 1] == 0  # one transition
    assert all(not np.any(norms[t + 1 :]) for norms in found.values())


@pytest.mark.usefixtures("x64")
def test_masked_steps_are_no_transitions() -> None:
    cell = CELLS["lstm"]
    params, xs = cell.init(jax.random.key(4), D), jax.random.normal(jax.random.key(5), (T, D))
    mask = jnp.array([True, False, True, True, False])
    found = influence_by_path(cell, params, jnp.where(mask[:, None], xs, jnp.nan), 3, mask=mask)
    for name, norms in influence_by_path(cell, params, xs[mask], 2).items():
        np.testing.assert_allclose(found[name][mask], norms, rtol=1e-12)
        assert not np.any(found[name][~mask])


def test_refusals() -> None:
    params, xs = GRU(3).init(jax.random.key(0), D), jnp.ones((T, D))
    with pytest.raises(ValueError, match="the state of GRU must be a named tuple of at least two parts"):
        influence_by_path(GRU(3), params, xs, 2)
    reader = CELLS["reader"]
    with pytest.raises(ValueError, match="a LearnedState reads a memory, but none is given"):
        influence_by_path(reader, reader.init(jax.random.key(0), D), xs, 2)
    with pytest.raises(ValueError, match="parts must be the fields of the state, h, c, but are h"):
        influence_by_path(LSTM(3), LSTM(3).init(jax.random.key(0), D), xs, 2, parts=("h",))
