"""Attention paths: each measure of a net against a way of its own, and what a small run leaves."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import influence_matrices, lyapunov_spectrum
from data import Batch
from experiments.cell_view import CellView
from experiments.gradients.attention_paths import (
    influence_along,
    last_token,
    loss_gradients,
    paths_along,
    rank_correlation,
)
from models import GRU, Elman, SelfAttentive, SequenceTagger, Transformer

T, N, D = 12, 2, 3


def test_paths_attention_and_exponent() -> None:
    """Against the matrices, the equations and the exponent of the inner net by hand."""
    cell = SelfAttentive(Elman(4), context=8)
    params, xs = cell.init(jax.random.key(0), D), jax.random.normal(jax.random.key(1), (T, N, D))
    found = paths_along(cell, params, xs)
    total = influence_matrices(cell, params, xs[:, 1], T - 1)[::-1]
    np.testing.assert_allclose(found["total"][:, 1], np.linalg.norm(total, axis=(1, 2)), rtol=1e-4)
    kept = {name: values for name, values in found.items() if name in ("recurrence", "attention", "mixed")}
    assert all(values.shape == (T, N) for values in kept.values())

    p, h, context, outputs, driven = params["cell"], jnp.zeros(4), jnp.zeros(4), [], []
    weights = jnp.zeros(0)
    for x in xs[:, 1]:
        driven.append(jnp.concatenate([x, context]))
        h = jnp.tanh(driven[-1] @ p["kernel"] + h @ p["recurrent"] + p["bias"])
        if outputs:
            keys = jnp.stack(outputs[-8:])
            weights = jax.nn.softmax(keys @ params["score"]["kernel"] @ h)
            context = weights @ keys
        outputs.append(h)
    by_lag = np.asarray(found["weights"][:, 1])
    np.testing.assert_allclose(by_lag[1:9], weights[::-1], rtol=1e-4)
    assert np.isnan(by_lag[[0, 9, 10, 11]]).all()
    exponent = lyapunov_spectrum(Elman(4), p, jnp.stack(driven), k=1, qr_every=1).exponents[0]
    assert float(found["exponent"][1]) == pytest.approx(float(exponent), abs=1e-5)


@pytest.mark.slow
def test_attention_of_a_transformer() -> None:
    """Weights of the last step over all layers and heads are a mean that sums to 1; a GRU has none."""
    cell = Transformer(4, layers=2, heads=2, context=16)
    params, xs = cell.init(jax.random.key(0), D), jax.random.normal(jax.random.key(1), (T, N, D))
    found = influence_along(cell, params, xs)
    np.testing.assert_allclose(found["weights"].sum(axis=0), 1, rtol=1e-5)
    assert found["total"].shape == (T, N)
    assert set(influence_along(GRU(4), GRU(4).init(jax.random.key(0), D), xs)) == {"total"}


def test_loss_gradient_by_distance(x64: None) -> None:
    """By central differences of the loss of the last token in one embedding."""
    model = SequenceTagger(GRU(3), 5, 5, 2)
    tokens = np.arange(T * N).reshape(T, N) % 4
    batch = Batch(tokens.astype(np.int32), (tokens + 1).astype(np.int32), np.ones((T, N), bool))
    params = model.init(jax.random.key(0), jnp.asarray(batch.inputs))
    view = CellView(model, last_token)
    found = loss_gradients(model.cell, view, params, batch)
    own, xs = view.entry(params, batch)
    from models import unroll

    def loss(xs: np.ndarray) -> float:
        logits = model.apply(
            params, unroll(model.cell, own, jnp.asarray(xs))[1][-1, 0], method=lambda m, y: m.readout(y)
        )
        return -float(jax.nn.log_softmax(jnp.asarray(logits))[batch.targets[-1, 0]])

    for distance in (0, 3):
        slopes = []
        for d in range(2):
            shifted = [np.array(xs, np.float64), np.array(xs, np.float64)]
            for sign, each in zip((1, -1), shifted, strict=True):
                each[T - 1 - distance, 0, d] += sign * 1e-5
            slopes.append((loss(shifted[0]) - loss(shifted[1])) / 2e-5)
        assert float(found[distance, 0]) == pytest.approx(np.hypot(*slopes), rel=1e-5)


def test_rank_correlation() -> None:
    """Over the lags that attention reaches: two of three pairs in the same order, one in the other, is 1/3."""
    weights = np.array([np.nan, 0.5, 0.3, 0.2, np.nan])
    assert rank_correlation(weights, np.array([9.0, 3.0, 1.0, 2.0, 9.0])) == pytest.approx(1 / 3)


@pytest.mark.full
def test_what_a_run_leaves(finished: Callable[[str], Path]) -> None:
    folder = finished("attention_paths")
    results = json.loads((folder / "results.json").read_text())
    beside = "text, transformer layers=1, heads=3"
    assert [name.rsplit(",", 1)[0] for name in results] == ["text", "text", beside, beside]
    row = results["text, after training"]
    with np.load(folder / "arrays" / "paths.npz") as arrays:
        total = arrays["text|after|total"]
        np.testing.assert_allclose(row["total"], np.median(total, axis=1))
        np.testing.assert_allclose(total[0], arrays["text|after|recurrence"][0], rtol=1e-5)
        assert row["exponent"]["mean"] == pytest.approx(arrays["text|after|exponent"].mean())
    assert row["mixed"][:2] == [0, 0]  # no path through both parts before the second step back
    for name in ("text, after training", f"{beside}, after training"):
        assert -1 <= results[name]["tau"]["mean"] <= 1
        assert len(results[name]["loss_gradients"]) == 16
    assert "exponent" not in results[f"{beside}, after training"]
    assert (folder / "table.txt").read_text().splitlines()[1].split()[:2] == ["text", "before"]
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert drawn == {"influence_by_path.png", "gradient_by_distance.png"}
