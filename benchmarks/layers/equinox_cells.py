"""Equinox: its cells under `jax.lax.scan`, and `jax.vmap` over the batch, as documented. It has no Elman cell."""

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.layers.jitted import JittedLayer
from benchmarks.work import Work

CELLS = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}


def build(work: Work, sharded: bool) -> JittedLayer:
    cell = CELLS[work.family](work.D, work.H, key=jax.random.key(0))
    weights = {name: jnp.asarray(leaf) for name, leaf in work.weights().items()}
    chosen = [weights["weight_ih_l0"], weights["weight_hh_l0"], weights["bias_ih_l0"]]
    cell = eqx.tree_at(lambda c: [c.weight_ih, c.weight_hh, c.bias], cell, chosen)
    if work.family == "gru":
        cell = eqx.tree_at(lambda c: c.bias_n, cell, weights["bias_hh_l0"][2 * work.H :])

    def one(cell: eqx.Module, xs: jax.Array) -> jax.Array:
        def step(state, x):
            state = cell(x, state)  # type: ignore[operator]
            return state, state[0] if work.family == "lstm" else state

        zeros = jnp.zeros(work.H)
        return jax.lax.scan(step, (zeros, zeros) if work.family == "lstm" else zeros, xs)[1]

    return JittedLayer(work, cell, jax.vmap(one, in_axes=(None, 1), out_axes=1), sharded=sharded)
