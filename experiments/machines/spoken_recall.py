"""Hear different digits, a tone and one of the digits again, and answer with the one that came after it.

The listening test of a Neural Turing machine, beside the same machine with its memory off and a GRU. By default the
digits are tones of a telephone's keypad; --preset fsdd --data.dir PATH/fsdd takes spoken ones, of the speakers of
training in recordings that training never has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from data.speech.corpus import SpeechConfig, load_speech
from data.speech.features import FeaturesConfig
from data.speech.joined import JoinConfig
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_not_negative
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.machines.heads import is_machine
from experiments.machines.recall_task import (
    GUESS,
    METRICS,
    SpokenRecall,
    recall_task,
    spoken_recall,
    watched_utterance,
)
from experiments.machines.systems import OFF, MemoryOnAndOff, outcome, read_nets, train_nets
from experiments.run_task import Trained
from experiments.task import Task
from experiments.training import CELL_HELP, Flat
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(MemoryOnAndOff):
    """Spoken recall."""

    preset: str | None = None
    """The setting for recordings of spoken digits; options given explicitly override it."""
    data: SpeechConfig = field(default_factory=SpeechConfig)
    join: JoinConfig = field(
        default_factory=lambda: JoinConfig(
            fewest=3, most=5, shortest_pause=0.05, longest_pause=0.1, noise=-30.0
        )
    )
    features: FeaturesConfig = field(default_factory=lambda: FeaturesConfig(filters=24, stack=8))
    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which the recordings of training are played, each as often as the others."""
    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The cells side by side: {CELL_HELP}.")] = (
        "ntm(slots=16, width=20)",
        "gru",
    )
    blanks: int = 2
    """Steps without sound after the question, to think; the last has the answer."""
    told: float = 1.0
    """Weight in the loss of naming at each step the word that is said; 0 leaves it out."""
    utterances: int = 6000
    """Utterances joined for training."""
    held_out: int = 500
    """Utterances joined for validation, and for test."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1500, eval_every=150, save_every=150, chunk=10)
    )

    carried: ClassVar[str] = "what was said"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, held_out=self.held_out, utterances=self.utterances)
        check_at_least(0, blanks=self.blanks)
        check_not_negative(told=self.told)
        if not self.speeds or not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise UserError("--speeds", f"must be one or more from 0.5 to 2, but is {self.speeds}")

    @cached_property
    def recall(self) -> SpokenRecall:
        """Returns the utterances with their questions, of recordings that are loaded when first asked for."""
        speech = load_speech(self.data, self.features.rate)
        if not speech.words:
            raise UserError("--data.dir", f"{self.data.dir} must hold single spoken digits, as FSDD does")
        return spoken_recall(
            speech,
            self.join,
            self.features,
            self.speeds,
            self.seed,
            self.blanks,
            {"train": self.utterances, "valid": self.held_out, "test": self.held_out},
        )

    def check(self) -> None:
        """Raises ValueError for recordings that can't be read and nets that can't be built or trained in the free
        memory, before the run's folder is made."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for recordings in a folder")
        self.check_layers()
        if self.batch_size > self.utterances:
            raise UserError(
                "--batch-size", f"{self.batch_size} is more than the {self.utterances} utterances"
            )
        for task in self.nets().values():
            check_task_fits(task, self)

    def nets(self) -> dict[str, Task]:
        """Builds the task of training each system, by its name."""
        return {
            name: recall_task(self.recall, layer, self.network, self.told)
            for name, layer in self.layers().items()
        }


PRESETS: Mapping[str, Config] = {
    "fsdd": Config(
        preset="fsdd",
        features=FeaturesConfig(stack=8),
        utterances=15_000,
        speeds=(0.9, 1.0, 1.1),
        hidden_size=128,
        loop=LoopConfig(steps=6000, eval_every=300, save_every=300, chunk=10),
        optimizer=OptimizerConfig(learning_rate=3e-3, clip_at=10.0, schedule="cosine", end_fraction=0.02),
    )
}


def main(config: Config, run: Run) -> str:
    """Trains net by net, tests and draws; returns the table."""
    recall, layers, nets = config.recall, config.layers(), config.nets()

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        params, found = outcome(nets[name], config, trained, folder, run.fingerprint)
        if is_machine(layers[name]) and OFF not in name:
            found |= watched_utterance(recall, nets[name], params)
        return found

    found = train_nets(run, nets, config, measured, "exact")
    guess = next(iter(nets.values())).baselines[GUESS]["exact"]
    run.write_arrays("baselines", {GUESS: np.array(guess)})
    table = format_table(f"{config.held_out:,} test utterances", found, guess)
    run.write_table(table)
    draw(run.folder)
    scores = {
        name: {metric: float(net[f"test|{metric}"]) for metric in METRICS} for name, net in found.items()
    }
    run.finish({"systems": scores, "baselines": {GUESS: guess}})
    return table


def format_table(tested_on: str, nets: Mapping[str, Mapping[str, np.ndarray]], guess: float) -> str:
    """Formats a row for each system, and one for guessing."""
    width = max(map(len, (*nets, GUESS)))
    lines = [
        f"which digit came after that one? {tested_on}",
        "",
        f"{'':<{width}}  {'exact':>7}  {'heard, a step':>13}  {'parameters':>10}",
    ]
    for name, net in nets.items():
        lines.append(
            f"{name:<{width}}  {float(net['test|exact']):>7.1%}  {float(net['test|heard']):>13.1%}  "
            f"{int(net['parameters']):>10,}"
        )
    return "\n".join([*lines, f"{GUESS:<{width}}  {guess:>7.1%}"])


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays: exact answers during training, and of each machine its
    heads while it hears one test utterance."""
    from analysis.figures.attention import Strip, strips_figure
    from analysis.figures.curves import training_curves
    from analysis.figures.style import save

    nets = read_nets(folder)
    drawn = {
        "training": training_curves(
            {n: {"step": net["curve|step"], "value": net["curve|exact"]} for n, net in nets.items()},
            y_label=f"{METRICS['exact'].label}, held out",
            baseline=float(read_arrays(folder, "baselines")[GUESS]),
            baseline_label=GUESS,
        )
    }
    for name, net in nets.items():
        if "watched|said" in net:
            strips = [
                Strip(net["watched|heard"], "what is heard, by the filters from low to high"),
                *(
                    Strip(
                        net[f"watched|{kind}"][:, head],
                        f"head {head + 1} {kind}: weights over the memory",
                        0,
                        1,
                    )
                    for kind in ("writes", "reads")
                    for head in range(net[f"watched|{kind}"].shape[1])
                ),
            ]
            drawn[f"heads_{folder_name(name)}"] = strips_figure(
                strips, x_label="what is said at a step", x_ticks=net["watched|said"].tolist()
            )
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
