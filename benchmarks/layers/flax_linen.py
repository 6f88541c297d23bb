"""Flax Linen: `nn.RNN` over its cells, `OptimizedLSTMCell` for the LSTM."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from benchmarks.layers.jitted import JittedLayer
from benchmarks.work import Family, Work

CELLS = {"elman": nn.SimpleCell, "gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}


def build(work: Work, sharded: bool) -> JittedLayer:
    layer = nn.RNN(CELLS[work.family](work.H), time_major=True)

    def outputs(params: dict, xs: jax.Array) -> jax.Array:
        return jnp.asarray(layer.apply(params, xs))

    params = {"params": {"cell": cell_params(work.family, work.weights())}}
    return JittedLayer(work, params, outputs, sharded=sharded)


def cell_params(family: Family, weights: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Converts PyTorch's rows of gates to one dense layer per gate; NNX has the same names."""
    if family == "elman":
        return {
            "i": {"kernel": weights["weight_ih_l0"].T, "bias": weights["bias_ih_l0"]},
            "h": {"kernel": weights["weight_hh_l0"].T},
        }
    gates = {"gru": "rzn", "lstm": "ifgo"}[family]
    blocks = {name: np.split(leaf, len(gates)) for name, leaf in weights.items()}
    params: dict[str, dict[str, np.ndarray]] = {}
    for k, gate in enumerate(gates):
        params[f"i{gate}"] = {"kernel": blocks["weight_ih_l0"][k].T}
        params[f"h{gate}"] = {"kernel": blocks["weight_hh_l0"][k].T}
        if family == "gru":
            params[f"i{gate}"]["bias"] = blocks["bias_ih_l0"][k]
            if gate == "n":
                params["hn"]["bias"] = blocks["bias_hh_l0"][k]
        else:
            params[f"h{gate}"]["bias"] = blocks["bias_ih_l0"][k]
    return params
