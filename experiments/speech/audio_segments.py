"""Learn one vector a segment of speech, from which its frames are written again; nearest segments, sounds.

A sequence autoencoder (Chung et al. 2016, Audio Word2Vec): the decoder runs freely, the last frame first. By
default segments are two tones of a telephone's keypad, so that "12" and "21" differ in their order alone;
the preset fsdd, with --data.dir PATH/fsdd, takes spoken digits. Beside the vectors stand dynamic time warping and
mean frames. Sounds of what is written are in the run's folder, sounds/*.wav.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro

from analysis.speech.nearest import cosine_distances
from data import Batch
from data.speech.corpus import SpeechConfig
from data.speech.features import FeaturesConfig
from data.speech.joined import JoinConfig
from data.speech.sound import Sound, wav_bytes
from experiments.cell_spec import parse_cell
from experiments.encoder_decoder.systems import ENCODERS
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, stored_config
from experiments.harness.run import Run
from experiments.network import Direction
from experiments.objective import measured_by
from experiments.run_task import run_task
from experiments.speech.segment_measure import measure, nearest_table, vectors_of
from experiments.speech.segments import HeldOut, Segments, check_words, load_segments, nearest_scores
from experiments.speech.translated import VALUES
from experiments.task import Data, Metric, Scores, Task
from experiments.task_report import draw_task
from experiments.text_files import check_same_text, remember_text
from experiments.training import CELL_HELP, Flat
from models.cell import Array, Params
from models.speech.segment_autoencoder import SegmentAutoencoder
from train import LoopConfig, OptimizerConfig, SumCount, squared_error
from train.files import write_file

METRICS: Mapping[str, Metric] = {
    "mean_square_error": Metric("mean square error", ".3f"),
    "nearest": Metric("nearest segment says the same", ".1%", "higher"),
    "across": Metric("the same, among other speakers", ".1%", "higher"),
}


@dataclass(frozen=True)
class Config:
    """The options of an autoencoder of speech."""

    preset: str | None = None
    """Options of a setting; options given explicitly override it."""
    data: SpeechConfig = field(default_factory=SpeechConfig)
    join: JoinConfig = field(
        default_factory=lambda: JoinConfig(
            fewest=2, most=2, shortest_pause=0.02, longest_pause=0.1, noise=-40.0
        )
    )
    features: FeaturesConfig = field(default_factory=lambda: FeaturesConfig(normalise="training"))
    segments: int = 2000
    """Segments of training joined of several words. With --join.most 1 each recording is a segment as it is."""
    held_out: int = 400
    """Segments joined for validation, and for test."""
    cell: Annotated[str, tyro.conf.arg(help=f"The cell of encoder and decoder: {CELL_HELP}.")] = "gru"
    hidden_size: int = 96
    """Units of the cells, H: with a GRU the size of the vector."""
    direction: Direction = "both"
    """Direction in which the encoder reads; both maps two last states to one vector."""
    reverse: bool = True
    """Write the last frame first."""
    shown: int = 4
    """Test segments that are drawn and made to sound."""
    batch_size: int = 32
    """Segments per step, B."""
    seed: int = 0
    """Seed of parameters and of the order of the training segments."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=600, eval_every=150, save_every=150, chunk=5)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        sizes = ("segments", "held_out", "hidden_size", "shown", "batch_size")
        check_at_least(1, **{name: getattr(self, name) for name in sizes})
        check_seed(self.seed)

    @cached_property
    def spoken(self) -> Segments:
        """Returns the segments, loaded when first asked for."""
        return load_segments(self.data, self.join, self.features, self.segments, self.held_out)

    def check(self) -> None:
        """Raises ValueError for faults of options and recordings, before a run is begun."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for recordings in a folder")
        if self.loop.health.every:
            raise UserError(
                "--health.every", "looks into one recurrence, and an autoencoder has two: leave it out"
            )
        if self.features.normalise == "utterance":
            raise UserError(
                "--features.normalise", "utterance can't be undone where frames become sound: take training"
            )
        if self.data.dir is None and self.join.most == 1:
            raise UserError("--join.most", "1 makes a segment of a tone without noise: take 2 or more")
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        self.build()  # a cell that doesn't fit is refused before sounds are made
        check_words(self.spoken, self.data.dir)
        check_task_fits(segments_task(self, self.spoken), self)

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other recordings."""
        check_same_text(folder, self.spoken)

    def build(self) -> SegmentAutoencoder:
        """Builds the model."""
        cell = parse_cell(self.cell, self.hidden_size)
        if cell.couples_batch:
            raise UserError("--cell", f"{self.cell} couples the segments of a batch: take another")
        return SegmentAutoencoder(ENCODERS[self.direction](cell), cell, self.features.size, self.reverse)


def rebuilt_error(outputs: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures the squared error of a frame's numbers."""
    return {"mean_square_error": squared_error(outputs, jnp.asarray(batch.inputs), jnp.asarray(batch.mask))}


def segments_task(config: Config, segments: Segments) -> Task:
    """Builds the task."""
    model = config.build()

    def shapes(rows: int) -> Batch:
        steps, kind = segments.bounds[-1], jax.ShapeDtypeStruct
        inputs = kind((steps, rows, config.features.size), jnp.float32)
        return Batch(inputs, kind((rows,), jnp.int32), kind((steps, rows), jnp.bool_))  # type: ignore[arg-type]

    def score(params: Params, batches: Sequence[Any]) -> Scores:
        assert isinstance(batches, HeldOut)
        distances = cosine_distances(vectors_of(model, params, batches))
        return Scores(nearest_scores(distances, batches.segments), nearest_table(distances, batches))

    return Task(
        title="audio segments",
        model=model,
        data=Data(
            segments.batches,
            partial(HeldOut, segments, "valid"),
            partial(HeldOut, segments, "test"),
            f"{len(segments.splits['test']):,} test segments",
            shapes=shapes,
        ),
        objective=measured_by(model, rebuilt_error),
        metrics=METRICS,
        select="mean_square_error",
        report="nearest",
        baselines=segments.baselines,
        score=score,
        measure=partial(measure, config.shown, segments, model),
        fingerprint={"the filters": segments.digest},
    )


FSDD: Any = {
    "join": JoinConfig(fewest=1, most=1),
    "hidden_size": 128,
    "loop": LoopConfig(steps=3000, eval_every=300, save_every=300, chunk=1),
    "optimizer": OptimizerConfig(learning_rate=3e-3, schedule="warmup_cosine", warmup_steps=50),
}
PRESETS: Mapping[str, Config] = {"fsdd": Config(preset="fsdd", **FSDD)}


def main(config: Config, run: Run) -> str:
    """Trains, tests, draws and writes sounds; returns the report."""
    segments = config.spoken
    remember_text(run.folder, segments)
    print(segments.speech.summary(), flush=True)
    label = f"{config.cell}, {config.hidden_size} units"
    report = run_task(run, segments_task(config, segments), config, label=label)
    draw_segments(run.folder)
    write_sounds(run.folder, config.features.rate)
    return report


def write_sounds(folder: Path, rate: int) -> None:
    """Writes the sounds of the segments shown, as `sounds/PLACE_TEXT_KIND.wav`."""
    found = read_arrays(folder, "measured")
    (folder / "sounds").mkdir(exist_ok=True)
    for name, samples in found.items():
        if name.startswith("sound|"):
            _, place, kind = name.split("|")
            text = str(found[f"title|{place}"]).replace(" ", "_")
            write_file(folder / "sounds" / f"{place}_{text}_{kind}.wav", wav_bytes(Sound(samples, rate)))


def draw_segments(folder: Path) -> list[Path]:
    """Draws spectrograms in pairs, and the vectors in a plane."""
    from analysis.figures.style import save
    from analysis.speech.figures import Rebuilt, pairs_figure, segment_map

    config, found = stored_config(Config, folder), read_arrays(folder, "measured")
    rebuilt = []
    for place in range(config.shown):
        if f"title|{place}" in found:
            frames, written = found[f"frames|{place}"], found[f"written|{place}"]
            rebuilt.append(Rebuilt(frames, written, str(found[f"title|{place}"])))
    names = ["".join(VALUES.get(word, word) for word in str(said).split()) for said in found["said"]]
    drawn = save(pairs_figure(rebuilt, config.features.hop), folder / "figures", "spectrograms")
    return drawn + save(segment_map(found["places"], names), folder / "figures", "map")


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return [*draw_task(folder, METRICS, "nearest"), *draw_segments(folder)]
