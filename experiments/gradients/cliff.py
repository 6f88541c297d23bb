"""Draw the cliff in the error surface of one unit and of a trained net, with clipped and unclipped descent.

One unit, x_t = w σ(x_{t−1}) + b for 50 steps, as in figure 6 of Pascanu, Mikolov & Bengio 2013: where one of its
two stable points vanishes, the loss drops from a plateau, and x_T is most sensitive to b. Then a real net,
trained on the temporal order of two symbols up to the steepest point of its training: from there it descends with
gradients unclipped, clipped by value and clipped by norm, drawn on the surface over a plane of its parameters.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from analysis import (
    ScalarRNN,
    ScalarRNNLoss,
    bistable_range,
    hessian_directions,
    last_state,
    loss_surface,
    one_parameter,
    random_direction,
)
from data import temporal_order
from data.synthetic.batches import MakeBatch
from experiments.cell_spec import parse_cell
from experiments.footprint import Part, check_fits, nbytes
from experiments.gradients.cliff_net import NetLoss, orthonormal, surface_about
from experiments.gradients.cliff_report import (
    BIFURCATION_START,
    PATHS,
    SENSITIVITY_STEPS,
    W,
    draw,
    format_table,
    summary,
)
from experiments.harness.checks import check_at_least, check_finite, check_positive, check_seed
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.training import CELL_HELP
from models import SequenceClassifier
from models.cell import Array, Params
from train.descent import DescentPath, clipped_sgd, path_of

EDGE_ZOOM = 1e-3  # as far from the edge b is sampled more finely, 4e-6 apart
REFINED = 1e-3  # sampling is refined until the peaks change by less than this share of their height


@dataclass(frozen=True)
class Config:
    """Cliff."""

    weight: float = 4.816949
    """One unit: initial weight w."""
    bias: float = -2.057143
    """One unit: initial bias b."""
    rate: float = 0.5
    """One unit: learning rate."""
    clip_at: float = 0.3
    """One unit: the bound of clipping, by value and by norm."""
    path_steps: int = 20
    """One unit: steps of descent."""
    points: int = 161
    """Points along each axis of a surface."""
    cell: Annotated[str, tyro.conf.arg(help=f"The net that is trained: {CELL_HELP}.")] = (
        "elman(recurrent_init=orthogonal(gain=1.1))"
    )
    hidden_size: int = 32
    """Net: units, H."""
    length: int = 20
    """Net: length of the sequences, T."""
    batch_size: int = 64
    """Net: sequences of the one batch for training and for the surface."""
    steps: int = 400
    """Net: training steps, clipped by norm, among which the steepest point is found."""
    net_rate: float = 0.3
    """Net: learning rate, in training and from the steepest point on."""
    net_clip_at: float = 0.1
    """Net: the bound of clipping, by value and by norm."""
    net_path_steps: int = 15
    """Net: steps of descent from the steepest point."""
    directions: Literal["hessian", "random"] = "hessian"
    """Plane of the surface: the two directions of largest curvature, or two random ones scaled per unit."""
    seed: int = 0
    """Of parameters, sequences and random directions."""

    def __post_init__(self) -> None:
        check_at_least(1, path_steps=self.path_steps, net_path_steps=self.net_path_steps)
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size, steps=self.steps)
        check_at_least(2, points=self.points)
        check_at_least(4, length=self.length)
        check_seed(self.seed)
        check_positive(rate=self.rate, clip_at=self.clip_at)
        check_positive(net_rate=self.net_rate, net_clip_at=self.net_clip_at)
        check_finite(weight=self.weight, bias=self.bias)

    def check(self) -> None:
        """Raises ValueError for a cell that cannot be built, or a net or surface that doesn't fit into memory."""
        task, model = self.task(), self.model()
        batch = jax.eval_shape(lambda: task(jax.random.key(0), self.batch_size))
        parts = {
            "the surfaces": Part(8 * self.points**2, "fewer --points"),
            "one unit's path": Part(4 * 8 * self.path_steps, "fewer --path-steps"),
            "the batch": Part(nbytes(batch), "a smaller --batch-size or --length"),
        }
        check_fits(parts)  # before a model of such inputs is traced
        params = jax.eval_shape(lambda b: model.init(jax.random.key(0), b.inputs, mask=b.mask), batch)
        kept = max(self.steps, self.net_path_steps) * nbytes(params)
        parts["the nets of a path"] = Part(kept, "fewer --steps or a smaller --hidden-size")
        check_fits(parts)

    def task(self) -> MakeBatch:
        """Returns the task that the net is trained on."""
        return partial(temporal_order, length=self.length)

    def model(self) -> SequenceClassifier:
        """Returns the net that is trained."""
        return SequenceClassifier(parse_cell(self.cell, self.hidden_size), 4, method=NetworkConfig().way)


def main(config: Config, run: Run) -> str:
    """Measures piece by piece, then tabulates and draws; a resumed run keeps its finished pieces."""
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
    run.write_table(table)
    draw(run.folder)
    run.finish(results)
    return table


def one_unit(config: Config) -> dict[str, np.ndarray]:
    """Measures the paper's surface over (w, b), and the three paths on it, in double precision."""
    with jax.enable_x64(True):
        loss = ScalarRNNLoss()
        zero = {"w": jnp.zeros(()), "b": jnp.zeros(())}
        plane = (one_parameter(zero, "w"), one_parameter(zero, "b"))
        start = {"w": jnp.asarray(config.weight), "b": jnp.asarray(config.bias)}
        walked = {
            name: path_of(loss, start, clipped_sgd(config.rate, name, config.clip_at), config.path_steps)
            for name in PATHS
        }
        w = np.linspace(config.weight - 0.7, config.weight + 0.8, config.points)
        b = np.linspace(config.bias - 0.7, config.bias + 2.1, config.points)
        surface = loss_surface(loss, zero, plane, w, b, chunk=512)
    arrays = {"first": w, "second": b, "loss": surface.loss, "gradient_norm": surface.gradient_norm}
    for name, path in walked.items():
        where = np.stack([np.asarray(path.params["w"]), np.asarray(path.params["b"])], axis=1)
        arrays |= path_arrays(name, path, where)
    return arrays


def sensitivity(config: Config) -> dict[str, np.ndarray]:
    """Returns ∂x_T/∂b from x_0 = −1 at w = 5, about the b where the lower stable point goes, refined about each
    peak.

    A peak's distance from the edge falls as T⁻² and so does its width, and its height grows as T³: no grid chosen
    beforehand finds it at every T.
    """
    del config
    _, edge = bistable_range(W)
    b = np.union1d(
        np.linspace(edge - 0.03, edge + 0.03, 601), np.linspace(edge - EDGE_ZOOM, edge + EDGE_ZOOM, 501)
    )
    with jax.enable_x64(True):
        cell, params = ScalarRNN(start=BIFURCATION_START), {"w": jnp.asarray(W), "b": jnp.zeros(())}
        plane = (one_parameter(params, "w"), one_parameter(params, "b"))
        finals = [partial(last_state, cell, steps=steps) for steps in SENSITIVITY_STEPS]

        def sizes(b: np.ndarray) -> np.ndarray:
            """Returns |∂x_T/∂b| of every T, `[T, n]`."""
            found = [loss_surface(final, params, plane, np.zeros(1), b, chunk=512) for final in finals]
            return np.stack([np.abs(one.slopes[0, :, 1]) for one in found])

        found, before = sizes(b), np.zeros(len(finals))
        while np.any(found.max(axis=1) > (1 + REFINED) * before):
            before = found.max(axis=1)
            peaks = np.clip(np.argmax(found, axis=1), 1, len(b) - 2)
            between = np.concatenate([np.linspace(b[i - 1], b[i + 1], 43)[1:-1] for i in peaks])
            b, found = np.append(b, between), np.append(found, sizes(between), axis=1)
            b, first = np.unique(b, return_index=True)
            found = found[:, first]
    return {"b": b} | {f"T = {steps}": row for steps, row in zip(SENSITIVITY_STEPS, found, strict=True)}


def net(config: Config) -> dict[str, np.ndarray]:
    """Measures a net trained to the steepest place it meets: the surface over a plane there, as far as the
    unclipped step leaps and, `near_…`, as far as the clipped ones come; and three paths from there: within the
    plane, so that they lie on what is drawn, and of all parameters, `…|free_loss [points]`."""
    loss = NetLoss(config.model(), config.task(), config.seed, config.batch_size)
    rate, bound = config.net_rate, config.net_clip_at
    training = path_of(loss, loss.init(), clipped_sgd(rate, "norm", bound), config.steps)
    steep = np.nan_to_num(training.gradient_norm, nan=-1.0, posinf=-1.0)
    place = int(np.argmax(steep))
    params: Params = jax.tree.map(lambda leaf: leaf[place], training.params)
    if config.directions == "hessian":
        curvatures, found = hessian_directions(loss, params, 2)
    else:
        keys = jax.random.split(jax.random.key(config.seed), 2)
        curvatures, found = np.full(2, np.nan), [random_direction(key, params) for key in keys]
    plane = orthonormal(found[0], found[1])

    def in_plane(point: Params) -> Array:
        return loss(jax.tree.map(lambda p, a, b: p + point["a"] * a + point["b"] * b, params, *plane))

    origin = {"a": jnp.zeros(()), "b": jnp.zeros(())}
    clips = {name: clipped_sgd(rate, name, bound) for name in PATHS}
    walked = {name: path_of(in_plane, origin, clip, config.net_path_steps) for name, clip in clips.items()}
    shown = {
        name: np.stack([np.asarray(path.params["a"]), np.asarray(path.params["b"])], axis=1)
        for name, path in walked.items()
    }
    near = max(1.5 * float(np.nanmax(np.abs(shown[name]))) for name in ("value", "norm"))
    leap = 1.1 * float(np.max(np.abs(shown["none"][1])))  # where it lands is seen
    arrays = {}
    for frame, reach in (("", max(leap, near)), ("near_", near)):
        measured = surface_about(loss, params, plane, reach, config.points)
        arrays |= {frame + key: values for key, values in measured.items()}
    arrays |= {
        "inside": np.array(walked["none"].gradient_norm[0] / training.gradient_norm[place]),
        "curvatures": curvatures,
        "place": np.array(place),
        "training_loss": training.loss,
        "training_norm": training.gradient_norm,
    }
    for name, path in walked.items():
        free = path_of(loss, params, clips[name], config.net_path_steps)
        arrays |= path_arrays(name, path, shown[name]) | {
            f"{name}|free_loss": free.loss,
            f"{name}|free_gradient_norm": free.gradient_norm,
        }
    return arrays


def path_arrays(name: str, path: DescentPath, where: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a path as it is stored: `…|where [points, 2]`, `…|loss`, `…|gradient_norm [points]`."""
    return {f"{name}|where": where, f"{name}|loss": path.loss, f"{name}|gradient_norm": path.gradient_norm}
