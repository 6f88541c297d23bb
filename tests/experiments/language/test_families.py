"""n-grams, windows and recurrent nets on one text: scored on the same tokens, mixed, resumed, drawn."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import Corpus, TextConfig, load_corpus
from experiments import run_task
from experiments.language import corpus, families, language_model
from models.ngram import perplexity, smoothed
from models.ngram.counts import NgramCounts
from tests.experiments.command import arrays_bytes, command, prepared_apart
from tests.experiments.small_text import TINY

pytestmark = pytest.mark.usefixtures("somewhere_else")
OPTIONS = (
    *TINY,
    "--cells",
    "window(order=3)",
    "lstm",
    "--order",
    3,
    "--steps",
    20,
    "--optimizer.decay-steps",
    20,
)


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return prepared_apart(
        tmp_path_factory.mktemp("families") / "run", "families", *OPTIONS, "--data.dir", text
    )


@pytest.mark.slow
def test_what_a_run_leaves(run: Path, text: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    names = [f"{n}-gram, Kneser–Ney" for n in (1, 2, 3)] + ["window order=3", "lstm"]
    mixture = next(name for name in results if name.endswith(" + 3-gram"))
    assert set(results) == {"sources", *names, mixture}
    with np.load(run / "arrays" / "nets" / "lstm.npz") as net:
        losses = net["losses|test"]
        # Every word and the end of each line; the same of each model.
        assert losses.shape == (4 * 7,)
        assert results["lstm"]["test_perplexity"] == pytest.approx(math.exp(losses.mean()), rel=1e-9)
        assert results["lstm"]["size"] == net["size"] > 0
    table = (run / "table.txt").read_text()
    assert all(name in table for name in names)
    pictures = {"families", "perplexity_by_frequency", "perplexity_by_position", "gradient_against_lag"}
    assert {path.stem for path in (run / "figures").iterdir()} == pictures


@pytest.mark.slow
def test_counted_models_are_those_of_ngram(run: Path, text: Path) -> None:
    """The perplexity that `ngram` would tell."""
    words = load_corpus(TextConfig(dir=text))
    vocabulary = words.tokenizer.vocabulary
    counts = NgramCounts.of(words.splits["train"], len(vocabulary), 3, vocabulary.end_id)
    model = smoothed(counts, "kneser_ney")
    results = json.loads((run / "results.json").read_text())["3-gram, Kneser–Ney"]
    for split in ("valid", "test"):
        expected = perplexity(model.probabilities(words.splits[split]))
        assert results[f"{split}_perplexity"] == pytest.approx(expected, rel=1e-9)


def test_the_text_is_read_once(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for a command: for the checks of all cells, for the text of a resumed run and for the training."""
    read: list[TextConfig] = []

    def counted(config: TextConfig) -> Corpus:
        read.append(config)
        return load_corpus(config)

    monkeypatch.setattr(corpus, "load_corpus", counted)
    config = families.Config(data=TextConfig(dir=text), cells=("elman", "lstm", "gru"))
    config.check()
    config.check_resumed(text)
    assert config.corpus.held_out == ["valid", "test"]
    assert len(read) == 1


def test_mixture() -> None:
    """The mean of probabilities, token by token."""
    p, q = np.array([0.5, 0.1, 1e-30]), np.array([0.1, 0.3, 0.2])
    one, other = ({"size": np.array(n), "losses|test": -np.log(x)} for n, x in ((3, p), (4, q)))
    found = families.mixed(one, other, "both")
    np.testing.assert_allclose(np.exp(-found["losses|test"]), (p + q) / 2, rtol=1e-12)
    assert found["size"] == 7


@pytest.mark.full
def test_resumed(run: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the first net, which is not trained again; all that is told is the same."""
    folder, arguments = tmp_path / "run", ("families", *OPTIONS, "--data.dir", text)
    scored, trained = families.score_net, run_task.train_task

    def interrupted(config: language_model.Config, *others: object) -> object:
        if config.cell == "lstm":
            raise KeyboardInterrupt
        return scored(config, *others)  # type: ignore

    with monkeypatch.context() as patch:
        patch.setattr(families, "score_net", interrupted)
        assert command(*arguments, "--run-dir", folder) == 130
    cells = []

    def counted(*given: Any, label: str, **more: Any) -> object:
        cells.append(label)
        return trained(*given, label=label, **more)

    monkeypatch.setattr(run_task, "train_task", counted)
    assert command(*arguments, "--resume", folder) == 0
    assert cells == ["lstm"]
    assert arrays_bytes(folder) == arrays_bytes(run)
    for name in ("results.json", "table.txt"):
        assert (folder / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.full
def test_redrawn_as_it_was(run: Path) -> None:
    drawn = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    assert command("inspect", run) == 0
    assert {path.name: path.read_bytes() for path in (run / "figures").iterdir()} == drawn


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--cells", "lstm", "lstm()"), "--cells names a cell twice"),
        (("--order", 0), "order must be a whole number of at least 1, but is 0"),
        (("--cells", "window(order=4, direct=True)"), "tied embeddings are the output layer too"),
        (("--cells", "lstn"), "unknown cell"),
    ],
)
def test_refused(
    options: tuple, sentence: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("families", *OPTIONS, "--data.dir", text, "--run-dir", tmp_path / "run", *options) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
