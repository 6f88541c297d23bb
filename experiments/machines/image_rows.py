"""Tell digits read row by row by a Neural Turing machine, by the same one without memory, and by a GRU.

By default scikit-learn's digits, 8 × 8; --preset mnist --data.dir PATH/mnist reads MNIST, 28 × 28. The machine's
controller has no state, and a blank row follows the image, so that only the memory carries what was read: with its
memory off the machine can but give one answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data import ArrayExamples, ImagesConfig, array_digest, load_images
from data.images import nearest_mean, rows_of
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.machines.heads import is_machine, read_images
from experiments.machines.systems import OFF, MemoryOnAndOff, outcome, read_nets, train_nets
from experiments.problems import images_problem
from experiments.run_task import Trained
from experiments.task import METRICS, Task
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share
NEAREST = "nearest class mean"


@dataclass(frozen=True)
class Pictures:
    """The images."""

    dir: Path | None = None
    """The folder of MNIST's four files in IDX format, plain or gzipped. Default: scikit-learn's digits, 8×8."""
    cache: Path | None = None
    """Folder for the prepared images of --data.dir. Default: one in the user's cache."""


@dataclass(frozen=True)
class Config(MemoryOnAndOff):
    """Digits, row by row."""

    preset: str | None = None
    """The setting for MNIST's files; options given explicitly override it."""
    data: Pictures = field(default_factory=Pictures)
    blanks: int = 1
    """Blank rows after the image."""
    shown: int = 3
    """Test images over which the heads are drawn."""

    carried: ClassVar[str] = "the image"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, shown=self.shown)
        check_at_least(0, blanks=self.blanks)

    def check(self) -> None:
        """Raises ValueError for images that can't be read and cells that can't be built, before the run's folder is
        made."""
        if self.preset is not None and self.data.dir is None:
            raise UserError(
                "--data.dir", f"is missing: --preset {self.preset} is for MNIST's files in a folder"
            )
        if self.data.dir is not None and not self.data.dir.is_dir():
            raise UserError("--data.dir", f"{self.data.dir} is no folder: give that of MNIST's four files")
        self.check_layers()
        for task in self.nets(self.images()).values():
            check_task_fits(task, self)
            task.data.train(self.seed, self.batch_size)  # too few images are refused

    def images(self) -> dict[str, ArrayExamples]:
        """Loads the images by split, a row a step, blank rows at the end: inputs `[N, T, side]`."""
        config = ImagesConfig(dir=self.data.dir, cache=self.data.cache)
        side = int(config.pixels**0.5)
        return {split: rows_of(part, side, self.blanks) for split, part in load_images(config).items()}

    def nets(self, images: Mapping[str, ArrayExamples]) -> dict[str, Task]:
        """Builds the task of training each system, by its name."""
        test = images["test"]
        _, steps, side = test.inputs.shape
        source = "digits" if self.data.dir is None else "MNIST"
        problem = images_problem(
            f"{source} {side} × {side}, row by row",
            images.__getitem__,
            steps,
            len(images["validation"]),
            f"{len(test):,} test images",
            side,
        )
        labels = array_digest([part.targets for part in images.values()])
        return {
            name: replace(
                problem.task(problem.model(self.network, layer)), fingerprint={"the images": labels}
            )
            for name, layer in self.layers().items()
        }


PRESETS: Mapping[str, Config] = {
    # 859 steps read the 55,000 training images once.
    "mnist": Config(
        preset="mnist",
        cells=("ntm(controller=dense(128), slots=16, width=32)", "gru"),
        hidden_size=128,
        batch_size=64,
        loop=LoopConfig(steps=6000, eval_every=600, save_every=600, log_every=50),
        optimizer=OptimizerConfig(learning_rate=3e-3, clip_at=10.0, schedule="cosine", end_fraction=0.02),
    )
}


def main(config: Config, run: Run) -> str:
    """Trains net by net, tests and draws; returns the table."""
    images, layers = config.images(), config.layers()
    nets = config.nets(images)

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        params, found = outcome(nets[name], config, trained, folder, run.fingerprint)
        if is_machine(layers[name]) and OFF not in name:
            found |= read_images(nets[name].model, params, images["test"][: config.shown])
        return found

    found = train_nets(run, nets, config, measured, "accuracy")
    first = next(iter(nets.values()))
    baselines = {name: values["accuracy"] for name, values in first.baselines.items()}
    baselines[NEAREST] = nearest_mean(images)
    run.write_arrays("baselines", {name: np.array(value) for name, value in baselines.items()})
    table = format_table(f"{first.title}: accuracy on {first.data.tested_on}", found, baselines)
    run.write_table(table)
    draw(run.folder)
    accuracies = {name: float(net["test|accuracy"]) for name, net in found.items()}
    run.finish({"accuracy": accuracies, "baselines": baselines})
    return table


def format_table(
    title: str, nets: Mapping[str, Mapping[str, np.ndarray]], baselines: Mapping[str, float]
) -> str:
    """Formats a row for each system and each baseline."""
    width = max(map(len, (*nets, *baselines)))
    lines = [title, "", f"{'':<{width}}  {'accuracy':>8}  {'parameters':>10}"]
    for name, net in nets.items():
        lines.append(f"{name:<{width}}  {float(net['test|accuracy']):>8.1%}  {int(net['parameters']):>10,}")
    return "\n".join([*lines, *(f"{name:<{width}}  {value:>8.1%}" for name, value in baselines.items())])


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays: accuracy during training, and of each machine its heads
    over test images."""
    from analysis.figures.attention import ReadImage, read_images_figure
    from analysis.figures.curves import training_curves
    from analysis.figures.style import save

    nets = read_nets(folder)
    drawn = {
        "training": training_curves(
            {n: {"step": net["curve|step"], "value": net["curve|accuracy"]} for n, net in nets.items()},
            y_label=f"{METRICS['accuracy'].label}, held out",
            baseline=float(read_arrays(folder, "baselines")[NEAREST]),
            baseline_label=NEAREST,
        )
    }
    for name, net in nets.items():
        if "watched|rows" in net:
            seen = [
                ReadImage(rows, held, {"writes": writes, "reads": reads}, f"{true} read as {said}")
                for rows, held, writes, reads, true, said in zip(
                    *(
                        net[f"watched|{what}"]
                        for what in ("rows", "held", "writes", "reads", "labels", "answers")
                    ),
                    strict=True,
                )
            ]
            drawn[f"heads_{folder_name(name)}"] = read_images_figure(seen)
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
