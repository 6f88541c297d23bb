"""Shared by the JAX libraries: the mean square of the outputs and its gradient, compiled as shipped or sharded."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.work import Work

Outputs = Callable[[Any, jax.Array], jax.Array]
"""`(params, xs [T, B, D]) → ys [T, B, H]`."""


Both = Callable[[Any, jax.Array], tuple[jax.Array, Any]]
"""`(params, xs [T, B, D]) → the mean square of the outputs, and its gradient`."""


class JittedLayer:
    """`outputs` under `jax.jit`; with `sharded` the batch is sharded over all devices by `jax.shard_map`.

    `both`, if given, replaces autodiff of `outputs`.
    """

    def __init__(
        self, work: Work, params: Any, outputs: Outputs, *, sharded: bool, both: Both | None = None
    ) -> None:
        size = work.T * work.B * work.H

        def loss(params: Any, xs: jax.Array) -> jax.Array:
            return jnp.sum(jnp.square(outputs(params, xs))) / size

        forward, both = loss, both or jax.value_and_grad(loss)
        xs = jnp.asarray(work.inputs())
        params = jax.tree.map(jnp.asarray, params)  # which must have array leaves only
        if sharded:
            mesh = Mesh(jax.devices(), "batch")
            whole, split = PartitionSpec(), PartitionSpec(None, "batch")
            over = partial(
                jax.shard_map, mesh=mesh, in_specs=(whole, split), out_specs=whole, check_vma=False
            )

            def summed(function: Callable) -> Callable:
                return over(lambda params, xs: jax.lax.psum(function(params, xs), "batch"))

            forward, both = summed(forward), summed(both)
            params = jax.device_put(params, NamedSharding(mesh, whole))
            xs = jax.device_put(xs, NamedSharding(mesh, split))
        self.arguments = (params, xs)
        self.compiled_forward, self.compiled_both = jax.jit(forward), jax.jit(both)

    def forward(self) -> float:
        return float(self.compiled_forward(*self.arguments))

    def both(self) -> float:
        loss, gradient = self.compiled_both(*self.arguments)
        jax.block_until_ready(gradient)
        return float(loss)
