"""One product of two 2048 × 2048 matrices, by XLA on all cores: the reference rate for a layer's products.

It is measured in turns with the layers, and by its median, since the clock and load of a machine change from minute
to minute: the best rate measured once is up to 50 % higher than that of the same product between the layers.
"""

import jax

from benchmarks.work import Work

SIZE = 2048
OPERATIONS = 2.0 * SIZE**3


def build(work: Work, sharded: bool) -> "LargeProduct":
    """Returns the same product for any work."""
    return LargeProduct()


class LargeProduct:
    """The product in place of both passes of a layer."""

    def __init__(self) -> None:
        self.matrices = jax.random.normal(jax.random.key(0), (2, SIZE, SIZE))
        self.product = jax.jit(lambda matrices: matrices[0] @ matrices[1])

    def forward(self) -> float:
        self.product(self.matrices).block_until_ready()
        return 0.0

    both = forward
