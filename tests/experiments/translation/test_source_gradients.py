"""Gradients by source place: against differences of the loss, what a run leaves, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import PairBatch
from experiments.harness.files import read_arrays
from experiments.translation.source_gradients import NETS, Config, source_gradients
from models import GRU, EncoderDecoder, TokenReader, TokenWriter
from tests.experiments.command import command


@pytest.mark.usefixtures("x64")
def test_gradients_are_those_of_differences() -> None:
    """The norm over an embedding of the slopes of −ln p(target | source), taken by central differences."""
    size, step = 3, 1e-6
    model = EncoderDecoder(GRU(4), GRU(4), TokenReader(6, size), TokenWriter(6, size, end=0))
    inputs, targets = jnp.array([[1, 2], [3, 4]]), jnp.array([[5, 1], [0, 0]])
    params = jax.jit(model.init)(jax.random.key(0), inputs)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    padded = [
        np.pad(ids, ((0, 2), (0, 0)))
        for ids in (inputs, np.ones((2, 2), bool), targets, np.ones((2, 2), bool))
    ]
    norms, accuracy = source_gradients(model, params, PairBatch(*padded))

    @jax.jit
    def losses(xs: Any) -> Any:
        encoded: Any = model.apply(params, xs, method="encode_vectors")
        return jnp.sum(jnp.asarray(model.apply(params, encoded, targets, method="losses_of")), axis=0)

    xs: Any = jax.jit(lambda: model.apply(params, inputs, method="read"))()
    slopes = np.zeros((2, 2, size))
    for s in range(2):
        for i in range(size):
            up, down = (losses(xs.at[s, :, i].add(by)) for by in (step, -step))
            slopes[s, :, i] = (up - down) / (2 * step)
    np.testing.assert_allclose(norms[:2], np.linalg.norm(slopes, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(norms[2:], 0)
    logits: Any = jax.jit(lambda: model.apply(params, inputs, targets=targets))()
    assert accuracy == np.mean(np.argmax(logits, -1) == targets)


def test_sources_of_a_length() -> None:
    """So many letters and an end mark; targets are theirs, reversed."""
    config = Config(kind="reversal", length=3, count=60, examples=4)
    inputs, mask, targets, target_mask = map(np.asarray, config.pairs_of_length(7))
    assert inputs.shape == targets.shape == (81, 4)
    assert mask.sum() == target_mask.sum() == mask[:8].sum() == 32
    text = config.text
    for column in range(4):
        source, target = (
            side.decode(ids[:7, column]) for side, ids in ((text.source, inputs), (text.target, targets))
        )
        assert target == source[::-1]


@pytest.mark.full
def test_what_a_run_leaves(tmp_path: Path) -> None:
    options = ("--length", 4, "--lengths", 3, 6, "--count", 60, "--hidden-size", 8, "--examples", 4)
    training = ("--steps", 4, "--eval-every", 4, "--optimizer.warmup-steps", 2, "--batch-size", 16)
    run = tmp_path / "run"
    assert command("source_gradients", *options, *training, "--devices", 1, "--run-dir", run) == 0
    results = json.loads((run / "results.json").read_text())
    assert set(results) >= set(NETS)
    after = results["attention"]["after training"]
    assert len(after["gradients"]["6"]) == 6
    assert min(after["gradients"]["6"]) > 0
    assert 0 <= after["accuracy"]["3"] <= 1
    found = read_arrays(run, "nets/attention")
    assert found["before|gradients|3"].shape == (3, 4)
    assert {path.stem for path in (run / "figures").glob("*.png")} == {"gradient_by_place"}
    assert "fixed context, source reversed" in (run / "table.txt").read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--lengths", 0), "--lengths must be a whole number of at least 1, but is 0"),
        (("--lengths", 5, 5), "--lengths"),
        (("--cell", "batch_norm_lstm"), "couples the sentences of a batch"),
    ],
)
def test_refused(options: tuple, sentence: str, refused: Callable[..., None]) -> None:
    refused(sentence, "source_gradients", *options)
