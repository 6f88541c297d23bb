"""The gradients of a machine, beside closed forms and differences; a run."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.machines.bits import Sizes, bit_costs, held_out, longer
from experiments.machines.gradients_measure import by_lag, exponent, influence, row_gains
from models import LSTM, Dense, NeuralTuringMachine, SequenceTagger
from tests.experiments.command import command
from tests.experiments.conftest import alone

pytestmark = pytest.mark.slow


@pytest.mark.full
def test_influence_beside_differences() -> None:
    """Of the last answer, by one input; nothing comes of later steps, and nothing of steps without an answer."""
    (_, make), *_ = longer("copy", Sizes(copied=2), 1).values()
    batch = jax.tree.map(jnp.asarray, held_out(make, 1))
    model = SequenceTagger(LSTM(4), 8)
    params: Any = model.init(jax.random.key(0), batch.inputs, mask=batch.mask)
    found = np.asarray(influence(model, params, batch))
    assert not found[:3].any()
    assert not np.triu(found, 1).any()
    last = batch._replace(mask=batch.mask & (jnp.arange(5) == 4)[:, None])

    def cost(inputs: Any) -> float:
        logits = model.apply(params, jnp.asarray(inputs), mask=batch.mask)
        return float(bit_costs(jnp.asarray(logits), last)["bits"][0])

    steps = []
    for place in range(9):
        moved = np.zeros(batch.inputs.shape, np.float32)
        moved[1, 0, place] = 1e-2
        steps.append((cost(batch.inputs + moved) - cost(batch.inputs - moved)) / 2e-2)
    np.testing.assert_allclose(found[4, 1], np.linalg.norm(steps), rtol=2e-2)


def test_lags_are_averaged_over_the_answers() -> None:
    rows = np.zeros((4, 4))
    rows[2, :3], rows[3, :4] = [1, 2, 3], [10, 20, 30, 40]
    np.testing.assert_allclose(by_lag(rows), [(3 + 40) / 2, (2 + 30) / 2, (1 + 20) / 2, 10])


@pytest.mark.full
def test_rows_that_are_left_alone_keep_their_gradient() -> None:
    """With heads that don't look at the content, a row's block is diag(1 − w_i e_j)."""
    cell = NeuralTuringMachine(4, Dense(4), slots=5, width=3)
    params: Any = cell.init(jax.random.key(0), 2)
    size = 3 + 3 + 3
    params["heads"]["bias"] = params["heads"]["bias"].at[jnp.array([4, size + 4])].set(-1e9)
    xs = jax.random.normal(jax.random.key(1), (3, 2))
    found = row_gains(cell, params, xs)
    weights, state = cell.prepare(params), cell.initial_state(params)
    for t, x in enumerate(xs):
        seen = cell.observe(weights, state, cell.drive(weights, x))
        kept = 1 - np.outer(seen["write_weights"][0], seen["erase"][0])
        np.testing.assert_allclose(found[t], kept.mean(axis=1), rtol=1e-4)
        state = cell.step(weights, state, cell.drive(weights, x))[0]


def test_exponent_is_that_of_the_product() -> None:
    cell = LSTM(3)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (4, 2))
    weights, state, product = cell.prepare(params), cell.initial_state(params), np.eye(6)
    for x in xs:
        whole: Any = jax.jacobian(lambda s, x=x: cell.step(weights, s, cell.drive(weights, x))[0])(state)
        blocks = [[np.asarray(whole[i][j]) for j in range(2)] for i in range(2)]
        product = np.block(blocks) @ product
        state = cell.step(weights, state, cell.drive(weights, x))[0]
    wanted = np.log(np.linalg.svd(product, compute_uv=False)[0]) / 4
    np.testing.assert_allclose(exponent(cell, params, xs), wanted, rtol=1e-4)


@pytest.mark.full
def test_what_a_run_leaves(shared: Path) -> None:
    tiny = (
        "--length",
        2,
        "--slots",
        5,
        "--width",
        3,
        "--hidden-size",
        4,
        "--sequences",
        2,
        "--batch-size",
        4,
    )
    tiny += ("--steps", 2, "--eval-every", 2, "--save-every", 2, "--devices", 1)
    with alone(shared, "turing_gradients") as folder:
        if not (folder / "results.json").exists():
            assert command("turing_gradients", *tiny, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results) == {"machine", "lstm"}
    assert all(np.isfinite(net[f"{m}|exponent"]) for net in results.values() for m in ("before", "after"))
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"gradient_by_lag", "memory_rows"}
    assert command("turing_gradients", "--length", 0) == 2
