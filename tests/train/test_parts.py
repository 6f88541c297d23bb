"""A batch in parts against the batch as a whole, where parts differ in how much they count."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train import OptimizerConfig, batch_mesh, create_state, train_chunk
from train.metrics import masked_sum

ADAM = OptimizerConfig(learning_rate=1e-2)


class Rows(NamedTuple):
    """Time-major inputs, targets by example, and the steps that count."""

    inputs: Any  # [T, B]
    targets: Any  # [B]
    mask: Any  # [T, B]

    def batch_axes(self) -> Any:
        return Rows(1, 0, 1)

    def pad_to(self, size: int) -> "Rows":
        more = size - self.mask.shape[1]
        pads = [(0, 0), (0, more)]
        return Rows(jnp.pad(self.inputs, pads), jnp.pad(self.targets, (0, more)), jnp.pad(self.mask, pads))


def loss(params: Any, carry: Any, batch: Rows, key: Any) -> Any:
    """Squares over valid steps; the carry of an example is the sum of its inputs so far."""
    error = jnp.tanh(batch.inputs * params["w"] + params["b"]) - batch.targets[None]
    after = () if isinstance(carry, tuple) else carry + batch.inputs.sum(0)
    return masked_sum(error**2, batch.mask), (after, {"size": masked_sum(jnp.abs(error), batch.mask)})


def trained(size: int, parts: int, carried: bool) -> Any:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(3, 5, size)).astype("float32")
    batches = Rows(inputs, inputs[:, 0], random.random((3, 5, size)) < np.linspace(0.1, 1, size))
    params = {"w": jnp.full((), 0.3), "b": jnp.zeros(())}
    state = create_state(params, ADAM, jax.random.key(0), jnp.zeros(size) if carried else ())
    return train_chunk(state, batches, 3, loss_fn=loss, optimizer=ADAM, accumulate=parts)


@pytest.mark.parametrize(("size", "parts", "carried"), [(12, 4, True), (10, 4, False)])
def test_parts_add_up_to_the_batch(size: int, parts: int, carried: bool) -> None:
    """Parameters, carry and metrics of three steps; ten examples are padded to twelve."""
    whole, cut = trained(size, 1, carried), trained(size, parts, carried)
    for one, other in zip(jax.tree.leaves(whole[0].params), jax.tree.leaves(cut[0].params), strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-6)
    np.testing.assert_array_equal(np.asarray(cut[0].carry), np.asarray(whole[0].carry))
    for name in ("loss", "size", "grad_norm"):
        np.testing.assert_allclose(cut[1][name], whole[1][name], rtol=2e-6)


def test_a_carry_that_does_not_divide_is_refused() -> None:
    with pytest.raises(
        ValueError, match="doesn't divide over 4 parts, and a carry can't be padded: make the batch 12"
    ):
        trained(10, 4, carried=True)
    assert batch_mesh(1).size == 1
