"""The evidence of claims is read from the results that experiments write."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.autoencoders import sentence_probes
from experiments.autoencoders.probes import PROBES
from experiments.claims import reading
from experiments.claims.results import Arrays, Reader, has_numbers, joined, read_numbers
from experiments.depth import report as depth_report
from experiments.gradients import attention_paths_report
from experiments.speech import report as speech_report
from experiments.translation import analysis_report, source_gradients
from experiments.translation import report as translation_report

NETS = ("fixed context", "fixed context, source reversed", "attention")


def read(reader: Reader, results: dict[str, Any], folder: Path) -> Arrays:
    """The arrays of a run that left those results."""
    (folder / "results.json").write_text(json.dumps(results))
    return read_numbers(reader, folder)


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 1.0, shape)


def test_search(tmp_path: Path) -> None:
    """Of two systems the second attends, with two heads."""
    system = {
        "joined": np.array(3),
        "lengths": np.array([1, 5]),
        "length|bleu": some(2),
        "widths": np.array([1, 20]),
        "width|bleu": some(2),
        "width|seconds": some(2),
    }
    heads = {
        "heads|1|divergence": np.array([[0.0, 0.25], [0.5, 0.0]]),
        "heads|2|divergence": np.zeros((1, 1)),
    }
    results = analysis_report.results({"fixed context": system, "attention": system | heads})
    found = read(reading.search, results, tmp_path)
    assert found["systems"].tolist() == ["fixed context", "attention"]
    np.testing.assert_array_equal(found["bleu"], [system["width|bleu"]] * 2)
    np.testing.assert_array_equal(found["length_bleu"], [system["length|bleu"]] * 2)
    assert found["divergence"].tolist() == [0.25, 0.5]
    assert (found["widths"].tolist(), found["lengths"].tolist(), int(found["joined"])) == ([1, 20], [1, 5], 3)


def test_source_gradients(tmp_path: Path) -> None:
    nets = {
        net: {
            f"{moment}|{name}|{n}": values
            for n in (5, 10, 20, 40, 80)
            for moment in ("before", "after")
            for name, values in (("accuracy", np.array(n / 100 + i)), ("gradients", (i + 2.0) ** some(n, 3)))
        }
        for i, net in enumerate(NETS)
    }
    found = read(reading.source, source_gradients.results(nets), tmp_path)
    np.testing.assert_allclose(found["attention"], [2.05, 2.1, 2.2, 2.4, 2.8])
    norms = nets["attention"]["before|gradients|80"].mean(axis=1)
    assert found["reach|attention"][-1] == pytest.approx(norms[0] / norms[-1])


def test_attention_paths(tmp_path: Path) -> None:
    """The influence of the first input is that at the last lag."""
    names = ("copy_memory", "adding", "text", "text, lstm", "text, transformer")
    nets = {
        name: {
            f"{moment}|{key}": i + values
            for moment in ("before", "after")
            for key, values in (
                *((path, np.arange(12.0).reshape(4, 3)) for path in ("total", "recurrence")),
                ("tau", np.array([0.1, 0.3])),
                ("metric", np.array(1.0)),
            )
        }
        for i, name in enumerate(names)
    }
    results = attention_paths_report.results(nets, dict.fromkeys(names, "accuracy"))
    found = read(reading.paths, results, tmp_path)
    assert found["total"].tolist() == [10, 11, 12]  # medians of the last row
    np.testing.assert_allclose(found["tau"], [0.2, 1.2, 2.2, 4.2])


def test_depth(tmp_path: Path) -> None:
    """Runs of several seeds are joined; None stands for a loss that isn't finite."""
    kinds: Any = ("lstm", "residual_lstm", "pre_norm")

    def run(loss: float) -> dict[str, Any]:
        arrays = {"rate": np.array(0.004), "test": np.array(loss)}
        nets = [
            depth_report.Found("equal_parameters", kind, layers, arrays)
            for kind in kinds
            for layers in (4, 8)
        ]
        return depth_report.results(nets, 3.0)

    found = joined(read(reading.stacks, run(loss), tmp_path) for loss in (1.5, np.inf))
    assert found["loss|pre_norm|8"].tolist() == [1.5, np.inf]
    assert len(found) == 6


def test_speech_and_translation(tmp_path: Path) -> None:
    doubled = {"CTC": 0.9, "frame by frame, trimmed": 0.1}
    systems = {name: {"test|doubled": np.array(value)} for name, value in doubled.items()}
    found = read(reading.trimming, speech_report.results(systems, {"doubled": np.array(0.0)}), tmp_path)
    assert {name: float(value) for name, value in found.items()} == {"ctc": 0.9, "trimmed": 0.1, "bound": 0.0}
    nets = ("few pairs", "back-translation", "no pairs", "all pairs")
    counts = {name: np.array(1) for name in ("rate", "parameters", "step")}
    systems = {name: {"test|exact": np.array(i / 10), **counts} for i, name in enumerate(nets)}
    results = translation_report.results(systems, {"word by word": {"exact": 0.5}})
    found = read(reading.pairs, results, tmp_path)
    assert [float(found[name]) for name in (*nets, "word by word")] == [0.0, 0.1, 0.2, 0.3, 0.5]
    one = translation_report.results({"attention": systems["all pairs"]}, {})
    assert read(reading.measured_as("x", "systems.attention.exact"), one, tmp_path) == {"x": np.array([0.3])}


def test_probes_of_sentences(tmp_path: Path) -> None:
    nets = {
        net: {probe: start + i / 10 for i, probe in enumerate(PROBES)}
        for start, net in enumerate((sentence_probes.AUTOENCODER, sentence_probes.SKIP_THOUGHT))
    }
    found = read(reading.sentences, {"probes": nets}, tmp_path)
    assert {name: values.tolist() for name, values in found.items()} == {
        "grammar|autoencoder": [[0.0], [0.1]],
        "grammar|skip-thought": [[1.0], [1.1]],
        "meaning|autoencoder": [[0.2], [0.3]],
        "meaning|skip-thought": [[1.2], [1.3]],
    }


def test_language_models(tmp_path: Path) -> None:
    names = ("5-gram, Kneser–Ney", "window order=3", "window order=5", "window order=8", "lstm")
    families = {name: {"test_perplexity": 60.0 + i, "size": 100 * i} for i, name in enumerate(names)}
    found = read(reading.families, families, tmp_path)
    assert found["windows"].tolist() == [61, 62, 63]
    assert (float(found["lstm"]), float(found["window_size"]), float(found["ngram"])) == (64, 200, 60)
    layers = {"1x32": 1, "2x64": 2, "2x96": 3, "3x128": 4}
    scaling = {f"small_gpt_{n}": {"parameters": 10 * i, "cross_entropy": 1 / i} for n, i in layers.items()}
    assert read(reading.sizes, scaling, tmp_path)["parameters"].tolist() == [10, 20, 30, 40]


def test_memory(tmp_path: Path) -> None:
    """A cell that solves nothing has length 0; other cells are passed over."""

    def solved(*lengths: int) -> dict[str, Any]:
        return {
            str(n): {"solved": n in lengths, "steps": 1, "best": 0.1, "diverged": False} for n in (50, 100)
        }

    cells = {"elman": solved(), "lstm": solved(50), "lru": solved(50, 100), "lstm max_lag=T": solved(100)}
    found = read(reading.memory, {"adding": cells, "copy_memory": cells}, tmp_path)
    assert [found[cell].tolist() for cell in ("elman", "lstm", "lru")] == [[0, 0], [50, 50], [100, 100]]
    assert int(found["tried"]) == 100
    bits = {
        f"{task}, {cell}": {f"longer|{what}|bits": [0.5, value]}
        for task, what in (("copy", "vectors"), ("associative_recall", "items"))
        for cell, value in (("ntm slots=16, width=10", 1.0), ("lstm", 2.0))
    }
    found = read(reading.turing, {"nets": bits}, tmp_path)
    assert (found["ntm"].tolist(), found["lstm"].tolist()) == ([1, 1], [2, 2])


@pytest.mark.parametrize(
    "reader",
    [
        value
        for name, value in vars(reading).items()
        if callable(value)
        and getattr(value, "__module__", "") == reading.__name__
        and name not in ("rates", "measured_as")
    ],
    ids=lambda reader: reader.__name__,
)
def test_results_of_another_experiment_have_no_numbers(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"test": {"accuracy": 1.0}}')
    assert not has_numbers(reader, tmp_path)
