"""Autoencoders of documents: a small run of both nets, gradients by sentence, mistakes."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.documents import document_example
from experiments.autoencoders.documents import gradient_by_sentence
from experiments.autoencoders.hierarchical_measure import in_rows
from experiments.harness.files import read_arrays
from tests.experiments.command import command

SIZES = ("--hidden-size", 5, "--embedding-size", 4, "--batch-size", 8, "--data.types", 60, "--cell", "elman")


@pytest.mark.full
def test_a_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names, verbs = ("The cat", "A dog", "My aunt"), ("sleeps", "eats", "runs")
    lines = [f"{names[a]} {verbs[b]}." for a, b in rng.integers(3, size=(160, 2))]
    (tmp_path / "book.txt").write_text("\n".join(lines))
    folder = tmp_path / "run"
    options = ("--data.dir", tmp_path, *SIZES, "--minutes", 1e-4, "--devices", 1)
    assert command("hierarchical", *options, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results) == {"hierarchical", "flat", "nearest"}
    one, other = results["hierarchical"], results["flat"]
    assert abs(one["parameters"] - other["parameters"]) < 0.1 * one["parameters"]
    assert np.isfinite(one["cross_entropy"])
    gradients = read_arrays(folder, "nets")["flat|after|gradient"]
    assert gradients.shape[0] == len(one["gradient_after"])
    assert np.all(gradients > 0)
    table = (folder / "table.txt").read_text()
    assert "gradient of a sentence's loss" in table
    assert "predicted" in table
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {
        "gradient_by_sentence",
        "words_by_sentences",
    }


def quadratic(params: jax.Array, document: jax.Array, batch: jax.Array) -> jax.Array:
    """ℓ_ib = p_i ‖d_b‖² / 2, whose gradient has norm p_i ‖d_b‖."""
    return params[:, None] * jnp.sum(document**2, axis=-1)[None] / 2


def test_gradient_by_sentence() -> None:
    document = jnp.array([[3.0, 4], [0, 2]])
    found = gradient_by_sentence(quadratic, jnp.array([1.0, 10, 0]), document, jnp.zeros(()))
    np.testing.assert_allclose(found, [[5, 2], [50, 20], [0, 0]], rtol=1e-5)


def test_documents_in_rows() -> None:
    """Without end marks but the last, and the sentence of each piece."""
    sentences = partial(map, partial(np.array, dtype=np.int32))
    examples = [
        document_example(list(sentences([[5, 6, 1], [7, 1]])), 1),
        document_example(list(sentences([[8, 1]])), 1),
    ]
    batch, places = in_rows(examples)
    np.testing.assert_array_equal(batch.inputs.T, [[5, 6, 7, 1], [8, 1, 0, 0]])
    np.testing.assert_array_equal(batch.mask.sum(axis=0), [4, 2])
    np.testing.assert_array_equal(places.T, [[0, 0, 1, 2], [0, 1, -1, -1]])


def test_refuses(refused: Callable[..., None]) -> None:
    refused("--data.dir is missing: --preset books", "hierarchical", "--preset", "books")
    refused("--most must be at least --fewest, 3, but is 2", "hierarchical", "--most", 2)
    refused("no 9 train sentences follow one another", "hierarchical", "--fewest", 9, "--most", 9)
