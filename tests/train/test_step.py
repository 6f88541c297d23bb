"""The train step against a least-squares gradient written out; the chunk against single steps."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.compilation import compilations
from tests.train.toy import ADAM, ToyBatches, bits, loss_fn, toy_batch, toy_state
from train import (
    OptimizerConfig,
    TrainState,
    create_state,
    evaluate,
    mean,
    squared_error,
    train_chunk,
    train_step,
)
from train.metrics import masked_sum
from train.state import copy_tree

SGD = OptimizerConfig("sgd", 0.1, clip_at=0.5)


@dataclass(frozen=True)
class LeastSquares:
    """The mean of |xW − y|ᵖ; it notes when it is traced."""

    power: int = 2
    traced: ClassVar[list[int]] = []

    def __call__(self, params, carry, batch, key):
        self.traced.append(self.power)
        x, y = batch
        error = jnp.abs(x @ params["w"] - y) ** self.power
        return masked_sum(error, jnp.ones(error.shape, bool)), (carry, {})


def regression():
    random = np.random.default_rng(1)
    return random.normal(size=(20, 3)), random.normal(size=(20, 2)), random.normal(size=(3, 2))


def test_step_is_the_gradient_step():
    x, y, w = regression()
    gradient = 2 * x.T @ (x @ w - y) / y.size
    norm = np.linalg.norm(gradient)
    assert norm > 0.5
    state = create_state({"w": w.astype("float32")}, SGD, jax.random.key(0))
    new, metrics = train_step(
        state, (x.astype("float32"), y.astype("float32")), loss_fn=LeastSquares(), optimizer=SGD
    )
    expected = w - 0.1 * gradient * 0.5 / norm
    np.testing.assert_allclose(new.params["w"], expected, rtol=1e-5)
    assert new.step == 1
    figures = {name: float(value) for name, value in metrics.items()}
    assert figures == pytest.approx(
        {
            "loss": ((x @ w - y) ** 2).mean(),
            "grad_norm": norm,
            "clipped_norm": 0.5,
            "update_norm": 0.05,
            "param_norm": np.linalg.norm(expected),
            "learning_rate": 0.1,
            "finite": 1.0,
        },
        rel=1e-5,
    )


def test_chunk_is_its_steps():
    batches = ToyBatches().take(7)
    chunked, metrics = train_chunk(toy_state(), batches, 5, loss_fn=loss_fn, optimizer=ADAM)
    state, step = toy_state(), jax.jit(partial(train_step, loss_fn=loss_fn, optimizer=ADAM))
    for i in range(5):
        state, one = step(state, toy_batch(i))
        for name, value in one.items():
            np.testing.assert_allclose(metrics[name][i], value, rtol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), chunked.params, state.params)
    assert chunked.step == 5
    assert not metrics["loss"][5:].any()


def test_bits_do_not_depend_on_the_cutting():
    whole, _ = train_chunk(toy_state(), ToyBatches().take(8), 8, loss_fn=loss_fn, optimizer=ADAM)
    first = ToyBatches().take(8)
    rest = jax.tree.map(lambda x: np.concatenate([x[3:], np.full_like(x[:3], np.nan)]), first)
    state, _ = train_chunk(toy_state(), first, 3, loss_fn=loss_fn, optimizer=ADAM)
    state, _ = train_chunk(state, rest, 5, loss_fn=loss_fn, optimizer=ADAM)
    assert bits(whole) == bits(state)


def test_state_is_donated_and_parameters_are_not():
    params = {"w": jnp.ones((3, 2))}
    state = create_state(params, SGD, jax.random.key(0))
    train_chunk(state, (jnp.ones((1, 4, 3)), jnp.ones((1, 4, 2))), 1, loss_fn=LeastSquares(), optimizer=SGD)
    assert state.params["w"].is_deleted()
    assert not params["w"].is_deleted()


def test_equal_configs_compile_once():
    batches = (jnp.ones((2, 4, 3)), jnp.ones((2, 4, 2)))

    def run(power, rate, count):
        optimizer = OptimizerConfig("sgd", rate)
        state = create_state({"w": jnp.ones((3, 2))}, optimizer, jax.random.key(0))
        for _ in range(2):
            state, _ = train_chunk(state, batches, count, loss_fn=LeastSquares(power), optimizer=optimizer)

    def traces(*call):
        before = len(LeastSquares.traced)
        run(*call)
        return len(LeastSquares.traced) - before

    assert traces(2, 0.123, 1) == 1
    assert traces(2, 0.123, 2) == 0
    assert traces(4, 0.123, 1) == traces(2, 0.321, 1) == 1


def test_not_finite_keeps_the_state():
    batches = ToyBatches(broken=3).take(6)
    good, _ = train_chunk(toy_state(), batches, 3, loss_fn=loss_fn, optimizer=ADAM)
    state, metrics = train_chunk(toy_state(), batches, 6, loss_fn=loss_fn, optimizer=ADAM)
    assert bits(state) == bits(good)
    assert metrics["finite"].tolist() == [True, True, True, False, False, False]
    assert np.isnan(metrics["loss"][3])


def test_carry_and_randomness_move():
    state, batch = toy_state(), toy_batch(0)
    new, metrics = train_step(state, batch, loss_fn=loss_fn, optimizer=ADAM)
    assert (new.carry != state.carry).all()
    assert bits(new.key) == bits(state.key)
    again, _ = train_step(state, batch, loss_fn=loss_fn, optimizer=ADAM)
    assert bits(new) == bits(again)
    later = toy_state()
    later = type(later)(later.step + 1, later.params, later.opt_state, later.carry, later.key)
    assert train_step(later, batch, loss_fn=loss_fn, optimizer=ADAM)[1]["loss"] != metrics["loss"]


ONE = (jnp.ones(()), jnp.ones(()))


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (lambda carry: (ONE, (carry, {"loss": ONE})), "'loss' has the name of one of the train step's own"),
        (lambda carry: (ONE, (carry, {"odd": jnp.zeros(3)})), r"'odd' must be a pair \(sum, count\)"),
        (
            lambda carry: (ONE, (carry, {"odd": (jnp.zeros(3), jnp.ones(()))})),
            r"'odd' .* shapes \(3,\), \(\)",
        ),
        (lambda carry: (jnp.ones(()), (carry, {})), r"'loss' must be a pair \(sum, count\)"),
        (
            lambda carry: (ONE, ({"h": carry["h"][:1]}, {})),
            r"leaf h is float32\[2\] before .* float32\[1\] after",
        ),
        (lambda carry: (ONE, ((), {})), "return the same structure"),
    ],
)
def test_bad_loss_functions(outcome, message):
    def loss(params, carry, batch, key):
        return outcome(carry)

    state = create_state({"w": jnp.ones(2)}, SGD, jax.random.key(0), {"h": jnp.zeros(2)})
    with pytest.raises(ValueError, match=message):
        train_step(state, (), loss_fn=loss, optimizer=SGD)


def test_averages_are_not_the_optimizers(monkeypatch):
    """Not weight decay's either, which needs no gradient; and what `update_averages` gives is the state's."""

    def decaying(config):
        return optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1))

    monkeypatch.setattr("train.step.make_optimizer", decaying)
    x, y, w = (array.astype("float32") for array in regression())
    params = {"w": w, "cell": {"averages": {"mean": jnp.ones(3)}}}
    state = TrainState(jnp.zeros((), jnp.int32), params, decaying(SGD).init(params), (), jax.random.key(0))
    new, _ = train_step(state, (x, y), loss_fn=LeastSquares(), optimizer=SGD)
    np.testing.assert_array_equal(new.params["cell"]["averages"]["mean"], np.ones(3))
    assert np.all(new.params["w"] != w)

    def update_averages(params, batch, key):
        return params | {"cell": {"averages": {"mean": jnp.mean(batch[0], axis=0) + params["w"][0, 0]}}}

    again, _ = train_step(
        state, (x, y), loss_fn=LeastSquares(), optimizer=SGD, update_averages=update_averages
    )
    np.testing.assert_array_equal(again.params["w"], new.params["w"])
    expected = x.mean(axis=0) + np.asarray(new.params["w"])[0, 0]  # it sees the parameters after the update
    np.testing.assert_allclose(again.params["cell"]["averages"]["mean"], expected, rtol=1e-5)


def test_nothing_that_counts_changes_nothing():
    """A batch of padding alone: loss and gradient are 0, not 0 / 0."""

    def loss(params, carry, batch, key):
        return squared_error(batch @ params["w"], batch[:, :2], jnp.zeros(4, bool)), (carry, {})

    state = create_state({"w": jnp.ones((3, 2))}, SGD, jax.random.key(0))
    new, metrics = train_step(state, jnp.ones((4, 3)), loss_fn=loss, optimizer=SGD)
    assert (metrics["loss"], metrics["grad_norm"], metrics["finite"]) == (0, 0, True)
    np.testing.assert_array_equal(new.params["w"], np.ones((3, 2)))


def test_weak_types_compile_once():
    state = copy_tree({"a": jnp.asarray(1.0), "b": 2.0, "c": np.float32(3)})
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))


def test_a_state_is_one_program():
    """Not one for each of its leaves, which a run would wait for before its first step."""
    params, carry = {"w": jnp.ones((3, 7)), "b": jnp.ones(11)}, {"h": jnp.ones((2, 13))}
    key = jax.random.key(0)
    assert compilations(lambda: create_state(params, ADAM, key, carry)) == 1
    assert compilations(lambda: copy_tree((params, carry, key))) == 1


def test_evaluate_weighs_uneven_batches():
    random = np.random.default_rng(0)
    batches = [random.normal(size=(2, n)).astype("float32") for n in (5, 1, 8)]

    def eval_fn(params, batch):
        return {"error": squared_error(params * batch[0], batch[1])}

    everything = np.concatenate(batches, axis=1)
    means = evaluate(eval_fn, jnp.float32(2), batches)
    assert means == pytest.approx({"error": ((2 * everything[0] - everything[1]) ** 2).mean()})
    with pytest.raises(ValueError, match="list of batches is empty"):
        evaluate(eval_fn, jnp.float32(2), [])


def test_evaluate_nothing_valid():
    def eval_fn(params, batch):
        return {"error": squared_error(batch, batch, jnp.zeros(3, bool))}

    with pytest.raises(ValueError, match="nothing to evaluate 'error' on"):
        evaluate(eval_fn, (), [jnp.ones(3)])
    assert mean(eval_fn((), jnp.ones(3))["error"]) == 0
