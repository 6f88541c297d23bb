"""The autoencoder of segments, step by step in NumPy, and what padding may not reach."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, Bidirectional, Elman
from models.speech.segment_autoencoder import SegmentAutoencoder

pytestmark = pytest.mark.usefixtures("quick_compilation")
RNG = np.random.default_rng(0)
LENGTHS = np.array([6, 4, 0])
MASK = jnp.arange(6)[:, None] < LENGTHS[None]
FRAMES = jnp.where(MASK[..., None], jnp.asarray(RNG.normal(size=(6, 3, 2)), jnp.float32), 0)


@pytest.mark.parametrize("reverse", [True, False])
def test_it_writes_what_its_equation_says(reverse: bool) -> None:
    model = SegmentAutoencoder(Elman(3), Elman(4), size=2, reverse=reverse)
    params = jax.jit(model.init)(jax.random.key(0), FRAMES, mask=MASK)
    p: Any = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    rebuilt = np.asarray(jax.jit(model.apply)(params, FRAMES, mask=MASK))
    vectors = np.asarray(jax.jit(lambda p: model.apply(p, FRAMES, mask=MASK, method="encode"))(params))

    def step(own: Any, h: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.tanh(x @ own["kernel"] + h @ own["recurrent"] + own["bias"])

    for b, length in enumerate(LENGTHS):
        h = np.zeros(3)
        for t in range(length):
            h = step(p["encoder"], h, np.asarray(FRAMES[t, b]))
        state = np.tanh(h @ p["bridge"][0]["kernel"] + p["bridge"][0]["bias"])
        np.testing.assert_allclose(vectors[b], state, atol=1e-6)
        frame, expected = np.zeros(2), np.zeros((6, 2))
        for t in reversed(range(length)) if reverse else range(length):
            state = step(p["decoder"], state, frame)
            frame = expected[t] = state @ p["writer"]["kernel"] + p["writer"]["bias"]
        np.testing.assert_allclose(rebuilt[:, b], expected, atol=1e-6)


def test_nothing_of_padding_reaches_vector_or_gradient() -> None:
    """With states of two vectors, and an encoder of both directions."""
    model = SegmentAutoencoder(Bidirectional(LSTM(3)), LSTM(5), size=2)
    params = jax.jit(model.init)(jax.random.key(1), FRAMES, mask=MASK)

    @jax.jit
    def found(params: Any, frames: jax.Array) -> Any:
        def loss(params: Any) -> tuple[Any, Any]:
            rebuilt: Any = model.apply(params, frames, mask=MASK)
            return jnp.sum(jnp.square(rebuilt - FRAMES)), rebuilt

        vectors = model.apply(params, frames, mask=MASK, method="encode")
        return jax.value_and_grad(loss, has_aux=True)(params), vectors

    (_, vectors) = clean = found(params, FRAMES)
    assert vectors.shape == (3, 10)
    bad = found(params, jnp.where(MASK[..., None], FRAMES, jnp.nan))
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(bad), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
    alone = found(params, FRAMES.at[:, 0].set(7.0))
    np.testing.assert_allclose(alone[1][1], vectors[1], atol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="reads from the end"):
        jax.eval_shape(SegmentAutoencoder(GRU(3), Bidirectional(GRU(3)), 2).init, jax.random.key(0), FRAMES)
