"""Model four-part music as piano rolls: nats a step, samples, MIDI. Boulanger-Lewandowski, Bengio & Vincent 2012.

By default four-part pieces made from a seed; the presets jsb_gru, jsb_lstm and jsb_pitches are for Bach's
chorales, --data.dir PATH/jsb-chorales/jsb-chorales-quarter.json. The output has 88 pitches: independent of one
another given the past, or pitch by pitch, each given those below. Figures are sums over the pitches, means over all
steps but the first; the frequency of each pitch, and its Markov chain, stand beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from data import (
    Batch,
    Example,
    MusicConfig,
    array_digest,
    bucket_batches,
    evaluation_batches,
    load_music,
    midi_bytes,
)
from data.batch import Batches
from data.music import PITCHES, Rolls
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import arrays_with_prefix, read_arrays, stored_config
from experiments.harness.options import folder_name
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.health import check_health
from experiments.network import NetworkConfig, check_cells
from experiments.restore import best_params
from experiments.run_task import Trained, run_tasks
from experiments.series.music_baselines import baselines
from experiments.series.objective import by_likelihood
from experiments.task import Data, Metric, Task
from experiments.task_report import format_columns, training_record
from experiments.training import CELL_HELP, Flat
from models import BitByBit, Bits, Cell, SequenceDensity, free_run
from models.layers.dropout import check_rate
from models.layers.layer import check_causal
from train import LoopConfig, OptimizerConfig, evaluate
from train.files import write_file

SEVERAL_NETS = True  # one after another: what several processes can't share
OutputName = Literal["independent", "pitch_by_pitch"]
METRICS = {"nll": Metric("nats a step, summed over the pitches", ".3f")}
BUCKETS = (0.5, 1.0)  # quantiles of the lengths of pieces, to which batches are padded


@dataclass(frozen=True)
class Config:
    """Music."""

    preset: str | None = None
    """Nets and options of a setting on Bach's chorales; options given explicitly override it."""
    data: MusicConfig = field(default_factory=MusicConfig)
    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The cells side by side: {CELL_HELP}.")] = ("gru",)
    outputs: tuple[OutputName, ...] = ("independent", "pitch_by_pitch")
    """independent: each pitch given the past alone; pitch_by_pitch: given those below it too (NADE)."""
    hidden_size: int = 96
    """Units of each cell, H."""
    pitch_units: int = 64
    """Units of the output pitch by pitch."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    edge_dropout: float = 0.2
    """Dropout rate on the output of the last layer."""
    batch_size: int = 16
    """Pieces per step, B."""
    samples: int = 3
    """Pieces to sample from each net, drawn and written as MIDI; each begins with the first step of a test
    piece."""
    sample_length: int = 64
    """Steps of a sampled piece."""
    seed: int = 0
    """Seed of parameters, of the order of the pieces, and of pieces that are made."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=600, eval_every=60, save_every=60)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        check_at_least(
            1,
            hidden_size=self.hidden_size,
            pitch_units=self.pitch_units,
            batch_size=self.batch_size,
            samples=self.samples,
            sample_length=self.sample_length,
        )
        check_seed(self.seed)
        check_cells(self.cells)
        check_distinct(outputs=self.outputs)
        try:
            check_rate(self.edge_dropout)
        except ValueError as error:
            raise UserError("--edge-dropout", f"{self.edge_dropout}: {error}") from None

    def check(self) -> None:
        """Raises ValueError for pieces that can't be read and nets that can't be built, before the run's folder is
        made."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for the chorales in a file")
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        rolls = load_music(self.data, self.seed)
        if self.samples > len(rolls["test"]):
            raise UserError(
                "--samples",
                f"{self.samples} are more than the {len(rolls['test'])} test pieces they begin like",
            )
        for cell in self.cells:
            check_health(self.layer(cell), self.loop)
        for task in self.tasks(rolls).values():
            check_task_fits(task, self)
            task.data.train(self.seed, self.batch_size)  # too few pieces are refused

    def layer(self, cell: str) -> Cell:
        """Builds the layer of a cell. Raises UserError for one that can't predict."""
        if self.network.direction != "forward":
            raise UserError(
                "--direction", f"{self.network.direction} reads the notes that are asked for: take forward"
            )
        layer = self.network.build(cell, self.hidden_size)
        if layer.couples_batch:
            raise UserError("--cells", f"{cell} couples the pieces of a batch: take another")
        check_causal(layer)
        return layer

    @property
    def nets(self) -> dict[str, tuple[str, OutputName]]:
        """Returns cell and output of every net by its name."""
        return {
            f"{self.network.describe(cell)}, {output.replace('_', ' ')}": (cell, output)
            for output in self.outputs
            for cell in self.cells
        }

    def tasks(self, rolls: Rolls) -> dict[str, Task]:
        """Builds the task of every net by its name."""
        heads = {"independent": Bits(PITCHES), "pitch_by_pitch": BitByBit(PITCHES, self.pitch_units)}
        models = {
            name: SequenceDensity(self.layer(cell), heads[output], self.edge_dropout, self.network.way)
            for name, (cell, output) in self.nets.items()
        }
        return {name: music_task(model, rolls) for name, model in models.items()}


def preset(name: str, rate: float = 8e-3, **options: Any) -> Config:
    """Returns a setting for Bach's chorales; of a wider net more units are dropped, and its rate is lower."""
    return Config(
        preset=name,
        loop=LoopConfig(steps=2000, eval_every=50, save_every=50),
        optimizer=OptimizerConfig(learning_rate=rate, schedule="warmup_cosine", warmup_steps=100),
        **{"hidden_size": 200, "edge_dropout": 0.3, "outputs": ("independent",)} | options,
    )


PRESETS: Mapping[str, Config] = {
    "jsb_gru": preset("jsb_gru", 1.5e-3, cells=("gru",), hidden_size=600, edge_dropout=0.6),
    "jsb_lstm": preset("jsb_lstm", cells=("lstm",)),
    "jsb_pitches": preset("jsb_pitches", outputs=("pitch_by_pitch",), pitch_units=100),
}


def music_task(model: SequenceDensity, rolls: Rolls) -> Task:
    """Builds the task of predicting each step of a piece from those before it."""
    lengths = {split: max(map(len, pieces)) - 1 for split, pieces in rolls.items()}
    steps = [len(piece) - 1 for piece in rolls["train"]]
    bounds = sorted({round(float(bound)) for bound in np.quantile(steps, BUCKETS)})

    def train(seed: int, rows: int) -> Batches:
        return bucket_batches(
            examples(rolls["train"]), batch_size=rows, seed=seed, bounds=bounds, **process_shard()
        )

    def held_out(split: str) -> list[Batch]:
        return list(evaluation_batches(examples(rolls[split]), batch_size=40, length=lengths[split]))

    def shapes(rows: int) -> Any:
        size = (bounds[-1], rows)
        vectors = jax.ShapeDtypeStruct((*size, PITCHES), jnp.float32)
        return Batch(vectors, vectors, jax.ShapeDtypeStruct(size, jnp.bool_))  # type: ignore[arg-type]

    return Task(
        title="music",
        model=model,
        data=Data(
            train,
            lambda: held_out("valid"),
            lambda: held_out("test"),
            "test pieces",
            shapes=shapes,
            held_out=len(rolls["valid"]),
        ),
        objective=by_likelihood(model),
        metrics=METRICS,
        select="nll",
        fingerprint={"the pieces": array_digest(piece for part in rolls.values() for piece in part)},
    )


def examples(pieces: Sequence[np.ndarray]) -> list[Example]:
    """Returns of each piece its steps but the last, and as targets its steps but the first."""
    return [Example(piece[:-1], piece[1:]) for piece in pieces]


def main(config: Config, run: Run) -> str:
    """Trains net by net, samples, tabulates and draws; returns the table."""
    rolls = load_music(config.data, config.seed)
    tasks = config.tasks(rolls)
    test = next(iter(tasks.values())).data.test()
    first = np.stack([piece[:1] for piece in rolls["test"][: config.samples]], axis=1).astype(np.float32)

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        params = best_params(tasks[name], config, folder, run.fingerprint)
        model: Any = tasks[name].model
        key = jax.random.key(config.seed)
        drawn = free_run(model, params, jnp.asarray(first), config.sample_length - 1, key)
        record = training_record(folder)
        return {
            "nll": evaluate(tasks[name].objective.evaluate, params, test)["nll"],
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "samples": np.concatenate([first, np.asarray(drawn)]).swapaxes(0, 1) > 0.5,
            "curve|step": record["validation/nll/step"],
            "curve|value": record["validation/nll"],
        }

    found: dict[str, dict[str, np.ndarray]] = {}
    for name, arrays in run_tasks(run, tasks, config, measured):
        found[name] = arrays
        print(f"{name}: {float(arrays['nll']):.3f} {METRICS['nll'].label}", flush=True)
    simple = run.cached("baselines", lambda: baselines(rolls["train"], rolls["test"]))
    data_rolls = {f"{i}": piece for i, piece in enumerate(rolls["test"][: config.samples], 1)}
    run.write_arrays("data", data_rolls)
    pieces = {f"data_{name}": piece for name, piece in data_rolls.items()}
    for name, arrays in found.items():
        pieces |= {f"{folder_name(name)}_{i}": roll for i, roll in enumerate(arrays["samples"], 1)}
    (run.folder / "midi").mkdir(exist_ok=True)
    for name, roll in pieces.items():
        write_file(run.folder / "midi" / f"{name}.mid", midi_bytes(roll))
    table = format_table(found, {name: float(value) for name, value in simple.items()}, rolls)
    run.write_table(table)
    draw(run.folder)
    run.finish(
        {
            "test": {name: {"nll": float(arrays["nll"])} for name, arrays in found.items()},
            "baselines": {name: {"nll": float(value)} for name, value in simple.items()},
        }
    )
    return table


def format_table(
    nets: Mapping[str, Mapping[str, np.ndarray]], simple: Mapping[str, float], rolls: Rolls
) -> str:
    """Formats a row for each net and each baseline."""
    steps = sum(len(piece) - 1 for piece in rolls["test"])
    rows = {
        name: {"nats a step": f"{float(net['nll']):.3f}", "parameters": f"{int(net['parameters']):,}"}
        for name, net in nets.items()
    }
    rows |= {name: {"nats a step": f"{value:.3f}"} for name, value in simple.items()}
    return "\n".join(
        [
            f"−ln p summed over {PITCHES} pitches, mean over the {steps:,} steps of {len(rolls['test'])} test "
            "pieces but their first",
            "",
            *format_columns(["nats a step", "parameters"], rows),
        ]
    )


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.curves import loss_curves
    from analysis.figures.series import piano_rolls
    from analysis.figures.style import save

    config = stored_config(Config, folder)
    nets = {name: read_arrays(folder, f"nets/{folder_name(name)}") for name in config.nets}
    simple, best = min(read_arrays(folder, "baselines").items(), key=lambda item: float(item[1]))
    figure = loss_curves(
        {name: arrays_with_prefix("curve", arrays) for name, arrays in nets.items()},
        y_label="nats a step, held out",
        baseline=float(best),
        baseline_label=simple,
    )
    drawn = save(figure, folder / "figures", "training")
    panels = {f"data, {i}": roll for i, roll in read_arrays(folder, "data").items()}
    for name, arrays in nets.items():
        panels |= {f"{name}, sample {i}": roll for i, roll in enumerate(arrays["samples"], 1)}
    return drawn + save(piano_rolls(panels, config.samples), folder / "figures", "piano_rolls")
