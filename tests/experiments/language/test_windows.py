"""Language models that read a text in windows: trained on random, scored on adjacent and on overlapping ones."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import TextConfig, WindowBatches, load_corpus, pairs
from experiments.language import held_out
from experiments.language.evaluate import text_gradients
from experiments.language.held_out import losses_of, split_losses, window_pieces
from experiments.language.objective import StreamLoss, TextLoss
from models import LSTM, LanguageModel, Transformer, initial_carry, unroll
from models.language_model import uniform_like
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from tests.experiments.small_text import TINY, known
from tests.models.loops import lstm, run
from train import batch_mesh, evaluate

pytestmark = pytest.mark.usefixtures("somewhere_else")
WINDOWS = ("language_model", *TINY, "--reading", "windows", "--steps", 40, "--optimizer.schedule", "constant")


def model_of(vocabulary: int) -> tuple[LanguageModel, Any]:
    model = LanguageModel(LSTM(3), vocabulary, 2)
    initial = model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    return model, uniform_like(initial, jax.random.key(1), 1.0)


def loss_of_last(params: Any, inputs: np.ndarray, target: int) -> float:
    """−ln p of the token after the last input, by a loop from a state of zero."""
    inner = jax.tree.map(np.asarray, params["params"])
    xs = inner["embedding"]["embedding"][inputs]
    _, ys = run(lstm, inner["recurrent"]["cell"], xs, (np.zeros(3), np.zeros(3)))
    z = ys[-1] @ inner["kernel"] + inner["bias"]
    return float(np.log(np.exp(z).sum()) - z[target])


@pytest.mark.parametrize("stride", [6, 4, 1])
def test_losses_are_those_of_each_window_by_itself(
    stride: int, text: Path, x64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each token from the first window that holds it among its last `stride`; of the first window every one."""
    monkeypatch.setattr(held_out, "TOKENS_AT_ONCE", 30)  # five windows
    corpus = load_corpus(TextConfig(dir=text))
    model, params = model_of(len(corpus.tokenizer.vocabulary))
    found = losses_of(model, params, window_pieces(corpus, "test", 6, stride))
    inputs, targets = pairs(corpus.split("test"), corpus.tokenizer.vocabulary.end_id)
    expected = []
    for place, target in enumerate(targets.tolist()):
        start = max(0, -(-(place - 5) // stride) * stride)
        assert start == 0 or 6 - stride <= place - start < 6
        expected.append(loss_of_last(params, inputs[start : place + 1], target))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    if stride == 6:
        np.testing.assert_array_equal(found, split_losses(model, params, corpus, "test", "windows", 9, 6))
        batches = held_out.held_out(corpus, "test", "windows", 9, 6)
        means = evaluate(TextLoss(model), params, batches, mesh=batch_mesh(1))
        assert means["cross_entropy"] == pytest.approx(np.mean(expected), rel=1e-9)


def test_a_text_shorter_than_a_window(text: Path) -> None:
    """One window, and in it every token once."""
    (piece,) = window_pieces(load_corpus(TextConfig(dir=text)), "test", 40, 10)
    assert piece.places[:28, 0].tolist() == list(range(28))
    assert piece.text.mask.sum() == 28 == (piece.places >= 0).sum()


def test_nothing_is_carried() -> None:
    """The loss is that of rows which begin anew, and there is no state to keep."""
    model, params = model_of(4)
    batch = jax.tree.map(lambda x: x[0], WindowBatches(known(40), batch_size=5, length=8, seed=0).take(1))
    alone, streamed = (StreamLoss(model, "token", carries=carries) for carries in (False, True))
    assert alone.first_carry(params, 5) == ()
    (total, count), (carry, _) = alone(params, (), batch, jax.random.key(0))
    assert carry == ()
    other = jax.tree.map(lambda leaf: leaf + 0.7, initial_carry(model, params, (5,)))
    (expected, _), _ = streamed(params, other, batch, jax.random.key(0))
    assert float(total) == pytest.approx(float(expected), rel=1e-6)
    assert count == 40


@pytest.fixture(scope="module")
def windows(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; to be read only."""
    folder = tmp_path_factory.mktemp("windows") / "run"
    assert command(*WINDOWS, "--data.dir", text, "--stride", 2, "--run-dir", folder) == 0
    return folder


def test_what_a_run_in_windows_leaves(windows: Path) -> None:
    """Both readings of the test text, figures no longer than a window, and no state in the checkpoint."""
    results = json.loads((windows / "results.json").read_text())
    assert [results[split]["tokens"] for split in ("valid", "test")] == [30, 28]
    assert results["test"]["full_context_stride"] == 2
    assert results["test"]["full_context_cross_entropy"] != results["test"]["cross_entropy"]
    assert "full_context_stride" not in results["valid"]
    assert "perplexity, full context" in (windows / "table.txt").read_text()
    with np.load(windows / "arrays" / "measures.npz") as measures:
        assert measures["gradients|after"].shape == (5, 4)
        assert measures["position|position"].max() <= 6
        assert measures["full_context"] == results["test"]["full_context_cross_entropy"]
        assert "carried" not in measures
    assert not [name for name in newest_checkpoint(windows)[1] if name.startswith("carry")]
    log = [record for record in untimed(windows) if record["split"] == "train"]
    assert log[-1]["cross_entropy"] < log[0]["cross_entropy"]


def test_text_is_drawn_from_a_run_in_windows(windows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("generate", windows, "--tokens", 20, "--prompt", "the cat") == 0
    assert capsys.readouterr().out.startswith("the cat ")


@pytest.mark.full
def test_a_run_in_windows_resumes_bit_for_bit(windows: Path, text: Path, tmp_path: Path) -> None:
    arguments, part = (*WINDOWS, "--data.dir", text, "--stride", 2), tmp_path / "run"
    assert command(*arguments, "--steps", 20, "--run-dir", part) == 0
    assert command(*arguments, "--resume", part) == 0
    assert newest_checkpoint(part) == newest_checkpoint(windows)
    assert untimed(part) == untimed(windows)
    assert arrays_bytes(part) == arrays_bytes(windows)
    assert (part / "results.json").read_bytes() == (windows / "results.json").read_bytes()


def test_gradients_of_a_cache_are_those_of_the_inputs(x64: None) -> None:
    """Of the loss of the last token, by finite differences of the embedded tokens; the last of them is row 0."""
    model = LanguageModel(Transformer(4, layers=1, context=5), 4, 4)
    initial = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    params = uniform_like(initial, jax.random.key(1), 1.0)
    tokens, targets = known(5)[:, None], np.array([2], np.int32)
    found = np.asarray(text_gradients(model, params, tokens, targets))
    inner: Any = params["params"]
    xs = inner["embedding"]["embedding"][tokens]

    @jax.jit
    def loss(xs: Any) -> Any:
        _, ys = unroll(model.cell, inner["recurrent"]["cell"], xs)
        return -jax.nn.log_softmax(ys[-1, 0] @ inner["kernel"] + inner["bias"])[2]

    for lag in range(5):
        steps = 1e-5 * jnp.eye(4)
        ends = [[loss(xs.at[4 - lag, 0].add(sign * step)) for step in steps] for sign in (1, -1)]
        slopes = (np.array(ends[0]) - np.array(ends[1])) / 2e-5
        assert found[lag, 0] == pytest.approx(np.linalg.norm(slopes), rel=1e-6)


@pytest.mark.full
def test_a_transformer_is_trained_like_any_cell(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With learned codes: trained, scored, drawn, resumed, and text of more tokens than codes."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    cell = "transformer(layers=1, heads=1, context=6, position=learned, dropout=0.1)"
    arguments = (*WINDOWS, "--data.dir", text, "--cell", cell, "--optimizer.name", "adamw")
    assert command(*arguments, "--run-dir", whole) == 0
    with np.load(whole / "arrays" / "measures.npz") as measures:
        assert measures["gradients|of_inputs"]
        assert np.isfinite(measures["gradients|after"]).all()
    assert command(*arguments, "--steps", 20, "--run-dir", part) == 0
    assert command(*arguments, "--resume", part) == 0
    assert newest_checkpoint(part) == newest_checkpoint(whole)
    assert (part / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    capsys.readouterr()
    assert command("generate", whole, "--tokens", 20, "--prompt", "the cat sat on") == 0
    assert len(capsys.readouterr().out.split()) > 10


CODED = "transformer(heads=1, context=5, position=learned)"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--cell", CODED),
            f"error: --reading stream can ask for any number of tokens, but {CODED} has codes for 5 positions: ",
        ),
        (
            ("--cell", CODED, "--reading", "windows"),
            "has learned codes for 5 positions, but the sequence has 6 steps: give it context=6",
        ),
        (
            ("--reading", "windows", "--length", 541),
            "error: --length is 541, but the text has 540 tokens to predict: make the windows shorter",
        ),
        (("--stride", 3), "error: --stride belongs to --reading windows: give both, or neither"),
        (("--reading", "windows", "--stride", 7), "error: --stride 7 is more than the 6 tokens of a window"),
        (
            ("--reading", "windows", "--stride", 0),
            "error: --stride must be a whole number of at least 1, but is 0",
        ),
    ],
)
def test_refused(
    options: tuple, sentence: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("language_model", *TINY, "--data.dir", text, "--run-dir", tmp_path / "run", *options) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
