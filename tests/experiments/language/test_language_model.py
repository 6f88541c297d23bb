"""Language models from the command line: presets, what a run leaves, resuming, bad input."""

import json
import math
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from data import TextConfig, load_corpus
from experiments.harness.options import default_config
from experiments.harness.types import from_json
from experiments.language import char_lm, families_report, language_model
from experiments.language.config import ENDLESS
from experiments.language.corpus import finite_or_none
from experiments.language.evaluate import text_gradients
from experiments.language.generate import trained_model
from experiments.language.report import format_table, scores
from experiments.language.train import text_options
from experiments.registry import read_options
from experiments.run_task import dividing
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from tests.experiments.small_text import TINY, write
from train import LoopConfig, OptimizerConfig, Tracker, make_schedule

pytestmark = pytest.mark.usefixtures("somewhere_else")


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


def test_gpt_cpu() -> None:
    """As in nanoGPT's README, config/train_shakespeare_char.py and train.py, its CPU setting, but for positions."""
    config = char_lm.PRESETS["gpt_cpu"]
    assert config.cell == "transformer(layers=4, heads=4, context=64)"
    assert (config.hidden_size, config.length, config.batch_size, config.edge_dropout) == (128, 64, 12, 0)
    assert (config.data.valid_share, config.data.test_share) == (0.1, 0)
    optimizer = config.optimizer.for_run(config.loop.steps)
    assert (optimizer.name, optimizer.beta1, optimizer.beta2, optimizer.weight_decay) == (
        "adamw",
        0.9,
        0.99,
        0.1,
    )
    assert (optimizer.clip, optimizer.clip_at) == ("global_norm", 1.0)
    schedule: Any = make_schedule(optimizer)
    rates = [float(schedule(step)) for step in (0, 50, 100, 1050, 2000)]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 5.5e-4, 1e-4])


def test_presets_are_defaults() -> None:
    config = default_config(char_lm, ["--steps", "5", "--preset", "five_minutes"])
    assert config == char_lm.PRESETS["five_minutes"] == default_config(char_lm, ["--preset=five_minutes"])
    assert default_config(char_lm, ["--steps", "5"]) == char_lm.Config()
    windows = default_config(char_lm, ["--reading", "windows"])
    assert windows == replace(char_lm.PRESETS["gpt"], preset=None)
    assert default_config(char_lm, ["--reading", "lines"]) == char_lm.Config()
    for module in (char_lm, language_model):
        for name, preset in module.PRESETS.items():
            assert preset.preset == name


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        (("--epochs", "13"), 13 * 2324),  # alone, beyond the default --steps
        (("--preset", "bengio", "--epochs=2"), 2 * 2324),  # and those of a preset
        (("--epochs", "13", "--steps", "2000"), 2000),  # a default given is given
        (("--epochs", "1.5", "--steps", "9999"), 3486),
        (("--epochs", "None"), 2000),
        (("--preset", "zaremba_small", "--steps", "20000"), 20_000),
    ],
)
def test_epochs_end_a_run_unless_steps_given_do(given: tuple[str, ...], steps: int) -> None:
    assert read_options("language_model", list(given)).config.resolved(2324)[0].steps == steps


@pytest.mark.parametrize(
    ("steps", "said"), [(5, "--steps ends the run before --epochs, at step 5\n"), (None, "")]
)
def test_which_ends_a_run_is_said(
    steps: int | None, said: str, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = language_model.Config(
        data=TextConfig(dir=text), epochs=3.0, loop=LoopConfig(steps=ENDLESS if steps is None else steps)
    )
    text_options(config, config.corpus)
    assert capsys.readouterr().out == said


def test_a_perplexity_beyond_all_floats(text: Path) -> None:
    """A net that training has driven far off is reported all the same: exp(710) is infinite, its bits are not."""
    corpus = load_corpus(TextConfig(dir=text))
    losses = np.full(len(corpus.split("test")), 800.0)
    found = scores(losses, corpus, "test")
    assert found["perplexity"] == math.inf
    letters = corpus.sizes["test"].characters
    assert found["bits_per_character"] == pytest.approx(800 / math.log(2) * len(losses) / letters)
    assert " inf" in format_table({"test": found | {"3_gram_perplexity": 2.0}}, ["test"])
    assert finite_or_none({"test": found})["test"]["perplexity"] is None
    model = {"name": np.array("net"), "size": np.array(3), "losses|test": losses}
    assert families_report.scores(model, corpus)["test_perplexity"] == math.inf
    assert " inf " in families_report.format_table([model | {"losses|valid": losses}], corpus, "test")


def test_rows_are_shared_by_devices_over_which_they_divide(capsys: pytest.CaptureFixture[str]) -> None:
    assert [dividing(20, devices) for devices in (1, 2, 3, 16, 40)] == [1, 2, 2, 10, 20]
    assert "20 rows are shared by 10 of 16 devices" in capsys.readouterr().out


def test_config_from_json(words: Path) -> None:
    """Every field comes back as it was, paths and nested configs too."""
    content = json.loads((words / "config.json").read_text())["config"]
    config = from_json(language_model.Config, content)
    assert isinstance(config.data.dir, Path)
    assert config.optimizer == OptimizerConfig(learning_rate=0.03, schedule="cosine")
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
        spelling = load_corpus(TextConfig(dir=text)).sizes[split].spelling
        assert (spelling > 0) == (split == "valid")  # "bird" is unknown
        bits = (found["cross_entropy"] / math.log(2) * found["tokens"] + spelling) / letters
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


@pytest.mark.full
def test_redrawn_as_it_was(words: Path) -> None:
    drawn = {path.name: path.read_bytes() for path in (words / "figures").iterdir()}
    assert command("inspect", words) == 0
    assert {path.name: path.read_bytes() for path in (words / "figures").iterdir()} == drawn


@pytest.mark.slow
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


@pytest.mark.full
def test_other_options(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Characters, a window, averaged parameters, a mean over rows, halving by epochs: all at once."""
    folder = tmp_path / "run"
    assert command(
        "char_lm", *TINY, "--data.dir", text, "--cell", "window(order=4, direct=True)", "--run-dir", folder,
        "--batch-size", 12, "--epochs", 2.4, "--halve-from-epoch", 3, "--optimizer.schedule", "constant",
        "--optimizer.name", "sgd", "--optimizer.learning-rate", 0.5, "--optimizer.average-from", 10,
        "--loss-per", "row",
    ) == 0  # fmt: skip
    assert newest_checkpoint(folder)[0] < 60
    capsys.readouterr()
    assert command("generate", folder, "--tokens", 5, "--prompt", "the ") == 0
    assert re.fullmatch(r"the .{1,5}\n", capsys.readouterr().out, re.DOTALL)


@pytest.mark.full
def test_health_changes_no_bit_of_training(words: Path, text: Path, tmp_path: Path) -> None:
    """Measured on the same pieces of the validation text each time: here the gradient of the last token's loss."""
    folder = tmp_path / "run"
    options = ("--data.dir", text, "--health.every", 30, "--run-dir", folder)
    assert command("language_model", *TINY, *options) == 0
    assert newest_checkpoint(folder) == newest_checkpoint(words)
    records = [record for record in untimed(folder) if record["split"] == "health"]
    assert [record["step"] for record in records] == [0, 30, 60]
    assert {"exponent", "half_life", "saturated/forget", "saturated/input"} <= records[0].keys()
    assert (folder / "figures" / "health.png").is_file()
    assert [record for record in untimed(folder) if record["split"] != "health"] == untimed(words)
    model, params, tokenizer = trained_model(folder)
    ids = tokenizer.encode((text / "valid.txt").read_text())
    end: Any = tokenizer.vocabulary.end_id
    seen = np.concatenate([[end], ids[:-1]])
    norms = [
        np.asarray(text_gradients(model, params, seen[at : at + 6, None], ids[at + 5 : at + 6]))[:, 0]
        for at in (0, len(ids) - 6)
    ]
    for lag in range(6):
        logged = records[-1][f"log_gradient/lag_{lag + 1}"]
        assert logged == pytest.approx(np.log(np.median([norm[lag] for norm in norms])), rel=1e-4)


@pytest.mark.slow
def test_what_was_not_finite(text: Path, tmp_path: Path) -> None:
    """At a rate beyond all bounds: where it began is told for models of text too."""
    folder = tmp_path / "run"
    options = ("--optimizer.name", "sgd", "--optimizer.learning-rate", 1e38, "--optimizer.clip", "none")
    assert command("language_model", *TINY, "--data.dir", text, *options, "--run-dir", folder) == 1
    (report,) = json.loads((folder / "nonfinite.json").read_text())
    assert "the first value that is not finite" in report["first"]["sentence"]


@pytest.mark.full
def test_lines_and_sampled_inputs(text: Path, tmp_path: Path) -> None:
    """Line by line, half of the inputs the model's own in the end: trained, scored, resumed to the same bits."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    arguments = ("language_model", *TINY, "--data.dir", text, "--reading", "lines", "--steps", 40)
    arguments += ("--sampled-inputs.schedule", "linear", "--sampled-inputs.slope", 0.02)
    # The schedule must not end at --steps.
    arguments += ("--sampled-inputs.most", 0.5, "--optimizer.schedule", "constant")
    assert command(*arguments, "--run-dir", whole) == 0
    log = [record for record in untimed(whole) if record["split"] == "train"]
    assert [record["sampled_share"] for record in log] == pytest.approx(
        [0.08, 0.18, 0.28, 0.38, 0.48, 0.5, 0.5, 0.5]
    )
    assert log[-1]["cross_entropy"] < log[0]["cross_entropy"]
    results = json.loads((whole / "results.json").read_text())
    assert [results[split]["tokens"] for split in ("valid", "test")] == [30, 28]
    assert command(*arguments, "--steps", 20, "--run-dir", part) == 0
    assert command(*arguments, "--resume", part) == 0
    assert newest_checkpoint(part) == newest_checkpoint(whole)
    assert untimed(part) == untimed(whole)


# --- bad input


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--preset", "zaremba_smal"), "unknown preset 'zaremba_smal': did you mean zaremba_small?"),
        (("--direction", "both"), "--direction both would see the word that it is to predict: take forward"),
        (("--cell", "batch_norm_lstm"), "couples the rows of a batch"),
        (
            ("--reading", "lines", "--line-limit", 9),
            "line 3 of the train text has 10 tokens, more than --line-limit 9: raise it, or take --reading stream",
        ),
        (("--sampled-inputs.base", 1), "--sampled-inputs.base must lie between 0 and 1, but is 1"),
        (("--sampled-inputs.pace", 0.5), "--sampled-inputs.pace must be 1 or more and finite, but is 0.5"),
        (("--batch-size", 100000), "error: --batch-size is 100000, but the text has 540 tokens to predict"),
        (("--eval-rows", 28), "--eval-rows 28 are more than the 28 tokens of held-out text: take fewer"),
        (
            ("--embedding-size", 3),
            "embedding_size must be the cell's output size 5, but is 3",
        ),
        (
            ("--halve-from-epoch", 2),
            "--halve-from-epoch is a schedule, --optimizer.schedule cosine another: give one",
        ),
        (
            ("--halve-from-epoch", 1),
            "error: --halve-from-epoch must be a whole number of at least 2, but is 1",
        ),
        (
            ("--halve-from-epoch", 4, "--optimizer.schedule", "constant"),
            "error: --halve-from-epoch 4 begins at step 69, but the run ends at step 60: train longer, or give",
        ),
        (
            ("--health.every", 61),
            "error: --health.every is 61, but the run ends at step 60: measure more often",
        ),
        (("--epochs", 0), "--epochs must be above 0 and finite, but is 0"),
        (("--init-scale", -1), "--init-scale must be above 0 and finite, but is -1"),
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


@pytest.mark.full
def test_resumed_on_another_text(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of the text is the same, what is in it is not."""
    folder, files = tmp_path / "run", write(tmp_path / "files")
    arguments = ("language_model", *TINY, "--data.dir", files)
    assert command(*arguments, "--run-dir", folder) == 0
    write(files, times=21)
    before, left = newest_checkpoint(folder), {p: p.read_bytes() for p in folder.glob("*.json")}
    assert folder / "results.json" in left
    assert command(*arguments, "--resume", folder) == 2
    assert {p: p.read_bytes() for p in folder.glob("*.json")} == left
    assert "was begun on another text (train.txt differs): give the same one" in capsys.readouterr().err
    assert newest_checkpoint(folder) == before
