"""Many nets trained side by side: one kind of net on one task, each with a seed and a learning rate of its own.

`train.fit` is for one net that is to be kept: it logs, saves and goes on. Here a net is a point of a curve:
hundreds are trained in one dispatch, only what is measured of them leaves it, and one whose numbers are no
longer finite stops, and is counted, while the others continue.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Bool, Float, Int

from data import split_key
from data.synthetic.batches import MakeBatch
from experiments.footprint import Part, SavedForBackward, check_fits, nbytes
from experiments.objective import Evaluation, Loss, Measure
from models.cell import Array, Params
from train import OptimizerConfig, make_clipping, make_optimizer, mean
from train.descent import descend, halt_at_nonfinite

NETS = "nets"  # the axis over whose devices they are shared
HELD_OUT = 1000  # sequences that nets are evaluated on
ADAM_RATES = (0.003, 0.01)  # where each kind of net gets its best


@dataclass(frozen=True)
class EnsembleConfig:
    """The options that the nets have in common; equal configs are compiled once.

    The batches of step i are `task(fold_in(key, i), batch_size)` with a key made from the net's seed: nets of
    one seed begin with the same parameters and see the same data. The rate of `optimizer` is a factor on each
    net's own.
    """

    model: nn.Module
    measure: Measure
    task: MakeBatch
    optimizer: OptimizerConfig
    steps: int
    batch_size: int
    test: MakeBatch | None = None
    """The source of held-out sequences; by default `task`, with a key of its own."""

    def __post_init__(self) -> None:
        if self.optimizer.schedule != "constant":
            raise ValueError(
                f"optimizer.schedule is {self.optimizer.schedule}; nets side by side have constant rates: take that"
            )


class EnsembleResult(NamedTuple):
    """Of N nets: `params` at the end, leaves `[N, ...]`, and at each step the `loss [N, steps]`, the gradient's
    `norm [N, steps]` before clipping and whether it was `clipped [N, steps]`.

    A net whose loss, gradient or update isn't finite keeps its parameters from there on: `steps [N]` counts its
    updates, and what it has not measured is NaN, and False.
    """

    params: Params
    loss: Float[Array, "N steps"]
    norm: Float[Array, "N steps"]
    clipped: Bool[Array, "N steps"]
    steps: Int[Array, " N"]


def check_ensemble_fits(config: EnsembleConfig, nets: int, devices: int = 1) -> None:
    """Raises ValueError where training so many nets, and holding them all, needs more memory than is free."""
    key = jax.random.key(0, impl="threefry2x32")
    batch = jax.eval_shape(lambda key: config.task(key, config.batch_size), key)
    held_out = jax.eval_shape(lambda key: (config.test or config.task)(key, HELD_OUT), key)
    parts = {
        "a batch": Part(nbytes(batch) * devices, "shorter sequences or a smaller --batch-size"),
        "held-out data": Part(nbytes(held_out), "shorter sequences"),
        "what is measured of each step": Part(9 * nets * config.steps, "fewer --seeds or --steps"),
    }
    check_fits(parts)  # before a model of such inputs is traced

    def initial(batch: Any) -> Params:
        return config.model.init(jax.random.key(0), batch.inputs, mask=batch.mask)

    params = jax.eval_shape(initial, batch)
    state = jax.eval_shape(make_optimizer(config.optimizer).init, params)
    # Of the net that is being trained: gradient and optimizer, beside its place.
    one = nbytes(params) + nbytes(state)
    parts["parameters, gradients and optimizer"] = Part(
        nets * nbytes(params) + one * devices, "a smaller --hidden-size or fewer --seeds"
    )
    check_fits(parts)
    saved = jax.eval_shape(SavedForBackward(Loss(config.model, config.measure)), params, (), batch)
    parts["the backward pass"] = Part(
        nbytes(saved) * devices, "shorter sequences, a smaller --batch-size or a smaller --hidden-size"
    )
    check_fits(parts)


def train_side_by_side(
    config: EnsembleConfig, seeds: Int[np.ndarray, " N"], rates: Float[np.ndarray, " N"], devices: int = 1
) -> EnsembleResult:
    """Trains a net for every seed and rate; the devices share the nets and exchange nothing.

    Raises ValueError as `check_ensemble_fits`.
    """
    count = len(seeds)
    check_ensemble_fits(config, count, devices)
    filled = -count % devices  # the last once more, to divide
    padded = (
        jnp.asarray(np.append(a, np.repeat(a[-1:], filled)), d) for a, d in ((seeds, int), (rates, float))
    )
    mesh = Mesh(np.array(jax.local_devices()[:devices]), (NETS,))
    trained = train_all(config, mesh, *padded)
    # On one device: what is measured of them next would else be computed on each.
    return jax.tree.map(lambda leaf: leaf[:count], jax.device_put(trained, jax.local_devices()[0]))


@partial(jax.jit, static_argnums=(0, 1))
def train_all(config: EnsembleConfig, mesh: Mesh, seeds: Array, rates: Array) -> EnsembleResult:
    """Trains each by `train_one`, on each device one after another: a net's bits don't depend on its neighbours."""

    def own(seeds: Array, rates: Array) -> EnsembleResult:
        return jax.lax.map(lambda pair: train_one(config, *pair), (seeds, rates))

    spec = PartitionSpec(NETS)
    return jax.shard_map(own, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)(seeds, rates)


def train_one(config: EnsembleConfig, seed: Array, rate: Array) -> EnsembleResult:
    """Trains one net: θ ← θ + rate · update at every step."""
    loss_of, key = Loss(config.model, config.measure), jax.random.key(seed)
    data = split_key(jax.random.key(seed, impl="threefry2x32"), "train")
    clipping = make_clipping(config.optimizer)
    first = config.task(data, config.batch_size)
    params = config.model.init(jax.random.fold_in(key, 1), first.inputs, mask=first.mask)

    def loss(params: Params, index: Array) -> Array:
        batch = config.task(jax.random.fold_in(data, index), config.batch_size)
        return mean(loss_of(params, (), batch, jax.random.fold_in(key, index))[0])

    def record(params: Params, value: Array, gradient: Params, memory: Any) -> tuple[Array, Array, Array]:
        _, alive = memory
        bounded, _ = clipping.update(gradient, clipping.init(params), params)
        norm, cut = optax.tree.norm(gradient), optax.tree.norm(optax.tree.sub(gradient, bounded))
        clipped = alive & (cut > 1e-5 * norm)  # beyond rounding
        return jnp.where(alive, value, jnp.nan), jnp.where(alive, norm, jnp.nan), clipped

    rule = optax.chain(clipping, make_optimizer(config.optimizer), scaled_by(rate))
    params, (losses, norms, clipped) = descend(
        loss, params, halt_at_nonfinite(rule), jnp.arange(config.steps), record
    )
    return EnsembleResult(params, losses, norms, clipped, jnp.sum(jnp.isfinite(losses)))


def scaled_by(rate: Array) -> optax.GradientTransformation:
    """Scales updates by a net's own rate, which `optax.scale` would take for a number."""
    return optax.stateless(lambda updates, params: jax.tree.map(lambda update: rate * update, updates))


def held_out(
    config: EnsembleConfig, params: Params, count: int = HELD_OUT
) -> dict[str, Float[np.ndarray, " N"]]:
    """Evaluates each net (leaves of `params` `[N, ...]`) on `count` sequences that no net was trained on; the
    training loss is there as `loss` too."""
    found = evaluate_all(dataclasses.replace(config, batch_size=count), params)
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


@partial(jax.jit, static_argnums=0)
def evaluate_all(config: EnsembleConfig, params: Params) -> dict[str, Array]:
    """Averages over one batch of the test split, the same for every seed."""
    key = split_key(jax.random.key(0, impl="threefry2x32"), "test")
    batch = (config.test or config.task)(key, config.batch_size)
    evaluation = Evaluation(config.model, config.measure)

    def measures(params: Params) -> dict[str, Array]:
        found = {name: mean(pair) for name, pair in evaluation(params, batch).items()}
        return {"loss": next(iter(found.values())), **found}  # named here: a dict comes back sorted by name

    return jax.lax.map(measures, params)


# --- learning rates


def train_at_rates(
    config: EnsembleConfig, seeds: Int[np.ndarray, " N"], rates: Sequence[float], devices: int = 1
) -> tuple[EnsembleResult, Float[np.ndarray, "R N"]]:
    """Trains a net for every rate and seed.

    Returns all R·N of them, rate by rate, and their held-out losses, infinite for a net that wasn't finite to the
    end.
    """
    trained = train_side_by_side(config, np.tile(seeds, len(rates)), np.repeat(rates, len(seeds)), devices)
    loss = held_out(config, trained.params)["loss"]
    finite = np.isfinite(loss) & (np.asarray(trained.steps) == config.steps)
    return trained, np.where(finite, loss, np.inf).reshape(len(rates), len(seeds))


def losses_at_best_rate(
    config: EnsembleConfig, seeds: Int[np.ndarray, " N"], rates: Sequence[float], devices: int = 1
) -> Float[np.ndarray, " N"]:
    """Returns the held-out losses at the rate whose median over the seeds is least."""
    _, loss = train_at_rates(config, seeds, rates, devices)
    return loss[np.argmin(np.median(loss, axis=1))]


def as_list(values: Float[np.ndarray, " N"]) -> list[float | None]:
    """Values as `results.json` holds them, None for those that aren't finite: JSON has no infinity."""
    return [float(value) if np.isfinite(value) else None for value in values]
