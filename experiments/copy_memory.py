"""Copy: ten symbols recalled after a stretch of blanks. Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data import COPY_CATEGORIES, copy_baseline, copy_memory
from experiments.cells import label, parse_cell
from experiments.run import Run, read_run
from experiments.training import TrainingConfig, draw_training, tagging, train_on_task
from models import SequenceTagger
from models.cell import at_least


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Copy."""

    length: int = 30
    """Blanks between the symbols and their recall, T; sequences are T + 20 long."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, length=self.length)


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns what there is to say."""
    model = SequenceTagger(parse_cell(config.cell, config.hidden_size), classes=COPY_CATEGORIES)
    task = partial(copy_memory, blanks=config.length)
    test = train_on_task(run, config, model=model, measure=tagging, task=task, label=label(config.cell))
    baseline = copy_baseline(config.length)
    run.finish({"test": test, "baseline": {"cross_entropy": baseline}})
    draw(run.folder)
    return (
        f"copy after {config.length} blanks, {label(config.cell)}: cross entropy {test['cross_entropy']:.5f} nats "
        f"a step on held-out sequences; recalling by chance gives 10 ln 8 / (T + 20) = {baseline:.5f}"
    )


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    config = read_run(folder)["config"]
    return draw_training(
        folder,
        metric="cross_entropy",
        y_label="cross entropy, held out (nats a step)",
        name=label(config["cell"]),
        baseline=copy_baseline(config["length"]),
        baseline_label="recall by chance",
    )
