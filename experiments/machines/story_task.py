"""Stories with questions as a `Task`, and a machine's heads while it reads one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data import Batch, Example, bucket_batches, collate
from data.stories.corpus import Question, majority, read_task
from data.stories.rows import Reading, Words
from data.synthetic.stories import stories
from experiments.cell_view import CellView
from experiments.harness.processes import process_shard
from experiments.machines.heads import diagnostics
from experiments.machines.story_net import StoryReader
from experiments.objective import classification, measured_by
from experiments.task import METRICS, Data, Recurrence, Task
from models import Cell
from models.cell import Params
from models.recurrence.methods import Method

GUESS = "the commonest answer"
HELD_OUT = 0.1  # of the training questions, for validation
AT_ONCE = 250  # held-out questions in a batch


@dataclass(frozen=True)
class StoryTask:
    """The task of training a cell on stories, and what to watch it by.

    Attributes:
        example: of the test, whose steps are read in words `shown`.
    """

    task: Task
    cell: Cell
    example: Batch
    shown: tuple[str, ...]


def read_stories_of(
    number: int, folder: Path | None, questions: int, facts: int
) -> tuple[Sequence[Question], Sequence[Question]]:
    """Reads or makes the questions of a task, to train and to test on."""
    if folder is not None:
        return read_task(folder, number)
    return stories(number, questions, 0, facts), stories(number, 1000, 1, facts)


def story_task(
    title: str,
    questions: tuple[Sequence[Question], Sequence[Question]],
    cell: Cell,
    reading: Reading,
    blanks: int,
    embedding_size: int,
    method: Method,
) -> StoryTask:
    """Builds the task of a cell. The last tenth of the training questions is for validation."""
    train, test = questions
    words = Words(train)
    asked = words.examples(train, reading, blanks)
    tested = words.examples(test, reading, blanks)
    kept = len(asked) - max(1, round(HELD_OUT * len(asked)))
    learned, held = asked[:kept], asked[kept:]
    widest = asked[0].inputs.shape[1]
    longest = max(len(example.inputs) for example in asked)
    bounds = sorted({max(1, longest // 2), longest})
    model = StoryReader(cell, len(words.answers) + 1, words.size, widest, embedding_size, method)

    def batches(seed: int, rows: int) -> Any:
        return bucket_batches(learned, batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def shapes(examples: int) -> Batch:
        steps = (longest, examples)
        return jax.eval_shape(
            lambda: Batch(
                jax.numpy.zeros((*steps, widest), int),
                jax.numpy.zeros(examples, int),
                jax.numpy.ones(steps, bool),
            )
        )

    shown = words.steps(test[0], reading)
    return StoryTask(
        task=Task(
            title=title,
            model=model,
            data=Data(
                batches,
                lambda: padded(held),
                lambda: padded(tested),
                f"{len(test):,} test questions",
                shapes=shapes,
                held_out=len(held),
            ),
            objective=measured_by(model, classification),
            metrics={name: METRICS[name] for name in ("cross_entropy", "accuracy")},
            select="accuracy",
            baselines={GUESS: {"accuracy": majority(train, test)}},
            recurrent=Recurrence(cell, classification),
            fingerprint={"the words": sorted(words.ids), "the answers": sorted(words.answers)},
        ),
        cell=cell,
        example=collate(tested[:1], len(tested[0].inputs)),
        shown=(*(" ".join(step) for step in shown), *["(blank)"] * blanks),
    )


def padded(examples: Sequence[Example]) -> list[Batch]:
    """Collates held-out examples, all padded to the longest."""
    longest = max(len(example.inputs) for example in examples)
    return [collate(examples[start : start + AT_ONCE], longest) for start in range(0, len(examples), AT_ONCE)]


def watched_story(net: StoryTask, params: Params) -> dict[str, np.ndarray]:
    """Returns where a machine writes and reads in its example, `[T, heads, N]`, and the words of its steps."""
    own, xs = CellView(net.task.model, classification).entry(params, net.example)
    seen = diagnostics(net.cell, own, xs[:, 0])
    return {
        "watched|writes": np.asarray(seen["write_weights"]),
        "watched|reads": np.asarray(seen["read_weights"]),
        "watched|steps": np.array(net.shown),
    }
