"""The softmax's cross entropy and its gradient against float64 loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.softmax import cross_entropies, summed_cross_entropy

N, H, V = 5, 3, 4


def given(seed: int = 0, scale: float = 1.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return (
        scale * rng.normal(size=(N, H)),
        rng.normal(size=(H, V)),
        rng.normal(size=V),
        rng.integers(0, V, N).astype(np.int32),
        rng.uniform(size=N),
    )


def by_hand(
    h: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    smoothing: float = 0.0,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The losses and the gradients of their weighted sum, row by row."""
    losses, gradients = np.zeros(N), [np.zeros_like(x) for x in (h, kernel, bias)]
    for n in range(N):
        z = h[n] @ kernel + bias
        p = np.exp(z - z.max()) / np.sum(np.exp(z - z.max()))
        q = (1 - smoothing) * np.eye(V)[targets[n]] + smoothing / V
        losses[n] = -np.sum(q * np.log(p))
        dz = weights[n] * (p - q)
        gradients[0][n] = kernel @ dz
        gradients[1] += np.outer(h[n], dz)
        gradients[2] += dz
    return losses, gradients


def test_loss_and_gradient(x64: None) -> None:
    h, kernel, bias, targets, weights = given()
    losses, gradients = by_hand(h, kernel, bias, targets, weights)
    arrays = [jnp.asarray(x) for x in (h, kernel, bias, targets)]
    np.testing.assert_allclose(cross_entropies(*arrays), losses, rtol=1e-12)
    total, found = jax.value_and_grad(
        lambda *own: 3 * summed_cross_entropy(*own, *map(jnp.asarray, (targets, weights))), argnums=(0, 1, 2)
    )(*arrays[:3])
    np.testing.assert_allclose(total, 3 * np.sum(weights * losses), rtol=1e-12)
    for mine, theirs in zip(found, gradients, strict=True):
        np.testing.assert_allclose(mine, 3 * theirs, rtol=1e-10, atol=1e-13)


def test_label_smoothing(x64: None) -> None:
    """The cross entropy to a mixture of the target and the uniform distribution, and its gradient."""
    *arrays, targets, weights = given()
    losses, gradients = by_hand(*arrays, targets, weights, 0.1)  # type: ignore
    own = [jnp.asarray(x) for x in arrays]
    rest = jnp.asarray(targets), jnp.asarray(weights), 0.1
    total, found = jax.value_and_grad(summed_cross_entropy, argnums=(0, 1, 2))(*own, *rest)
    np.testing.assert_allclose(total, np.sum(weights * losses), rtol=1e-12)
    np.testing.assert_allclose(summed_cross_entropy(*own, *rest), total, rtol=1e-12)  # type: ignore
    for mine, theirs in zip(found, gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-13)
    with pytest.raises(ValueError, match=r"smoothing is in \[0, 1\), but is 1.0"):
        summed_cross_entropy(*own, *rest[:2], 1.0)  # type: ignore


def test_without_a_gradient_it_is_the_same_sum() -> None:
    arrays = [jnp.asarray(x) for x in given()]
    plain = summed_cross_entropy(*arrays)  # type: ignore
    differentiated, _ = jax.value_and_grad(summed_cross_entropy)(*arrays)
    np.testing.assert_allclose(plain, differentiated, rtol=1e-6)


def test_large_logits_and_weights_of_zero() -> None:
    """Logits of thousands overflow no exponential; a weight of zero leaves a row out of loss and gradient."""
    h, kernel, bias, targets, _ = (jnp.asarray(x) for x in given(scale=3000.0))
    weights = jnp.array([1.0, 0, 1, 0, 1])
    total, gradient = jax.value_and_grad(summed_cross_entropy)(h, kernel, bias, targets, weights)
    assert jnp.isfinite(total)
    assert jnp.all(jnp.isfinite(gradient))
    assert not jnp.any(gradient[1::2])
    rows = jnp.array([0, 2, 4])
    np.testing.assert_allclose(
        total, jnp.sum(cross_entropies(h[rows], kernel, bias, targets[rows])), rtol=1e-6
    )


@pytest.mark.parametrize("outside", [-1, -100, V])
def test_target_outside(outside: int) -> None:
    """NaN where it can't be seen, refused where it can; with a weight of zero it counts nothing."""
    h, kernel, bias, targets, weights = (jnp.asarray(x) for x in given())
    strange = targets.at[1].set(outside)
    losses = jax.jit(cross_entropies)(h, kernel, bias, strange)
    assert np.flatnonzero(np.isnan(losses)).tolist() == [1]
    run = jax.jit(jax.value_and_grad(summed_cross_entropy, argnums=(0, 1)))
    value, (of_h, of_kernel) = run(h, kernel, bias, strange, weights)
    assert np.isnan(value)
    assert np.flatnonzero(np.isnan(of_h).any(axis=1)).tolist() == [1]
    assert np.isnan(of_kernel).all()
    without = weights.at[1].set(0)
    jax.tree.map(
        np.testing.assert_array_equal,
        run(h, kernel, bias, strange, without),
        run(h, kernel, bias, targets, without),
    )
    message = rf"targets are ids of 0 … 3, but {outside} is among them"
    with pytest.raises(ValueError, match=message):
        cross_entropies(h, kernel, bias, strange)
    with pytest.raises(ValueError, match=message):
        summed_cross_entropy(h, kernel, bias, strange, weights)
