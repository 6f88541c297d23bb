"""The matrix products of a layer and almost nothing else: a lower bound for any layer with the same kernels.

The shapes, order and blocks are those of our fused scan: x W and h R in the forward pass, z̄ Rᵀ, xᵀ z̄ and hᵀ z̄
in the backward pass. A mean replaces the gates and their gradient, so the results are meaningless; only h is
stored for the backward pass.
"""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.layers.jitted import JittedLayer
from benchmarks.work import GATES, Work
from models.recurrence.fused import block_size, split_blocks


def build(work: Work, sharded: bool) -> JittedLayer:
    gates = GATES[work.family]
    weights = work.weights()
    params = {"W": weights["weight_ih_l0"].T, "R": weights["weight_hh_l0"].T}

    def forward(params: Any, xs: jax.Array) -> jax.Array:
        def step(h: jax.Array, drive: jax.Array) -> tuple[jax.Array, jax.Array]:
            h = (drive + h @ params["R"]).reshape(len(h), gates, work.H).mean(1)
            return h, h

        def block(h: jax.Array, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.lax.scan(step, h, rows(xs, params["W"]))

        start = jnp.zeros((xs.shape[1], work.H))
        return jax.lax.scan(block, start, split_blocks(xs, size(xs)))[1].reshape(*xs.shape[:2], work.H)

    def both(params: Any, xs: jax.Array) -> tuple[jax.Array, Any]:
        hs = forward(params, xs)
        turned = jax.lax.optimization_barrier(params["R"].T)

        def step(dh: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
            dz = jnp.tile(dh + h, gates)
            return dz @ turned, dz

        def block(carry: Any, inputs: Any) -> tuple[Any, None]:
            dh, dW, dR = carry
            xs, hs = inputs
            dh, dz = jax.lax.scan(step, dh, hs, reverse=True)
            dz, x, h = (leaf.reshape(-1, leaf.shape[-1]) for leaf in (dz, xs, hs))
            return (dh, dW + x.T @ dz, dR + h.T @ dz), None

        start = (jnp.zeros_like(hs[0]), jnp.zeros_like(params["W"]), jnp.zeros_like(params["R"]))
        blocks = split_blocks((xs, hs), size(xs))
        (_, dW, dR), _ = jax.lax.scan(block, start, blocks, reverse=True)
        return jnp.mean(jnp.square(hs)), {"W": dW, "R": dR}

    return JittedLayer(work, params, forward, both=both, sharded=sharded)


def size(xs: jax.Array) -> int:
    """Returns the steps per block of our fused scan, or all of them if those don't divide the length."""
    steps = block_size(xs.shape[0], xs.shape[1])
    return xs.shape[0] if xs.shape[0] % steps else steps


def rows(xs: jax.Array, matrix: jax.Array) -> jax.Array:
    """Computes x W of a block as one two-dimensional product; a narrow x by broadcasting, as ours does."""
    if xs.shape[-1] == 1:
        return xs * matrix[0]
    return (xs.reshape(-1, xs.shape[-1]) @ matrix).reshape(*xs.shape[:-1], matrix.shape[-1])
