"""Measurements for `claims`: four pieces, each arrays of several seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from analysis import gradient_by_lag, log_slope
from data import DIGITS_CLASSES, Batch, adding, digits, temporal_order
from data.synthetic.batches import MakeBatch
from experiments.cell_spec import parse_cell
from experiments.ensemble import EnsembleConfig, EnsembleResult, held_out, train_side_by_side
from experiments.objective import Measure, classification, regression
from models import Cell, SequenceClassifier, Stacked
from models.cell import Array, Output, Params, State
from train import OptimizerConfig, mean
from train.optimizer import Clip

GAINS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
BIASES = (0.0, 1.0, 2.0, 4.0)
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
ADAM_RATES = (0.003, 0.01)  # of which each kind of net gets its best
DEPTHS = (1, 2, 3, 4, 5, 6)
PROBES = 16  # sequences along which gradients of untrained nets are followed
INPUTS = 8  # numbers a step there
CURVE = 10  # steps whose mean is a point of a curve of loss


@dataclass(frozen=True)
class Sizes:
    """Sizes and numbers of what is measured."""

    seeds: int
    hidden_size: int
    batch_size: int
    steps: int
    length: int
    lags: int
    seed: int

    @property
    def nets(self) -> np.ndarray:
        """The seeds of the nets of each kind, `[N]`."""
        return self.seed + np.arange(self.seeds)


# --- untrained nets


def gradients(sizes: Sizes, devices: int) -> dict[str, np.ndarray]:
    """Slopes of ln ‖∂L/∂s_{T−k}‖ per step back over `lags` steps of N(0, 1) inputs, the median over `PROBES`
    sequences: of nets whose recurrent weights are N(0, g²/H) `elman`, `lstm [G, N]`; of LSTMs by their forget bias
    `lstm|bias [F, N]`; of orthogonal Elman nets `elman|orthogonal [N]`."""
    del devices

    def slopes(expression: str) -> list[float]:
        cell = parse_cell(expression, sizes.hidden_size)
        return [slope(cell, sizes.lags, int(seed)) for seed in sizes.nets]

    return {
        "gain": np.array(GAINS),
        "bias": np.array(BIASES),
        **{
            n: np.array([slopes(f"{n}(recurrent_init=gaussian(gain={g}))") for g in GAINS])
            for n in ("elman", "lstm")
        },
        "lstm|bias": np.array([slopes(f"lstm(forget_bias={bias})") for bias in BIASES]),
        "elman|orthogonal": np.array(slopes("elman(recurrent_init=orthogonal)")),
    }


def slope(cell: Cell, lags: int, seed: int) -> float:
    """That of one fresh net."""
    norms = np.asarray(probe(cell, lags, jax.random.key(seed)), np.float64)
    return log_slope(np.median(norms, axis=1))


@partial(jax.jit, static_argnums=(0, 1))
def probe(cell: Cell, lags: int, key: Array) -> Array:
    """‖∂L/∂s_{T−k}‖ `[lags, PROBES]` for L = Σ ⟨u, y_T⟩ over the sequences, u ~ N(0, I)."""
    params, inputs, outputs = jax.random.split(key, 3)
    xs = jax.random.normal(inputs, (lags, PROBES, INPUTS))

    def loss(final: State, ys: Output) -> Array:
        return jnp.sum(ys[-1] * jax.random.normal(outputs, ys[-1].shape))

    return gradient_by_lag(cell, cell.init(params, INPUTS), xs, loss)


# --- trained nets


def rates(sizes: Sizes, devices: int) -> dict[str, np.ndarray]:
    """Elman (orthogonal times 1.1) and LSTM on the temporal order by momentum at R rates, with the gradient's norm
    bounded at 1 and not: `held_out [R, N]` (infinite where not finite to the end), `largest`, the largest gradient
    norm, and `climbed`, by how much ln loss rises in all."""
    task = partial(temporal_order, length=sizes.length)
    cells = {"elman": "elman(recurrent_init=orthogonal(gain=1.1))", "lstm": "lstm"}
    ways: dict[str, Clip] = {"": "none", ", clipped": "global_norm"}
    arrays = {"rate": np.array(RATES)}
    for name, expression in cells.items():
        for words, clip in ways.items():
            model = SequenceClassifier(parse_cell(expression, sizes.hidden_size), 4)
            optimizer = OptimizerConfig("momentum", 1.0, clip=clip)
            course = EnsembleConfig(model, classification, task, optimizer, sizes.steps, sizes.batch_size)
            trained, loss = train_at(course, sizes, RATES, devices)
            norms = np.nanmax(np.asarray(trained.norm), axis=1, initial=0.0)
            rises = np.array([climbs(one) for one in np.asarray(trained.loss)])
            measured = {"held_out": loss, "largest": norms, "climbed": rises}
            arrays |= {f"{name}{words}|{key}": a.reshape(loss.shape) for key, a in measured.items()}
            print(f"  {name}{words} on the temporal order", flush=True)
    return arrays


def train_at(
    course: EnsembleConfig, sizes: Sizes, rates: tuple[float, ...], devices: int
) -> tuple[EnsembleResult, np.ndarray]:
    """The nets of all seeds at all rates, and their held-out loss `[R, N]`, infinite if not finite to the end."""
    trained = train_side_by_side(
        course, np.tile(sizes.nets, len(rates)), np.repeat(rates, sizes.seeds), devices
    )
    loss = held_out(course, trained.params)["loss"]
    whole = np.isfinite(loss) & (np.asarray(trained.steps) == course.steps)
    return trained, np.where(whole, loss, np.inf).reshape(len(rates), sizes.seeds)


def climbs(loss: np.ndarray) -> float:
    """Σ max(0, rise of ln loss) between the means of `CURVE` steps, as far as they are finite; loss `[steps]`."""
    count = max(len(loss) // CURVE, 1)
    means = np.array([piece.mean() for piece in np.array_split(loss, count)])
    logs = np.log(means[np.isfinite(means) & (means > 0)])
    return float(np.maximum(np.diff(logs), 0).sum())


def depth(sizes: Sizes, devices: int) -> dict[str, np.ndarray]:
    """Elman nets of 1 to 6 layers on digits read row by row, by Adam at the best of `ADAM_RATES`:
    `held_out [L, N]`, and of untrained ones the norms of the gradient in all weights of the `first_layer` and
    `last_layer [L, N]`."""
    held, first, last = [], [], []
    cell = parse_cell("elman", sizes.hidden_size)
    for layers in DEPTHS:
        layer = Stacked((cell,) * layers)
        held.append(
            best_of_rates(layer, DIGITS_CLASSES, classification, digit_rows, sizes, devices, held_out_rows)
        )
        model = SequenceClassifier(layer, DIGITS_CLASSES)
        norms = np.array([layer_gradients(model, jax.random.key(int(seed))) for seed in sizes.nets])
        first.append(norms[:, 0])
        last.append(norms[:, -1])
        print(f"  {layers} layer{'s' * (layers > 1)} on digits", flush=True)
    return {
        "depth": np.array(DEPTHS, float),
        "held_out": np.array(held),
        "first_layer": np.array(first),
        "last_layer": np.array(last),
    }


def best_of_rates(
    layer: Cell,
    classes: int,
    measure: Measure,
    task: MakeBatch,
    sizes: Sizes,
    devices: int,
    test: MakeBatch | None = None,
) -> np.ndarray:
    """Held-out losses `[N]` at the rate of `ADAM_RATES` whose median over the seeds is least."""
    optimizer = OptimizerConfig("adam", 1.0, clip="global_norm")
    course = EnsembleConfig(
        SequenceClassifier(layer, classes), measure, task, optimizer, sizes.steps, sizes.batch_size, test
    )
    _, loss = train_at(course, sizes, ADAM_RATES, devices)
    return loss[np.argmin(np.median(loss, axis=1))]


@partial(jax.jit, static_argnums=0)
def layer_gradients(model: SequenceClassifier, key: Array) -> Array:
    """‖∂L/∂θ‖ of each layer of a fresh stack on 100 digits, `[layers]`."""
    batch = digit_rows(jax.random.key(0, impl="threefry2x32"), 100)
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
    """All 540 images of validation and test, whatever is asked for."""
    del key, batch_size
    images, labels = (jnp.asarray(a) for a in images_by_row("validation", "test"))
    return Batch(images, labels, jnp.ones((8, len(labels)), bool))


@cache
def images_by_row(*splits: str) -> tuple[np.ndarray, np.ndarray]:
    """`[8, N, 8]` and `[N]`."""
    sources = [digits(split) for split in splits]
    images = np.concatenate([np.asarray(s.inputs).reshape(-1, 8, 8) for s in sources])
    return images.swapaxes(0, 1), np.concatenate([np.asarray(s.targets) for s in sources])


def gated(sizes: Sizes, devices: int) -> dict[str, np.ndarray]:
    """LSTM with H units, GRU with as many and GRU with as many parameters, on adding by Adam at the best of
    `ADAM_RATES`: `lstm|held_out [1, N]`, `gru|held_out [2, N]`, and `…|parameters` of their layers and
    `…|weights`, those of them that stand in matrices."""
    task = partial(adding, length=sizes.length)
    lstm = parse_cell("lstm", sizes.hidden_size)
    wide = min(
        range(sizes.hidden_size, 2 * sizes.hidden_size + 1),
        key=lambda units: abs(parameters(parse_cell("gru", units)) - parameters(lstm)),
    )
    grus = [parse_cell("gru", units) for units in (sizes.hidden_size, wide)]
    arrays = {}
    for name, cells in (("lstm", [lstm]), ("gru", grus)):
        arrays[f"{name}|parameters"] = np.array([parameters(cell) for cell in cells], float)
        arrays[f"{name}|weights"] = np.array([weights(cell) for cell in cells], float)
        arrays[f"{name}|held_out"] = np.array(
            [best_of_rates(cell, 1, regression, task, sizes, devices) for cell in cells]
        )
        print(f"  {name} on adding", flush=True)
    return arrays


def parameters(cell: Cell, inputs: int = 2) -> int:
    """Counts the numbers that a cell has to learn."""
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), inputs))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def weights(cell: Cell, inputs: int = 2) -> int:
    """Counts those of them that stand in matrices."""
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), inputs))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes) if leaf.ndim == 2)


PIECES: dict[str, Callable[[Sizes, int], dict[str, np.ndarray]]] = {
    "gradients": gradients,
    "rates": rates,
    "depth": depth,
    "gated": gated,
}
