"""Fixed points of a net that remembers bits: what they are read out as, and where saddles lead."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import FixedPoints, find_fixed_points, principal_axes, unstable_manifold
from data import Batch
from models import Cell, SequenceTagger
from models.cell import Array, Params, State
from models.recurrence.scan import states_before
from models.state import ravel_state

DRAWN = 12  # held-out sequences whose states are drawn
ARRIVED = 1e-3  # how near to a point a way down ends there


def measure(
    layer: Cell, model: SequenceTagger, params: Params, batch: Batch, *, seed: int, starts: int, noise: float
) -> dict[str, np.ndarray]:
    """Measures fixed points and their readouts in double precision, and keeps some states of a held-out batch.

    `states [P, S]`, `speed [P]`, `fixed [P]`, `unstable [P]`, `eigenvalues [P, S]`, `starts [P]`, `lost []` as in
    `FixedPoints`, the stable ones first; `readout [P, bits]`; `ends [M, 2]` the points in which both ways down from
    each of the M saddles with one unstable direction end, −1 for none; `places [P, 3]`, `trajectories [N, T, 3]`
    and `ways [2M, T, 3]` in the principal axes of the trajectories; `inputs`, `targets`, `outputs [T, bits]` of
    one sequence.
    """
    bits = batch.inputs.shape[-1]
    answers = np.asarray(model.apply(params, jnp.asarray(batch.inputs[:, :1])))[:, 0]
    with jax.enable_x64(True):
        precise = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        own = precise["params"]["recurrent"]["cell"]
        visited = jax.jit(partial(visited_states, layer))(own, jnp.asarray(batch.inputs, jnp.float64))
        vectors = np.asarray(jax.vmap(jax.vmap(lambda state: ravel_state(state)[0]))(visited))
        key = jax.random.fold_in(jax.random.key(seed), 2)
        silence = jnp.zeros(bits)
        found = in_order(find_fixed_points(layer, own, silence, choose_starts(key, visited, starts, noise)))
        ways = unstable_manifold(layer, own, silence, found.states[found.fixed & (found.unstable == 1)])
        outputs = jax.jit(partial(outputs_at, layer))(own, jnp.asarray(found.states), silence)
        readout = np.asarray(model.apply(precise, outputs, method=lambda module, ys: module.readout(ys)))
    drawn = vectors[:, :DRAWN].swapaxes(0, 1)
    mean, axes = principal_axes(drawn, 3)
    return {
        **{name: np.asarray(value) for name, value in vars(found).items()},
        "readout": readout.reshape(-1, bits),
        "ends": nearest(ways[:, :, -1], found.states),
        "places": (found.states - mean) @ axes.T,
        "ways": ((ways - mean) @ axes.T).reshape(-1, ways.shape[2], 3),
        "trajectories": (drawn - mean) @ axes.T,
        "inputs": np.asarray(batch.inputs)[:, 0],
        "targets": np.asarray(batch.targets)[:, 0],
        "outputs": answers,
    }


def visited_states(layer: Cell, params: Params, inputs: Array) -> State:
    """Returns the states that the net goes through, leaves `[T, B, ...]`, of inputs `[T, B, D]`."""
    batch_shape = (inputs.shape[1],)
    weights = layer.prepare(params, batch_shape=batch_shape)
    return states_before(
        layer, weights, layer.initial_state(params, batch_shape), layer.drive(weights, inputs)
    )


def choose_starts(key: Array, visited: State, count: int, noise: float) -> State:
    """Chooses half of them among visited states, half between two such, where the saddles are; all with noise."""
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), visited)
    total = jax.tree.leaves(flat)[0].shape[0]
    pair_key, share_key, noise_key = jax.random.split(key, 3)
    one, other = jax.random.randint(pair_key, (2, count), 0, total)
    chosen = jax.tree.map(lambda leaf: leaf[one], flat)
    vectors = jax.vmap(lambda state: ravel_state(state)[0])(flat)
    share = jax.random.uniform(share_key, (count, 1)) * (jnp.arange(count)[:, None] % 2)
    mixed = (1 - share) * vectors[one] + share * vectors[other]
    mixed += noise * jnp.std(vectors, axis=0)[None] * jax.random.normal(noise_key, mixed.shape)
    return jax.vmap(lambda state, vector: ravel_state(state)[1](vector))(chosen, mixed)


def in_order(found: FixedPoints) -> FixedPoints:
    """Sorts fixed points before slow ones, and within each by the number of unstable directions."""
    order = np.lexsort((found.unstable, ~found.fixed))
    per_point = [f.name for f in dataclasses.fields(found) if f.name != "lost"]
    return dataclasses.replace(found, **{name: getattr(found, name)[order] for name in per_point})


def outputs_at(layer: Cell, params: Params, states: Array, x: Array) -> Array:
    """Returns what the cell puts out when it steps from each state `[P, S]` under the input x: `[P, H]`."""
    weights = layer.prepare(params)
    drive = layer.drive(weights, x)
    _, restore = ravel_state(layer.initial_state(params))
    return jax.vmap(lambda vector: layer.step(weights, restore(vector), drive)[1])(states)


def nearest(ends: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Returns the index of the point `[P, S]` that each end `[..., S]` has come to, −1 where it is at none."""
    if not len(states):
        return np.full(ends.shape[:-1], -1)
    distances = np.linalg.norm(ends[..., None, :] - states, axis=-1)
    return np.where(distances.min(axis=-1, initial=np.inf) < ARRIVED, distances.argmin(axis=-1), -1)


def patterns(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the corner nearest to each point's readout, `+-+` for +1, −1, +1."""
    return ["".join("+" if value > 0 else "-" for value in row) for row in arrays["readout"]]


def neighbours(arrays: Mapping[str, np.ndarray]) -> int:
    """Counts the saddles that lead down to two stable points whose patterns differ in one bit."""
    names, unstable = patterns(arrays), arrays["unstable"]
    joined = [
        [names[i] for i in pair] for pair in arrays["ends"] if (pair >= 0).all() and not unstable[pair].any()
    ]
    return sum(sum(a != b for a, b in zip(*pair, strict=True)) == 1 for pair in joined)


def counts(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Counts the points of each kind, and the patterns that have a stable one."""
    fixed, unstable = arrays["fixed"], arrays["unstable"]
    stable = {
        name for name, n, at_rest in zip(patterns(arrays), unstable, fixed, strict=True) if at_rest and n == 0
    }
    values = arrays["eigenvalues"][fixed]
    beyond = np.sum(np.isreal(values) & (np.real(values) > 1), axis=1)
    return {
        "stable": int(np.sum(fixed & (unstable == 0))),
        "patterns": len(stable),
        "saddles": {str(n): int(np.sum(fixed & (unstable == n))) for n in np.unique(unstable[fixed]) if n},
        "joining_neighbours": neighbours(arrays),
        "index": int(np.sum((-1) ** beyond)),  # sign det(I − J) = Π sign(1 − λ), pairs cancel
        "slow": int(np.sum(~fixed)),
        "lost_starts": int(arrays["lost"]),
    }
