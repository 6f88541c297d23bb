"""A loss computed in bfloat16: what is rounded and what isn't, and its curve beside that of float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models import LSTM, unroll
from train import OptimizerConfig, create_state, cross_entropy, train_chunk
from train.precision import in_precision

ADAM = OptimizerConfig(learning_rate=1e-2)
TYPES: dict[str, Any] = {}


def loss(params: Any, carry: Any, batch: Any, key: Any) -> Any:
    """Cross entropy of the sign of a sequence's sum, by the last state of an LSTM."""
    state, _ = unroll(LSTM(8), params["lstm"], batch["inputs"].swapaxes(0, 1))
    logits = state.h @ params["out"]
    TYPES.update(logits=logits.dtype, targets=batch["targets"].dtype, averages=params["averages"].dtype)
    return cross_entropy(logits, (batch["targets"] > 0).astype(int)), (carry + state.h.sum(), {})


def curve(precision: Any, steps: int = 120) -> tuple[np.ndarray, Any]:
    x = np.random.default_rng(0).normal(size=(steps, 32, 6, 1)).astype("float32")
    params = {
        "lstm": LSTM(8).init(jax.random.key(0), 1),
        "out": jnp.zeros((8, 2)),
        "averages": jnp.ones(3),
    }
    state = create_state(params, ADAM, jax.random.key(1), jnp.zeros(32))
    batches = {"inputs": x, "targets": x.sum((2, 3))}
    state, metrics = train_chunk(state, batches, steps, loss_fn=in_precision(loss, precision), optimizer=ADAM)
    return np.asarray(metrics["loss"]), state


def test_bfloat16_inside_and_float32_outside() -> None:
    """The last losses of the same 120 steps agree; rounding to 8 bits is seen, but only as noise."""
    narrow, state = curve("bfloat16")
    assert {name: str(kind) for name, kind in TYPES.items()} == {
        "logits": "bfloat16",
        "targets": "float32",
        "averages": "float32",
    }
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((state.params, state.carry))} == {"float32"}
    exact, _ = curve("float32")
    assert str(TYPES["logits"]) == "float32"
    assert exact[-20:].mean() < 0.5 * exact[:20].mean()
    assert 0 < abs(narrow[-20:].mean() - exact[-20:].mean()) < 0.1 * exact[-20:].mean()
