"""Machines with their memory on and off beside other cells, and what is measured of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiments.harness.errors import UserError
from experiments.machines.bits import parameter_count
from experiments.network import NetworkConfig
from experiments.restore import best_params
from experiments.run_task import Trained
from experiments.task import Options, Task
from experiments.task_report import training_record
from models import Cell, NeuralTuringMachine
from models.cell import Array, Params
from models.cells.neural_turing_machine import TuringState
from models.layers.layer import check_causal
from train import evaluate

OFF = "memory off"


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
