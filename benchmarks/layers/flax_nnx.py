"""Flax NNX: `nnx.RNN` over its cells, `OptimizedLSTMCell` for the LSTM. Its GRU has no bias at h R."""

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.layers.jitted import JittedLayer
from benchmarks.work import Work

CELLS = {"elman": nnx.SimpleCell, "gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}


def build(work: Work, sharded: bool) -> JittedLayer:
    layer = nnx.RNN(CELLS[work.family](work.D, work.H, rngs=nnx.Rngs(0)), time_major=True)
    graph, params, others = nnx.split(layer, nnx.Param, ...)
    weights = work.weights()
    inputs = {"kernel": weights["weight_ih_l0"].T, "bias": weights["bias_ih_l0"]}
    hidden = {"kernel": weights["weight_hh_l0"].T}
    if work.family == "lstm":
        hidden["bias"] = inputs.pop("bias")
    nnx.replace_by_pure_dict(params, {"cell": {"dense_i": inputs, "dense_h": hidden}})

    def outputs(params: nnx.State, xs: jax.Array) -> jax.Array:
        # By default it draws the zeros from a random stream, whose state can't change under `jax.jit`.
        zeros = jnp.zeros((xs.shape[1], work.H))
        carry = (zeros, zeros) if work.family == "lstm" else zeros
        return jnp.asarray(nnx.merge(graph, params, others)(xs, initial_carry=carry))

    return JittedLayer(work, params, outputs, sharded=sharded)
