"""`unroll` inside a user's own `jax.shard_map` that checks what varies over the devices; a program.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m tests.models.recurrence.shard_map_checks

prints a line for each cell and way that gives values and gradients of the whole batch, up to one that doesn't.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from models import (
    GRU,
    LSTM,
    SLSTM,
    Additive,
    AttentionCell,
    AttentionReadout,
    Bidirectional,
    Elman,
    EncoderDecoder,
    FedContext,
    General,
    Memory,
    MinGRU,
    Newton,
    Stacked,
    TokenReader,
    TokenWriter,
    unroll,
)
from models.cell import Array, Cell
from models.recurrence.methods import Scan

T, B, D = 6, 4, 3
WAYS: list[tuple[Cell, Any]] = [
    (GRU(3), "scan"),
    (GRU(3), Scan(checkpoint_every=4)),
    (LSTM(3), "fused"),
    (GRU(3), "fused"),
    (MinGRU(3), "associative"),
    (Elman(3), "newton"),
    (Elman(3), Newton(jacobian="diagonal", damping=0.1)),
    (SLSTM(4), "auto"),
    (Stacked((Bidirectional(LSTM(2)), GRU(3))), "auto"),
    (AttentionCell(GRU(D), Additive()), "fused"),
    (AttentionCell(LSTM(D), General()), "scan"),
    (FedContext(Stacked((GRU(2), AttentionReadout(D))), D), "auto"),
]


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    mesh = jax.make_mesh((2,), ("shares",), axis_types=(AxisType.Auto,))
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    mask = jnp.arange(T)[:, None] < jnp.array([6, 2, 5, 1])[None]
    for cell, way in WAYS:
        params = cell.init(jax.random.key(0), D)

        def loss(params: Any, xs: Array, mask: Array, cell: Cell = cell, way: Any = way) -> Array:
            given: Any = {"memory": Memory(xs, mask)} if cell.reads_memory else {}
            leaves = jax.tree.leaves(unroll(cell, params, xs, mask=mask, method=way, **given))
            return sum((jnp.sum(jnp.sin(leaf)) for leaf in leaves), jnp.zeros(()))

        compare(loss, mesh, params, xs, mask)
        print(f"{type(cell).__name__} by {way}", flush=True)
    writer = TokenWriter(5, 3, tied=True)
    decoder = Stacked((AttentionCell(GRU(2), memory_size=4), GRU(3)))
    model = EncoderDecoder(Bidirectional(GRU(2)), decoder, TokenReader(5, 3), writer)

    def of_model(params: Any, xs: Array, mask: Array) -> Array:
        encoded: Any = model.apply(params, xs, mask=mask, method="encode_vectors")
        targets = jnp.argmax(xs, axis=-1)
        losses: Any = model.apply(params, encoded, targets, target_mask=mask, method="losses_of")
        return jnp.sum(losses)

    compare(of_model, mesh, model.init(jax.random.key(3), jnp.zeros((T, B), int)), xs, mask)
    print("EncoderDecoder", flush=True)


def compare(loss: Any, mesh: Any, params: Any, xs: Array, mask: Array) -> None:
    """Over two devices that share the batch, the loss and its gradients are those of the whole."""
    shared = PartitionSpec(None, "shares")

    def over_shares(params: Any, xs: Array, mask: Array) -> Array:
        total = jax.shard_map(
            lambda *given: jax.lax.psum(loss(*given), "shares"),
            mesh=mesh,
            in_specs=(PartitionSpec(), shared, shared),
            out_specs=PartitionSpec(),
        )
        return total(params, xs, mask)

    found, expected = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1)))(params, xs, mask) for f in (over_shares, loss)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


if __name__ == "__main__":
    main()
