"""Optimizers, clipping and schedules against loops written out in NumPy (float64)."""

import math
from typing import Any

import jax
import numpy as np
import pytest

from train import OptimizerConfig, make_clipping, make_optimizer, make_schedule
from train.optimizer import require_choice

GRADIENTS = [np.random.default_rng(i).normal(size=(3, 2)) for i in range(6)]


def updates_of(config: OptimizerConfig) -> list[np.ndarray]:
    params = {"w": jax.numpy.zeros((3, 2))}
    optimizer = make_optimizer(config)
    state, updates = optimizer.init(params), []
    for gradient in GRADIENTS:
        update, state = optimizer.update({"w": jax.numpy.asarray(gradient, "float32")}, state, params)
        updates.append(np.asarray(update["w"]))  # pyright: ignore
    return updates


def sgd(rate):
    return [-rate * g for g in GRADIENTS]


def momentum(rate, mu):
    v, updates = np.zeros((3, 2)), []
    for g in GRADIENTS:
        v = mu * v + g
        updates.append(-rate * v)
    return updates


def adam(rate, beta1, beta2, epsilon):
    m = v = np.zeros((3, 2))
    updates = []
    for t, g in enumerate(GRADIENTS, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        updates.append(-rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon))
    return updates


def rmsprop(rate, rho, epsilon):
    v, updates = np.zeros((3, 2)), []
    for g in GRADIENTS:
        v = rho * v + (1 - rho) * g * g
        updates.append(-rate * g / np.sqrt(v + epsilon))
    return updates


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (OptimizerConfig("sgd", 0.1), sgd(0.1)),
        (OptimizerConfig("momentum", 0.1, momentum=0.8), momentum(0.1, 0.8)),
        (OptimizerConfig("adam", 0.1, beta1=0.8, beta2=0.95, epsilon=1e-3), adam(0.1, 0.8, 0.95, 1e-3)),
        (OptimizerConfig("rmsprop", 0.1, rms_decay=0.7, epsilon=1e-3), rmsprop(0.1, 0.7, 1e-3)),
    ],
)
def test_optimizer(config, expected):
    np.testing.assert_allclose(updates_of(config), expected, rtol=2e-5)


def clipped(config: OptimizerConfig, tree: Any) -> Any:
    clipping = make_clipping(config)
    return clipping.update(tree, clipping.init(tree))[0]


def test_clipping():
    a, b = GRADIENTS[0].astype("float32"), 10 * GRADIENTS[1].astype("float32")
    tree = {"a": jax.numpy.asarray(a), "b": jax.numpy.asarray(b)}
    norm = math.sqrt((a**2).sum() + (b**2).sum())

    def check(clip, at, expected_a, expected_b):
        result = clipped(OptimizerConfig(clip=clip, clip_at=at), tree)
        np.testing.assert_allclose(result["a"], expected_a, rtol=1e-6)
        np.testing.assert_allclose(result["b"], expected_b, rtol=1e-6)

    check("none", 1e-3, a, b)
    check("value", 0.5, np.clip(a, -0.5, 0.5), np.clip(b, -0.5, 0.5))
    check("global_norm", 2.0, a * 2 / norm, b * 2 / norm)
    check("global_norm", 2 * norm, a, b)
    rms = [math.sqrt((x**2).mean()) for x in (a, b)]
    assert rms[0] < 3 < rms[1]
    check("block_rms", 3.0, a, b * 3 / rms[1])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (OptimizerConfig(learning_rate=0.3), lambda n: 0.3),
        (
            OptimizerConfig(learning_rate=0.3, schedule="cosine", decay_steps=10, end_fraction=0.1),
            lambda n: 0.03 + 0.27 * (1 + math.cos(math.pi * min(n, 10) / 10)) / 2,
        ),
        (
            OptimizerConfig(learning_rate=0.3, schedule="exponential", decay_steps=4, decay_rate=0.5),
            lambda n: 0.3 * 0.5 ** (n / 4),
        ),
        (
            OptimizerConfig(learning_rate=0.3, schedule="warmup_cosine", decay_steps=10, warmup_steps=4),
            lambda n: 0.3 * n / 4 if n < 4 else 0.3 * (1 + math.cos(math.pi * min(n - 4, 6) / 6)) / 2,
        ),
    ],
)
def test_schedule(config, expected):
    schedule = make_schedule(config)
    for step in (0, 1, 3, 4, 7, 10, 25):
        assert np.asarray(schedule(step)) == pytest.approx(expected(step), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"clip_at": -1.0}, "clip_at is -1"),
        ({"momentum": 1.0}, "momentum is 1"),
        ({"end_fraction": 2.0}, "end_fraction is 2"),
        ({"schedule": "cosine"}, "decay_steps is 0"),
        ({"schedule": "warmup_cosine", "decay_steps": 5, "warmup_steps": 5}, "warmup_steps is 5"),
        ({"schedule": "exponential", "decay_steps": 5, "decay_rate": 0.0}, "decay_rate is 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**options)


def test_bad_choice():
    # The suite's type checker stops a wrong name before the config sees it.
    with pytest.raises(ValueError, match=r"optimizer.name is 'sdg'; it must be one of sgd, adam"):
        require_choice("name", "sdg", ("sgd", "adam"))
