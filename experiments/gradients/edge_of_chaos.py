"""Map exponents over the (σ_w, σ_b) plane, beside mean-field theory, and the delays that nets learn.

The nets are h_t = tanh(R h_{t−1} + b) with R_ij ~ N(0, σ_w²/N) and b_i ~ N(0, σ_b²). First λ₁ is measured
on nets of --units, beside ½ ln χ. Then smaller nets are trained: an image of a digit is written into the
state, T steps without input follow, and the last state must name the digit. The longest T that is learnt
within --updates is drawn over the plane, beside ξ = −1/ln χ_c*, the number of steps over which the states
of two inputs converge: 6 ξ is the border that Schoenholz et al. (2017) found for depth. For recurrent nets
see Chen, Pennington & Schoenholz (2018).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import depth_scales, edge_of_chaos, lyapunov_spectrum, tanh_mean_field
from data.digits import DIGITS_CLASSES, DIGITS_PIXELS
from experiments.footprint import Part, check_fits
from experiments.gradients.edge_of_chaos_training import answer, fresh_net, images, random_net, train_nets
from experiments.harness.checks import (
    check_at_least,
    check_distinct,
    check_not_negative,
    check_rising,
    check_seed,
)
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, stored_config
from experiments.harness.run import Run
from models import Elman
from models.cell import Array, Key
from train import OptimizerConfig, accuracy, batch_mesh, mean

FINE = 81  # gains and deviations at which theory is drawn


@dataclass(frozen=True)
class Config:
    """Edge of chaos."""

    gains: tuple[float, ...] = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6)
    """Standard deviations σ_w of the recurrent weights, times √N."""
    biases: tuple[float, ...] = (0.05, 0.3, 0.6, 0.9)
    """Standard deviations σ_b of the biases."""
    lengths: tuple[int, ...] = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    """Steps T between the image and the answer."""
    units: int = 512
    """Units of the nets whose λ₁ is measured, N."""
    draws: int = 2
    """Nets at each point of the plane, over which λ₁ is averaged."""
    trajectory: int = 500
    """Steps of a trajectory along which λ₁ is measured."""
    warmup: int | None = None
    """First steps of it to discard, while the state settles; two fifths by default."""
    hidden_size: int = 64
    """Units of the trained nets."""
    updates: int = 200
    """Training steps."""
    batch_size: int = 50
    """Images per training step, B."""
    learnt: float = 0.8
    """Held-out accuracy from which a length counts as learnt."""
    seed: int = 0
    """Seed of nets and of the order of images; the held-out images don't depend on it."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=1e-3))

    def __post_init__(self) -> None:
        check_at_least(
            1, units=self.units, draws=self.draws, hidden_size=self.hidden_size, updates=self.updates
        )
        check_at_least(1, batch_size=self.batch_size)
        check_seed(self.seed)
        planes = {"gains": self.gains, "biases": self.biases, "lengths": self.lengths}
        check_distinct(2, **planes)  # a plane is drawn over them
        check_rising(**planes)
        for name, values in planes.items():
            for value in values:
                check_not_negative(**{name: value})
        check_at_least(1, lengths=self.lengths[0])
        check_at_least(0, warmup=self.settling)
        if self.trajectory < self.settling + 10:
            raise UserError(
                "--trajectory",
                f"{self.trajectory} is too short for a --warmup of {self.settling} steps and 10 to "
                "count: give a longer one, or a smaller warm-up",
            )
        if not 1 / DIGITS_CLASSES < self.learnt <= 1:
            raise UserError(
                "--learnt", f"must be above 0.1, which is guessing, and at most 1, but is {self.learnt}"
            )

    def check(self) -> None:
        """Raises ValueError if the nets need more memory than is free, or for a schedule that they can't follow."""
        nets, inputs = len(self.gains) * len(self.biases), DIGITS_PIXELS
        weights = self.hidden_size * (self.hidden_size + inputs + DIGITS_CLASSES + 1)
        states = max(self.lengths) * self.batch_size * self.hidden_size
        check_fits(
            {
                "a random net's matrix": Part(4 * self.units**2, "fewer --units"),
                "the trained nets and their gradients": Part(
                    2 * 4 * nets * weights, "a smaller --hidden-size"
                ),
                "the images of all updates": Part(
                    4 * self.updates * self.batch_size * (inputs + 1),
                    "fewer --updates or a smaller --batch-size",
                ),
                "the states of the longest sequences": Part(
                    4 * nets * states, "shorter --lengths, a smaller --batch-size or a smaller --hidden-size"
                ),
            }
        )
        if self.optimizer.schedule == "validation_plateau":
            raise UserError("--optimizer.schedule", "validation_plateau needs evaluations: choose another")
        self.optimizer.for_run(self.updates)

    @property
    def settling(self) -> int:
        """Steps of the warm-up."""
        return 2 * self.trajectory // 5 if self.warmup is None else self.warmup

    def measured_biases(self) -> np.ndarray:
        """Returns the σ_b at which λ₁ is measured: those of --biases and the midpoints between them."""
        given = np.asarray(self.biases)
        return np.sort(np.concatenate([given, (given[1:] + given[:-1]) / 2]))


def plane(gains: Sequence[float], biases: Sequence[float] | np.ndarray) -> tuple[Array, Array]:
    """Returns σ_w and σ_b of every net, `[n · m]` each, the σ_b of one σ_w side by side."""
    pairs = np.meshgrid(gains, biases, indexing="ij")
    return jnp.asarray(pairs[0].ravel(), jnp.float32), jnp.asarray(pairs[1].ravel(), jnp.float32)


def main(config: Config, run: Run) -> str:
    """Measures, trains length by length, draws, returns the table."""
    exponents = run.cached("exponents", lambda: {"measured": measured_exponents(config)})["measured"]
    print(f"λ₁ measured on {exponents.size} nets of {config.units} units", flush=True)
    for length in config.lengths:
        found = run.cached(
            f"trained_{length}", lambda length=length: trained_accuracy(config, length, run.devices)
        )
        learnt = int(np.sum(found["accuracy"] >= config.learnt))
        print(f"T = {length}: {learnt} of {found['accuracy'].size} nets learnt", flush=True)
    table = format_table(config, run.folder)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(config, run.folder))
    return table


def measured_exponents(config: Config) -> np.ndarray:
    """Returns λ₁ of `draws` nets at every gain and measured bias, `[n, 2m − 1, draws]`."""
    biases = config.measured_biases()

    def first(gain: Array, bias: Array, key: Key) -> Array:
        r, b, start = jax.random.split(key, 3)
        size = config.units
        params = random_net(r, b, size, gain, bias)
        state = 0.5 * jax.random.normal(start, (size,))
        nothing = jnp.zeros((config.trajectory, 0))
        return lyapunov_spectrum(Elman(size), params, nothing, state, k=1, warmup=config.settling).exponents[
            0
        ]

    # A net after the other: their matrices together would not fit into the processor's memory.
    over = jax.jit(lambda points: jax.lax.map(lambda point: first(*point), points))
    keys = jax.random.split(jax.random.key(config.seed), config.draws)
    nets = plane(config.gains, biases)
    found = [over((*nets, jnp.repeat(key[None], nets[0].size))) for key in keys]
    return np.stack(found, axis=-1).reshape(len(config.gains), len(biases), config.draws)


def trained_accuracy(config: Config, length: int, devices: int = 1) -> dict[str, np.ndarray]:
    """Returns accuracy on held-out digits of every net of the plane after training over T = `length` steps, and its
    last training loss: `[n, m]` each. All nets see the same images in the same order, and begin with the same
    draws."""
    gains, biases = plane(config.gains, config.biases)
    pixels, labels = images("train")
    order = np.random.default_rng(config.seed).integers(0, len(labels), (config.updates, config.batch_size))
    key = jax.random.key(config.seed)
    nets = jax.vmap(partial(fresh_net, key, pixels.shape[1], config.hidden_size))(gains, biases)
    mesh = batch_mesh(math.gcd(devices, gains.size))
    batches = (jnp.asarray(pixels[order]), jnp.asarray(labels[order]))
    nets, losses = jax.device_put(
        train_nets(config.optimizer.for_run(config.updates), length, mesh, nets, *batches),
        jax.local_devices()[0],
    )
    held_out, answers = images("test")
    found = jax.jit(
        jax.vmap(lambda net: mean(accuracy(answer(length, net, jnp.asarray(held_out)), jnp.asarray(answers))))
    )(nets)
    shape = (len(config.gains), len(config.biases))
    return {"accuracy": np.asarray(found).reshape(shape), "loss": np.asarray(losses).reshape(shape)}


def columns(config: Config, folder: Path) -> dict[str, np.ndarray]:
    """Returns what was measured and what theory says at every point of the plane, `[n, m]`;
    `accuracy [n, m, lengths]`."""
    found = read_arrays(folder, "exponents")["measured"]
    trained = [read_arrays(folder, f"trained_{length}")["accuracy"] for length in config.lengths]
    accuracies = np.stack(trained, axis=-1)
    gains, biases = np.asarray(config.gains)[:, None], np.asarray(config.biases)[None]
    scales = depth_scales(gains, biases)
    return {
        "measured": found.mean(axis=-1)[:, ::2],  # those half way are for the figure
        "theory": tanh_mean_field(gains, biases).exponent,
        "signal": scales.signal,
        "gradient": scales.gradient,
        "accuracy": accuracies,
        "reached": reached(np.asarray(config.lengths), accuracies >= config.learnt),
    }


def reached(lengths: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Returns the longest length such that it and all below it are learnt, `[..., lengths]` → `[...]`; 0 for
    none."""
    count = np.sum(np.cumprod(learnt, axis=-1), axis=-1)
    return np.concatenate([[0], lengths])[count]


def format_table(config: Config, folder: Path) -> str:
    """Formats a row for each point of the plane."""
    rows = columns(config, folder)
    titles = "".join(f"{f'T = {length}':>9}" for length in config.lengths)
    lines = [
        f"{'σ_b':>5}{'σ_w':>6}{'λ₁':>10}{'theory':>10}{'ξ':>9}{'6 ξ':>9}{'learnt T':>10}  accuracy at",
        f"{'':>61}{titles}",
    ]
    for j, bias in enumerate(config.biases):
        for i, gain in enumerate(config.gains):
            shares = "".join(f"{share:>9.1%}" for share in rows["accuracy"][i, j])
            lines += [
                f"{bias:>5g}{gain:>6g}{rows['measured'][i, j]:>+10.4f}{rows['theory'][i, j]:>+10.4f}"
                f"{rows['signal'][i, j]:>9.1f}{6 * rows['signal'][i, j]:>9.1f}{rows['reached'][i, j]:>10}  {shares}"
            ]
    return "\n".join(
        [
            *lines,
            "",
            f"λ₁: measured on {config.draws} nets of {config.units} units, nats per step; theory: ½ ln χ as N → ∞; "
            "ξ = −1/ln χ_c*, steps;",
            f"learnt T: the longest T up to which accuracy is at least {config.learnt:g} after {config.updates} "
            f"training steps, {config.hidden_size} units.",
        ]
    )


def results(config: Config, folder: Path) -> dict[str, Any]:
    """Returns the table's numbers, `[n, m]` by gain and bias."""
    axes = {"gains": config.gains, "biases": config.biases, "lengths": config.lengths}
    found = {name: values.tolist() for name, values in columns(config, folder).items()}
    return axes | {k: v for k, v in found.items() if k not in ("signal", "gradient")}


def reach(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Returns the span from half a cell before the first value, though not below 0, to half a cell after the
    last."""
    first, second, *_ = values
    *_, before, last = values
    return max(first - (second - first) / 2, 0.0), last + (last - before) / 2


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.edge_of_chaos import Plane, depth_over_plane, depth_reached, exponent_planes
    from analysis.figures.style import save

    config = stored_config(Config, folder)
    rows = columns(config, folder)
    fine_gains, fine_biases = (
        np.linspace(*reach(values), FINE) for values in (config.gains, config.measured_biases())
    )
    theory = Plane(
        fine_gains,
        fine_biases,
        tanh_mean_field(fine_gains[:, None], fine_biases[None]).exponent,
        edge_of_chaos(fine_biases),
    )
    gains, biases, lengths = map(np.asarray, (config.gains, config.biases, config.lengths))
    measured = read_arrays(folder, "exponents")["measured"].mean(axis=-1)
    panels = {f"{bias:g}": rows["accuracy"][:, j] for j, bias in enumerate(config.biases)}
    scales = {f"{bias:g}": (fine_gains, depth_scales(fine_gains, bias).signal) for bias in config.biases}
    drawn = {
        "phase_diagram": exponent_planes(theory, gains, config.measured_biases(), measured),
        "depth_learnt": depth_reached(gains, lengths, panels, scales, learnt=config.learnt),
        "depth_over_plane": depth_over_plane(theory, gains, biases, rows["reached"]),
    }
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
