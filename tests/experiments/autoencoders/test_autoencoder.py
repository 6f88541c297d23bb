"""The autoencoder from the command line: what a run leaves, vectors and the sentences of them, mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.sentence_text import SentencesConfig
from experiments.autoencoders.autoencoder import Config, HeldOut
from experiments.autoencoders.vectors import decode_vectors, encode_sentences, interpolate, nearest
from experiments.encoder_decoder.search import SearchConfig, search_targets
from experiments.harness.files import read_arrays
from tests.experiments.command import command
from tests.experiments.conftest import alone

DATA = ("--data.sentences", 60, "--data.held-out", 10, "--data.types", 60)
SMALL = (
    *(*DATA, "--data.longest", 9, "--cell", "elman", "--hidden-size", 6, "--embedding-size", 4),
    *("--batch-size", 16, "--steps", 10, "--eval-every", 5, "--save-every", 5, "--log-every", 5),
    *("--devices", 1, "--optimizer.warmup-steps", 2, "--dropped", 0.1, "--shuffled", 2),
)


@pytest.fixture(scope="session")
def run(shared: Path) -> Path:
    """A finished run; to be read only."""
    with alone(shared, "autoencoder") as folder:
        if not (folder / "results.json").exists():
            assert command("autoencoder", *SMALL, "--run-dir", folder) == 0
    return folder


def test_what_a_run_leaves(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert set(results["test"]) == {"cross_entropy", "exact", "words"}
    (baseline,) = results["baselines"].values()
    assert 0 < baseline["words"] < 1
    found = read_arrays(run, "measured")
    assert len(found["exact"]) == len(found["words"]) <= 9
    assert np.isfinite(found["words"]).any()
    table = (run / "table.txt").read_text()
    assert "between two sentences, by evenly spaced vectors" in table
    assert "the nearest test sentences by the cosine of their vectors" in table
    assert {path.stem for path in (run / "figures").glob("*.png")} == {"training", "by_length"}


@pytest.mark.slow
def test_vectors_are_all_that_the_decoder_is_given() -> None:
    """Decoding vectors gives the sentences that decoding the sentences' encodings gives; one of both directions."""
    config = Config(
        data=SentencesConfig(sentences=40, held_out=8, longest=8, types=60),
        hidden_size=7,
        embedding_size=5,
        direction="both",
    )
    text, model = config.text, config.build(config.text)
    held = HeldOut(text, "test")
    params = model.init(jax.random.key(0), jnp.asarray(held[0].inputs), mask=jnp.asarray(held[0].mask))
    params = jax.tree.map(lambda leaf: 3 * leaf, params)
    search = SearchConfig(width=2, normalise="none")
    expected = [found.ids for (found,) in search_targets(model, params, held, search)]
    vectors = encode_sentences(model, params, text.encode(held.sentences), together=3)
    assert vectors.shape == (len(held.sentences), 7)
    longest = 2 * max(len(batch.inputs) for batch in held) + 10
    beams = decode_vectors(model, params, jnp.asarray(vectors), search=search, length=longest)
    for row, ids in enumerate(expected):
        found = beams.tokens[row, 0, : beams.lengths[row, 0]].tolist()
        assert found[: len(ids)] == list(ids)


def test_interpolation_and_neighbours() -> None:
    a, b = np.array([1, 0], np.float32), np.array([0, 2], np.float32)
    np.testing.assert_allclose(interpolate(a, b, 3), [[1, 0], [0.5, 1], [0, 2]])
    vectors = np.array([[1, 0], [0, 2], [3, 0.1], [-1, 0]], np.float32)
    ((first, one), (second, other)) = nearest(vectors, 0, 2)
    assert (first, second) == (2, 1)
    assert one == pytest.approx(3 / np.hypot(3, 0.1))
    assert other == pytest.approx(0)


def test_refuses(refused: Callable[..., None]) -> None:
    refused(
        "--data.dir is missing: --preset multi30k is for the sentences", "autoencoder", "--preset", "multi30k"
    )
    refused("--dropped must be at least 0 and below 1, but is 1", "autoencoder", "--dropped", 1)
    refused("--shuffled must be a whole number of at least 0, but is -1", "autoencoder", "--shuffled", -1)
    refused("--health.every looks into one recurrence", "autoencoder", *DATA, "--health.every", 5)
