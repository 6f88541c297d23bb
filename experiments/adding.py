"""Adding: the sum of two marked numbers in a long sequence. Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data import adding, adding_baseline
from experiments.cells import label, parse_cell
from experiments.run import Run, read_run
from experiments.training import TrainingConfig, draw_training, regression, train_on_task
from models import SequenceClassifier
from models.cell import at_least


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Adding."""

    length: int = 100
    """Length of the sequences, T."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, length=self.length)


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns what there is to say."""
    model = SequenceClassifier(parse_cell(config.cell, config.hidden_size), classes=1)
    task = partial(adding, length=config.length)
    test = train_on_task(run, config, model=model, measure=regression, task=task, label=label(config.cell))
    run.finish({"test": test, "baseline": {"mean_square_error": adding_baseline()}})
    draw(run.folder)
    error = test["mean_square_error"]
    return (
        f"adding, length {config.length}, {label(config.cell)}: mean square error {error:.5f} on held-out "
        f"sequences; always answering 1 gives {adding_baseline():.5f}"
    )


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    config = read_run(folder)["config"]
    return draw_training(
        folder,
        metric="mean_square_error",
        y_label="mean square error, held out",
        name=label(config["cell"]),
        baseline=adding_baseline(),
        baseline_label="always answering 1",
    )
