"""Losses that language models are trained and scored by: every token once, states carried or begun anew."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import StreamBatches, TextConfig, load_corpus
from experiments.language.batches import line_batches, lines, stream
from experiments.language.evaluate import by_frequency, by_position, losses_from_zero
from experiments.language.held_out import line_pieces, split_losses, token_losses, whole_text
from experiments.language.objective import Counted, StreamLoss, TextLoss
from experiments.language.sampled_inputs import SampledInputs
from models import LSTM, Elman, LanguageModel, initial_carry
from models.language_model import uniform_like
from tests.experiments.small_text import known
from train import batch_mesh, evaluate


@pytest.mark.parametrize(
    ("rows", "length"), [(3, 5), *(pytest.param(*size, marks=pytest.mark.full) for size in ((1, 7), (8, 64)))]
)
def test_losses_come_in_the_order_of_the_text(rows: int, length: int, x64: None) -> None:
    """Each token once; with one row as if the text was read in one go, with more, each row from a state of zero."""
    model = LanguageModel(LSTM(3), 4, 2)
    params = uniform_like(model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32)), jax.random.key(1), 1.0)
    tokens = known(50)
    batches = StreamBatches(tokens, batch_size=rows, length=length, before=3)
    found = token_losses(model, params, whole_text(batches))
    seen = np.concatenate([[3], tokens[:-1]])
    size = -(-len(tokens) // rows)
    read: Any = jax.jit(lambda p, x, t: model.apply(p, x, t, method="token_losses"))
    expected = []
    for start in range(0, len(tokens), size):
        piece = slice(start, start + size)
        losses, _ = read(params, seen[piece], tokens[piece])
        expected += losses.tolist()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    summed = evaluate(TextLoss(model), params, [whole_text(batches)], mesh=batch_mesh(1))
    assert summed["cross_entropy"] == pytest.approx(np.mean(expected), rel=1e-9)


def test_perplexity_of_a_known_distribution() -> None:
    """With every weight zero and b = ln p the model says p whatever it reads: its perplexity is exp of the cross
    entropy of the text's frequencies with p."""
    p = np.array([0.5, 0.25, 0.15, 0.1])
    model = LanguageModel(LSTM(3), 4, 2)
    params = model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    params = jax.tree.map(jnp.zeros_like, params)
    params = {"params": params["params"] | {"bias": jnp.log(jnp.asarray(p, jnp.float32))}}
    tokens = known(1000)
    losses = token_losses(model, params, whole_text(StreamBatches(tokens, batch_size=7, length=9, before=0)))
    assert len(losses) == 1000
    frequencies = np.bincount(tokens, minlength=4) / 1000
    assert math.exp(losses.mean()) == pytest.approx(math.exp(-frequencies @ np.log(p)), rel=1e-6)


def test_ends_of_lines_are_counted(text: Path) -> None:
    """Every word and the end of every line: what the literature counts on PTB. Characters: all but the first."""
    corpus = load_corpus(TextConfig(dir=text))
    for rows in (1, 4):
        valid = whole_text(stream(corpus, "valid", rows, 5))
        assert int(valid.mask.sum()) == 3 * (3 + 1 + 5 + 1)
    assert stream(corpus, "valid", 1, 5).take(1).inputs[0, 0, 0] == corpus.tokenizer.vocabulary.end_id
    characters = load_corpus(TextConfig(dir=text, unit="character"))
    assert int(whole_text(stream(characters, "valid", 4, 5)).mask.sum()) == 3 * (12 + 19) - 1


def test_loss_per_token_and_per_row() -> None:
    """A sum over the steps and a mean over rows is T times a mean over tokens; both log the latter."""
    model = LanguageModel(Elman(3), 4, 2)
    params = model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    batch = jax.tree.map(
        lambda leaf: leaf[0], StreamBatches(known(40), batch_size=5, length=8, before=0).take(1)
    )
    carry = initial_carry(model, params, (5,))
    pairs = {}
    for per in ("token", "row"):
        (total, count), (_, metrics) = StreamLoss(model, per)(params, carry, batch, jax.random.key(0))
        pairs[per] = float(total / count)
        assert [float(x) for x in metrics["cross_entropy"]] == [float(total), 40]
    assert pairs["row"] == pytest.approx(8 * pairs["token"], rel=1e-6)


@pytest.mark.slow
def test_a_fresh_row_begins_at_zero() -> None:
    """Whatever was carried is left behind where an epoch begins."""
    model = LanguageModel(LSTM(3), 4, 2)
    params = uniform_like(model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32)), jax.random.key(1), 1.0)
    batches = StreamBatches(known(40), batch_size=2, length=5, before=0).take(2)
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], batches) for i in range(2))
    zero = initial_carry(model, params, (2,))
    other = jax.tree.map(lambda leaf: leaf + 0.7, zero)

    def loss(batch: Any, carry: Any) -> float:
        total: Any = StreamLoss(model, "token")(params, carry, batch, jax.random.key(0))[0][0]
        return float(total)

    assert first.reset.all()
    assert not second.reset.any()
    assert loss(first, other) == loss(first, zero)
    assert loss(second, other) != loss(second, zero)


def test_by_position_and_frequency() -> None:
    """Bins of positions hold each position once; those of counts each token once."""
    losses = np.random.default_rng(0).normal(size=(100, 40))
    found = by_position(losses, bins=12)
    assert found["position"][0] == 1
    np.testing.assert_allclose(found["cross_entropy"][0], losses[0].mean())
    np.testing.assert_allclose(found["error"][0], losses[0].std(ddof=1) / 40**0.5)
    tokens = np.array([0, 1, 2, 2, 3, 3, 3, 3], np.int32)
    frequency = by_frequency(np.arange(8.0), tokens, (0, 9, 10, 12345))
    assert frequency["least"].tolist() == [0, 1, 10, 10000]
    assert frequency["cross_entropy"].tolist() == [0, 1, 2.5, 5.5]
    assert frequency["share"].tolist() == [1 / 8, 1 / 8, 1 / 4, 1 / 2]


def test_pieces_from_a_state_of_zero(x64: None) -> None:
    model = LanguageModel(LSTM(3), 4, 2)
    params = uniform_like(model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32)), jax.random.key(1), 1.0)
    seen, following = known(103), known(103, seed=1)
    found = losses_from_zero(model, params, seen, following, 5, most=7)
    assert found.shape == (5, 7)
    read: Any = jax.jit(lambda p, x, t: model.apply(p, x, t, method="token_losses"))
    for column, start in enumerate(np.linspace(0, 19, 7).round().astype(int) * 5):
        piece = slice(start, start + 5)
        losses, _ = read(params, seen[piece], following[piece])
        np.testing.assert_allclose(found[:, column], losses, rtol=1e-9)


# --- lines


def test_lines_of_one_length_together(text: Path) -> None:
    """An epoch has every line once, whole, from a state of zero, and pads each batch to its bucket alone."""
    corpus = load_corpus(TextConfig(dir=text))
    batches = line_batches(corpus, "train", 4, 0)
    found, lengths = [], set()
    for _ in range(batches.batches_per_epoch):
        batch = jax.tree.map(lambda leaf: leaf[0], batches.take(1))
        assert batch.reset.all()
        lengths.add(len(batch.inputs))
        sizes = batch.mask.sum(axis=0)
        found += [
            (batch.inputs[:size, row].tolist(), batch.targets[:size, row].tolist())
            for row, size in enumerate(sizes.tolist())
            if size
        ]
    expected = [(line.inputs.tolist(), line.target.tolist()) for line in lines(corpus, "train")]  # type: ignore
    assert sorted(found) == sorted(expected)
    assert lengths == {8, 10}  # "a cat and a dog ran on the mat" and its end are 10, all others fit 8


@pytest.mark.slow
def test_losses_of_lines(text: Path, x64: None) -> None:
    """In the order of the text, each line as if it was read by itself; and their mean is what is evaluated."""
    corpus = load_corpus(TextConfig(dir=text))
    model = LanguageModel(LSTM(3), len(corpus.tokenizer.vocabulary), 2)
    params = uniform_like(model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32)), jax.random.key(1), 1.0)
    found = split_losses(model, params, corpus, "valid", "lines", 4, 64)
    read: Any = jax.jit(lambda p, x, t: model.apply(p, x, t, method="token_losses"))
    expected = np.concatenate([read(params, line.inputs, line.target)[0] for line in lines(corpus, "valid")])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    pieces = [piece.text for piece in line_pieces(corpus, "valid", 4)]
    summed = evaluate(TextLoss(model), params, pieces, mesh=batch_mesh(1))
    assert summed["cross_entropy"] == pytest.approx(expected.mean(), rel=1e-9)


def test_a_text_without_lines(tmp_path: Path) -> None:
    """Characters have lines where there are line breaks."""
    (tmp_path / "one.txt").write_text("the cat sat on the mat and " * 20)
    with pytest.raises(
        ValueError, match="this one has neither end marks nor line breaks: take --reading stream"
    ):
        lines(load_corpus(TextConfig(dir=tmp_path / "one.txt", unit="character")), "train")


# --- scheduled sampling


def test_shares() -> None:
    """Bengio et al. 2015: linear, exponential, inverse sigmoid, as functions of the steps done."""
    step = jnp.array([0, 10, 1000])
    linear = SampledInputs("linear", slope=0.01, most=0.5).share(step)
    np.testing.assert_allclose(linear, [0, 0.1, 0.5], rtol=1e-6)
    exponential = SampledInputs("exponential", base=0.99).share(step)
    np.testing.assert_allclose(exponential, 1 - 0.99 ** np.array([0, 10, 1000]), rtol=1e-5)
    sigmoid = SampledInputs("inverse_sigmoid", pace=50.0).share(step)
    np.testing.assert_allclose(sigmoid, 1 - 50 / (50 + np.exp(np.array([0, 10, 1000]) / 50)), rtol=1e-5)
    assert SampledInputs().share(step).tolist() == [0, 0, 0]


@pytest.mark.slow
def test_the_share_follows_the_steps() -> None:
    """The count is carried; with a share of 0 the loss is that of the right inputs."""
    model = LanguageModel(LSTM(3), 4, 2)
    params = uniform_like(model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32)), jax.random.key(1), 2.0)
    batches = StreamBatches(known(400), batch_size=4, length=25, before=0).take(2)
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], batches) for i in range(2))
    plain, mixed = (
        StreamLoss(model, "token"),
        StreamLoss(model, "token", SampledInputs("linear", slope=1.0, most=1.0)),
    )
    key, carry = jax.random.key(0), mixed.first_carry(params, 4)
    right, (state, _) = plain(params, plain.first_carry(params, 4), first, key)
    found, (after, metrics) = mixed(params, carry, first, key)
    assert isinstance(after, Counted)
    assert float(found[0]) == float(right[0])
    assert after.batches.tolist() == [1] * 4
    assert [float(x) for x in metrics["sampled_share"]] == [0, 4]
    found, (after, metrics) = mixed(params, after, second, key)
    assert [float(x) for x in metrics["sampled_share"]] == [4, 4]
    assert float(found[0]) != float(plain(params, state, second, key)[0][0])
