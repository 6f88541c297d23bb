"""Measures of a net layer by layer: gradients of its weights, and the rank of its tokens."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from analysis.depth.token_rank import effective_rank, rank_one_residual
from data import Batch
from experiments.cell_view import CellView
from experiments.depth.nets import Net
from experiments.objective import tagging
from models import Stacked, unroll
from models.cell import Array, Params
from train import mean


def measure(net: Net, params: Params, batch: Batch) -> dict[str, np.ndarray]:
    """Measures each of L layers on N windows: the norm of the `gradient [L]` of the mean loss by all weights of the
    layer; of the tokens before the first layer and after each the `residual [L + 1]`, their distance from equal
    vectors, and their effective `rank [L + 1]`, means over the windows."""
    xs = embedded(net, params, batch)
    outputs = outputs_by_layer(net.stack(), cell_params(params), xs, net.layers)
    tokens = np.stack([xs, *outputs]).swapaxes(1, 2)  # of each layer and window
    return {
        "gradient": np.asarray(layer_gradients(net, params, batch)),
        "residual": rank_one_residual(tokens).mean(axis=1),
        "rank": effective_rank(tokens).mean(axis=1),
    }


def cell_params(params: Params) -> Params:
    """Returns the parameters of the stack within a model."""
    return params["params"]["recurrent"]["cell"]


@partial(jax.jit, static_argnums=0)
def layer_gradients(net: Net, params: Params, batch: Batch) -> Float[Array, " L"]:
    """Computes ‖∂ℓ/∂θ_l‖ of each layer l, with ℓ the mean cross entropy of a token."""

    def loss(params: Params) -> Array:
        logits = jnp.asarray(net.model().apply(params, batch.inputs, mask=batch.mask))
        return mean(tagging(logits, batch)["cross_entropy"])

    gradients = cell_params(jax.grad(loss)(params))["layers"][: net.layers]
    return jnp.stack([optax.tree.norm(one) for one in gradients])


@partial(jax.jit, static_argnums=0)
def embedded(net: Net, params: Params, batch: Batch) -> Float[Array, "T N H"]:
    """Returns the vectors that the first layer reads."""
    return CellView(net.model(), tagging).entry(params, batch)[1]


@partial(jax.jit, static_argnums=(0, 3))
def outputs_by_layer(
    stack: Stacked, params: Params, xs: Float[Array, "T N D"], layers: int
) -> list[Float[Array, "T N H"]]:
    """Returns the outputs of the first layer, of the first two, …, connections included."""
    return [
        unroll(replace(stack, layers=stack.layers[:count]), {"layers": params["layers"][:count]}, xs)[1]
        for count in range(1, layers + 1)
    ]
