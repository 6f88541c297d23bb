"""Settings of the training loop."""

from dataclasses import dataclass, field
from typing import Literal, get_args

MOST_STEPS = 2**31 - 1  # JAX counts them in 32 bits
NonFinitePolicy = Literal["stop", "skip", "rollback"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class HealthConfig:
    """Health measurements during training: how often, and on what.

    Raises:
        ValueError: a number is too small or beyond 32 bits.
    """

    every: int = 0
    """Measure exponents, singular values, gradients by lag and saturation every N steps; 0: never."""
    examples: int = 2
    """Held-out sequences to measure on."""
    directions: int = 8
    """Number of leading singular values of products of Jacobians, k."""

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("examples", 1), ("directions", 1)):
            if not least <= getattr(self, name) <= MOST_STEPS:
                raise ValueError(
                    f"loop.health.{name} is {getattr(self, name)}; it must lie in {least} … {MOST_STEPS}"
                )


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the training loop, in steps.

    Raises:
        ValueError: a number is below 1 or beyond 32 bits.
    """

    steps: int = 1000
    """Updates in all, including those before a resumption."""
    log_every: int = 20
    """Log metrics every N steps."""
    eval_every: int = 100
    """Evaluate every N steps, before the first and after the last."""
    save_every: int = 500
    """Save every N steps, at the end and when stopped."""
    chunk: int = 50
    """Steps per dispatch: more are faster, but a request to stop waits for them."""
    keep: int = 2
    """Newest checkpoints to keep, besides the best of those saved right after an evaluation and the one that a run
    ends or is stopped with."""
    nonfinite: NonFinitePolicy = "stop"
    """At a loss or gradient that isn't finite: stop, skip the batch, or rollback to an earlier checkpoint at half
    the learning rate."""
    rollbacks: int = 3
    """Rollbacks before the run stops."""
    accumulate: int = 1
    """Compute each batch in so many parts, one after another, and add up their gradients: the same update in less
    memory."""
    precision: Precision = "float32"
    """bfloat16: compute outputs and gradients in bfloat16, with weights, sums and updates in float32; evaluations
    are in float32 either way."""
    health: HealthConfig = field(default_factory=HealthConfig)

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "log_every",
            "eval_every",
            "save_every",
            "chunk",
            "keep",
            "rollbacks",
            "accumulate",
        ):
            if not 1 <= getattr(self, name) <= MOST_STEPS:
                raise ValueError(f"loop.{name} is {getattr(self, name)}; it must lie in 1 … {MOST_STEPS}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"loop.precision is {self.precision!r}; it must be float32 or bfloat16")

    @property
    def longest_chunk(self) -> int:
        """The most steps that one dispatch can have: chunks end where the run is evaluated, saved or over."""
        return min(self.chunk, self.eval_every, self.save_every, self.steps)


def next_boundary(step: int, config: LoopConfig, *others: int) -> int:
    """Returns the end of the chunk that starts at `step`: the next multiple of a stride, or the end of training.

    `others` are strides besides those of evaluating and saving.
    """
    strides = (config.chunk, config.eval_every, config.save_every, *others)
    return min(config.steps, *((step // stride + 1) * stride for stride in strides))
