"""The work of every library: the same layer, weights and inputs."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Family = Literal["elman", "gru", "lstm"]
Way = Literal["forward", "both"]
WAYS: tuple[Way, ...] = ("forward", "both")
GATES: dict[Family, int] = {"elman": 1, "gru": 3, "lstm": 4}
FAMILIES: tuple[Family, ...] = ("elman", "gru", "lstm")
# T, B, D, H: a wide layer; pixel by pixel; that of a language model; a small net; a long narrow one; a very wide
# one.
SIZES = (
    (128, 32, 256, 256),
    (784, 64, 1, 128),
    (35, 20, 200, 200),
    (100, 16, 64, 64),
    (1000, 8, 32, 128),
    (50, 256, 128, 512),
)


@dataclass(frozen=True)
class Work:
    """One layer of H units over inputs `[T, B, D]`: the mean square of its outputs, and its gradient."""

    family: Family
    T: int
    B: int
    D: int
    H: int

    @property
    def name(self) -> str:
        return f"{self.family} {self.T},{self.B},{self.D},{self.H}"

    def products(self, backward: bool) -> float:
        """Counts the floating-point operations of the matrix products: x W and h R; backward also ∂W, ∂R and ∂h."""
        shapes = (2 * self.D + 3 * self.H) if backward else (self.D + self.H)
        return 2.0 * self.T * self.B * GATES[self.family] * self.H * shapes

    def inputs(self) -> np.ndarray:
        """Draws inputs `[T, B, D]`, standard normal, the same for all libraries."""
        return np.random.default_rng(0).normal(size=(self.T, self.B, self.D)).astype(np.float32)

    def weights(self) -> dict[str, np.ndarray]:
        """Draws weights in PyTorch's layout: rows of gates, LSTM i f g o, GRU r z n; uniform in ±1/√H.

        The second biases, which some libraries don't have, are zero.
        """
        random, bound = np.random.default_rng(1), self.H**-0.5
        rows = GATES[self.family] * self.H

        def draw(*shape: int) -> np.ndarray:
            return random.uniform(-bound, bound, size=shape).astype(np.float32)

        weights = {
            "weight_ih_l0": draw(rows, self.D),
            "weight_hh_l0": draw(rows, self.H),
            "bias_ih_l0": draw(rows),
        }
        return weights | {"bias_hh_l0": np.zeros(rows, np.float32)}


class Layer(Protocol):
    """The functions of a library; each call blocks until its result is ready."""

    def forward(self) -> float:
        """Computes the mean square of the outputs."""
        ...

    def both(self) -> float:
        """Computes the same, and its gradient in every weight and bias."""
        ...
