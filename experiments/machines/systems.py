"""Nets side by side on one task, machines with their memory on and off among them: options, training, scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.health import check_health
from experiments.machines.bits import parameter_count
from experiments.network import NetworkConfig, check_cells
from experiments.restore import best_params
from experiments.run_task import Trained, train_all
from experiments.task import Options, Task
from experiments.task_report import training_record
from experiments.training import CELL_HELP, Flat
from models import Cell, NeuralTuringMachine
from models.cell import Array, Params
from models.cells.neural_turing_machine import TuringState
from models.layers.layer import check_causal
from train import LoopConfig, OptimizerConfig, evaluate

OFF = "memory off"
Nets = Mapping[str, Mapping[str, np.ndarray]]
"""`{net: {quantity: values}}`: the arrays measured of each net."""


@dataclass(frozen=True)
class SideBySide:
    """The options of an experiment that trains several cells on the same task."""

    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The cells side by side: {CELL_HELP}.")] = (
        "ntm(controller=dense(64), slots=16, width=20)",
        "gru",
    )
    hidden_size: int = 64
    """Units of each cell, H; of a machine those of its controller."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    batch_size: int = 32
    """Examples per step, B."""
    seed: int = 0
    """Seed of parameters and of the training data or their order."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1200, eval_every=150, save_every=150)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=5e-3, clip_at=10.0, schedule="cosine", end_fraction=0.05
        )
    )

    carried: ClassVar[str]
    """Names what a net has to remember: `the story`. The error about a net that needn't says it."""

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_seed(self.seed)
        check_cells(self.cells)

    def layers(self) -> dict[str, Cell]:
        """Builds the layers side by side, by the name of the system."""
        return side_by_side(
            self.network, self.cells, self.hidden_size, memory_off=False, carried=self.carried
        )

    def check_layers(self) -> None:
        """Raises ValueError for layers that can't be built, and for options of training that don't suit them."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for layer in self.layers().values():
            check_health(layer, self.loop)


@dataclass(frozen=True)
class MemoryOnAndOff(SideBySide):
    """The same, with each machine twice if so wished: its memory on and off."""

    memory_off: bool = True
    """Also train each machine with its memory off."""

    def layers(self) -> dict[str, Cell]:
        return side_by_side(
            self.network, self.cells, self.hidden_size, memory_off=self.memory_off, carried=self.carried
        )


@dataclass(frozen=True)
class WithoutMemory(NeuralTuringMachine):
    """A Neural Turing machine that neither writes nor reads: memory, heads and reads stay as they begin, and only
    its controller may carry anything. It has the same parameters."""

    def access(
        self, params: Params, state: TuringState, h: Array
    ) -> tuple[Array, Array, Array, dict[str, Array]]:
        return state.memory, state.heads, state.reads, super().access(params, state, h)[3]


def without_memory(machine: NeuralTuringMachine) -> WithoutMemory:
    """Returns the machine with its memory off."""
    return WithoutMemory(**{field.name: getattr(machine, field.name) for field in fields(machine)})


def side_by_side(
    network: NetworkConfig, cells: Sequence[str], hidden_size: int, *, memory_off: bool, carried: str
) -> dict[str, Cell]:
    """Builds the layers of cells by name, after each machine the same one with its memory off.

    Raises UserError for a net that reads what is `carried` (`the story`) from its end, and for a cell that couples
    the examples of a batch."""
    if network.direction != "forward":
        raise UserError("--direction", f"{network.direction} needs no memory for {carried}: take forward")
    found: dict[str, Cell] = {}
    for cell in cells:
        layer = network.build(cell, hidden_size)
        check_causal(layer)
        if layer.couples_batch:
            raise UserError("--cells", f"{cell} couples the examples of a batch: take another")
        name = network.describe(cell)
        found[name] = layer
        if memory_off and isinstance(layer, NeuralTuringMachine):
            found[f"{name}, {OFF}"] = without_memory(layer)
    return found


def outcome(
    task: Task, options: Options, trained: Trained, folder: Path, fingerprint: Mapping[str, Any]
) -> tuple[Params, dict[str, Any]]:
    """Returns the best parameters of a trained net, and `test|METRIC`, `parameters`, `steps`, `curve|step` and
    `curve|METRIC` of the metric that is reported."""
    params = best_params(task, options, folder, fingerprint)
    record = training_record(folder)
    tested = evaluate(task.objective.evaluate, params, task.data.test())
    found: dict[str, Any] = {f"test|{metric}": value for metric, value in tested.items()}
    curve = f"validation/{task.reported}"
    return params, found | {
        "parameters": parameter_count(params),
        "steps": trained.steps,
        "curve|step": record[f"{curve}/step"],
        f"curve|{task.reported}": record[curve],
    }


def train_nets(
    run: Run,
    tasks: Mapping[str, Task],
    options: Options,
    measured: Callable[[str, Trained, Path], dict[str, Any]],
    told: str,
) -> dict[str, dict[str, np.ndarray]]:
    """Trains net by net as `train_all`, writes what was measured as `nets`, and returns it."""
    found = train_all(run, tasks, options, measured, told)
    run.write_arrays("nets", {f"{name}|{key}": v for name, net in found.items() for key, v in net.items()})
    return found


def read_nets(folder: Path) -> Nets:
    """Returns what `train_nets` wrote."""
    nets: dict[str, dict[str, np.ndarray]] = {}
    for key, values in read_arrays(folder, "nets").items():
        name, _, own = key.partition("|")
        nets.setdefault(name, {})[own] = values
    return nets
