"""Compare how the gradient reaches back along a recording, from many labels (CTC) and from one answer at its end.

Nets hear the same numbers, dialled as keypad tones or joined of recordings (--data.dir PATH/fsdd). With CTC the net
writes every digit, each near to where it is heard: many short paths. The other one names the first digit after the
last frame: one long path. The norm of the gradient of an utterance's loss by each frame, by its distance from the
last one, for several cells, before and after training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from data.speech.batches import SpeechBatch
from data.speech.corpus import SpeechConfig
from data.speech.joined import JoinConfig
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.files import read_arrays, stored_config
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.objective import Evaluation, Loss, Objective
from experiments.run_task import Trained, run_tasks
from experiments.speech.config import RecognitionConfig
from experiments.speech.task import recognition_task
from experiments.task import METRICS, Task
from experiments.training import CELL_HELP, Flat
from models import SequenceClassifier
from models.cell import Array, Params
from train import EvalFn, LoopConfig, OptimizerConfig, SumCount, accuracy, cross_entropy, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share
ANSWERS = ("every digit (CTC)", "the first digit, at the end")
MOMENTS = ("before", "after")


@dataclass(frozen=True)
class Config:
    """Speech gradients."""

    data: SpeechConfig = field(default_factory=SpeechConfig)
    cells: Annotated[
        tuple[str, ...], tyro.conf.arg(help=f"The cells, each trained on both answers: {CELL_HELP}.")
    ] = (
        "elman",
        "gru",
        "lstm",
    )
    digits: int = 6
    """Digits of an utterance."""
    hidden_size: int = 64
    """Units of each cell, H."""
    examples: int = 64
    """Test utterances along which gradients are measured."""
    batch_size: int = 16
    """Utterances per step, B."""
    seed: int = 0
    """Seed of parameters and training data."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=400, eval_every=100, chunk=10)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        check_at_least(1, digits=self.digits, hidden_size=self.hidden_size)
        check_at_least(1, examples=self.examples, batch_size=self.batch_size)
        check_distinct(cells=self.cells)
        check_seed(self.seed)

    def check(self) -> None:
        """Raises ValueError for nets that can't be built or trained, before a run is begun."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for task in self.tasks.values():
            check_task_fits(task, self.recognition(self.cells[0]))

    def recognition(self, cell: str) -> RecognitionConfig:
        """Returns the options of training a causal net with this cell as a recogniser."""
        return RecognitionConfig(
            cell=cell,
            hidden_size=self.hidden_size,
            network=NetworkConfig(direction="forward"),
            data=self.data,
            join=JoinConfig(self.digits, self.digits, shortest_pause=0.04, longest_pause=0.12),
            held_out=self.examples,
            batch_size=self.batch_size,
            seed=self.seed,
            loop=self.loop,
            optimizer=self.optimizer,
        )

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Builds both tasks of every cell, on the same utterances."""
        found = {}
        for cell in self.cells:
            options = self.recognition(cell)
            task = recognition_task(options, "ctc")
            every = replace(task, score=None, metrics={"loss": task.metrics["loss"]}, select="loss")
            model = SequenceClassifier(
                options.layer(), options.text.labels.classes, method=options.network.way
            )
            first = replace(
                every,
                model=model,
                objective=Objective(Loss(model, first_label), Evaluation(model, first_label)),
                metrics={name: METRICS[name] for name in ("cross_entropy", "accuracy")},
                select="cross_entropy",
            )
            found |= {f"{cell}, {answer}": task for answer, task in zip(ANSWERS, (every, first), strict=True)}
        return found


def first_label(logits: Array, batch: Any) -> dict[str, SumCount]:
    """Measures `logits [B, classes]` of whole utterances by their first label."""
    real, targets = jnp.any(batch.mask, axis=0), jnp.asarray(batch.labels)[0]
    return {
        "cross_entropy": cross_entropy(logits, targets, real),
        "accuracy": accuracy(logits, targets, real),
    }


def main(config: Config, run: Run) -> str:
    """Trains and measures net by net, draws, returns the table."""
    text = next(iter(config.tasks.values())).data
    batches: list[SpeechBatch] = text.test()

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        del folder
        task, found = config.tasks[name], {}
        for moment, params in zip(MOMENTS, (trained.before, trained.after), strict=True):
            norms = [np.asarray(frame_gradients(task.objective.evaluate, params, batch)) for batch in batches]
            found[f"{moment}|gradients"] = by_distance(norms, [np.asarray(batch.mask) for batch in batches])
            figures = evaluate(task.objective.evaluate, params, batches)
            found |= {f"{moment}|{metric}": figures[metric] for metric in task.metrics}
        return found

    options = config.recognition(config.cells[0])
    nets = dict(run_tasks(run, config.tasks, options, measured))
    table = format_table(nets)
    run.write_table(table)
    draw(run.folder)
    run.finish({name: results(found) for name, found in nets.items()})
    return table


@partial(jax.jit, static_argnums=0)
def frame_gradients(measure: EvalFn, params: Params, batch: SpeechBatch) -> Array:
    """Computes ‖∂ℓ/∂x_t‖ `[T, B]`, of the loss of each utterance, the first that `measure` sums, by each of its
    frames."""

    def loss(inputs: Array) -> Array:
        (total, _), *_ = measure(params, batch._replace(inputs=inputs)).values()
        return total

    return jnp.linalg.norm(jax.grad(loss)(jnp.asarray(batch.inputs)), axis=-1)


def by_distance(norms: list[np.ndarray], masks: list[np.ndarray]) -> np.ndarray:
    """Orders norms `[T, B]` of the valid frames by their distance from the last one: `[K, N]` for the N utterances
    of all batches, K being the length of the shortest."""
    rows = [
        column[valid][::-1]
        for norm, mask in zip(norms, masks, strict=True)
        for column, valid in zip(norm.T, mask.T, strict=True)
        if valid.any()
    ]
    shortest = min(map(len, rows))
    return np.stack([row[:shortest] for row in rows], axis=1)


def ends(gradients: np.ndarray) -> tuple[float, float]:
    """Returns the median gradient by the last tenth of the frames and by the first tenth, of those measured."""
    tenth = max(len(gradients) // 10, 1)
    return float(np.median(gradients[:tenth])), float(np.median(gradients[-tenth:]))


def format_table(nets: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Formats a row for each net: its measure after training, and the gradients by the last and first frames."""
    width = max(map(len, nets))
    head = "".join(f"{moment + ', last':>14}{'first':>9}" for moment in MOMENTS)
    lines = [f"{'cell, answer':<{width}}{'test':>16}{head}"]
    for name, found in nets.items():
        right = found.get("after|accuracy")
        measure = f"{float(found['after|loss']):.3f} nats" if right is None else f"{float(right):.1%} right"
        line = f"{name:<{width}}{measure:>16}"
        for moment in MOMENTS:
            last, first = ends(found[f"{moment}|gradients"])
            line += f"{last:>14.1e}{first:>9.1e}"
        lines.append(line)
    explained = (
        "Gradient of an utterance's loss by its frames, before and after training: medians over the last and the\n"
        "first tenth of the frames that every utterance has. Of CTC, the loss of a label is given."
    )
    return "\n".join([*lines, "", explained])


def results(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the measures and median gradients of a net."""
    plain = {key.replace("|", " training, "): float(value) for key, value in found.items() if value.ndim == 0}
    medians = {
        f"{moment} training, gradients": np.median(found[f"{moment}|gradients"], axis=1).tolist()
        for moment in MOMENTS
    }
    return plain | medians


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    from analysis.figures.influence import gradient_by_distance
    from analysis.figures.style import save

    config = stored_config(Config, folder)
    names = [f"{cell}, {answer}" for cell in config.cells for answer in ANSWERS]
    nets = {name: read_arrays(folder, f"nets/{folder_name(name)}") for name in names}
    before, after = ({name: found[f"{m}|gradients"] for name, found in nets.items()} for m in MOMENTS)
    figure = gradient_by_distance(
        before,
        after,
        y_label=r"gradient norm $\|\partial\ell\,/\,\partial x_{T-n}\|$",
        x_label="distance $n$ (frames before the last one)",
    )
    return save(figure, folder / "figures", "frame_gradients")
