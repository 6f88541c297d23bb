"""Train Elman nets of one to six layers on digits read row by row, and measure gradients of the first and last.

Each depth is trained by Adam at the better of two learning rates, over several seeds. The gradients are those of
untrained nets, in all weights of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from data import DIGITS_CLASSES, Batch, digits
from experiments.cell_spec import parse_cell
from experiments.ensemble import (
    ADAM_RATES,
    EnsembleConfig,
    as_list,
    check_ensemble_fits,
    losses_at_best_rate,
)
from experiments.footprint import Part, check_fits
from experiments.harness.checks import check_at_least
from experiments.harness.files import read_arrays, stored_config
from experiments.harness.run import Run
from experiments.objective import classification
from experiments.training import EnsembleOptions
from models import SequenceClassifier, Stacked
from models.cell import Array, Params
from train import OptimizerConfig, mean

PROBED = 100  # digits on which gradients of untrained nets are measured


@dataclass(frozen=True)
class Config(EnsembleOptions):
    """Depth."""

    layers: int = 6
    """Largest depth: nets of 1 to so many layers are trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, layers=self.layers)

    def check(self) -> None:
        """Raises ValueError where training the deepest nets needs more memory than is free."""
        nets = self.seeds * len(ADAM_RATES)
        check_ensemble_fits(self.ensemble(1), nets)
        deepest = nets * self.layers * 4 * (self.hidden_size**2 + 9 * self.hidden_size)  # at least
        check_fits({"the deepest nets": Part(deepest, "fewer --layers or a smaller --hidden-size")})
        check_ensemble_fits(self.ensemble(self.layers), nets)

    def ensemble(self, layers: int) -> EnsembleConfig:
        """Returns what nets of so many layers are trained on, and how."""
        cells = (parse_cell("elman", self.hidden_size),) * layers
        return EnsembleConfig(
            SequenceClassifier(Stacked(cells), DIGITS_CLASSES),
            classification,
            digit_rows,
            OptimizerConfig("adam", 1.0, clip="global_norm"),
            self.steps,
            self.batch_size,
            held_out_rows,
        )


def main(config: Config, run: Run) -> str:
    """Trains depth by depth, tabulates, draws; returns the table. A resumed run keeps the depths that it has."""
    for layers in range(1, config.layers + 1):
        run.cached(f"layers_{layers}", partial(measure, config, layers, run.devices))
        print(f"{layers} layer{'s' * (layers > 1)} of {config.layers}", flush=True)
    arrays = stored(run.folder)
    table = format_table(arrays)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(arrays))
    return table


# --- measurement


def measure(config: Config, layers: int, devices: int) -> dict[str, np.ndarray]:
    """Measures nets of so many layers.

    Returns their `held_out [N]` losses at the better learning rate and, before training, the norms of the gradient
    in all weights of the `first_layer` and `last_layer [N]`.
    """
    ensemble = config.ensemble(layers)
    seeds = config.seed + np.arange(config.seeds)
    held_out = losses_at_best_rate(ensemble, seeds, ADAM_RATES, devices)
    norms = np.array([layer_gradients(ensemble.model, jax.random.key(int(seed))) for seed in seeds])
    return {"held_out": held_out, "first_layer": norms[:, 0], "last_layer": norms[:, -1]}


@partial(jax.jit, static_argnums=0)
def layer_gradients(model: nn.Module, key: Array) -> Array:
    """Returns ‖∂L/∂θ‖ of each layer of a fresh stack on `PROBED` digits, `[layers]`."""
    batch = digit_rows(jax.random.key(0, impl="threefry2x32"), PROBED)
    params = model.init(key, batch.inputs, mask=batch.mask)

    def loss(params: Params) -> Array:
        return mean(classification(jnp.asarray(model.apply(params, batch.inputs)), batch)["cross_entropy"])

    stacked = jax.grad(loss)(params)["params"]["recurrent"]["cell"]["layers"]
    return jnp.stack([jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(one))) for one in stacked])


def digit_rows(key: Array, batch_size: int) -> Batch:
    """Digits read row by row, drawn with replacement from those of training: inputs `[8, B, 8]`, targets `[B]`."""
    images, labels = (jnp.asarray(a) for a in images_by_row("train"))
    places = jax.random.randint(key, (batch_size,), 0, len(labels))
    return Batch(images[:, places], labels[places], jnp.ones((8, batch_size), bool))


def held_out_rows(key: Array, batch_size: int) -> Batch:
    """Returns all 540 images of validation and test, whatever is asked for."""
    del key, batch_size
    images, labels = (jnp.asarray(a) for a in images_by_row("validation", "test"))
    return Batch(images, labels, jnp.ones((8, len(labels)), bool))


@cache
def images_by_row(*splits: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns `[8, N, 8]` and `[N]`."""
    sources = [digits(split) for split in splits]
    images = np.concatenate([np.asarray(s.inputs).reshape(-1, 8, 8) for s in sources])
    return images.swapaxes(0, 1), np.concatenate([np.asarray(s.targets) for s in sources])


# --- report


def stored(folder: Path) -> dict[str, np.ndarray]:
    """Returns of a run the `depth [L]`, and `held_out`, `first_layer` and `last_layer [L, N]`."""
    depths = range(1, stored_config(Config, folder).layers + 1)
    rows = [read_arrays(folder, f"layers_{layers}") for layers in depths]
    return {"depth": np.array(depths, float)} | {key: np.array([row[key] for row in rows]) for key in rows[0]}


def results(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Returns `{depth: median loss, and the losses and gradient norms of all seeds}`."""
    return {
        f"{depth:g}": {
            "loss": float(np.median(arrays["held_out"][i])),
            "losses": as_list(arrays["held_out"][i]),
            "first_layer": as_list(arrays["first_layer"][i]),
            "last_layer": as_list(arrays["last_layer"][i]),
        }
        for i, depth in enumerate(arrays["depth"])
    }


def format_table(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns a row for each depth."""
    lines = [
        f"digits row by row, {arrays['held_out'].shape[1]} Elman nets of each depth",
        f"{'':<8}{'held-out loss':>30}{'untrained, gradient norm of':>32}",
        f"{'layers':<8}{'median':>10}{'least':>10}{'most':>10}{'first layer':>16}{'last layer':>16}",
    ]
    for i, depth in enumerate(arrays["depth"]):
        losses, first, last = (arrays[key][i] for key in ("held_out", "first_layer", "last_layer"))
        lines.append(
            f"{depth:<8g}{np.median(losses):>10.4f}{losses.min():>10.4f}{losses.max():>10.4f}"
            f"{first.mean():>16.4f}{last.mean():>16.4f}"
        )
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.style import save

    drawn = figures(stored(folder))
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def figures(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the held-out `loss`, and the `gradients` of untrained nets, against depth."""
    from analysis.figures.outcomes import outcomes_against

    def points(key: str) -> dict[str, np.ndarray]:
        return {"x": arrays["depth"], "values": arrays[key]}

    gradients = {"first layer": points("first_layer"), "last layer": points("last_layer")}
    return {
        "loss": outcomes_against(
            {"digits, row by row": {"Elman": points("held_out")}},
            x_label="layers",
            y_label="loss, held out (nats)",
        ),
        "gradients": outcomes_against(
            {"digits, row by row, untrained": gradients},
            x_label="layers",
            y_label="gradient norm, weights of a layer",
        ),
    }
