"""One product of two 2048 × 2048 matrices, by XLA on all cores: the rate that a layer's products are held against.

It takes its turns among the layers and its median is taken like theirs, for a machine's clock and its neighbours
change from minute to minute: a rate measured once at its best is up to half as high again as what the same product
then has beside the layers.
"""

import jax

from benchmarks.work import Work

SIZE = 2048
OPERATIONS = 2.0 * SIZE**3


def build(work: Work, sharded: bool) -> "LargeProduct":
    """The same whatever the work."""
    return LargeProduct()


class LargeProduct:
    """The product in place of both ways of a layer."""

    def __init__(self) -> None:
        self.matrices = jax.random.normal(jax.random.key(0), (2, SIZE, SIZE))
        self.product = jax.jit(lambda matrices: matrices[0] @ matrices[1])

    def forward(self) -> float:
        self.product(self.matrices).block_until_ready()
        return 0.0

    both = forward
