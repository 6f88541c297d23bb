"""Translate spoken digits to German number words, with no transcript between: "two one": "einundzwanzig".

German says units before tens, so the order of what is heard and of what is written crosses. Side by side: a decoder
that attends; CTC, whose labels follow the order of its steps, over an encoder that reads both ways and over a
causal one; and CTC for the digits with the rule of German numbers, which is the ceiling. By default the digits are
tones of a telephone's keypad; the preset fsdd, with --data.dir PATH/fsdd, takes spoken ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from analysis import ExactMatch
from analysis.scores.edits import ErrorRate
from data.speech.augmentation import AugmentConfig
from data.speech.batches import SpeechBatch
from data.speech.joined import JoinConfig
from data.speech.labels import LabelKind
from experiments.corpus_score import CorpusScore, Decoded
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_distinct
from experiments.harness.errors import UserError
from experiments.harness.files import arrays_with_prefix, read_arrays, stored_config
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.restore import best_params
from experiments.run_task import Trained, train_all
from experiments.speech.config import RecognitionConfig
from experiments.speech.crossing import attended
from experiments.speech.report import scores_of
from experiments.speech.scoring import Decoder
from experiments.speech.task import recognition_task
from experiments.speech.translated import MOST_DIGITS, TranslatedText, number_of
from experiments.task import Metric, Task
from experiments.task_report import format_columns, metric_rows, training_record
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from models.cell import Params
from models.speech.attention_recogniser import AttentionRecogniser
from train import LoopConfig, OptimizerConfig, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share
System = Literal["attention", "ctc", "causal", "rule"]
NAMES: Mapping[System, str] = {
    "attention": "attention",
    "ctc": "CTC, both directions",
    "causal": "CTC, causal",
    "rule": "CTC for digits, and the rule",
}
FREQUENT = "the most frequent answer"
STATISTICS = {"exact": ExactMatch(), "parts": ErrorRate(words=True)}
METRICS: Mapping[str, Metric] = {
    "loss": Metric("loss (nats a label)", scale="log"),
    "exact": Metric("exact match", ".1%", "higher"),
    "parts": Metric("errors in parts of words", ".2%"),
}


@dataclass(frozen=True)
class Config(RecognitionConfig):
    """Speech translation."""

    systems: Annotated[
        tuple[System, ...],
        tyro.conf.arg(
            help="The nets side by side. attention: a decoder that attends; ctc: labels in the order of the steps; "
            "causal: the same, its encoder reads forward only; rule: CTC for digits, and the rule."
        ),
    ] = ("attention", "ctc", "causal", "rule")
    join: JoinConfig = field(
        default_factory=lambda: JoinConfig(
            fewest=2, most=4, shortest_pause=0.04, longest_pause=0.12, noise=-15.0
        )
    )
    labels: LabelKind = "words"
    """Words: digits, and the parts of number words."""
    width: int = 1
    """Hypotheses kept by the search of the test answers."""
    pad: int = 64
    """Steps to a multiple of which a batch is padded; each length is compiled by itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(systems=self.systems)
        if self.labels != "words":
            raise UserError("--labels", f"{self.labels} has no parts of number words: leave it out")
        if self.join.most > MOST_DIGITS:
            raise UserError("--join.most", f"is {self.join.most}: numbers have at most {MOST_DIGITS} digits")

    @cached_property
    def translated(self) -> TranslatedText:
        """Returns digits with numbers in German."""
        return TranslatedText.of(self.text)

    def check(self) -> None:
        """Raises ValueError for faults of options and recordings, before a run is begun."""
        if self.network.direction != "both":
            raise UserError("--direction", "must be both: the causal net is one of --systems")
        super().check()
        if not self.text.speech.words:
            raise UserError("--data.dir", f"{self.data.dir} must hold single spoken digits, as FSDD does")
        for system in self.systems:
            check_task_fits(translation_task(self, system), self)

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other recordings."""
        check_same_text(folder, self.text)


FSDD: Any = {
    "join": JoinConfig(fewest=2, most=4),
    "augment": AugmentConfig(speeds=(0.9, 1.0, 1.1), time_masks=2, frequency_masks=2),
    "hidden_size": 128,
    "network": NetworkConfig(depth=2, direction="both", dropout=0.2),
    "batch_size": 32,
    "systems": ("attention",),
    "loop": LoopConfig(steps=2500, eval_every=250, save_every=250, chunk=1),
    "optimizer": OptimizerConfig(learning_rate=3e-3, schedule="warmup_cosine", warmup_steps=100),
}
PRESETS: Mapping[str, Config] = {"fsdd": Config(preset="fsdd", **FSDD)}


def digits_decoder(decoder: Decoder) -> Any:
    """Returns a decoder that puts the digits of another into German words."""

    def decode(params: Params, batch: SpeechBatch) -> Iterator[Decoded]:
        for one in decoder(params, batch):
            yield Decoded(number_of(one.prediction.split()), number_of(one.reference.split()))

    return decode


def decoder_of(config: Config, system: System, task: Task, width: int = 1) -> Any:
    """Returns what decodes batches of a system to number words."""
    if system == "rule":
        return digits_decoder(Decoder(task.model, config.text.labels, width=width))
    return Decoder(task.model, config.translated.labels, width=width)


def translation_task(config: Config, system: System) -> Task:
    """Builds the task of training one of the systems."""
    text = config.text if system == "rule" else config.translated
    own = config
    if system == "causal":
        own = replace(config, network=replace(config.network, direction="forward"))
    task = recognition_task(own, "attention" if system == "attention" else "ctc", text=text)
    score = CorpusScore(decoder_of(config, system, task), STATISTICS, examples=0)
    return replace(task, title="speech translation", metrics=METRICS, select="exact", score=score)


def measure(config: Config, system: System, task: Task, params: Params, folder: Path) -> dict[str, Any]:
    """Measures a trained system on the test utterances: `test|METRIC`, its curve, its number of parameters; of the
    decoder its attention."""
    batches = task.data.test()
    score = CorpusScore(decoder_of(config, system, task, config.width), STATISTICS)
    scored = evaluate(task.objective.evaluate, params, batches) | dict(score(params, batches).figures)
    found: dict[str, Any] = {f"test|{name}": value for name, value in scored.items()}
    record = training_record(folder)
    found |= {"curve|step": record["validation/exact/step"], "curve|value": record["validation/exact"]}
    found["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(params))
    if isinstance(task.model, AttentionRecogniser):
        found |= attended(config.translated, config.features, config.shown, task.model, params)
    return found


def main(config: Config, run: Run) -> str:
    """Trains system by system, tests, tabulates and draws; returns the report."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.translated)
    print(config.text.speech.summary(), flush=True)
    tasks = {NAMES[system]: translation_task(config, system) for system in config.systems}
    by_name: dict[str, System] = {NAMES[system]: system for system in config.systems}

    def measured(name: str, trained: Trained, folder: Path) -> Mapping[str, Any]:
        del trained  # it may not be the best
        params = best_params(tasks[name], config, folder, run.fingerprint)
        return measure(config, by_name[name], tasks[name], params, folder)

    paths = {name: f"nets/{system}" for name, system in by_name.items()}
    found = train_all(run, tasks, config, measured, "exact", path=paths.__getitem__)
    baseline = run.cached("baselines", lambda: frequent(config))
    table = format_report(config, found, {name: float(value) for name, value in baseline.items()})
    run.write_table(table)
    draw(run.folder)
    first, *_ = found.values()
    run.finish(
        {
            "test": scores_of(first),
            "reported": "exact",
            "systems": {name: scores_of(arrays) for name, arrays in found.items()},
            "baselines": {FREQUENT: {name: float(value) for name, value in baseline.items()}},
            "crossed": {
                name: float(arrays["crossed"]) for name, arrays in found.items() if "crossed" in arrays
            },
        }
    )
    return table


def frequent(config: Config) -> dict[str, np.ndarray]:
    """Returns the scores of always giving the most frequent answer of training."""
    answer = config.translated.most_frequent(config.seed)
    score = CorpusScore(lambda _, batch: iter(()), STATISTICS)
    decoded = [Decoded(answer, one.text) for one in config.translated.held_out["test"]]
    return {name: np.array(value) for name, value in score.figures(score.add(decoded)).items()}


def format_report(
    config: Config, systems: Mapping[str, Mapping[str, np.ndarray]], baseline: Mapping[str, float]
) -> str:
    """Formats a column for each system and one for the baseline, and the crossings."""
    columns = {name: scores_of(found) for name, found in systems.items()} | {FREQUENT: dict(baseline)}
    rows = metric_rows(METRICS, columns)
    rows["parameters"] = {name: f"{int(found['parameters']):,}" for name, found in systems.items()}
    lines = [
        f"{config.label()} on {len(config.text.held_out['test']):,} test utterances",
        "",
        *format_columns(columns, rows),
    ]
    for name, found in systems.items():
        if "crossed" in found:
            lines += [
                "",
                f"{name}: the units are attended to later than the tens, but written before them, in "
                f"{float(found['crossed']):.0%} of {int(found['crossings'])} test utterances that have both",
            ]
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays: training, and attention over the spectrogram."""
    from analysis.figures.curves import training_curves
    from analysis.figures.style import save
    from analysis.speech.figures import Attended, attention_figure

    config = stored_config(Config, folder)
    found: dict[System, Any] = {system: read_arrays(folder, f"nets/{system}") for system in config.systems}
    figure = training_curves(
        {NAMES[system]: arrays_with_prefix("curve", arrays) for system, arrays in found.items()},
        y_label=f"{METRICS['exact'].label}, held out",
        baseline=float(read_arrays(folder, "baselines")["exact"]),
        baseline_label=FREQUENT,
    )
    drawn = save(figure, folder / "figures", "training")
    heard = []
    for arrays in found.values():
        for place in range(config.shown):
            if f"weights|{place}" in arrays:
                said = str(arrays[f"said|{place}"])
                frames, weights = arrays[f"frames|{place}"], arrays[f"weights|{place}"]
                heard.append(Attended(frames, weights, said.split(), said.replace(" ", "")))
    if not heard:
        return drawn
    return drawn + save(attention_figure(heard, config.features.hop), folder / "figures", "attention")
