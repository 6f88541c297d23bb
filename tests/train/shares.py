"""Checks of what must hold where several devices share a batch; a program, for a process has its devices from its
start.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m tests.train.shares

prints each check's name as it passes, and ends with the traceback of the first that doesn't.
"""

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import Batch
from experiments.objective import Averages, Evaluation, Loss, over_devices, regression
from models import GRU, BatchNormLSTM, SequenceClassifier
from tests.train.toy import ADAM, LOOP, ToyBatches, bits, loss_fn, toy_batch, toy_state, train_toy
from train import (
    LoopConfig,
    NonFinite,
    OptimizerConfig,
    StopRequest,
    batch_mesh,
    create_state,
    evaluate,
    fit,
    read_metrics,
    squared_error,
    train_chunk,
)
from train.metrics import masked_sum
from train.nonfinite import gradient_at
from train.step import on_devices

N = jax.device_count()
MESH = batch_mesh()
T, D = 5, 2


def sequences(size: int, count: int = 1, dtype: Any = np.float32) -> Batch:
    """Stacked batches with ragged masks; the last example, and the whole share of the first device, is padding."""
    random = np.random.default_rng(0)
    mask = np.arange(T)[None, :, None] < random.integers(1, T + 1, size=(count, 1, size))
    mask[..., : -(-size // N)] = False
    mask[..., -1] = False
    inputs = random.normal(size=(count, T, size, D)).astype(dtype)
    return Batch(inputs * mask[..., None], random.normal(size=(count, size)).astype(dtype), mask)


def first(batches: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], batches)


def fresh(model: SequenceClassifier, batch: Batch) -> Any:
    """Parameters in the precision of the batch, for Flax makes its own in single precision always."""
    params = model.init(jax.random.key(1), batch.inputs)
    return jax.tree.map(lambda leaf: leaf.astype(batch.inputs.dtype), params)


def distance(found: Any, expected: Any) -> float:
    """The largest relative error of a leaf, by norms; leaves that ought to be zero are."""
    errors = []
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        errors.append(np.linalg.norm(a - b) / (np.linalg.norm(b) or 1.0))
    return max(errors)


def check_gradients() -> None:
    """Those of one device, in both precisions, of batches that divide and of some that must be padded."""
    model = SequenceClassifier(GRU(3), classes=1)
    for wide in (False, True):
        with jax.enable_x64(wide):
            for size in (4 * N, 4 * N - 1, 2 * N + 1):
                batch = first(sequences(size, dtype=np.float64 if wide else np.float32))
                state = create_state(fresh(model, batch), ADAM, jax.random.key(0))
                gradient = partial(gradient_at, state, batch, loss_fn=Loss(model, regression), accumulate=1)
                one, shared = gradient(mesh=None), gradient(mesh=MESH)
                assert all(np.linalg.norm(leaf) > 1e-6 for leaf in jax.tree.leaves(one))
                assert distance(shared, one) < (1e-13 if wide else 1e-6), (wide, size, distance(shared, one))


def check_training() -> None:
    """Twenty steps: parameters and every metric; the state given away; the batch's padding counted nowhere."""
    model = SequenceClassifier(GRU(3), classes=1)
    with jax.enable_x64(True):
        for size in (2 * N, 3 * N - 1):
            batches = sequences(size, 20, np.float64)
            params = fresh(model, first(batches))
            train = partial(train_chunk, loss_fn=Loss(model, regression), optimizer=ADAM)
            one = train(create_state(params, ADAM, jax.random.key(0)), batches, 20)
            state = on_devices(create_state(params, ADAM, jax.random.key(0)), MESH)
            shared = train(state, batches, 20, mesh=MESH)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.opt_state)))
            assert distance((shared[0].params, shared[1]), (one[0].params, one[1])) < 1e-6
            assert all(len(leaf.sharding.device_set) == N for leaf in jax.tree.leaves(shared[0].params))


def check_devices_draw_for_themselves() -> None:
    """Of each device's own key; and the carry stays with its examples."""

    def loss(params: Any, carry: Any, batch: Any, key: Any) -> Any:
        drawn = jax.random.normal(key, batch.shape)
        return masked_sum(params * drawn, jnp.ones(batch.shape, bool)), (carry + batch, {})

    state = on_devices(create_state(jnp.ones(()), ADAM, jax.random.key(7), jnp.zeros(N)), MESH)
    batches = np.arange(2 * N, dtype=np.float32).reshape(2, N)
    new, metrics = train_chunk(state, batches, 1, loss_fn=loss, optimizer=ADAM, mesh=MESH)
    step_key = jax.random.fold_in(jax.random.key(7), 0)
    drawn = [float(jax.random.normal(jax.random.fold_in(step_key, i), (1,))[0]) for i in range(N)]
    np.testing.assert_allclose(metrics["loss"][0], np.mean(drawn), rtol=1e-5)
    np.testing.assert_array_equal(new.carry, batches[0])


def check_batch_norm() -> None:
    """Over several devices as on one: parameters and running averages, of ragged batches and filled-up ones."""
    model = SequenceClassifier(BatchNormLSTM(3, max_steps=4, gain=0.5), classes=1)
    shared_model = over_devices(model, N)
    with jax.enable_x64(True):
        for size in (4 * N, 4 * N - 1):
            batches = sequences(size, 4, np.float64)
            params = fresh(model, first(batches))
            found = []
            for own, mesh in ((model, None), (shared_model, MESH)):
                state = create_state(params, ADAM, jax.random.key(0))
                state = state if mesh is None else on_devices(state, mesh)
                options: Any = {
                    "loss_fn": Loss(own, regression),
                    "update_averages": Averages(own),
                    "mesh": mesh,
                }
                found.append(train_chunk(state, batches, 4, optimizer=ADAM, **options))
            (one, of_one), (shared, of_shared) = found
            assert distance((shared.params, of_shared), (one.params, of_one)) < 1e-6
            averages = one.params["params"]["recurrent"]["cell"]["averages"]
            assert distance(averages, params["params"]["recurrent"]["cell"]["averages"]) > 0.1  # type: ignore
            evaluation = Evaluation(model, regression)
            means = [
                evaluate(evaluation, state.params, [first(batches)], mesh=MESH) for state in (one, shared)
            ]
            assert abs(means[0]["mean_square_error"] - means[1]["mean_square_error"]) < 1e-6


def check_resumed_bit_for_bit() -> None:
    """With the default mesh, which is all devices: the noise that each draws, and the carry of each, included."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        whole = train_toy(folder / "whole")
        stop = StopRequest()

        def hook(step: int, state: Any) -> dict[str, float]:
            stop.requested = step == 35
            return {}

        assert train_toy(folder / "run", on_log=hook, stop=stop).step == 35
        again = train_toy(folder / "run", resume=True)
        assert bits(again.state) == bits(whole.state)
        assert len(again.state.carry.sharding.device_set) == N
        assert not again.state.carry.sharding.is_fully_replicated
        one = train_toy(folder / "one", mesh=batch_mesh(1))
        assert bits(one.state) != bits(whole.state)  # one device draws other noise
        assert len(one.state.params["w"].sharding.device_set) == 1
        fewer = train_toy(folder / "run", replace(LOOP, steps=100), resume=True, mesh=batch_mesh(1))
        assert (fewer.step, len(fewer.state.carry.sharding.device_set)) == (100, 1)


class Sequences:
    """Endless ragged batches of one size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def take(self, count: int) -> Batch:
        return sequences(self.size, count)

    def get_state(self) -> bytes:
        return b""

    def set_state(self, state: bytes) -> None: ...


def check_fit_fills_up_and_says_so() -> None:
    """Once, and not where nothing is padded; the evaluation of an uneven batch is NumPy's."""
    model = SequenceClassifier(GRU(3), classes=1)
    config = LoopConfig(steps=30, chunk=10)
    for size, said in (
        (N + 1, f"batch of {N + 1} padded to {2 * N} to divide over {N} devices\n"),
        (N, ""),
    ):
        params = fresh(model, first(sequences(size)))
        state, stream = create_state(params, ADAM, jax.random.key(0)), io.StringIO()
        options: Any = {"optimizer": ADAM, "batches": Sequences(size), "config": config, "stream": stream}
        with tempfile.TemporaryDirectory() as folder:
            fit(state, loss_fn=Loss(model, regression), folder=folder, **options)
            assert len(read_metrics(folder)) == 2
        assert ("padded" in stream.getvalue()) == bool(said)
        assert said in stream.getvalue()
        assert stream.getvalue().count("padded") <= 1


def check_evaluation() -> None:
    """Batches that divide, that are padded, and that one device has to take."""

    def rows(params: Any, batch: Any) -> Any:
        return {"error": squared_error(params * batch[0], batch[1])}

    random = np.random.default_rng(0)
    batches = [tuple(random.normal(size=(2, n)).astype("float32")) for n in (4 * N, 1, 2 * N + 1)]
    expected = np.concatenate([(2 * a - b) ** 2 for a, b in batches]).mean()
    np.testing.assert_allclose(evaluate(rows, jnp.float32(2), batches)["error"], expected, rtol=1e-6)

    def steps(params: Any, batch: Batch) -> Any:
        return {"sum": masked_sum(params * jnp.asarray(batch.inputs)[..., 0], jnp.asarray(batch.mask))}

    batch = first(sequences(2 * N + 1))
    expected = 2 * batch.inputs[..., 0][batch.mask].mean()
    np.testing.assert_allclose(evaluate(steps, jnp.float32(2), [batch])["sum"], expected, rtol=1e-6)


def refused(call: Callable[[], Any]) -> str:
    """The one sentence of a refusal."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers look at the words)
        call()
    return str(caught.value)


def check_refusals() -> None:
    """A batch that neither divides nor can be padded, a carry with one, leaves without a batch axis."""
    size = N + 1
    batches = jax.tree.map(lambda leaf: np.stack([leaf[:1].repeat(size, axis=0)]), toy_batch(0))

    def chunk(state: Any, batches: Any) -> Any:
        return lambda: train_chunk(state, batches, 1, loss_fn=loss_fn, optimizer=ADAM, mesh=MESH)

    said = refused(chunk(replace(toy_state(), carry=()), batches))
    assert f"a batch of {size} doesn't divide over {N} devices" in said
    assert f"make the batch {2 * N}" in said
    carrying = replace(toy_state(), carry=jnp.zeros((size, 1)))
    assert "a carry can't be padded" in refused(chunk(carrying, sequences(size)))
    assert f"shape (8, 1) must begin with the batch axis, {size}" in refused(chunk(toy_state(), batches))
    assert "leaf itself of shape () has no axis 0" in refused(chunk(toy_state(), np.ones(3, np.float32)))
    assert "one batch size, but have: 2 in 0, 3 in 1" in refused(
        chunk(toy_state(), (np.ones((1, 2)), np.ones((1, 3))))
    )
    assert f"divides over {N} devices" in refused(lambda: on_devices(carrying, MESH))
    assert f"{N + 1} devices are requested, but JAX sees {N}" in refused(lambda: batch_mesh(N + 1))
    other = jax.make_mesh((N,), ("model",))
    assert "make it by batch_mesh()" in refused(
        lambda: train_chunk(toy_state(), batches, 1, loss_fn=loss_fn, optimizer=ADAM, mesh=other)
    )


def check_not_finite() -> None:
    """A NaN on one device stops all, before the step, and the parameters are named."""
    with tempfile.TemporaryDirectory() as folder, pytest.raises(NonFinite) as caught:
        train_toy(Path(folder), LOOP, batches=ToyBatches(broken=13))
    assert (caught.value.step, set(caught.value.parameters)) == (14, {"params/v", "params/w"})


def check_odd_share() -> None:
    """Checks that the state of all devices stays as it was where only one sees a NaN."""
    optimizer = OptimizerConfig("sgd", 0.1)
    x, y = jax.tree.map(lambda leaf: leaf[None], toy_batch(0))
    y[0, -1] = np.nan
    state = on_devices(toy_state(optimizer), MESH)
    before = bits(state)
    new, metrics = train_chunk(state, (x, y), 1, loss_fn=loss_fn, optimizer=optimizer, mesh=MESH)
    assert not metrics["finite"][0]
    assert bits(new) == before


def main() -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert N > 1
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            print(name, flush=True)


if __name__ == "__main__":
    main()
