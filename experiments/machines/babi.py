"""Answer questions about short stories by a Neural Turing machine, by the same one without memory, and by a GRU.

By default stories of two kinds are made from a seed; --data.dir PATH/babi reads tasks of bAbI (Weston et al. 2015).
A net is trained for each task. It reads a sentence a step, or with --reading word a word, and answers in one word.
The machine's controller has no state, so that only its memory carries the story: with its memory off it knows the
last step alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data.stories.rows import Reading
from data.synthetic.stories import KINDS
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.machines.heads import is_machine
from experiments.machines.story_task import GUESS, StoryTask, read_stories_of, story_task, watched_story
from experiments.machines.systems import OFF, MemoryOnAndOff, outcome, train_nets
from experiments.run_task import Trained
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Stories:
    """The stories."""

    dir: Path | None = None
    """Folder with bAbI's files, qaTASK_…_train.txt and …_test.txt; by default stories are made from a seed."""
    questions: int = 10_000
    """Training questions of each task that is made, each about a story of its own."""
    facts: int = 6
    """The most sentences of a story that is made."""

    def __post_init__(self) -> None:
        check_at_least(20, **{"data.questions": self.questions})
        check_at_least(2, **{"data.facts": self.facts})


@dataclass(frozen=True)
class Config(MemoryOnAndOff):
    """Stories."""

    preset: str | None = None
    """The setting for bAbI's files; options given explicitly override it."""
    tasks: tuple[int, ...] = (1, 6)
    """Tasks by their numbers in bAbI, a net each: 1, 2, 6, 11 and 12 can be made."""
    data: Stories = field(default_factory=Stories)
    reading: Reading = "sentence"
    """Read a sentence a step, as the sum of its words' vectors, or a word a step."""
    blanks: int = 1
    """Steps without words after the question, to think."""
    embedding_size: int = 32
    """Size of a word's vector."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, clip_at=10.0)
    )

    carried: ClassVar[str] = "the story"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, embedding_size=self.embedding_size)
        check_at_least(0, blanks=self.blanks)
        check_distinct(tasks=self.tasks)

    def check(self) -> None:
        """Raises ValueError for stories that can't be read and nets that can't be built or trained in the free
        memory, before the run's folder is made."""
        if self.preset is not None and self.data.dir is None:
            raise UserError(
                "--data.dir", f"is missing: --preset {self.preset} is for bAbI's files in a folder"
            )
        absent = [task for task in self.tasks if task not in KINDS]
        if self.data.dir is None and absent:
            raise UserError(
                "--tasks",
                f"{absent[0]} can't be made: take {', '.join(map(str, KINDS))}, or give --data.dir PATH/babi",
            )
        self.check_layers()
        for net in self.nets().values():
            check_task_fits(net.task, self)
            net.task.data.train(self.seed, self.batch_size)  # too few questions are refused

    def nets(self) -> dict[str, StoryTask]:
        """Builds the task of training each system on each task, by the name of the net."""
        found = {}
        for number in self.tasks:
            questions = read_stories_of(number, self.data.dir, self.data.questions, self.data.facts)
            for system, layer in self.layers().items():
                found[f"task {number}, {system}"] = story_task(
                    f"task {number}",
                    questions,
                    layer,
                    self.reading,
                    self.blanks,
                    self.embedding_size,
                    self.network.way,
                )
        return found


PRESETS: Mapping[str, Config] = {
    "babi": Config(
        preset="babi",
        tasks=(1, 2, 4, 6, 11, 12, 15, 16),
        cells=("ntm(controller=dense(64), slots=32, width=20)", "gru"),
        loop=LoopConfig(steps=3000, eval_every=150, save_every=150, log_every=50),
        optimizer=OptimizerConfig(learning_rate=3e-3, clip_at=10.0, schedule="cosine", end_fraction=0.05),
    ),
}


def main(config: Config, run: Run) -> str:
    """Trains net by net, tests and draws; returns the table."""
    nets = config.nets()
    tasks = {name: net.task for name, net in nets.items()}

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        net = nets[name]
        params, found = outcome(net.task, config, trained, folder, run.fingerprint)
        if is_machine(net.cell) and OFF not in name:
            found |= watched_story(net, params)
        return found

    found = train_nets(run, tasks, config, measured, "accuracy")
    accuracies = {
        system: [float(found[f"task {number}, {system}"]["test|accuracy"]) for number in config.tasks]
        for system in config.layers()
    }
    first = next(iter(accuracies))
    accuracies[GUESS] = [
        tasks[f"task {number}, {first}"].baselines[GUESS]["accuracy"] for number in config.tasks
    ]
    run.write_arrays("accuracies", {name: np.array(values) for name, values in accuracies.items()})
    run.write_arrays("tasks", {"number": np.array(config.tasks)})
    table = format_table(accuracies, config.tasks)
    run.write_table(table)
    draw(run.folder)
    run.finish({"tasks": list(config.tasks), "accuracy": accuracies})
    return table


def format_table(accuracies: Mapping[str, Sequence[float]], tasks: Sequence[int]) -> str:
    """Formats a row for each system and for the commonest answer, a column for each task."""
    width = max(map(len, accuracies))
    lines = [
        "test questions answered right, by task",
        " " * width + "".join(f"  {number:>6}" for number in tasks),
    ]
    for name, values in accuracies.items():
        lines.append(f"{name:<{width}}" + "".join(f"  {value:>6.1%}" for value in values))
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays: accuracy by task, and of each machine its heads."""
    from analysis.figures.attention import Alignment, alignments_figure
    from analysis.figures.labelling import accuracy_by_task
    from analysis.figures.style import save

    numbers = read_arrays(folder, "tasks")["number"]
    names = [f"task {number}" for number in numbers]
    drawn: dict[str, Any] = {"accuracy": accuracy_by_task(read_arrays(folder, "accuracies"), names)}
    nets = read_arrays(folder, "nets")
    for key, steps in nets.items():
        name, _, what = key.partition("|")
        if what == "watched|steps":
            spoken = [sentence.replace(" ", "\u00a0") for sentence in steps.tolist()]
            heads = [
                Alignment(
                    weights,
                    spoken,
                    [str(row + 1) for row in range(weights.shape[-1])],
                    f"head {head + 1} {kind}",
                )
                for kind in ("writes", "reads")
                for head, weights in enumerate(np.moveaxis(nets[f"{name}|watched|{kind}"], 1, 0))
            ]
            drawn[f"heads_{folder_name(name)}"] = alignments_figure(heads, columns=1)
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
