"""A linear layer, a softmax over many classes and the cross entropy: where a language model spends its time."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from models.cell import Array, add_bias
from models.token_ids import beyond_if_outside, check_ids, is_known


@jax.custom_vjp
def summed_cross_entropy(
    hidden: Float[Array, "N H"],
    kernel: Float[Array, "H V"],
    bias: Float[Array, " V"],
    targets: Int[Array, " N"],
    weights: Float[Array, " N"],
) -> Float[Array, ""]:
    """The weighted sum of the cross entropies, in nats:

        L = Σ_n w_n (ln Σ_v exp z_nv − z_n,t_n)    with z = h W + b

    Its gradient, ∂L/∂z = w (softmax(z) − 1_t), is at hand as soon as L is. So it is taken to h, W and b at once,
    and what waits for the way back has their sizes; an array [N, V] lives only while it is being made. No gradient
    reaches the weights. Whatever the types given, z and all sums over it are in single precision at least.

    A row of weight zero counts nothing, whatever its target is. For any other target outside 0 … V−1 loss and
    gradient are NaN under `jit`. Raises ValueError where it is concrete.
    """
    targets = counted(targets, weights)
    check_ids(targets, kernel.shape[1], "targets")
    losses = cross_entropies(hidden, kernel, bias, targets)
    return jnp.sum(weights.astype(losses.dtype) * losses)


def counted(targets: Array, weights: Array) -> Array:
    """The targets, with 0 where the weight is zero."""
    return jnp.where(weights == 0, 0, targets)


def cross_entropies(
    hidden: Float[Array, "N H"],
    kernel: Float[Array, "H V"],
    bias: Float[Array, " V"],
    targets: Int[Array, " N"],
) -> Float[Array, " N"]:
    """−ln softmax(h W + b)[t], in nats, one by one, in single precision at least; NaN for a target outside 0 … V−1
    under `jit`. Raises ValueError where it is concrete."""
    check_ids(targets, kernel.shape[1], "targets")
    z = logits_of(hidden, kernel, bias)
    return jax.nn.logsumexp(z, axis=-1) - chosen(z, targets)


def logits_of(hidden: Array, kernel: Array, bias: Array) -> Array:
    """z = h W + b, in single precision at least."""
    dtype = jnp.promote_types(jnp.result_type(hidden, kernel, bias), jnp.float32)
    return add_bias(jnp.matmul(hidden, kernel, preferred_element_type=dtype), bias.astype(dtype))


def chosen(z: Float[Array, "N V"], targets: Int[Array, " N"]) -> Float[Array, " N"]:
    """z_n,t_n; NaN for a target that there isn't."""
    return jnp.take_along_axis(z, beyond_if_outside(targets, z.shape[-1])[:, None], axis=-1, mode="fill")[
        :, 0
    ]


Gradients = tuple[Array, Array, Array]


def _with_gradients(
    hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> tuple[Array, Gradients]:
    targets = counted(targets, weights)
    check_ids(targets, kernel.shape[1], "targets")
    z = logits_of(hidden, kernel, bias)
    weights = jnp.where(is_known(targets, kernel.shape[1]), weights, jnp.nan).astype(z.dtype)
    top = jnp.max(z, axis=-1, keepdims=True)
    # Without the barrier XLA takes the exponentials anew in each of the places that they go to.
    powers = jax.lax.optimization_barrier(jnp.exp(z - top))
    total = jnp.sum(powers, axis=-1)
    loss = jnp.sum(weights * (jnp.log(total) + top[:, 0] - chosen(z, targets)))
    # ∂L/∂z is `scale` times what stands here: scaled is what it is multiplied with, which is smaller.
    scale = (weights / total)[:, None]
    left = powers.at[jnp.arange(len(targets)), targets].add(-total)
    return loss, (
        (scale * (left @ kernel.T.astype(z.dtype))).astype(hidden.dtype),
        ((scale * hidden).T @ left).astype(kernel.dtype),
        (scale[:, 0] @ left).astype(bias.dtype),
    )


def _backward(gradients: Gradients, cotangent: Array) -> tuple[Array | None, ...]:
    return (*((cotangent * gradient).astype(gradient.dtype) for gradient in gradients), None, None)


summed_cross_entropy.defvjp(_with_gradients, _backward)
