"""Masked losses against NumPy, with NaN and nonsense at the masked places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train import accuracy, cross_entropy, mean, squared_error


def case(shape):
    random = np.random.default_rng(4)
    mask = random.random(shape) < 0.6
    return random, mask


shapes = pytest.mark.parametrize(
    "shape", [(4, 3), *(pytest.param(shape, marks=pytest.mark.full) for shape in ((1,), (6,), (2, 1)))]
)


@shapes
def test_squared_error(shape):
    random, mask = case(shape)
    y, t = random.normal(size=(2, *shape, 3)).astype("float32")
    expected = sum(((y[i] - t[i]) ** 2).sum() for i in np.ndindex(*shape) if mask[i])
    y[~mask], t[~mask] = np.nan, np.inf
    total, count = squared_error(y, t, mask)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert count == 3 * mask.sum()

    gradient = jax.grad(lambda y: mean(squared_error(y, t, mask)))(jnp.asarray(y))
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[~mask].any()


@shapes
def test_cross_entropy_and_accuracy(shape):
    random, mask = case(shape)
    logits = random.normal(size=(*shape, 5)).astype("float32")
    targets = random.integers(0, 5, shape)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    places = [i for i in np.ndindex(*shape) if mask[i]]
    expected = -sum(np.log(probabilities[i][targets[i]]) for i in places)
    right = sum(logits[i].argmax() == targets[i] for i in places)
    logits[~mask], targets[~mask] = np.nan, -7

    total, count = cross_entropy(logits, targets, mask)
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-6)
    assert count == mask.sum()
    assert tuple(map(float, accuracy(logits, targets, mask))) == (right, mask.sum())

    gradient = np.asarray(jax.grad(lambda x: mean(cross_entropy(x, targets, mask)))(jnp.asarray(logits)))
    assert np.isfinite(gradient).all()
    assert not gradient[~mask].any()
    for i in places:
        one_hot = np.eye(5)[targets[i]]
        np.testing.assert_allclose(gradient[i], (probabilities[i] - one_hot) / len(places), atol=1e-6)


def test_no_mask_is_all_true():
    y, t = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    np.testing.assert_allclose(mean(squared_error(y, t)), ((y - t) ** 2).mean(), rtol=1e-6)


def test_half_precision_is_summed_in_float32():
    ones = jnp.ones((5000,), jnp.bfloat16)
    assert squared_error(ones, 0 * ones)[0] == 5000


def test_float16_does_not_overflow_in_a_square():
    far = jnp.full((3,), 1000.0, jnp.float16)
    assert squared_error(far, 0 * far)[0] == 3e6


@pytest.mark.parametrize("outside", [-1, 5])
@pytest.mark.parametrize("figure", [cross_entropy, accuracy])
def test_targets_outside(figure, outside):
    """NaN where they can't be seen, refused where they can."""
    logits, targets = jnp.zeros((3, 5)), jnp.array([0, outside, 4])
    assert np.isnan(jax.jit(figure)(logits, targets)[0])
    with pytest.raises(ValueError, match=f"targets are ids of 0 … 4, but {outside} is among them"):
        figure(logits, targets)


def test_nothing_valid():
    pair = squared_error(jnp.full((2, 3), jnp.nan), jnp.zeros((2, 3)), jnp.zeros(2, bool))
    assert mean(pair) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: squared_error(jnp.zeros((2, 3)), jnp.zeros((2, 4))), r"\(2, 3\) and targets \(2, 4\)"),
        (lambda: squared_error(jnp.zeros((2, 3)), jnp.zeros((2, 3)), jnp.ones(3, bool)), "mask has shape"),
        (lambda: squared_error(jnp.zeros(2), jnp.zeros(2), jnp.ones((2, 3), bool)), "mask has shape"),
        (lambda: cross_entropy(jnp.zeros((2, 5)), jnp.zeros((3,), int)), r"need targets of shape \(2,\)"),
        (lambda: cross_entropy(jnp.zeros((2, 5)), jnp.zeros((2,))), "must be integers"),
        (lambda: accuracy(jnp.zeros((2, 5)), jnp.zeros(2, int), jnp.ones(2)), "must be boolean"),
    ],
)
def test_misfits(call, message):
    with pytest.raises(ValueError, match=message):
        call()
