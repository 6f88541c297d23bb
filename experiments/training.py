"""Options that experiments share: for training one cell on one task, and for ensembles of small nets."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from experiments.harness.checks import check_at_least, check_seed
from experiments.health import check_health
from experiments.network import NetworkConfig
from models import CELLS, Cell
from train import LoopConfig, OptimizerConfig

CELL_HELP = (
    f"{', '.join(CELLS)}; with options as in "
    '"gru(reset=before)"; layers in a stack, "stacked((lstm, residual(self_attention(heads=4))))"; or your own, '
    '"path/to/file.py:MyCell(alpha=0.3)"'
)
Flat = tyro.conf.arg(name="")  # the fields of a nested config without its name in front


@dataclass(frozen=True)
class TrainingConfig:
    """The options of every experiment that trains one cell on one task."""

    cell: Annotated[str, tyro.conf.arg(help=CELL_HELP)] = "lstm"
    hidden_size: int = 64
    """Units of the cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    batch_size: int = 50
    """Sequences per step, B."""
    seed: int = 0
    """Seed of parameters and training data; held-out data don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=3000, eval_every=250))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_seed(self.seed)

    def check(self) -> None:
        """Raises ValueError for a network that cannot be built, before the run's folder is made."""
        check_health(self.layer(), self.loop)
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)

    def layer(self) -> Cell:
        """Builds the layer of the cell."""
        return self.network.build(self.cell, self.hidden_size)

    def label(self) -> str:
        """Names the network as figures and tables do."""
        return self.network.describe(self.cell)


@dataclass(frozen=True)
class EnsembleOptions:
    """The options of an experiment that trains small nets of several kinds, each over several seeds."""

    seeds: int = 4
    """Nets of each kind, with consecutive seeds."""
    hidden_size: int = 32
    """Units of each layer, H."""
    batch_size: int = 32
    """Sequences per step, B."""
    steps: int = 300
    """Updates of each net."""
    seed: int = 0
    """The first seed, of parameters and training data; held-out data don't depend on it."""

    def __post_init__(self) -> None:
        check_at_least(
            1, seeds=self.seeds, hidden_size=self.hidden_size, batch_size=self.batch_size, steps=self.steps
        )
        check_seed(self.seed)
