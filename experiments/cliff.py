"""Cliff: the error surface of one unit and of a trained net, with paths of descent that clip and that don't.

One unit, x_t = w σ(x_{t−1}) + b for 50 steps, as in figure 6 of Pascanu, Mikolov & Bengio 2013: where one of two
stable points goes, the loss drops from a plateau, and x_T feels every change of b. Then the same on a
real net: trained on the temporal order of two symbols up to the steepest place it meets, and from there on with
gradients as they are, clipped by value and by norm, drawn on the surface over a plane of its parameters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import linen as nn

from analysis import (
    Descent,
    OneUnit,
    OneUnitLoss,
    bistable_range,
    clipped_sgd,
    coordinates,
    descent,
    figures,
    fixed_point_curve,
    hessian_directions,
    last_state,
    loss_surface,
    one_parameter,
    random_direction,
)
from analysis.figures_surface import bifurcation, error_surface_3d, error_surface_contours
from data import split_key, temporal_order
from data.task_batches import Task
from experiments.cells import parse_cell
from experiments.network import NetworkConfig
from experiments.problem import threefry
from experiments.run import Run, read_arrays
from experiments.training import CELL_HELP, Evaluation, classification
from models import SequenceClassifier
from models.cell import Array, Params, at_least
from train import mean

PATHS = {"none": "no clipping", "value": "clipped by value", "norm": "clipped by norm"}
W = 5.0  # the weight for which the literature gives the edges of two stable points
BIFURCATION_START = -1.0
SENSITIVITY_STEPS = (50, 2000)
EDGE_ZOOM = 1e-3  # about the edge, b is sampled this finely times 1/500


@dataclass(frozen=True)
class Config:
    """Cliff."""

    weight: float = 4.816949
    """One unit: w where descent begins."""
    bias: float = -2.057143
    """One unit: b where descent begins."""
    rate: float = 0.5
    """One unit: learning rate."""
    clip_at: float = 0.3
    """One unit: the bound of clipping, by value and by norm."""
    path_steps: int = 60
    """One unit: steps of descent."""
    points: int = 161
    """Points along each axis of a surface."""
    cell: Annotated[str, tyro.conf.arg(help=f"The net that is trained: {CELL_HELP}.")] = (
        "elman(recurrent_init=orthogonal(gain=1.1))"
    )
    hidden_size: int = 32
    """Its units, H."""
    length: int = 20
    """Length of its sequences, T."""
    batch_size: int = 64
    """Its sequences: one batch, on which it is trained and the surface drawn."""
    steps: int = 400
    """Steps of training, clipped by norm, in which the steepest place is looked for."""
    net_rate: float = 0.3
    """Learning rate of the net, in training and from the steepest place on."""
    net_clip_at: float = 0.3
    """The bound of its clipping, by value and by norm."""
    net_path_steps: int = 20
    """Steps of descent from the steepest place on."""
    directions: Literal["hessian", "random"] = "hessian"
    """The plane: the two directions of strongest curvature, or two random ones, scaled unit by unit."""
    seed: int = 0
    """Of parameters, sequences and random directions."""

    def __post_init__(self) -> None:
        at_least(1, path_steps=self.path_steps, net_path_steps=self.net_path_steps)
        at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size, steps=self.steps)
        at_least(2, points=self.points)
        at_least(4, length=self.length)
        at_least(0, seed=self.seed)
        for option in ("rate", "clip_at", "net_rate", "net_clip_at"):
            if not 0 < getattr(self, option) < math.inf:
                raise ValueError(
                    f"--{option.replace('_', '-')} must be above 0 and finite, but is {getattr(self, option)}"
                )
        for option in ("weight", "bias"):
            if not math.isfinite(getattr(self, option)):
                raise ValueError(f"--{option} must be finite, but is {getattr(self, option)}")

    def check(self) -> None:
        """Raises ValueError for a cell that can't be had, before a folder is made for the run."""
        parse_cell(self.cell, self.hidden_size)


@dataclass(frozen=True)
class NetLoss:
    """The loss of a net on one batch of a task, the same each time; equal ones are compiled once."""

    model: nn.Module
    task: Task
    seed: int
    batch_size: int

    def __call__(self, params: Params) -> Array:
        batch = self.task(split_key(threefry(self.seed), "train"), self.batch_size)
        return mean(next(iter(Evaluation(self.model, classification)(params, batch).values())))

    def init(self) -> Params:
        """Fresh parameters."""
        batch = self.task(split_key(threefry(self.seed), "train"), self.batch_size)
        return self.model.init(
            jax.random.fold_in(jax.random.key(self.seed), 1), batch.inputs, mask=batch.mask
        )


def main(config: Config, run: Run) -> str:
    """Piece by piece, then the table and the figures; a resumed run keeps the pieces that it has."""
    pieces = {"one_unit": one_unit, "bifurcation": sensitivity, "net": net}
    for name, piece in pieces.items():
        if run.resumed and (run.folder / "arrays" / f"{name}.npz").exists():
            print(f"{name}: measured before", flush=True)
            continue
        run.write_arrays(name, piece(config))
        print(f"{name}: measured", flush=True)
    found = {name: read_arrays(run.folder, name) for name in pieces}
    results = summary(found)
    table = format_table(results)
    (run.folder / "table.txt").write_text(table + "\n")
    run.finish(results)
    draw(run.folder)
    return table


def one_unit(config: Config) -> dict[str, np.ndarray]:
    """The paper's surface over (w, b), and the three paths on it, in double precision."""
    with jax.enable_x64(True):
        loss = OneUnitLoss()
        zero = {"w": jnp.zeros(()), "b": jnp.zeros(())}
        plane = (one_parameter(zero, "w"), one_parameter(zero, "b"))
        start = {"w": jnp.asarray(config.weight), "b": jnp.asarray(config.bias)}
        walked = {
            name: descent(loss, start, clipped_sgd(config.rate, name, config.clip_at), config.path_steps)
            for name in PATHS
        }
        w = np.linspace(config.weight - 0.6, config.weight + 0.6, config.points)
        b = np.linspace(config.bias - 0.9, config.bias + 0.5, config.points)
        surface = loss_surface(loss, zero, plane, w, b, chunk=512)
    arrays = {"first": w, "second": b, "loss": surface.loss, "gradient_norm": surface.gradient_norm}
    for name, path in walked.items():
        where = np.stack([np.asarray(path.params["w"]), np.asarray(path.params["b"])], axis=1)
        arrays |= path_arrays(name, path, where)
    return arrays


def sensitivity(config: Config) -> dict[str, np.ndarray]:
    """∂x_T/∂b from x_0 = −1 at w = 5, about the b where the lower stable point goes, sampled finely there."""
    del config
    _, edge = bistable_range(W)
    b = np.union1d(
        np.linspace(edge - 0.03, edge + 0.03, 1201), np.linspace(edge - EDGE_ZOOM, edge + EDGE_ZOOM, 1001)
    )
    arrays = {"b": b}
    with jax.enable_x64(True):
        cell, params = OneUnit(start=BIFURCATION_START), {"w": jnp.asarray(W), "b": jnp.zeros(())}
        plane = (one_parameter(params, "w"), one_parameter(params, "b"))
        for steps in SENSITIVITY_STEPS:
            final = partial(last_state, cell, steps=steps)
            found = loss_surface(final, params, plane, np.zeros(1), b, chunk=512)
            arrays[f"T = {steps}"] = np.abs(found.slopes[0, :, 1])
    return arrays


def net(config: Config) -> dict[str, np.ndarray]:
    """A net trained to the steepest place that it meets after the first tenth of its training, the surface over a
    plane there, and the three paths from there, as far as the plane shows them."""
    task = partial(temporal_order, length=config.length)
    cell = parse_cell(config.cell, config.hidden_size)
    loss = NetLoss(
        SequenceClassifier(cell, 4, method=NetworkConfig().way), task, config.seed, config.batch_size
    )
    rate, bound = config.net_rate, config.net_clip_at
    training = descent(loss, loss.init(), clipped_sgd(rate, "norm", bound), config.steps)
    steep = np.nan_to_num(training.gradient_norm, nan=-1.0, posinf=-1.0)
    place = int(config.steps // 10 + np.argmax(steep[config.steps // 10 :]))
    params: Params = jax.tree.map(lambda leaf: leaf[place], training.params)
    if config.directions == "hessian":
        curvatures, found = hessian_directions(loss, params, 2)
        plane = (found[0], found[1])
    else:
        keys = jax.random.split(jax.random.key(config.seed), 2)
        plane, curvatures = (
            (random_direction(keys[0], params), random_direction(keys[1], params)),
            np.zeros(2),
        )
    walked = {
        name: descent(loss, params, clipped_sgd(rate, name, bound), config.net_path_steps) for name in PATHS
    }
    shown = {name: coordinates(path.params, params, plane) for name, path in walked.items()}
    reach = 1.5 * max(float(np.nanmax(np.abs(shown[name]))) for name in ("value", "norm"))
    axis = np.linspace(-reach, reach, config.points)
    surface = loss_surface(loss, params, plane, axis, axis)
    arrays = {
        "first": axis,
        "second": axis,
        "loss": surface.loss,
        "gradient_norm": surface.gradient_norm,
        "curvatures": curvatures,
        "place": np.array(place),
        "training_loss": training.loss,
        "training_norm": training.gradient_norm,
    }
    for name, path in walked.items():
        arrays |= path_arrays(name, path, shown[name]) | {
            f"{name}|inside": share_inside(path, shown[name], plane)
        }
    return arrays


def path_arrays(name: str, path: Descent, where: np.ndarray) -> dict[str, np.ndarray]:
    """A path as it is stored: `…|where [points, 2]`, `…|loss`, `…|gradient_norm [points]`."""
    return {f"{name}|where": where, f"{name}|loss": path.loss, f"{name}|gradient_norm": path.gradient_norm}


def share_inside(path: Descent, where: np.ndarray, plane: tuple[Params, Params]) -> np.ndarray:
    """How much of the first step's length lies in the plane: 1 where it doesn't leave it."""
    step = jax.tree.map(lambda leaf: leaf[1] - leaf[0], path.params)
    inside = jax.tree.map(lambda a, b: where[1, 0] * a + where[1, 1] * b, *plane)
    lengths = [math.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(t))) for t in (inside, step)]
    return np.array(lengths[0] / lengths[1] if lengths[1] else 0.0)


def summary(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Edges and peaks; of each path its first step's length, its highest loss and its last."""
    low, high = bistable_range(W)
    bends = found["bifurcation"]
    results: dict[str, Any] = {
        "bistable": {"w": W, "from": low, "to": high},
        "peak_of_sensitivity": {
            f"T = {steps}": float(bends["b"][np.argmax(bends[f"T = {steps}"])]) for steps in SENSITIVITY_STEPS
        },
        "steepest_step_of_training": int(found["net"]["place"]),
    }
    for piece in ("one_unit", "net"):
        arrays = found[piece]
        results[piece] = {
            PATHS[name]: {
                "begins": float(arrays[f"{name}|loss"][0]),
                "gradient_norm": finite_largest(arrays[f"{name}|gradient_norm"]),
                "highest": finite_largest(arrays[f"{name}|loss"]),
                "ends": float(arrays[f"{name}|loss"][-1])
                if np.isfinite(arrays[f"{name}|loss"][-1])
                else None,
                "longest_step": finite_largest(
                    np.linalg.norm(np.diff(arrays[f"{name}|where"], axis=0), axis=1)
                ),
            }
            for name in PATHS
        }
    results["net_first_step_inside"] = {PATHS[name]: float(found["net"][f"{name}|inside"]) for name in PATHS}
    return results


def finite_largest(values: np.ndarray) -> float:
    """The largest that is finite, zero where none is."""
    return float(np.max(values[np.isfinite(values)], initial=0.0))


def format_table(results: Mapping[str, Any]) -> str:
    """The edges, the peaks, and a row a path."""
    edges, peaks = results["bistable"], results["peak_of_sensitivity"]
    lines = [
        f"x' = {W:g} σ(x) + b has two stable points for {edges['from']:.5f} < b < {edges['to']:.5f}",
        *(
            f"|∂x_T/∂b| from x_0 = {BIFURCATION_START:g} peaks at b = {b:.5f} for {name}, "
            f"{abs(b - edges['to']):.5f} from the edge"
            for name, b in peaks.items()
        ),
    ]
    titles = {
        "one_unit": "one unit",
        "net": f"net, from step {results['steepest_step_of_training']} of its training on",
    }
    for piece, title in titles.items():
        lines += [
            "",
            f"{title:<46}{'begins':>9}{'highest':>9}{'ends':>9}{'largest gradient':>18}{'longest step':>14}",
        ]
        for name, row in results[piece].items():
            ends = "not finite" if row["ends"] is None else f"{row['ends']:.4f}"
            lines.append(
                f"  {name:<44}{row['begins']:>9.4f}{row['highest']:>9.4f}{ends:>9}"
                f"{row['gradient_norm']:>18.3g}{row['longest_step']:>14.3g}"
            )
    lines += ["", "begins, highest, ends: the loss along the path; longest step: in the plane that is drawn."]
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    labels = {"one_unit": ("weight $w$", "bias $b$")}
    drawn = {}
    for piece in ("one_unit", "net"):
        arrays = read_arrays(folder, piece)
        surface = [arrays[key] for key in ("first", "second", "loss")]
        paths = {label: arrays[f"{name}|where"] for name, label in PATHS.items()}
        lifted = {
            label: np.column_stack([arrays[f"{name}|where"], arrays[f"{name}|loss"]])
            for name, label in PATHS.items()
        }
        named: dict[str, Any] = {"labels": labels[piece]} if piece in labels else {}
        drawn[f"{piece}_contours"] = error_surface_contours(*surface, arrays["gradient_norm"], paths, **named)
        drawn[f"{piece}_3d"] = error_surface_3d(*surface, lifted, **named)
    bends = read_arrays(folder, "bifurcation")
    x = np.linspace(-8, 8, 4001)
    b, stable = fixed_point_curve(W, x)
    drawn["bifurcation"] = bifurcation(
        (b, x, stable),
        bistable_range(W),
        {f"$T = {steps:,}$": (bends["b"], bends[f"T = {steps}"]) for steps in SENSITIVITY_STEPS},
        start=BIFURCATION_START,
    )
    return [path for name, figure in drawn.items() for path in figures.save(figure, folder / "figures", name)]
