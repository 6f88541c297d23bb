"""A linear layer, a softmax over many classes and the cross entropy, in which language models spend their time."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from models.cell import Array, add_bias
from models.token_ids import check_ids, is_in_vocabulary, mark_negative


def summed_cross_entropy(
    hidden: Float[Array, "N H"],
    kernel: Float[Array, "H V"],
    bias: Float[Array, " V"],
    targets: Int[Array, " N"],
    weights: Float[Array, " N"],
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Computes the weighted sum of the cross entropies, in nats:

        L = Σ_n w_n (ln Σ_v exp z_nv − Σ_v q_nv z_nv)    with z = h W + b,  q_n = (1 − ε) 1_{t_n} + ε / V

    and ε = `smoothing`, by default 0; label smoothing: Szegedy et al. 2016.

    The forward pass computes the gradients in h, W and b as well, from ∂L/∂z = w (softmax(z) − q), so that the
    residuals have the sizes of h, W and b, and no array [N, V] is kept. The weights have no gradient. z and all
    sums over it are in single precision at least.

    A row of weight zero is ignored, whatever its target. Any other target outside 0 … V−1 raises ValueError if it
    is concrete; under `jit` loss and gradient are NaN. Raises ValueError for a smoothing outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is in [0, 1), but is {smoothing!r}")
    total: Any = _summed(smoothing, hidden, kernel, bias, targets, weights)
    return total


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _summed(
    smoothing: float, hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> Array:
    targets = zero_unweighted(targets, weights)
    check_ids(targets, kernel.shape[1], "targets")
    z = compute_logits(hidden, kernel, bias)
    losses = jax.nn.logsumexp(z, axis=-1) - expected_logits(z, targets, smoothing)
    return jnp.sum(weights.astype(losses.dtype) * losses)


def expected_logits(
    z: Float[Array, "N V"], targets: Int[Array, " N"], smoothing: float
) -> Float[Array, " N"]:
    """Returns Σ_v q_nv z_nv, with q as in `summed_cross_entropy`."""
    own = target_logits(z, targets)
    return (1 - smoothing) * own + smoothing * jnp.mean(z, axis=-1) if smoothing else own


def zero_unweighted(targets: Array, weights: Array) -> Array:
    """Replaces targets of weight zero by 0."""
    return jnp.where(weights == 0, 0, targets)


def cross_entropies(
    hidden: Float[Array, "N H"],
    kernel: Float[Array, "H V"],
    bias: Float[Array, " V"],
    targets: Int[Array, " N"],
) -> Float[Array, " N"]:
    """Computes −ln softmax(h W + b)[t] for each row, in nats, in single precision at least.

    A target outside 0 … V−1 raises ValueError if it is concrete, and gives NaN under `jit`.
    """
    check_ids(targets, kernel.shape[1], "targets")
    z = compute_logits(hidden, kernel, bias)
    return jax.nn.logsumexp(z, axis=-1) - target_logits(z, targets)


def compute_logits(hidden: Array, kernel: Array, bias: Array) -> Array:
    """Computes z = h W + b, in single precision at least."""
    dtype = jnp.promote_types(jnp.result_type(hidden, kernel, bias), jnp.float32)
    return add_bias(jnp.matmul(hidden, kernel, preferred_element_type=dtype), bias.astype(dtype))


def target_logits(z: Float[Array, "N V"], targets: Int[Array, " N"]) -> Float[Array, " N"]:
    """Returns z_n,t_n; NaN for a target outside 0 … V−1."""
    return jnp.take_along_axis(z, mark_negative(targets, z.shape[-1])[:, None], axis=-1, mode="fill")[:, 0]


Gradients = tuple[Array, Array, Array]


def _with_gradients(
    smoothing: float, hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> tuple[Array, Gradients]:
    targets = zero_unweighted(targets, weights)
    check_ids(targets, kernel.shape[1], "targets")
    z = compute_logits(hidden, kernel, bias)
    weights = jnp.where(is_in_vocabulary(targets, kernel.shape[1]), weights, jnp.nan).astype(z.dtype)
    top = jnp.max(z, axis=-1, keepdims=True)
    # Without the barrier XLA recomputes the exponentials in each of their consumers.
    powers = jax.lax.optimization_barrier(jnp.exp(z - top))
    total = jnp.sum(powers, axis=-1)
    loss = jnp.sum(weights * (jnp.log(total) + top[:, 0] - expected_logits(z, targets, smoothing)))
    # ∂L/∂z is scale · residual; the scale is applied to the smaller factor of each product.
    scale = (weights / total)[:, None]
    residual = powers.at[jnp.arange(len(targets)), targets].add(-(1 - smoothing) * total)
    if smoothing:
        residual -= smoothing / z.shape[-1] * total[:, None]
    return loss, (
        (scale * (residual @ kernel.T.astype(z.dtype))).astype(hidden.dtype),
        ((scale * hidden).T @ residual).astype(kernel.dtype),
        (scale[:, 0] @ residual).astype(bias.dtype),
    )


def _backward(smoothing: float, gradients: Gradients, cotangent: Array) -> tuple[Array | None, ...]:
    return (*((cotangent * gradient).astype(gradient.dtype) for gradient in gradients), None, None)


_summed.defvjp(_with_gradients, _backward)
