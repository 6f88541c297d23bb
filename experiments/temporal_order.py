"""Temporal order: which of two symbols came first, long ago. Hochreiter & Schmidhuber 1997."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data import temporal_order, temporal_order_baseline
from experiments.cells import label, parse_cell
from experiments.run import Run, read_run
from experiments.training import TrainingConfig, classification, draw_training, train_on_task
from models import SequenceClassifier
from models.cell import at_least


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Temporal order."""

    length: int = 100
    """Length of the sequences, T."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, length=self.length)


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns what there is to say."""
    model = SequenceClassifier(parse_cell(config.cell, config.hidden_size), classes=4)
    task = partial(temporal_order, length=config.length)
    test = train_on_task(
        run, config, model=model, measure=classification, task=task, label=label(config.cell)
    )
    baseline = temporal_order_baseline()
    run.finish({"test": test, "baseline": {"accuracy": baseline}})
    draw(run.folder)
    return (
        f"temporal order, length {config.length}, {label(config.cell)}: accuracy {test['accuracy']:.1%} on "
        f"held-out sequences; guessing gives {baseline:.1%}"
    )


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    config = read_run(folder)["config"]
    return draw_training(
        folder,
        metric="accuracy",
        y_label="accuracy, held out",
        name=label(config["cell"]),
        baseline=temporal_order_baseline(),
        baseline_label="guessing",
    )
