"""Digits: real 8×8 images read pixel by pixel, 64 steps, in order or permuted. Le, Jaitly & Hinton 2015."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from data import DIGITS_CLASSES, digits, evaluation_batches, train_batches
from experiments.cells import label, parse_cell
from experiments.run import Run, read_run
from experiments.training import (
    Evaluation,
    Flat,
    TrainingConfig,
    classification,
    draw_training,
    train_model,
    training_record,
)
from models import SequenceClassifier
from train import LoopConfig, evaluate


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Digits."""

    permuted: bool = False
    """Read the pixels in one fixed random order."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=100))


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns what there is to say."""
    model = SequenceClassifier(parse_cell(config.cell, config.hidden_size), classes=DIGITS_CLASSES)
    source = digits("train", permuted=config.permuted)
    params = train_model(
        run.folder,
        run=run,
        model=model,
        measure=classification,
        config=config,
        batches=train_batches(source, batch_size=config.batch_size, seed=config.seed),
        validation=list(evaluation_batches(digits("validation", permuted=config.permuted), batch_size=270)),
        label=label(config.cell),
    )
    run.write_arrays("curves", training_record(run.folder))
    held_out = evaluation_batches(digits("test", permuted=config.permuted), batch_size=270)
    test = evaluate(Evaluation(model, classification), params, held_out)
    run.finish({"test": test, "baseline": {"accuracy": 1 / DIGITS_CLASSES}})
    draw(run.folder)
    order = "permuted" if config.permuted else "in order"
    return (
        f"digits, pixels {order}, {label(config.cell)}: accuracy {test['accuracy']:.1%} on 270 test images; "
        f"guessing gives {1 / DIGITS_CLASSES:.1%}"
    )


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    config = read_run(folder)["config"]
    return draw_training(
        folder,
        metric="accuracy",
        y_label="accuracy, held out",
        name=label(config["cell"]),
        baseline=1 / DIGITS_CLASSES,
        baseline_label="guessing",
    )
