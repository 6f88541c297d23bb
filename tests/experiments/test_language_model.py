"""Language models from the command line and beneath it: counts, perplexities, resuming, generating, bad input."""

import json
import math
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import StreamBatches, TextConfig, load_corpus
from experiments import char_lm, language_model
from experiments.generation import from_json, trained_model
from experiments.presets import default_config
from experiments.text_measures import by_frequency, by_position, losses_from_zero, token_losses, whole_text
from experiments.text_model import StreamLoss, TextLoss, TextModelConfig, sharing, stream
from models import LSTM, Elman, LanguageModel, initial_carry
from models.language_model import uniform_like
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from train import (
    Checkpoints,
    LoopConfig,
    OptimizerConfig,
    Tracker,
    batch_mesh,
    evaluate,
    make_schedule,
    read_metrics,
)

WORDS = "the cat sat on the mat\nthe dog sat\na cat and a dog ran on the mat\n\nthe end of it\n"
TINY = (
    "--hidden-size",
    5,
    "--steps",
    60,
    "--eval-every",
    20,
    "--save-every",
    20,
    "--log-every",
    5,
    "--chunk",
    10,
)
TINY += ("--batch-size", 4, "--length", 6, "--eval-rows", 3, "--examples", 4, "--lags", 5, "--positions", 8)
TINY += ("--sample-tokens", 20, "--devices", 1, "--edge-dropout", 0, "--optimizer.learning-rate", 0.03)


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and caches of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder: Path, times: int = 20) -> Path:
    """A small text of three files."""
    folder.mkdir(exist_ok=True)
    (folder / "train.txt").write_text(WORDS * times)
    (folder / "valid.txt").write_text("the cat ran\nthe bird sat on it\n" * 3)
    (folder / "test.txt").write_text("a dog sat on the mat\n" * 4)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("text") / "files")


@pytest.fixture(scope="module")
def words(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on words."""
    folder = tmp_path_factory.mktemp("runs") / "words"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        assert command("language_model", *TINY, "--data.dir", text, "--run-dir", folder) == 0
    return folder


# --- counts and perplexities


def known(tokens: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, tokens).astype(np.int32)


@pytest.mark.parametrize(("rows", "length"), [(1, 7), (3, 5), (8, 64)])
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

    assert first.fresh.all()
    assert not second.fresh.any()
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


# --- presets


def test_zaremba_small() -> None:
    """As published: Zaremba, Sutskever & Vinyals 2014, on PTB with its 2,324 batches an epoch."""
    config = language_model.PRESETS["zaremba_small"]
    assert (config.cell, config.hidden_size, config.network.depth) == ("lstm(forget_bias=0)", 200, 2)
    assert (config.length, config.batch_size, config.loss_per, config.init_scale) == (20, 20, "row", 0.1)
    assert (config.network.dropout, config.edge_dropout, config.tied, config.embedding_size) == (
        0,
        0,
        False,
        None,
    )
    loop, optimizer = config.resolved(2324)
    assert (loop.steps, optimizer.name, optimizer.clip, optimizer.clip_at) == (
        13 * 2324,
        "sgd",
        "global_norm",
        5,
    )
    schedule: Any = make_schedule(optimizer)
    rates = [float(schedule(epoch * 2324 + 7)) for epoch in range(13)]
    assert rates == [1, 1, 1, 1, *(0.5**k for k in range(1, 10))]


def test_presets_are_defaults() -> None:
    config = default_config(char_lm, ["--steps", "5", "--preset", "five_minutes"])
    assert config == char_lm.PRESETS["five_minutes"] == default_config(char_lm, ["--preset=five_minutes"])
    assert default_config(char_lm, ["--steps", "5"]) == char_lm.Config()
    for module in (char_lm, language_model):
        for name, preset in module.PRESETS.items():
            assert preset.preset == name


def test_epochs_end_a_run_unless_steps_do() -> None:
    config = TextModelConfig(epochs=1.5, loop=LoopConfig(steps=1000))
    assert [config.resolved(batches)[0].steps for batches in (100, 2000)] == [150, 1000]


def test_rows_are_shared_by_devices_over_which_they_divide(capsys: pytest.CaptureFixture[str]) -> None:
    assert [sharing(20, devices) for devices in (1, 2, 3, 16, 40)] == [1, 2, 2, 10, 20]
    assert "20 rows are shared by 10 of 16 devices" in capsys.readouterr().out


def test_config_from_json(words: Path) -> None:
    """Every field comes back as it was, paths and nested configs too."""
    content = json.loads((words / "config.json").read_text())["config"]
    config = from_json(language_model.Config, content)
    assert isinstance(config.data.dir, Path)
    assert config.optimizer == OptimizerConfig(learning_rate=0.03, schedule="cosine", decay_steps=2000)
    assert from_json(language_model.Config, json.loads(json.dumps(content))) == config


# --- runs


def test_what_a_run_leaves(words: Path, text: Path) -> None:
    results = json.loads((words / "results.json").read_text())
    assert set(results) == {"sources", "valid", "test"}
    assert set(results["sources"]) == {"train.txt", "valid.txt", "test.txt"}
    assert [results[split]["tokens"] for split in ("valid", "test")] == [30, 28]
    for split in ("valid", "test"):
        found = results[split]
        assert found["perplexity"] == pytest.approx(math.exp(found["cross_entropy"]), rel=1e-12)
        letters = len((text / f"{split}.txt").read_text())
        bits = found["cross_entropy"] / math.log(2) * found["tokens"] / letters
        assert found["bits_per_character"] == pytest.approx(bits, rel=1e-12)
    pictures = {"training", "perplexity_by_position", "perplexity_by_frequency", "gradient_against_lag"}
    assert {path.stem for path in (words / "figures").iterdir()} == pictures
    with np.load(words / "arrays" / "measures.npz") as measures:
        assert measures["gradients|after"].shape == (5, 4)
        assert np.isfinite(measures["gradients|before"]).all()
    table = (words / "table.txt").read_text()
    assert "perplexity of a 3-gram, Kneser–Ney" in table
    assert "sample:" in table
    assert (words / "vocabulary.json").is_file()
    log = [record for record in untimed(words) if record["split"] == "train"]
    assert log[-1]["cross_entropy"] < 0.9 * log[0]["cross_entropy"]


def test_reported_perplexity_is_that_of_the_saved_parameters(words: Path) -> None:
    """Computed anew from the checkpoint, word by word through `apply`."""
    results = json.loads((words / "results.json").read_text())
    model, params, tokenizer = trained_model(words)
    ids = tokenizer.encode("a dog sat on the mat\n" * 4)
    end: Any = tokenizer.vocabulary.end_id
    seen = np.concatenate([[end], ids[:-1]])
    losses, _ = model.apply(params, *map(jnp.asarray, (seen, ids)), method="token_losses")  # type: ignore
    assert results["test"]["cross_entropy"] == pytest.approx(float(np.mean(losses)), rel=1e-5)


def test_redrawn_as_it_was(words: Path) -> None:
    drawn = {path.name: path.read_bytes() for path in (words / "figures").iterdir()}
    assert command("inspect", words) == 0
    assert {path.name: path.read_bytes() for path in (words / "figures").iterdir()} == drawn


def test_resumed_bit_for_bit(
    words: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of an epoch, when the carried state is not zero; state, metrics, arrays, text alike."""
    log, folder = Tracker.log, tmp_path / "run"

    def logged(self: Tracker, done: int, split: str, metrics: Any) -> None:
        log(self, done, split, metrics)
        if (done, split) == (25, "train"):
            signal.raise_signal(signal.SIGTERM)

    arguments = ("language_model", *TINY, "--data.dir", text)
    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "log", logged)
        assert command(*arguments, "--run-dir", folder) == 128 + signal.SIGTERM
    assert newest_checkpoint(folder)[0] == 30
    carry = {name: leaf for name, leaf in newest_checkpoint(folder)[1].items() if name.startswith("carry")}
    assert carry
    assert any(any(leaf) for leaf in carry.values())
    assert command(*arguments, "--resume", folder) == 0
    assert newest_checkpoint(folder) == newest_checkpoint(words)
    assert untimed(folder) == untimed(words)
    assert arrays_bytes(folder) == arrays_bytes(words)
    for name in ("results.json", "table.txt"):
        assert (folder / name).read_bytes() == (words / name).read_bytes()


def test_other_options(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Characters, a window, averaged parameters, a mean over rows, halving by epochs: all at once."""
    folder = tmp_path / "run"
    assert command(
        "char_lm", *TINY, "--data.dir", text, "--cell", "window(order=4, direct=True)", "--run-dir", folder,
        "--epochs", 0.2, "--halve-from-epoch", 2, "--optimizer.schedule", "constant", "--optimizer.name", "sgd",
        "--optimizer.learning-rate", 0.5, "--loss-per", "row", "--optimizer.average-from", 10,
    ) == 0  # fmt: skip
    assert newest_checkpoint(folder)[0] < 60
    capsys.readouterr()
    assert command("generate", folder, "--tokens", 5, "--prompt", "the ") == 0
    assert re.fullmatch(r"the .{1,5}\n", capsys.readouterr().out, re.DOTALL)


# --- generating


def test_generate(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Goes on with the prompt in words of the vocabulary; the same seed gives the same, the unknown mark never."""

    def generated(*options: Any) -> str:
        assert command("generate", words, "--tokens", 30, *options) == 0
        return capsys.readouterr().out

    said = generated("--prompt", "the cat", "--temperature", 1.5)
    assert said.startswith("the cat")
    assert "<unk>" not in said
    assert set(said.split()) <= set(WORDS.split())
    assert said == generated("--prompt", "the cat", "--temperature", 1.5)
    assert said != generated("--prompt", "the cat", "--temperature", 1.5, "--seed", 1)
    assert generated("--temperature", 0) == generated("--top-k", 1, "--seed", 3) == generated("--top-p", 1e-6)


def test_generate_from_the_best(words: Path, tmp_path: Path) -> None:
    """Of the checkpoints there are, each saved right after an evaluation, that with the lowest cross entropy."""
    copy = shutil.copytree(words, tmp_path / "copy")
    checkpoints = Checkpoints(copy / "checkpoints")
    found = {r["step"]: r["cross_entropy"] for r in read_metrics(copy) if r["split"] == "validation"}
    best = min(checkpoints.steps(), key=lambda step: found[step])
    assert checkpoints.best() == best
    chosen = trained_model(copy, best=True)[1]
    for step in checkpoints.steps():
        if step != best:
            shutil.rmtree(copy / "checkpoints" / str(step))
    alone = trained_model(copy)[1]
    jax.tree.map(np.testing.assert_array_equal, chosen, alone)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--prompt", "the zebra ate a quokka"),
            "holds what the vocabulary of the training text doesn't: 'zebra', ",
        ),
        (("--temperature", -1), "temperature must be 0 or more and finite, but is -1.0"),
        (("--top-k", 0), "top_k must be a whole number of at least 1, but is 0"),
        (("--top-p", 2), "top_p must be above 0 and at most 1, but is 2.0"),
        (("--tokens", 0), "tokens must be a whole number of at least 1, but is 0"),
    ],
)
def test_generate_refuses(
    options: tuple, sentence: str, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("generate", words, *options) == 2
    assert sentence in capsys.readouterr().err


def test_generate_wants_a_trained_language_model(
    words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("generate", tmp_path / "nothing") == 2
    assert "is not a run folder (it has no config.json)" in capsys.readouterr().err
    begun = shutil.copytree(words, tmp_path / "begun", ignore=shutil.ignore_patterns("checkpoints"))
    assert command("generate", begun) == 2
    assert "has no checkpoint yet: let it train until it has saved once" in capsys.readouterr().err
    described = json.loads((begun / "config.json").read_text()) | {"experiment": "adding"}
    (begun / "config.json").write_text(json.dumps(described))
    assert command("generate", begun) == 2
    assert "is a run of adding, which makes no text" in capsys.readouterr().err


# --- bad input


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--preset", "zaremba_smal"), "unknown preset 'zaremba_smal': did you mean zaremba_small?"),
        (("--direction", "both"), "--direction both would see the word that it is to predict: take forward"),
        (("--cell", "batch_norm_lstm"), "couples the rows of a batch"),
        (("--health.every", "10"), "--health.every is not for models of text yet"),
        (("--batch-size", 100000), "error: --batch-size is 100000, but the text has 540 tokens to predict"),
        (("--eval-rows", 28), "--eval-rows 28 are more than the 28 tokens of held-out text: take fewer"),
        (
            ("--embedding-size", 3),
            "embedding_size must be the 5 numbers that the cell gives, but is 3",
        ),
        (
            ("--halve-from-epoch", 2),
            "--halve-from-epoch is a schedule, --optimizer.schedule cosine another: give one",
        ),
        (
            ("--halve-from-epoch", 1),
            "error: --halve-from-epoch must be a whole number of at least 2, but is 1",
        ),
        (("--epochs", 0), "--epochs must be above 0 and finite, but is 0.0"),
        (("--init-scale", -1), "--init-scale must be above 0 and finite, but is -1.0"),
        (("--edge-dropout", 1), "a dropout rate is at least 0 and below 1, but is 1.0"),
        (("--data.vocabulary-limit", 0), "--data.vocabulary-limit must be 1 or more, but is 0"),
    ],
)
def test_refused(
    options: tuple, sentence: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit code 2, and no folder made."""
    assert command("language_model", *TINY, "--data.dir", text, "--run-dir", tmp_path / "run", *options) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_resumed_on_another_text(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of the text is the same, what is in it is not."""
    folder, files = tmp_path / "run", write(tmp_path / "files")
    arguments = ("language_model", *TINY, "--data.dir", files)
    assert command(*arguments, "--run-dir", folder) == 0
    write(files, times=21)
    before = newest_checkpoint(folder)
    assert command(*arguments, "--resume", folder) == 2
    assert "was begun on another text (train.txt differs): give the same one" in capsys.readouterr().err
    assert newest_checkpoint(folder) == before
