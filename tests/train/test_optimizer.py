"""Optimizers, clipping and schedules against loops written out in NumPy (float64)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train import OptimizerConfig, create_state, make_clipping, make_optimizer, make_schedule, train_step
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


def test_weights_decay_apart_from_the_gradient() -> None:
    """AdamW: w ← w − η m̂/(√v̂ + ε) − ηλw, along a trajectory; what has one axis decays not."""
    config = OptimizerConfig("adamw", 0.1, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.3)
    optimizer, kernel, bias = make_optimizer(config), np.full((3, 2), 2.0), np.full(2, 2.0)
    params: Any = {"kernel": jnp.asarray(kernel, "float32"), "bias": jnp.asarray(bias, "float32")}
    state = optimizer.init(params)
    for gradient, update in zip(GRADIENTS, adam(0.1, 0.8, 0.95, 1e-3), strict=True):
        gradients = {"kernel": jnp.asarray(gradient, "float32"), "bias": jnp.asarray(gradient[0], "float32")}
        updates, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        kernel, bias = kernel + update - 0.1 * 0.3 * kernel, bias + update[0]
        np.testing.assert_allclose(params["kernel"], kernel, rtol=2e-5)
        np.testing.assert_allclose(params["bias"], bias, rtol=2e-5)


def test_lion() -> None:
    """Chen et al. 2023, algorithm 2: θ ← θ − η (sign(β₁m + (1 − β₁)g) + λθ), then m ← β₂m + (1 − β₂)g."""
    config = OptimizerConfig("lion", 0.1, beta1=0.8, lion_decay=0.9, weight_decay=0.3)
    optimizer, kernel, m = make_optimizer(config), np.full((3, 2), 2.0), np.zeros((3, 2))
    params: Any = {"kernel": jnp.asarray(kernel, "float32"), "bias": jnp.zeros(2)}
    state = optimizer.init(params)
    for g in GRADIENTS:
        gradients = {"kernel": jnp.asarray(g, "float32"), "bias": jnp.ones(2)}
        updates, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        kernel = kernel - 0.1 * (np.sign(0.8 * m + 0.2 * g) + 0.3 * kernel)
        m = 0.9 * m + 0.1 * g
        np.testing.assert_allclose(params["kernel"], kernel, rtol=2e-5)
    np.testing.assert_allclose(params["bias"], -0.6, rtol=1e-6)  # no decay: six steps of the rate


def test_warmup_of_any_schedule() -> None:
    """min(1, n/w) of the rate that it would be; a cosine begins after it."""
    schedules: tuple[Any, ...] = (("constant", 1.0), ("plateau", 1.0), ("exponential", 0.5))
    for name, after in schedules:
        rate = make_schedule(OptimizerConfig(schedule=name, learning_rate=0.1, decay_steps=8, warmup_steps=4))
        expected = [0.1 * min(1, n / 4) * after ** (n / 8) for n in range(9)]
        np.testing.assert_allclose(np.array([rate(n) for n in range(9)]), expected, rtol=1e-6)
    cosines = [make_schedule(OptimizerConfig(schedule="cosine", decay_steps=9, warmup_steps=3))]
    cosines += [make_schedule(OptimizerConfig(schedule="warmup_cosine", decay_steps=9, warmup_steps=3))]
    one, other = (np.array([rate(n) for n in range(9)]) for rate in cosines)
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="warmup_steps is 5, but the run ends at step 5"):
        OptimizerConfig(warmup_steps=5).for_run(5)


OWN = """
import optax

def make_optimizer(learning_rate, momentum=0.0):
    return optax.sgd(learning_rate, momentum=momentum)

def not_one(learning_rate):
    return 3
"""


def test_optimizer_of_a_file(tmp_path) -> None:
    """It updates at the schedule's rate and takes options; one that can't be used is refused in one sentence."""
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    np.testing.assert_allclose(
        updates_of(OptimizerConfig(f"{file}:make_optimizer(momentum=0.8)", 0.1)),
        momentum(0.1, 0.8),
        rtol=2e-5,
    )
    warm = updates_of(OptimizerConfig(f"{file}:make_optimizer", 0.1, warmup_steps=2))
    np.testing.assert_allclose(
        warm, [f * u for f, u in zip((0, 0.5, 1, 1, 1, 1), sgd(0.1), strict=True)], rtol=2e-5
    )
    for name, said in (
        (f"{file}:other", "has no function other"),
        (f"{file}:not_one", "makes a int: return a transformation of Optax"),
        (f"{file}:make_optimizer(beta=1)", "can't be made: TypeError"),
        (f"{tmp_path}/none.py:make_optimizer", "there is no file"),
    ):
        with pytest.raises(ValueError, match=said):
            OptimizerConfig(name).for_run(9)
    with pytest.raises(ValueError, match="can't be read: write a file and a function"):
        OptimizerConfig("mine.py:3")


def clipped(config: OptimizerConfig, tree: Any) -> Any:
    clipping = make_clipping(config)
    return clipping.update(tree, clipping.init(tree), tree)[0]


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
    assert np.linalg.norm(a) < 5 < np.linalg.norm(b)
    check("block_norm", 5.0, a, b * 5 / np.linalg.norm(b))
    check("block_norm", 0.5, a / np.linalg.norm(a) / 2, b / np.linalg.norm(b) / 2)


def test_adaptive_clipping():
    """Brock et al. 2021, equation 3, unit by unit: g_i ← λ max(‖w_i‖, 10⁻³) g_i/‖g_i‖ where ‖g_i‖ is above that."""
    generator = np.random.default_rng(0)
    weights = {
        "kernel": generator.normal(size=(5, 3)),
        "bias": generator.normal(size=4),
        "new": np.zeros((2, 2)),
        "of one input": generator.normal(size=(1, 4)),
        "blocks": generator.normal(size=(2, 3, 5)),
    }
    weights["kernel"][:, 1] *= 100  # a unit whose weights allow for its gradient
    gradients = {name: generator.normal(size=w.shape) for name, w in weights.items()}
    expected = {name: g.copy() for name, g in gradients.items()}
    for name, w in weights.items():
        units = np.ndindex(*w.shape[:-2], w.shape[-1]) if w.ndim > 1 else []
        columns = [(*at[:-1], np.s_[:], at[-1]) for at in units] or [np.s_[:]]
        for unit in columns:
            bound = 0.1 * max(np.linalg.norm(w[unit]), 1e-3)
            norm = np.linalg.norm(gradients[name][unit])
            expected[name][unit] *= bound / norm if norm > bound else 1.0
    config = OptimizerConfig(clip="adaptive", clip_at=0.1)
    clipping, params = make_clipping(config), jax.tree.map(jax.numpy.float32, weights)
    given = jax.tree.map(jax.numpy.float32, gradients)
    found: Any = clipping.update(given, clipping.init(params), params)[0]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)
    np.testing.assert_array_equal(found["kernel"][:, 1], gradients["kernel"][:, 1].astype("float32"))
    assert np.abs(expected["kernel"][:, 0]).max() < np.abs(gradients["kernel"][:, 0]).max()


def test_a_block_of_zeros_and_a_huge_one_stay_finite():
    tree = {"a": jax.numpy.zeros((2, 2)), "b": jax.numpy.full(3, 1e18)}
    found = clipped(OptimizerConfig(clip="block_norm", clip_at=1.0), tree)
    np.testing.assert_array_equal(found["a"], np.zeros((2, 2)))
    np.testing.assert_allclose(found["b"], np.full(3, 3**-0.5), rtol=1e-6)


@pytest.mark.peers
def test_clipping_agrees_with_pytorch():
    """`clip_grad_value_`, and `clip_grad_norm_` of all parameters together and of each alone."""
    torch = pytest.importorskip("torch")
    a, b = GRADIENTS[0].astype("float32"), 10 * GRADIENTS[1].astype("float32")
    tree = {"a": jax.numpy.asarray(a), "b": jax.numpy.asarray(b)}
    utilities = torch.nn.utils
    ways = {
        "value": lambda ps: utilities.clip_grad_value_(ps, 0.7),
        "global_norm": lambda ps: utilities.clip_grad_norm_(ps, 0.7),
        "block_norm": lambda ps: [utilities.clip_grad_norm_([p], 0.7) for p in ps],
    }
    for clip, bound in ways.items():
        parameters = [torch.nn.Parameter(torch.zeros(3, 2)) for _ in tree]
        for parameter, gradient in zip(parameters, (a, b), strict=True):
            parameter.grad = torch.tensor(gradient)
        bound(parameters)
        found = clipped(OptimizerConfig(clip=clip, clip_at=0.7), tree)  # pyright: ignore
        for parameter, value in zip(parameters, found.values(), strict=True):
            np.testing.assert_allclose(value, parameter.grad.numpy(), rtol=1e-5)


def test_adaptive_clipping_in_a_train_step():
    """It looks at the parameters, which a step must hand to it."""
    optimizer = OptimizerConfig("sgd", 1.0, clip="adaptive", clip_at=0.01)
    params = {"w": jax.numpy.full((4, 1), 2.0)}
    state = create_state(params, optimizer, jax.random.key(0))

    def loss(params, carry, batch, key):
        return (1000 * jax.numpy.sum(params["w"]), jax.numpy.ones(())), (carry, {})

    after, metrics = train_step(state, jax.numpy.zeros(1), loss_fn=loss, optimizer=optimizer)
    assert float(metrics["grad_norm"]) == pytest.approx(2000)
    np.testing.assert_allclose(after.params["w"], np.full((4, 1), 2.0 - 0.01 * 4 / 2), rtol=1e-6)


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
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"end_fraction": 2.0}, "end_fraction is 2"),
        ({"schedule": "cosine", "decay_steps": -1}, "decay_steps is -1"),
        ({"schedule": "exponential"}, "decay_steps is 0"),
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


def test_a_cosine_ends_where_the_run_ends() -> None:
    """Left open it falls to 0 at the last step, whatever that is, by ½ (1 + cos πt/T)."""
    config = OptimizerConfig(learning_rate=2.0, schedule="cosine")
    for steps in (60, 2200):
        rate = make_schedule(config.for_run(steps))
        for step in (0, steps // 3, steps - 1, steps):
            np.testing.assert_allclose(rate(step), 1 + np.cos(np.pi * step / steps), atol=1e-6)
    with pytest.raises(ValueError, match=r"decay_steps is 0: give it, or the run's length"):
        make_schedule(config)(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"schedule": "cosine", "decay_steps": 99},
            "decay_steps is 99: the learning rate is 0 from there on",
        ),
        (
            {"schedule": "warmup_cosine", "warmup_steps": 100},
            "warmup_steps is 100, but the run ends at step 100",
        ),
        ({"average_from": 100}, "average_from is 100, but the run ends at step 100"),
        (
            {"schedule": "exponential", "decay_steps": 9, "decay_begin": 99},
            "schedule is exponential, but with decay_begin 99 the rate can't fall before step 100, and the run",
        ),
        (
            {"schedule": "exponential", "decay_steps": 9, "decay_begin": 91, "staircase": True},
            "with decay_begin 91 the rate can't fall before step 100",
        ),
        (
            {"schedule": "plateau", "decay_steps": 26, "patience": 3},
            "with decay_steps 26 the rate can't fall before step 103",
        ),
        (
            {"schedule": "validation_plateau", "patience": 5},
            "with patience 5 the rate can't fall before step 100",
        ),
    ],
)
def test_schedules_that_do_not_fit_the_run(options: dict[str, Any], said: str) -> None:
    config = OptimizerConfig(**options)
    with pytest.raises(ValueError, match=said):
        config.for_run(100, eval_every=20)
    assert config.for_run(99 if options.get("schedule") == "cosine" else 104, eval_every=20)
    assert OptimizerConfig(schedule="cosine", decay_steps=50, end_fraction=0.1).for_run(100).decay_steps == 50


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "exponential", "decay_steps": 3, "decay_begin": 2},
        {"schedule": "exponential", "decay_steps": 3, "decay_begin": 2, "staircase": True},
        {"schedule": "plateau", "decay_steps": 3, "patience": 2},
    ],
)
def test_where_a_rate_first_falls(options: dict[str, Any]) -> None:
    """Of updates at a loss that never gets better, the one that is smaller than the first."""
    config = OptimizerConfig(name="sgd", learning_rate=1.0, clip="none", **options)
    optimizer = make_optimizer(config)
    params, state, sizes = jnp.zeros(()), optimizer.init(jnp.zeros(())), []
    for _ in range(12):
        update, state = optimizer.update(jnp.ones(()), state, params, value=jnp.ones(()))
        sizes.append(-np.asarray(update).item())
    assert next(step for step, size in enumerate(sizes) if size < sizes[0]) == config.first_decay_step(None)
