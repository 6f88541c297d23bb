"""Depth in time: an image is written into a tanh net's state, steps go by without input, and it is asked for.

Many nets, each with a gain and a deviation of the biases of its own, are trained at once.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from data import digits, evaluation_batches
from data.digits import DIGITS_CLASSES
from models import Elman, unroll
from models.cell import Array, Key, Params
from train import BATCH_AXIS, OptimizerConfig, cross_entropy, make_clipping, make_optimizer, mean
from train.descent import descend


def random_net(matrix: Key, biases: Key, size: int, gain: Array, bias: Array) -> Params:
    """Parameters of an Elman net without input: R_ij ~ N(0, gain²/H), b_i ~ N(0, bias²)."""
    return {
        "kernel": jnp.zeros((0, size)),
        "recurrent": gain / size**0.5 * jax.random.normal(matrix, (size, size)),
        "bias": bias * jax.random.normal(biases, (size,)),
    }


def images(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the digits of a split, `[N, 64]` pixels of mean square 1, and their labels `[N]`."""
    source = digits(split)
    (batch,) = evaluation_batches(source, batch_size=len(source))
    pixels = np.moveaxis(np.asarray(batch.inputs)[..., 0], 0, 1)
    return np.asarray(pixels / np.sqrt(np.mean(pixels**2)), np.float32), np.asarray(batch.targets)


def fresh_net(key: Key, pixels: int, size: int, gain: Array, bias: Array) -> Params:
    """Draws what writes an image into the state, the net, and what reads the answer: all Gaussian, scaled by
    fan-in."""
    write, r, b, read = jax.random.split(key, 4)
    return {
        "write": jax.random.normal(write, (pixels, size)) / pixels**0.5,
        "cell": random_net(r, b, size, gain, bias),
        "read": jax.random.normal(read, (size, DIGITS_CLASSES)) / size**0.5,
    }


def answer(length: int, net: Params, pixels: Array) -> Array:
    """Logits `[B, 10]` after T steps from the image `[B, 64]`."""
    size = net["read"].shape[0]
    state, _ = unroll(
        Elman(size), net["cell"], jnp.zeros((length, len(pixels), 0)), jnp.tanh(pixels @ net["write"])
    )
    return state @ net["read"]


@partial(jax.jit, static_argnums=(0, 1, 2))
def train_nets(
    optimizer: OptimizerConfig, length: int, mesh: Mesh, nets: Params, pixels: Array, labels: Array
) -> tuple[Params, Array]:
    """Trains every net of a leading axis, one step on each batch of `pixels [updates, B, 64]`; returns the nets and
    their last losses. Devices share the nets."""
    rule = optax.chain(make_clipping(optimizer), make_optimizer(optimizer))

    def loss(net: Params, batch: tuple[Array, Array]) -> Array:
        pixels, labels = batch
        return mean(cross_entropy(answer(length, net, pixels), labels))

    def train(net: Params, pixels: Array, labels: Array) -> tuple[Params, Array]:
        net, losses = descend(loss, net, rule, (pixels, labels), lambda net, value, *_: value)
        return net, losses[-1]

    each, whole = PartitionSpec(BATCH_AXIS), PartitionSpec()
    shared = jax.shard_map(
        jax.vmap(train, in_axes=(0, None, None)), mesh=mesh, in_specs=(each, whole, whole), out_specs=each
    )
    return shared(nets, pixels, labels)
