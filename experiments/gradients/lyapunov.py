"""Measure Lyapunov spectra of random nets against gain, beside theory, and of cells during training.

Random nets x' = J tanh(x) + σ ξ with J_ij ~ N(0, g²/N): the whole spectrum at each gain g, with and without
noise, beside λ₁ = ½ ln χ and the mean exponent of mean-field theory (Engelken, Wolf & Abbott 2023). Then cells
trained on a task: every --measure-every steps, their spectrum along held-out sequences joined end to end, and
without input. Everything is in double precision; the sum rule Σλ = ⟨ln |det J|⟩ is checked where the spectrum is
whole.

The whole spectrum is measured along the first of --starts trajectories, the leading exponents along all of them,
to estimate the error. Starts with clearly different exponents are reported separately.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import exponents_over_starts, lyapunov_spectrum
from experiments.cell_spec import label
from experiments.gradients.lyapunov_config import QR_EVERY, Config
from experiments.gradients.lyapunov_report import (
    draw,
    format_table,
    largest,
    random_name,
    results,
    trained_name,
)
from experiments.harness.files import arrays_with_prefix
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.objective import Evaluation
from experiments.run_task import initial_params, train_task
from experiments.task import TrainingOptions
from models import Cell, Elman, unroll
from models.cell import Array, Params, State
from train import evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share
SHOWN = 5  # leading exponents that are taken along all starts, and whose running estimates are kept


def main(config: Config, run: Run) -> str:
    """Measures random nets and cells in training, draws, returns the table."""
    for noise in config.noises:
        for gain in config.gains:
            found = run.cached(random_name(noise, gain), partial(random_spectrum, config, noise, gain))
            print(f"random net, σ = {noise:g}, g = {gain:g}: {format_exponents(found)}", flush=True)
    for expression in config.cells:
        train_and_measure(config, run, expression)
    table = format_table(config, run.folder)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(config, run.folder))
    return table


def random_spectrum(config: Config, noise: float, gain: float) -> dict[str, np.ndarray]:
    """Returns the spectrum of x' = J tanh(x) + σ ξ: h = tanh(x) is the state of an Elman net that reads σ ξ.

    At each gain the same draws, so that curves over it are smooth; the state begins at h ~ N(0, 1/4), not at rest.
    """
    with jax.enable_x64(True):
        j, xi, start = jax.random.split(jax.random.key(config.seed), 3)
        size = config.units
        params = {
            "kernel": noise * jnp.eye(size),
            "recurrent": gain / size**0.5 * jax.random.normal(j, (size, size)),
            "bias": jnp.zeros(size),
        }
        noises = jax.random.normal(xi, (config.trajectory, config.starts, size))
        states = 0.5 * jax.random.normal(start, (config.starts, size))
        return spectrum(config, Elman(size), params, noises, states)


def train_and_measure(config: Config, run: Run, expression: str) -> None:
    """Trains and measures one cell from its first to its last moment; skips finished measurements."""
    problem, name = config.problem(), label(expression)
    model, cell = config.model(expression, problem), config.cell(expression)
    validation = problem.data.validation()
    along, resumed = config.along(), run.resumed
    task, optimizer = problem.task(model), config.whole_schedule()
    for moment in config.moments():
        if run.resumed and run.has_arrays(trained_name(expression, moment)):
            continue
        if moment:
            params = train_task(
                run,
                task,
                TrainingOptions(
                    config.seed,
                    config.batch_size,
                    dataclasses.replace(config.loop, steps=moment),
                    optimizer,
                ),
                label=name,
                folder=run.folder / "cells" / folder_name(name),
                resume=resumed,
            ).after
            resumed = True  # the next moment goes on from this one
        else:
            params = initial_params(task, config.seed, validation[0])
        metric = evaluate(Evaluation(model, problem.measure), params, validation)[problem.metric]
        own = params["params"]["recurrent"]["cell"]

        def measured(own: Params = own, metric: float = metric) -> dict[str, Any]:
            with jax.enable_x64(True):
                double = jax.tree.map(to_double, own)
                inputs = jnp.asarray(along, jnp.float64)
                # From where an input has left it: the state of rest may be a point that nothing stays at.
                left = jax.vmap(lambda xs: unroll(cell, double, xs)[0], in_axes=1)(inputs)
                before = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), left)  # that of another start
                driven = spectrum(config, cell, double, inputs, before)
                silent = spectrum(config, cell, double, jnp.zeros(along.shape), left)
            both = {f"driven|{k}": v for k, v in driven.items()} | {
                f"silent|{k}": v for k, v in silent.items()
            }
            return both | {"metric": metric}

        found = run.cached(trained_name(expression, moment), measured)
        print(f"{name}, step {moment}: {format_exponents(arrays_with_prefix('driven', found))}", flush=True)


def to_double(leaf: Array) -> Array:
    """Converts a parameter to double precision."""
    wide = jnp.complex128 if jnp.iscomplexobj(leaf) else jnp.float64
    return jnp.asarray(np.asarray(leaf), wide) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf


def spectrum(config: Config, cell: Cell, params: Params, xs: Array, states: State) -> dict[str, np.ndarray]:
    """Takes spectra along `xs [T, N, D]` from `states [N, …]`.

    Returns the fields of the first one, the running estimates of its leading exponents alone, and as `starts|…` the
    summary of these over all N."""
    first = jax.tree.map(lambda leaf: leaf[0], states)
    warmup = config.settling
    found = lyapunov_spectrum(
        cell, params, xs[:, 0], first, k=config.leading, warmup=warmup, qr_every=QR_EVERY
    )
    kept = {name: np.asarray(value) for name, value in vars(found).items()}
    leading = min(SHOWN, len(kept["exponents"]))
    over = exponents_over_starts(cell, params, xs, states, k=leading, warmup=warmup, qr_every=QR_EVERY)
    summary = {f"starts|{name}": np.asarray(value) for name, value in vars(over).items()}
    return kept | {"running": kept["running"][:, :leading]} | summary


def format_exponents(found: Mapping[str, np.ndarray]) -> str:
    """Formats the first exponent with its 95 % interval, in each regime."""
    rows = zip(*largest(found), strict=True)
    return "λ₁ = " + ", ".join(f"{value:+.4f} ± {width:.4f} ({count} starts)" for value, width, count in rows)
