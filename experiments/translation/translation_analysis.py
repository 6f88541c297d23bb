"""Analyse translation models: scores by length and by width of the search, what their heads attend to.

--runs RUN … analyses every system of finished runs of `translation`, tested on the same pairs. Without it, small
systems are trained on generated pairs, joined to sequences of one to three.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from data import Pair, ParallelConfig
from data.text.parallel_config import read_parallel
from experiments.encoder_decoder.search import check_search_fits
from experiments.encoder_decoder.systems import NAMES
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct
from experiments.harness.errors import UserError
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.run_task import Trained, run_tasks
from experiments.task import Task
from experiments.training import Flat
from experiments.translation import analysis_report as report
from experiments.translation.analysis_measure import Subject, analyse
from experiments.translation.config import TranslationConfig
from experiments.translation.task import TOGETHER, translation_task
from experiments.translation.trained import net_path, trained_translation
from models import EncoderDecoder
from train import LoopConfig

SEVERAL_NETS = True  # one after another: what several processes can't share


@dataclass(frozen=True)
class Config(TranslationConfig):
    """Translation analysis."""

    runs: Annotated[tuple[Path, ...], tyro.conf.arg(help_behavior_hint="(default: none)")] = ()
    """Runs of `translation` to analyse, in place of the options of training."""
    lengths: tuple[int, ...] = (1, 3, 5, 10)
    """Numbers of test sentences joined to one source; each number is tested by itself."""
    widths: tuple[int, ...] = (1, 5, 20, 50)
    """Widths of the beam search."""
    sentences: int = 50
    """Test sources of each length, for each width, and along which attention is measured."""
    data: ParallelConfig = field(default_factory=lambda: ParallelConfig(joined=3, count=20_000))
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=250, eval_every=125))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, sentences=self.sentences)
        check_distinct(lengths=self.lengths, widths=self.widths)
        for name in ("lengths", "widths"):
            for number in getattr(self, name):
                check_at_least(1, **{name: number})

    def check(self) -> None:
        """Checks what is analysed, before a run is begun."""
        if self.preset is not None:
            raise UserError(
                "--preset", "names settings of `translation`: train there, and name its runs by --runs"
            )
        if len({folder.resolve() for folder in self.runs}) < len(self.runs):
            raise UserError("--runs", "names a run twice: name it once")
        if self.runs:
            for name in self.training_options:
                if getattr(self, name) != getattr(Config(), name):
                    raise UserError("--runs", f"are trained already: leave out the options of {name}")
        else:
            self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
            types = len(self.text.target.vocabulary)
            check_search_fits(max(self.widths), min(self.sentences, TOGETHER), types, "--widths")
            for task in self.tasks.values():
                check_task_fits(task, self.training(self.text))
        if max(self.lengths) > len(self.tested_pairs):
            raise UserError(
                "--lengths", f"joins {max(self.lengths)} sentences, but there are {len(self.tested_pairs)}"
            )
        _ = self.subjects

    @property
    def training_options(self) -> list[str]:
        """Returns the fields that say how systems are trained: those of `translation` but for the search."""
        return [each.name for each in fields(TranslationConfig) if each.name not in ("preset", "search")]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Returns the systems to train here by name; nothing is translated while they train."""
        return {
            NAMES[system]: replace(
                translation_task(self, system, self.text), score=None, report="cross_entropy"
            )
            for system in self.systems
        }

    @cached_property
    def subjects(self) -> dict[str, Subject]:
        """Returns the trained systems of the runs by name, with the run's where two have the same."""
        found: dict[str, Subject] = {}
        for folder in self.runs:
            newest = trained_translation(folder)
            for system in newest.config.systems:
                if not (folder / net_path(system) / "checkpoints").is_dir():
                    continue
                one = newest if system == newest.system else trained_translation(folder, system)
                name = NAMES[system]
                name = f"{name} ({folder})" if name in found else name
                found[name] = Subject(one.model, one.params, one.source, one.target, one.config.data.joined)
        return found

    @cached_property
    def tested_pairs(self) -> list[Pair]:
        """Returns the test pairs, or those for validation where there are none. Raises UserError where those of
        runs differ."""
        if not self.runs:
            return list(self.text.split(self.text.held_out[-1]).pairs)
        splits = [read_parallel(trained_translation(folder).config.data).splits for folder in self.runs]
        tests = [found.get("test", found["valid"]) for found in splits]
        for folder, pairs in zip(self.runs, tests, strict=True):
            if pairs != tests[0]:
                raise UserError("--runs", f"{folder} is tested on other pairs than {self.runs[0]}")
        return tests[0]


def main(config: Config, run: Run) -> str:
    """Trains the systems, or reads those of the runs; analyses each; draws; returns the tables."""
    options: Any = {name: getattr(config, name) for name in ("lengths", "widths", "sentences")}

    def analysed(subject: Subject) -> dict[str, np.ndarray]:
        return analyse(subject, config.tested_pairs, config.search, **options)

    def measured(name: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        del folder
        model = config.tasks[name].model
        assert isinstance(model, EncoderDecoder)
        text = config.text
        return analysed(Subject(model, trained.after, text.source, text.target, config.data.joined))

    found: dict[str, dict[str, np.ndarray]] = {}
    if config.runs:
        for name, subject in config.subjects.items():
            found[name] = run.cached(path_of(name), partial(analysed, subject))
            print(f"{name}: analysed", flush=True)
    else:
        found |= run_tasks(run, config.tasks, config.training(config.text), measured, path=path_of)
    run.write_arrays("analysed", {"names": np.array(list(found))})
    table = report.format_tables(found)
    run.write_table(table)
    draw(run.folder)
    run.finish(report.results(found))
    return table


def path_of(name: str) -> str:
    """Returns where the arrays of a system are kept."""
    return f"nets/{folder_name(name)}"


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return report.draw(folder, path_of)
