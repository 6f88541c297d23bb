"""A small regression in which everything that a resumption must bring back matters, and a program that trains it.

    python -m tests.train.toy FOLDER [--steps N] [--resume] [--pause SECONDS]

ends with code 0 when finished, 3 when it was asked to stop.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from train import (
    LoopConfig,
    OptimizerConfig,
    Result,
    StopRequest,
    TrainState,
    create_state,
    fit,
    squared_error,
    stop_on_signals,
)
from train.metrics import masked_sum

ADAM = OptimizerConfig(learning_rate=1e-2, schedule="cosine", decay_steps=500)
LOOP = LoopConfig(steps=90, log_every=7, eval_every=30, save_every=20, chunk=10)


def loss_fn(params, carry, batch, key):
    """Noise drawn from the key, in the carry each row's own running average, on which the loss depends."""
    x, y = batch
    noise = 0.01 * jax.random.normal(key, x.shape)
    prediction = jnp.tanh((x + noise) @ params["w"]) @ params["v"] - 0.01 * jnp.broadcast_to(carry, y.shape)
    carry = 0.9 * carry + 0.1 * jnp.mean(prediction, axis=1, keepdims=True)
    return squared_error(prediction, y), (
        carry,
        {"size": masked_sum(jnp.abs(prediction), jnp.ones(y.shape, bool))},
    )


def eval_fn(params, batch):
    x, y = batch
    return {"error": squared_error(jnp.tanh(x @ params["w"]) @ params["v"], y)}


class ToyBatches:
    """Batch number i is drawn from seed i; the position is i."""

    def __init__(self, pause: float = 0.0, broken: int = -1) -> None:
        self.index, self.pause, self.broken = 0, pause, broken

    def take(self, count: int):
        time.sleep(self.pause)
        batches = [toy_batch(self.index + i, self.index + i == self.broken) for i in range(count)]
        self.index += count
        return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)

    def get_state(self) -> bytes:
        return json.dumps(self.index).encode()

    def set_state(self, state: bytes) -> None:
        self.index = json.loads(state)


def toy_batch(seed: int, broken: bool = False):
    x = np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)
    return x, np.full((8, 2), np.nan, np.float32) if broken else np.tanh(x[:, :2])


def toy_state(optimizer: OptimizerConfig = ADAM, width: int = 6) -> TrainState:
    random = np.random.default_rng(0)
    params = {
        "w": random.normal(size=(4, width)).astype(np.float32),
        "v": random.normal(size=(width, 2)).astype(np.float32),
    }
    return create_state(params, optimizer, jax.random.key(3), jnp.zeros((8, 1)))


def train_toy(folder: Path, config: LoopConfig = LOOP, pause: float = 0.0, **options) -> Result:
    validation = [toy_batch(10_000 + i) for i in range(3)]
    settings = {"batches": ToyBatches(pause), "eval_fn": eval_fn, "validation": validation} | options
    return fit(toy_state(), loss_fn=loss_fn, optimizer=ADAM, config=config, folder=folder, **settings)


def bits(tree) -> list[bytes]:
    """The leaves' bytes, random keys included."""
    leaves = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in jax.tree.leaves(tree)
    ]
    return [np.asarray(leaf).tobytes() for leaf in leaves]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=LOOP.steps)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    config = LoopConfig(**(vars(LOOP) | {"steps": options.steps}))
    with stop_on_signals() as stop:
        assert isinstance(stop, StopRequest)
        result = train_toy(options.folder, config, options.pause, resume=options.resume, stop=stop)
    return 0 if result.finished else 3


if __name__ == "__main__":
    sys.exit(main())
