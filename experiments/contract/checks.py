"""The checks that every cell must pass, built-in or not.

Each check takes a cell and raises AssertionError with one sentence that says what is wrong. All run in double
precision, so that agreement means agreement to 1e-9.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from analysis import step_jacobians
from models import Cell, Memory, unroll
from models.cell import Array, Output, Params, State, Weights
from models.checks import first_difference
from models.memory import memory_size
from models.state import ravel_coordinates, ravel_state

T, B, D = 5, 3, 2


def example(cell: Cell, batch_shape: tuple[int, ...] = (B,), length: int = T) -> tuple[Params, Array, State]:
    """Parameters, inputs `[T, *batch, D]` and a state that is not the initial one."""
    params_key, inputs_key, state_key = jax.random.split(jax.random.key(7), 3)
    params = initialise(cell, params_key)
    xs = jax.random.normal(inputs_key, (length, *batch_shape, D))
    # A state that can occur: where some steps lead from the initial one.
    warm, initial = jax.random.normal(state_key, xs.shape), cell.initial_state(params, batch_shape)
    return params, xs, run_whole(cell, params, warm, initial, **reading(cell, batch_shape))[0]


def reading(cell: Cell, batch_shape: tuple[int, ...] = (B,)) -> dict[str, Any]:
    """The keyword `memory` for a cell that reads one, of 4 places, another one masked and NaN for each example;
    nothing for any other cell."""
    size = memory_size(cell)
    if size is None:
        return {}
    examples = jnp.arange(math.prod(batch_shape)).reshape(batch_shape)
    places = jnp.arange(4).reshape((4,) + (1,) * len(batch_shape))
    mask = places != (examples + 1)[None] % 4
    values = jax.random.normal(jax.random.key(8), (4, *batch_shape, size))
    return {"memory": Memory(jnp.where(mask[..., None], values, jnp.nan), mask)}


initialise = jax.jit(lambda cell, key: cell.init(key, D), static_argnums=0)
prepare = jax.jit(
    lambda cell, params, **options: cell.prepare(params, **options),
    static_argnums=0,
    static_argnames="batch_shape",
)
run_whole = jax.jit(
    lambda *given, **options: unroll(*given, **options), static_argnums=0, static_argnames="reverse"
)


@jax.jit
def weigh(tree: Output) -> Array:
    """A scalar in which every entry of a pytree has its own weight, so that no gradient can hide."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum(
        (jnp.sum(jnp.sin(1.0 + jnp.arange(v.size)) * v.reshape(-1)) for v in map(real, leaves)), jnp.zeros(())
    )


def real(leaf: Array) -> Array:
    """A complex array as a real one of two parts."""
    return jnp.stack([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf


def assert_close(found: Any, expected: Any, message: str, tolerance: float = 1e-9) -> None:
    """Two pytrees, of JAX's or NumPy's arrays, agree in structure and, to a relative tolerance, in value."""
    difference = first_difference(expected, found, dtypes=True)
    assert not difference, f"{message}: {difference}"
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        error = np.max(np.abs(a - b), initial=0.0)
        scale = max(float(np.max(np.abs(b), initial=0.0)), 1.0)
        name = jax.tree_util.keystr(path)
        assert np.isfinite(a).all(), f"{message}: {name or 'a value'} is not finite"
        assert error <= tolerance * scale, f"{message}: {name or 'a value'} differs by {error:.2g}"


def check_protocol(cell: Cell) -> None:
    """Frozen and hashable; real parameters; state leaves that begin with the batch axes."""
    assert hash(cell) == hash(dataclasses.replace(cell)), "equal cells must have equal hashes"
    params = initialise(cell, jax.random.key(0))
    for path, leaf in jax.tree.leaves_with_path(params):
        ok = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
        assert ok, f"init: parameter {jax.tree_util.keystr(path)} must be an array of real numbers"
    for batch in ((), (B,), (2, B)):
        for path, leaf in jax.tree.leaves_with_path(cell.initial_state(params, batch)):
            begins = jnp.shape(leaf)[: len(batch)] == batch
            name = jax.tree_util.keystr(path) or "h"
            assert begins, (
                f"initial_state: leaf {name} is {list(jnp.shape(leaf))}; it must begin with {list(batch)}"
            )


def check_no_input(cell: Cell) -> None:
    """D = 0 is lawful: a map without input."""
    params = cell.init(jax.random.key(0), 0)
    state, ys = run_whole(cell, params, jnp.zeros((T, B, 0)), **reading(cell))
    assert bool(jnp.isfinite(weigh((state, ys)))), "unroll: not finite with inputs of size 0"


def check_stepping(cell: Cell) -> None:
    """One step at a time = the whole sequence, in outputs, final state and gradients."""

    @jax.jit
    def step(weights: Weights, state: State, x: Array) -> tuple[State, Output]:
        return cell.step(weights, state, cell.drive(weights, x))

    def step_by_step(params: Params, xs: Array, state: State) -> tuple[State, Output]:
        weights, ys = prepare(cell, params, batch_shape=xs.shape[1:-1], **reading(cell)), []
        for x in xs:
            state, y = step(weights, state, x)
            ys.append(y)
        return state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)

    given = example(cell)
    found, found_gradients = jax.jit(partial(differentiate, partial(run_whole, cell, **reading(cell))))(
        *given
    )
    # Not compiled as a whole: that takes long, and the step once is enough.
    expected, expected_gradients = differentiate(step_by_step, *given)
    assert_close(found, expected, "unroll is not step after step")
    assert_close(found_gradients, expected_gradients, "the gradient of unroll is not that of step after step")


def differentiate(
    function: Callable[..., Output], params: Params, xs: Array, state: State
) -> tuple[Output, Output]:
    """Everything the function returns, and ∂ of its weighted sum in parameters, inputs and initial state."""
    floating, structure = jax.tree.flatten(state)
    kept = [leaf for leaf in floating if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def scalar(params: Params, xs: Array, leaves: list[Array]) -> tuple[Array, Output]:
        fresh = iter(leaves)
        full = [next(fresh) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf for leaf in floating]
        returned = function(params, xs, jax.tree.unflatten(structure, full))
        return weigh(returned), returned

    found, returned = jax.grad(scalar, argnums=(0, 1, 2), has_aux=True)(params, xs, kept)
    return returned, found


def check_batch(cell: Cell) -> None:
    """A batch = its examples one by one, with any number of batch axes."""
    params, xs, state = example(cell)
    given = reading(cell)

    def single(b: int) -> tuple[State, Output]:
        own = jax.tree.map(lambda leaf: leaf[:, b], given)
        return run_whole(cell, params, xs[:, b], jax.tree.map(lambda leaf: leaf[b], state), **own)

    singles = [single(b) for b in range(B)]
    final = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[single[0] for single in singles])
    ys = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *[single[1] for single in singles])
    whole = run_whole(cell, params, xs, state, **given)
    assert_close(whole, (final, ys), "a batch is not its examples one by one")

    params, xs, _ = example(cell, batch_shape=(2, B))
    given = reading(cell, (2, B))
    flat = jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0], 2 * B, *leaf.shape[3:]), given)
    flat_state, flat_ys = run_whole(cell, params, xs.reshape(T, 2 * B, D), **flat)
    state, ys = run_whole(cell, params, xs, **given)
    shaped = jax.tree.map(lambda leaf: leaf.reshape(2, B, *leaf.shape[1:]), flat_state)
    assert_close(state, shaped, "two batch axes are not one long one")
    shaped = jax.tree.map(lambda leaf: leaf.reshape(T, 2, B, *leaf.shape[2:]), flat_ys)
    assert_close(ys, shaped, "two batch axes are not one long one")


def check_mask(cell: Cell) -> None:
    """Padding, NaN included, reaches no value and no gradient, before, within or after the sequence."""
    params, xs, state = example(cell)
    valid = jnp.array([0, 2, 3])  # the steps that are real; the others hold NaN
    mask = jnp.zeros((T, B), bool).at[valid].set(True)
    padded = jnp.where(mask[..., None], xs, jnp.nan)

    def masked(params: Params, xs: Array, state: State) -> tuple[State, Output]:
        return run_whole(cell, params, xs, state, mask=mask, **reading(cell))

    run = jax.jit(partial(differentiate, masked))
    (final, ys), found = run(params, padded, state)
    short_final, short_ys = run_whole(cell, params, xs[valid], state, **reading(cell))
    assert_close(final, short_final, "the state after padding is not that after the last valid step")
    assert_close(
        jax.tree.map(lambda leaf: leaf[valid], ys),
        short_ys,
        "outputs beside padding are not those without it",
    )
    rest = jnp.array([1, 4])
    zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[rest]), ys)
    assert_close(
        jax.tree.map(lambda leaf: leaf[rest], ys), zeros, "outputs of padding must be zero", tolerance=0.0
    )

    assert_close(found, run(params, xs, state)[1], "NaN in the padding reaches a gradient")
    assert not np.any(found[1][rest]), "the gradient of padding must be zero"
    nothing = jnp.zeros((T, B), bool)
    everything_padded = run_whole(cell, params, padded, state, mask=nothing, **reading(cell))[0]
    assert_close(everything_padded, state, "a sequence of padding alone must leave the state", tolerance=0.0)


def check_memory(cell: Cell) -> None:
    """Masked places of a memory, NaN included, reach no value and no gradient: as if they were not there."""
    if not cell.reads_memory:
        return
    params, xs, state = example(cell)
    memory = reading(cell)["memory"]

    def run(params: Params, values: Array, state: State) -> tuple[State, Output]:
        return run_whole(cell, params, xs, state, memory=Memory(values, memory.mask))

    both = jax.jit(partial(differentiate, run))
    found = both(params, memory.values, state)
    without = both(params, jnp.where(memory.mask[..., None], memory.values, 0), state)
    assert_close(found, without, "NaN in a masked place of the memory reaches a value or a gradient")
    assert not np.any(found[1][1][~memory.mask]), "the gradient of a masked place of the memory must be zero"
    assert np.any(found[1][1][memory.mask]), "no gradient reaches the memory"
    for b in range(B):
        kept = jax.tree.map(lambda leaf, b=b: leaf[memory.mask[:, b], b], memory)
        single = jax.tree.map(lambda leaf, b=b: leaf[b], state)
        _, ys = run_whole(cell, params, xs[:, b], single, memory=kept)
        expected = jax.tree.map(lambda leaf, b=b: leaf[:, b], found[0][1])
        assert_close(ys, expected, "a masked place of the memory is not as if it weren't there")


def check_reverse(cell: Cell) -> None:
    """In reverse = the sequence turned round, and its outputs turned back; with a mask too."""
    params, xs, state = example(cell)
    mask = jnp.ones((T, B), bool).at[3:, 1].set(False)
    for valid in (None, mask):
        turned = None if valid is None else valid[::-1]
        final, ys = run_whole(cell, params, xs[::-1], state, mask=turned, **reading(cell))
        expected = (final, jax.tree.map(lambda leaf: leaf[::-1], ys))
        found = run_whole(cell, params, xs, state, mask=valid, reverse=True, **reading(cell))
        assert_close(found, expected, "in reverse is not the sequence turned round")


def check_compiles_once(cell: Cell) -> None:
    """Two equal cells built apart share one compilation."""
    params, xs, _ = example(cell)
    traced = []

    @partial(jax.jit, static_argnums=0)
    def run(cell: Cell, params: Params, xs: Array) -> tuple[State, Output]:
        traced.append(cell)
        return unroll(cell, params, xs, **reading(cell))

    run(cell, params, xs)
    run(dataclasses.replace(cell), params, xs)
    assert len(traced) == 1, "equal cells built twice compile twice: is a field compared by identity?"


def check_jacobian(cell: Cell) -> None:
    """The step Jacobian agrees with central differences of the state, turned into coordinates where it has such."""
    params, xs, state = example(cell, batch_shape=())

    @jax.jit
    def both(params: Params, x: Array, state: State) -> tuple[Array, Array]:
        weights = cell.prepare(params, **reading(cell, ()))
        vector, restore = ravel_coordinates(cell, state)
        drive, unravel = cell.drive(weights, x), ravel_state(state)[1]

        def step(z: Array) -> Array:
            return ravel_state(cell.step(weights, restore(z), drive)[0])[0]

        h, directions = 1e-6, jnp.eye(vector.size, dtype=vector.dtype)
        changes = jax.vmap(lambda e: (step(vector + h * e) - step(vector - h * e)) / (2 * h))(directions)
        into = jax.jacfwd(lambda s: ravel_coordinates(cell, unravel(s))[0])(step(vector))
        return into @ jax.jacfwd(step)(vector), into @ changes.T

    exact, differences = both(params, xs[0], state)
    if not cell.reads_memory:  # which the laboratory has none to give
        exact = step_jacobians(cell, params, xs[:1], state)[0]
    error = np.max(np.abs(np.asarray(exact) - np.asarray(differences)), initial=0.0)
    assert error < 1e-6, f"the Jacobian differs from finite differences by {error:.2g}"


def check_coordinates(cell: Cell) -> None:
    """A state has its coordinates, which leave out only what no step and no output depends on."""
    params, xs, state = example(cell, batch_shape=())
    coordinates = cell.coordinates(state)
    restored = cell.coordinates(ravel_coordinates(cell, state)[1](ravel_coordinates(cell, state)[0]))
    assert_close(restored, coordinates, "coordinates(from_coordinates(z, state)) is not z")

    @jax.jit
    def derivatives(params: Params, x: Array, state: State) -> tuple[Array, Array, Array]:
        vector, restore = ravel_coordinates(cell, state)
        weights = cell.prepare(params, **reading(cell, ()))
        drive = cell.drive(weights, x)
        flat, unravel = ravel_state(state)

        def seen(s: Array) -> Array:
            stepped, y = cell.step(weights, unravel(s), drive)
            return jnp.concatenate([ravel_coordinates(cell, stepped)[0], ravel_state(y)[0]])

        there = jax.jacfwd(lambda z: ravel_coordinates(cell, restore(z))[0])(vector)
        # A change of the state = the change of its coordinates, written as a change of the state.
        through = jax.jacfwd(lambda s: ravel_state(restore(ravel_coordinates(cell, unravel(s))[0]))[0])(flat)
        return there, through, jax.jacfwd(seen)(flat)

    there, through, of_step = derivatives(params, xs[0], state)
    identity = jnp.eye(len(there), dtype=there.dtype)
    assert_close(there, identity, "the derivative of coordinates(from_coordinates(z)) is not I")
    assert_close(of_step @ through, of_step, "a step depends on what the coordinates leave out of the state")


def check_checkpoint(cell: Cell) -> None:
    """Parameters and state survive Orbax bit for bit."""
    # In single precision: Orbax reads in threads of its own, where the context of double precision isn't known.
    with jax.enable_x64(False):
        params, _, state = example(cell)
    with tempfile.TemporaryDirectory() as folder:
        saved = {"params": params, "state": state}
        ocp.save(f"{folder}/it", saved)
        loaded = ocp.load(f"{folder}/it", saved)
    assert_close(loaded, saved, "parameters or state changed in a checkpoint", tolerance=0.0)


CHECKS: dict[str, Callable[[Cell], None]] = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}


def run(check: Callable[[Cell], None], cell: Cell) -> None:
    """One check, in double precision."""
    with jax.enable_x64(True):
        check(cell)
