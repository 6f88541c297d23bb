"""Pooling and whole models against NumPy, one sequence at a time; padding changes nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import GRU, LSTM, Bidirectional, Elman, Recurrent, SequenceClassifier, SequenceTagger, Stacked
from models.cell import Array
from models.layers.pooling import last_valid, mean_valid
from tests.models import loops

T, B, D, H, C = 6, 4, 3, 5, 2
# Ragged, with holes, empty, and full.
MASK = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1]], bool)


def pool(kind: str, ys: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """By the definition, for one batch axis."""
    pooled = np.zeros(ys.shape[1:])
    for b in range(ys.shape[1]):
        valid = ys[mask[:, b], b]
        if len(valid):
            pooled[b] = {"last": valid[-1], "first": valid[0], "mean": valid.mean(axis=0)}[kind]
    return pooled


def randomized(model: Any, inputs: np.ndarray) -> Any:
    """Variables of a model for these inputs, every parameter random, biases too."""
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(inputs))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes)


def double(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def zeros(count: int) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros((B, H)) for _ in range(count))


@given(seed=st.integers(0, 2**16))
def test_pooling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ys = rng.normal(size=(T, B, H)).astype(np.float32)
    mask = rng.random((T, B)) < rng.random()
    found = pooled(jnp.asarray(ys), jnp.asarray(mask))
    for kind, array in zip(("last", "first", "mean"), found[:3], strict=True):
        np.testing.assert_allclose(array, pool(kind, ys, mask), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[3], np.concatenate([found[0], found[1]], axis=-1))


@jax.jit
def pooled(ys: Array, mask: Array) -> tuple[Array, ...]:
    ends = Bidirectional(Elman(H)).ends(jnp.concatenate([ys, ys], axis=-1), mask)
    return last_valid(ys, mask), last_valid(ys, mask, reverse=True), mean_valid(ys, mask), ends


def test_pooling_without_a_mask_or_a_batch() -> None:
    ys = np.random.default_rng(0).normal(size=(T, H)).astype(np.float32)
    np.testing.assert_array_equal(last_valid(jnp.asarray(ys)), ys[-1])
    np.testing.assert_array_equal(last_valid(jnp.asarray(ys), reverse=True), ys[0])
    np.testing.assert_allclose(mean_valid(jnp.asarray(ys)), ys.mean(axis=0), rtol=1e-5)
    mask = np.array([0, 1, 1, 0, 1, 0], bool)
    np.testing.assert_array_equal(last_valid(jnp.asarray(ys), jnp.asarray(mask)), ys[4])
    expected = ys[mask].mean(axis=0)
    np.testing.assert_allclose(mean_valid(jnp.asarray(ys), jnp.asarray(mask)), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["last", "mean"])
def test_classifier(kind: Any) -> None:
    """The whole model in NumPy: cell, pooling, readout; sequences without a valid step give the bias."""
    model = SequenceClassifier(LSTM(H), classes=C, pool=kind)
    xs = np.random.default_rng(1).normal(size=(T, B, D))
    variables = randomized(model, xs)
    params = double(variables["params"])
    logits = jax.jit(model.apply)(variables, jnp.asarray(xs, jnp.float32), mask=jnp.asarray(MASK))
    _, ys = loops.run(loops.lstm, params["recurrent"]["cell"], xs, zeros(2), MASK)
    kernel, bias = params["readout"]["kernel"], params["readout"]["bias"]
    np.testing.assert_allclose(logits, pool(kind, ys, MASK) @ kernel + bias, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.asarray(logits)[2], bias, rtol=1e-6)


@pytest.mark.parametrize("merge", ["concatenate", "sum"])
@pytest.mark.parametrize("stacked", [pytest.param(False, marks=pytest.mark.full), True])
def test_both_directions_pool_each_at_its_own_end(merge: Any, stacked: bool) -> None:
    """The forward cell after the last valid step, the backward cell after the first: two NumPy loops."""
    both = Bidirectional(Elman(H), Elman(H), merge)
    model = SequenceClassifier(Stacked((Elman(H), both)) if stacked else both, classes=C)
    xs = np.random.default_rng(1).normal(size=(T, B, D))
    variables = randomized(model, xs)
    params = double(variables["params"])
    own, below = params["recurrent"]["cell"], xs
    if stacked:
        _, below = loops.run(loops.elman(), own["layers"][0], xs, zeros(1), MASK)
        own = own["layers"][1]
    (f,), _ = loops.run(loops.elman(), own["forward"], below, zeros(1), MASK)
    (b,), _ = loops.run(loops.elman(), own["backward"], below, zeros(1), MASK, reverse=True)
    pooled = np.concatenate([f, b], axis=-1) if merge == "concatenate" else f + b
    expected = pooled @ params["readout"]["kernel"] + params["readout"]["bias"]
    logits = jax.jit(model.apply)(variables, jnp.asarray(xs, jnp.float32), mask=jnp.asarray(MASK))
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    whole: Any = jax.jit(model.apply)(variables, jnp.asarray(xs, jnp.float32))
    full: Any = jax.jit(model.apply)(variables, jnp.asarray(xs, jnp.float32), mask=jnp.ones((T, B), bool))
    np.testing.assert_allclose(whole, full, rtol=1e-6)


def test_a_residual_stack_of_two_directions_has_no_last_output() -> None:
    stack = Stacked((Bidirectional(Elman(1), merge="sum"),) * 2, "residual")
    with pytest.raises(ValueError, match="only if both use the same cell"):
        SequenceClassifier(stack, classes=C).init(jax.random.key(0), jnp.zeros((3, 2, 1)))


def test_classifier_of_tokens() -> None:
    """Ids are rows of the embedding; ids in the padding, whatever they are, don't count."""
    model = SequenceClassifier(GRU(H), classes=C, vocabulary_size=7, embedding_size=D, pool="last")
    ids = np.random.default_rng(1).integers(0, 7, size=(T, B))
    variables = randomized(model, ids)
    params = double(variables["params"])
    table = params["embedding"]["embedding"]
    assert table.shape == (7, D)
    run = jax.jit(model.apply)
    logits = run(variables, jnp.asarray(ids), mask=jnp.asarray(MASK))
    _, ys = loops.run(loops.gru_after, params["recurrent"]["cell"], table[ids], zeros(1), MASK)
    expected = pool("last", ys, MASK) @ params["readout"]["kernel"] + params["readout"]["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    other = np.where(MASK, ids, 6 - ids)
    np.testing.assert_array_equal(run(variables, jnp.asarray(other), mask=jnp.asarray(MASK)), logits)


def test_tagger() -> None:
    """A readout of every step; at masked steps its bias alone."""
    model = SequenceTagger(Elman(H), classes=C)
    xs = np.random.default_rng(1).normal(size=(T, B, D))
    variables = randomized(model, xs)
    params = double(variables["params"])
    logits = jax.jit(model.apply)(variables, jnp.asarray(xs, jnp.float32), mask=jnp.asarray(MASK))
    _, ys = loops.run(loops.elman(), params["recurrent"]["cell"], xs, zeros(1), MASK)
    kernel, bias = params["readout"]["kernel"], params["readout"]["bias"]
    np.testing.assert_allclose(logits, ys @ kernel + bias, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        np.asarray(logits)[~MASK], np.broadcast_to(bias, ((~MASK).sum(), C)), rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["last", "mean"])
def test_nothing_of_the_padding_counts(kind: Any) -> None:
    """NaN, infinity or noise in the padding: the same logits and the same gradients, bit for bit and finite."""
    model = SequenceClassifier(GRU(H, reset="before"), classes=C, pool=kind)
    rng = np.random.default_rng(3)
    xs = rng.normal(size=(T, B, D)).astype(np.float32)
    variables = randomized(model, xs)

    @jax.jit
    def run(variables: Any, xs: Array) -> tuple[Any, Array]:
        def loss(variables: Any, xs: Array) -> tuple[Array, Array]:
            logits: Any = model.apply(variables, xs, mask=jnp.asarray(MASK))
            return jnp.sum(logits**2), logits

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(variables, xs)

    gradients, logits = run(variables, jnp.asarray(xs))
    assert np.all(gradients[1][MASK] != 0)
    for padding in (np.nan, np.inf, rng.normal(size=xs.shape).astype(np.float32)):
        padded = np.where(MASK[..., None], xs, padding).astype(np.float32)
        again, found = run(variables, jnp.asarray(padded))
        np.testing.assert_array_equal(found, logits)
        for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(gradients), strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)


def test_recurrent_holds_the_parameters_of_its_cell() -> None:
    """Under the name "cell", in the cell's own form, drawn by the cell's own `init`."""
    cell = LSTM(H, forget_bias=2.5)
    xs = jnp.asarray(np.random.default_rng(4).normal(size=(T, B, D)), jnp.float32)
    params = Recurrent(cell).init(jax.random.key(0), xs)["params"]
    assert set(params) == {"cell"}
    own: Any = params["cell"]
    assert {name: leaf.shape for name, leaf in own.items()} == {
        "kernel": (D, 4 * H),
        "recurrent": (H, 4 * H),
        "bias": (4 * H,),
    }
    np.testing.assert_array_equal(own["bias"][H : 2 * H], np.full(H, 2.5, np.float32))
    returned: Any = Recurrent(cell).apply({"params": params}, xs, reverse=True)
    final, ys = returned
    (h, c), expected = loops.run(loops.lstm, double(own), np.asarray(xs, np.float64), zeros(2), reverse=True)
    for found, wanted in ((ys, expected), (final.h, h), (final.c, c)):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "^classes must be a whole number of at least 1, but is 0"),
        ({"classes": 2.5}, "^classes must be a whole number of at least 1, but is 2.5"),
        ({"classes": 2, "pool": "max"}, "^unknown pool 'max': there are last, mean"),
        ({"classes": 2, "vocabulary_size": 0}, "^vocabulary_size must be a whole number of at least 1"),
        ({"classes": 2, "embedding_size": -1}, "^embedding_size must be a whole number of at least 1"),
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    # As a user has it: without the suite's own check of annotations, which would speak first.
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message):
            SequenceClassifier(Elman(2), **options).init(jax.random.key(0), jnp.zeros((3, 2, 1)))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_a_sequence_of_no_steps_pools_to_zero() -> None:
    ys, mask = jnp.zeros((0, 2, 3)), jnp.zeros((0, 2), bool)
    for pooled in (last_valid(ys), last_valid(ys, mask), mean_valid(ys), mean_valid(ys, mask)):
        np.testing.assert_array_equal(pooled, np.zeros((2, 3)))


@pytest.mark.parametrize("outside", [-1, 5])
def test_ids_outside(outside: int) -> None:
    """NaN under `jit`, refused where they are concrete, and nothing where they are masked."""
    model = SequenceClassifier(Elman(3), 2, vocabulary_size=5)
    ids = jnp.zeros((4, 2), jnp.int32)
    params = jax.jit(model.init)(jax.random.key(0), ids)
    strange, mask = ids.at[3, 1].set(outside), jnp.ones((4, 2), bool).at[3, 1].set(False)
    run = jax.jit(lambda ids, mask: model.apply(params, ids, mask=mask))
    assert np.isnan(run(strange, None)).any(axis=1).tolist() == [False, True]
    np.testing.assert_array_equal(run(strange, mask), run(ids, mask))
    with pytest.raises(ValueError, match=f"inputs are ids of 0 … 4, but {outside} is among them"):
        model.apply(params, strange)
