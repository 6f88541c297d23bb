"""Batch normalisation inside the recurrence: what training normalises by, what evaluation does, and the averages
that lead from the one to the other; against loops in NumPy from the equations of Cooijmans et al."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.contract import checks as contract
from models import unroll
from models.cells.batch_norm import BatchNormLSTM, BatchNormState, observe_sequence, update_averages
from tests.contract import each_check
from tests.models import loops
from tests.models.cells.agreement import sigmoid

T, B, D, H = 4, 5, 2, 3
pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(3)
CELL = BatchNormLSTM(H, max_steps=3)
Statistics = dict[str, np.ndarray]  # mean and variance of input, recurrent and memory, each [N]


@each_check({"batch_norm_lstm": BatchNormLSTM(H, max_steps=3, gain=0.7)})
def test_contract(cell: Any, check: Callable[[Any], None]) -> None:
    """In evaluation, which is the default; in training its examples are coupled, as it says."""
    contract.run(check, cell)


def bn(z: np.ndarray, gain: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return gain * (z - mean) / np.sqrt(variance + 1e-5)


def loop(
    p: loops.Arrays, xs: np.ndarray, h: np.ndarray, c: np.ndarray, averages: list[Statistics] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Statistics]]:
    """Outputs, final h and c, and the statistics of every step; by `averages` if given, else by the batch's."""
    ys, seen = [], []
    for t, x in enumerate(xs):
        own: Statistics = {}

        def normed(name: str, z: np.ndarray, own: Statistics = own, t: int = t) -> np.ndarray:
            own[f"{name}_mean"], own[f"{name}_variance"] = z.mean(axis=0), z.var(axis=0)
            used = own if averages is None else averages[t]
            return bn(z, p[f"{name}_gain"], used[f"{name}_mean"], used[f"{name}_variance"])

        z = normed("input", x @ p["kernel"]) + normed("recurrent", h @ p["recurrent"]) + p["bias"]
        i, f, g, o = np.split(z, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(normed("memory", c) + p["memory_bias"])
        ys.append(h)
        seen.append(own)
    return np.array(ys), h, c, seen


def example(cell: BatchNormLSTM = CELL, batch: int = B, length: int = T) -> tuple[Any, np.ndarray, Any]:
    """Parameters that are all random but for the averages, inputs and a state."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(jnp.asarray, cell.init(KEY, D))
    for name, leaf in params.items():
        if name != "averages":
            params[name] = jnp.asarray(np.array(leaf) + 0.5 * rng.normal(size=leaf.shape))
    h, c = rng.normal(size=(2, batch, H))
    return params, rng.normal(size=(length, batch, D)), (h, c)


def begin(h: Any, c: Any) -> BatchNormState:
    return BatchNormState(jnp.asarray(h), jnp.asarray(c), jnp.zeros(len(h), jnp.int32))


def numpy(params: Any) -> loops.Arrays:
    return {name: np.array(leaf) for name, leaf in params.items() if name != "averages"}


def weigh(*leaves: Any, xp: Any = np) -> Any:
    return sum(xp.sum(leaf * np.cos(np.arange(leaf.size)).reshape(leaf.shape)) for leaf in leaves)


run = jax.jit(unroll, static_argnums=0, static_argnames="train")
observe = jax.jit(partial(observe_sequence, train=True), static_argnums=0)
update = jax.jit(update_averages, static_argnums=0)


@pytest.mark.usefixtures("x64")
def test_training_normalises_by_the_batch_at_each_step() -> None:
    """Outputs, final state and the gradient in everything, by central differences of the NumPy loop."""
    params, xs, (h, c) = example()

    def loss(params: Any, xs: Any, h: Any, c: Any) -> Any:
        final, ys = unroll(CELL, params, xs, begin(h, c), train=True)
        return weigh(ys, final.h, final.c, xp=jnp), (ys, final)

    given = jax.tree.map(jnp.asarray, (params, xs, h, c))
    gradients, (ys, final) = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(*given)
    p = numpy(params)
    for found, expected in zip((ys, final.h, final.c), loop(p, xs, h, c)[:3], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(final.steps, np.full(B, T))

    names = sorted(p)
    slopes = loops.central_differences(
        lambda: float(weigh(*loop(p, xs, h, c)[:3])), *(p[name] for name in names), xs, h, c
    )
    found = [*(gradients[0][name] for name in names), *gradients[1:]]
    for name, a, b in zip([*names, "xs", "h", "c"], found, slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7, err_msg=name)
        assert np.any(np.abs(b) > 1e-3), name
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients[0]["averages"]))


@pytest.mark.usefixtures("x64")
def test_averages_are_those_of_the_steps() -> None:
    """After one batch its statistics, after two the mixture; each step its own, those past the last none."""
    params, xs, (h, c) = example()
    p, state = numpy(params), begin(h, c)
    first = loop(p, xs, h, c)[3]
    once = update(CELL, params, observe(CELL, params, jnp.asarray(xs), state))
    second = loop(p, 2 * xs[:2], h, c)[3]
    twice = update(CELL, once, observe(CELL, once, jnp.asarray(2 * xs[:2]), state))
    contract.assert_close(numpy(twice), p, "a parameter is changed", tolerance=0.0)
    np.testing.assert_array_equal(twice["averages"].pop("seen"), np.ones(3))
    for name, leaf in twice["averages"].items():
        mixed = [0.9 * first[t][name] + 0.1 * second[t][name] for t in range(2)]
        np.testing.assert_allclose(leaf, [*mixed, first[2][name]], rtol=1e-11, atol=1e-12, err_msg=name)


@pytest.mark.usefixtures("x64")
def test_evaluation_normalises_by_the_averages() -> None:
    """Each step by its own, those past the last by the last that was seen; and no gradient reaches them."""
    params, xs, (h, c) = example(length=6)
    observed = observe(CELL, params, jnp.asarray(xs[:2]), begin(h, c))
    params = update(CELL, params, observed)  # of three steps two are seen
    seen = loop(numpy(params), xs[:2], h, c)[3]

    # The batch itself, over the steps averaged: what training gives. Another one, and longer: by the same averages.
    evaluated = run(CELL, params, jnp.asarray(xs[:2]), begin(h, c))
    contract.assert_close(
        evaluated, run(CELL, params, jnp.asarray(xs[:2]), begin(h, c), train=True), "not the same"
    )
    final, ys = run(CELL, params, jnp.asarray(3 * xs), begin(h, c))
    expected = loop(numpy(params), 3 * xs, h, c, [seen[min(t, 1)] for t in range(6)])
    for found, theirs in zip((ys, final.h, final.c), expected[:3], strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-11, atol=1e-12)

    gradient = jax.jit(jax.grad(lambda p: jnp.sum(unroll(CELL, p, jnp.asarray(xs))[1] ** 2)))(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient.pop("averages")))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.usefixtures("x64")
def test_a_long_sequence_stays_with_the_last_average() -> None:
    """`max_steps` bounds what is kept: from there on the last holds."""
    params, xs, (h, c) = example(length=6)
    params = update(CELL, params, observe(CELL, params, jnp.asarray(xs), begin(h, c)))
    seen = loop(numpy(params), xs, h, c)[3]
    _, ys = run(CELL, params, jnp.asarray(xs), begin(h, c))
    expected = loop(numpy(params), xs, h, c, [seen[min(t, 2)] for t in range(6)])[0]
    np.testing.assert_allclose(ys, expected, rtol=1e-11, atol=1e-12)


def test_the_optimizer_leaves_the_averages() -> None:
    params, xs, _ = example()
    params = update(CELL, params, observe(CELL, params, jnp.asarray(xs, jnp.float32)))
    optimizer, xs = optax.adam(0.1), jnp.asarray(xs, jnp.float32)

    @jax.jit
    def step(params: Any) -> Any:
        gradient = jax.grad(lambda p: jnp.sum(unroll(CELL, p, xs, train=True)[1]))(params)
        return optax.apply_updates(params, optimizer.update(gradient, optimizer.init(params), params)[0])

    stepped = step(params)
    contract.assert_close(
        stepped["averages"], params["averages"], "the optimizer moves averages", tolerance=0.0
    )
    assert np.all(np.abs(stepped["bias"] - params["bias"]) > 0.01)


@pytest.mark.usefixtures("x64")
def test_training_couples_the_batch_and_evaluation_does_not() -> None:
    params, xs, _ = example()
    assert CELL.couples_batch
    other = jnp.asarray(xs).at[:, 1:].multiply(2)
    for train in (True, False):
        change = run(CELL, params, other, train=train)[1] - run(CELL, params, jnp.asarray(xs), train=train)[1]
        assert (np.max(np.abs(change[:, 0])) > 1e-3) == train
        assert np.max(np.abs(change[:, 1:])) > 1e-3


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.usefixtures("x64")
def test_the_count_is_carried_over(train: bool) -> None:
    """Two halves, the state carried, are the whole: outputs, and the averages drawn of them."""
    params, xs, (h, c) = example()
    params = update(CELL, params, observe(CELL, params, jnp.asarray(2 * xs), begin(h, c)))
    halves, state, ys, seen = jnp.split(jnp.asarray(xs), 2), begin(h, c), [], []
    for half in halves:
        seen.append(observe(CELL, params, half, state))
        state, y = run(CELL, params, half, state, train=train)
        ys.append(y)
    whole = run(CELL, params, jnp.asarray(xs), begin(h, c), train=train)
    contract.assert_close((state, jnp.concatenate(ys)), whole, "two halves are not the whole")
    if train:
        by_halves = update(CELL, update(CELL, params, seen[0]), seen[1])
        at_once = update(CELL, params, observe(CELL, params, jnp.asarray(xs), begin(h, c)))
        contract.assert_close(by_halves, at_once, "averages of two halves are not those of the whole")


@pytest.mark.usefixtures("x64")
def test_padding_counts_in_no_average() -> None:
    """Of ragged sequences, padded with NaN at either end, every example's own k-th step counts as its k-th."""
    params, xs, _ = example()
    mask = np.ones((T, B), bool)
    mask[2:, 0] = mask[:2, 1] = mask[3, 2] = False
    padded = jnp.asarray(np.where(mask[..., None], xs, np.nan))
    observed = observe(CELL, params, padded, mask=jnp.asarray(mask))
    averages = update(CELL, params, observed, mask=jnp.asarray(mask))["averages"]
    rows = [
        [xs[np.flatnonzero(mask[:, b])[k], b] for b in range(B) if mask[:, b].sum() > k] for k in range(3)
    ]
    assert [len(own) for own in rows] == [5, 5, 3]
    for k, own in enumerate(rows):
        products = np.array(own) @ np.array(params["kernel"])
        np.testing.assert_allclose(averages["input_mean"][k], products.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(averages["input_variance"][k], products.var(axis=0), rtol=1e-12)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(averages))


@pytest.mark.usefixtures("x64")
def test_padding_counts_in_no_statistic_of_training() -> None:
    """Of ragged sequences each step is normalised by those that are valid there, as a NumPy loop over these alone;
    examples of padding only, and NaN in it, change no output and no gradient."""
    params, xs, (h, c) = example()
    first = h.copy(), c.copy()
    lengths = np.array([4, 2, 4, 3, 2])
    mask = np.arange(T)[:, None] < lengths
    p, ys = numpy(params), np.zeros((T, B, H))
    for t in range(T):
        on = np.flatnonzero(mask[t])
        ys[t, on], h[on], c[on], _ = loop(p, xs[t : t + 1, on], h[on], c[on])

    def loss(params: Any, xs: Any, mask: Any) -> Any:
        start = begin(*(np.pad(leaf, ((0, xs.shape[1] - B), (0, 0))) for leaf in first))
        final, ys = unroll(CELL, params, xs, start, mask=mask, train=True)
        return weigh(ys[:, :B], final.h[:B], xp=jnp), (ys, final)

    learn = jax.jit(jax.grad(loss, has_aux=True))
    gradient, (found, final) = learn(params, jnp.asarray(xs), jnp.asarray(mask))
    np.testing.assert_allclose(found, ys, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(final.h, h, rtol=1e-11, atol=1e-12)

    filled = np.pad(np.where(mask[..., None], xs, np.nan), ((0, 0), (0, 3), (0, 0)), constant_values=np.nan)
    again, (more, _) = learn(params, jnp.asarray(filled), jnp.asarray(np.pad(mask, ((0, 0), (0, 3)))))
    contract.assert_close(more[:, :B], found, "padding shifts a statistic", tolerance=1e-13)
    contract.assert_close(again, gradient, "padding reaches a gradient", tolerance=1e-12)


@pytest.mark.usefixtures("x64")
def test_devices_share_their_statistics() -> None:
    """Two shares of a batch under a named axis are the batch: outputs, gradients and averages."""
    shared = BatchNormLSTM(H, max_steps=3, axis_name="shares")
    params, xs, _ = example(batch=6)

    def loss(cell: BatchNormLSTM, params: Any, xs: Any) -> Any:
        ys = unroll(cell, params, xs, train=True)[1]
        return jnp.sum(ys**2) + jnp.sum(ys[0]), ys

    def learn(cell: BatchNormLSTM, params: Any, xs: Any) -> Any:
        (_, ys), gradient = jax.value_and_grad(partial(loss, cell), has_aux=True)(params, xs)
        return ys, gradient, update_averages(cell, params, observe_sequence(cell, params, xs, train=True))

    whole = jax.jit(partial(learn, CELL))(params, jnp.asarray(xs))
    shares = jnp.stack(jnp.split(jnp.asarray(xs), 2, axis=1))
    ys, gradient, moved = jax.jit(jax.vmap(partial(learn, shared), in_axes=(None, 0), axis_name="shares"))(
        params, shares
    )
    gradient = jax.tree.map(lambda leaf: leaf.sum(axis=0), gradient)
    found = jnp.concatenate(list(ys), axis=1), gradient, jax.tree.map(lambda leaf: leaf[0], moved)
    contract.assert_close(found, whole, "two shares are not the whole batch")


def test_one_example_has_no_variance() -> None:
    params, xs, _ = example()
    for shape in ((T, D), (T, 1, D)):
        with pytest.raises(ValueError, match=r"batch of shape .*: give two examples or more"):
            unroll(CELL, params, jnp.asarray(xs, jnp.float32)[:, 0].reshape(shape), train=True)


def test_begins_with_small_gains() -> None:
    """γ = 0.1, from which the paper has its gradients; without averages, evaluation does not normalise."""
    params = BatchNormLSTM(2).init(KEY, 1)
    for name in ("input_gain", "recurrent_gain", "memory_gain"):
        np.testing.assert_array_equal(params[name], np.full_like(params[name], 0.1))
    assert params["averages"]["input_mean"].shape == (100, 8)
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\), but is 1\.0"):
        BatchNormLSTM(2, momentum=1.0)
    with pytest.raises(ValueError, match="max_steps must be a whole number of at least 1, but is 0"):
        BatchNormLSTM(2, max_steps=0)
