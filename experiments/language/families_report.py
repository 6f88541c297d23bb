"""The results of `families`: a row a model, texts drawn from them, figures."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from data import Corpus
from experiments.cell_spec import label
from experiments.harness.files import read_arrays, read_run
from experiments.harness.options import folder_name
from experiments.language.corpus import bits_per_character, perplexity_of
from experiments.language.evaluate import by_frequency
from experiments.language.report import format_score

COUNTED = "n-gram, Kneser–Ney"
WINDOWS = "fixed window"
Model = dict[str, np.ndarray]
"""Measurements of a model: `name`, `size`, and of each held-out split `losses|SPLIT`, −ln p of its tokens, nats;
of some `order`, n (0 for those that see all before), `sample`, and what training and `measures` gave."""


def mean_loss(model: Model, split: str) -> float:
    """Computes the mean loss of the tokens of a split, in nats."""
    losses = model[f"losses|{split}"]
    return math.fsum(losses) / len(losses)


def perplexity(model: Model, split: str) -> float:
    """Computes the perplexity of a split: the exponential of the mean loss of its tokens."""
    return perplexity_of(mean_loss(model, split))


def scores(model: Model, corpus: Corpus) -> dict[str, float | int]:
    """Returns a model's size, and of each split perplexity and bits per character."""
    found: dict[str, float | int] = {"size": int(model["size"])}
    for key, losses in model.items():
        if key.startswith("losses|"):
            split = key.removeprefix("losses|")
            bits = bits_per_character(mean_loss(model, split), len(losses), corpus.sizes[split])
            found[f"{split}_perplexity"] = perplexity(model, split)
            found[f"{split}_bits_per_character"] = bits
    return found


def summary_arrays(models: list[Model], corpus: Corpus, split: str) -> dict[str, np.ndarray]:
    """Collects what the figures need of all models together: `perplexity|NAME`, `order|NAME`, loss by frequency;
    the last of them is the `mixture`."""
    vocabulary = corpus.tokenizer.vocabulary
    found = {f"perplexity|{model['name']}": np.array(perplexity(model, split)) for model in models}
    for model in models:
        losses = model[f"losses|{split}"]
        targets = corpus.splits[split][-len(losses) :]
        for key, value in by_frequency(losses, targets, vocabulary.counts).items():
            found[f"{key}|{model['name']}"] = value
        if "order" in model:
            found[f"order|{model['name']}"] = model["order"]
    return found | {"split": np.array(split), "mixture": models[-1]["name"]}


def format_table(models: list[Model], corpus: Corpus, last: str) -> str:
    """Formats a row for each model; its size is the number of its n-grams, or of its weights."""
    held_out = corpus.held_out
    width = max(len(str(model["name"])) for model in models)
    heads = [
        "n-grams or weights",
        "sees",
        *(f"perplexity, {split}" for split in held_out),
        "bits a character",
    ]
    lines = [f"{'':<{width}}" + "".join(f"{head:>20}" for head in heads)]
    for model in models:
        order = int(model["order"]) if "order" in model else 0
        sees = f"{order - 1} token{'s' if order != 2 else ''}" if order else "all before"
        found = scores(model, corpus)
        perplexities = [format_score(found[f"{split}_perplexity"], ".2f") for split in held_out]
        entries = [f"{found['size']:,}", sees, *perplexities]
        entries.append(f"{found[f'{last}_bits_per_character']:.4f}")
        lines.append(f"{model['name']!s:<{width}}" + "".join(f"{entry:>19}" for entry in entries))
    return "\n".join(lines)


def samples(models: list[Model]) -> str:
    """Formats the texts drawn from the models."""
    drawn = [(str(model["name"]), str(model["sample"]).strip("\n")) for model in models if "sample" in model]
    return "\n".join(f"{name}: " + text.replace("\n", "\n    ") for name, text in drawn)


def net_path(cell: str) -> str:
    """Returns the folder of a cell's net within the run's, and of its arrays."""
    return f"nets/{folder_name(label(cell))}"


def read_net(folder: Path, cell: str) -> Model:
    """Reads what was measured of a net; older runs keep it beside the other arrays."""
    older = f"net_{folder_name(label(cell))}"
    return read_arrays(folder, older if (folder / f"arrays/{older}.npz").is_file() else net_path(cell))


def gradient_label(name: str, net: Model) -> str:
    """Names a net beside its gradients, which are by the inputs where its state is a cache."""
    return f"{name}, by its inputs" if net.get("gradients|of_inputs", False) else name


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.families import families_side_by_side
    from analysis.figures.gradients import gradient_against_lag
    from analysis.figures.language import perplexity_by_frequency, perplexity_by_position
    from analysis.figures.style import save

    config: dict[str, Any] = read_run(folder)["config"]
    found = read_arrays(folder, "families")
    nets = [read_net(folder, cell) for cell in config["cells"]]
    windows = sorted((net for net in nets if net["order"]), key=lambda net: int(net["order"]))
    others = [net for net in nets if not net["order"]]
    counted = [f"{n}-gram, Kneser–Ney" for n in range(1, config["order"] + 1)]

    def by_order(names: list[str]) -> dict[str, list[float]]:
        return {
            "order": [float(found[f"order|{name}"]) for name in names],
            "perplexity": [float(found[f"perplexity|{name}"]) for name in names],
        }

    lines = {COUNTED: by_order(counted)}
    if windows:
        lines[WINDOWS] = by_order([str(net["name"]) for net in windows])
    # Of the windows the widest stands for its kind wherever there is one line for each.
    shown = {str(net["name"]): net for net in [*windows[-1:], *others]}
    alike = {WINDOWS if net["order"] else name: net for name, net in shown.items()}
    unbounded = [*(str(net["name"]) for net in others), str(found["mixture"])]
    split, reference = str(found["split"]), counted[-1]
    drawn = {
        "families": families_side_by_side(
            lines,
            {name: float(found[f"perplexity|{name}"]) for name in unbounded},
            {
                name: {key: net[f"curve|{key}"] for key in ("step", "cross_entropy")}
                for name, net in alike.items()
            },
            split=split,
        ),
        "perplexity_by_frequency": perplexity_by_frequency(
            found[f"least|{reference}"],
            {name: found[f"cross_entropy|{name}"] for name in (*shown, reference)},
            found[f"share|{reference}"],
        ),
        "perplexity_by_position": perplexity_by_position(
            nets[0]["position|position"],
            {name: net["position|cross_entropy"] for name, net in shown.items()},
            {name: net["position|error"] for name, net in shown.items()},
        ),
        "gradient_against_lag": gradient_against_lag(
            {gradient_label(name, net): net["gradients|before"] for name, net in shown.items()},
            {gradient_label(name, net): net["gradients|after"] for name, net in shown.items()},
        ),
    }
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
