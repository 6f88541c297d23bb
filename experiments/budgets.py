"""Equal budgets: the time of a training step on this machine, steps of a given time, widths of a given size."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness.run import Run
from experiments.run_task import dividing, initial_params
from experiments.task import Options, Task
from models.cell import Params
from train import TrainState, batch_mesh, create_state, evaluated_params, train_chunk
from train.step import on_devices

STEPS, ROUNDS = 5, 5


def seconds_a_step(task: Task, options: Options, devices: int) -> float:
    """Times steps of a task's training, which it doesn't keep: the median of `ROUNDS` times `STEPS` steps.

    Programs are compiled, and not timed, before: in a round, or in `ROUNDS` of them where each step is a dispatch
    of its own, as batches of several lengths want it."""
    _, state, train = begin(task, options, devices)
    batches, times = task.data.train(options.seed, options.batch_size), []
    together = 1 if options.loop.chunk == 1 else STEPS
    for _ in range(ROUNDS + (ROUNDS if together == 1 else 1)):
        taken = [batches.take(together) for _ in range(STEPS // together)]
        began = time.perf_counter()
        for chunk in taken:
            state, _ = train(state, chunk, together)
        jax.block_until_ready(state)
        times.append((time.perf_counter() - began) / STEPS)
    return float(np.median(times[-ROUNDS:]))


class Within(NamedTuple):
    """Parameters before and after a training, its steps, and whether all of them were finite."""

    before: Params
    after: Params
    steps: int
    finite: bool


def train_within(task: Task, options: Options, devices: int, seconds: float | None = None) -> Within:
    """Trains for `options.loop.steps` or, given `seconds`, until they are over, compilation not counted.

    For nets that are points of a curve: nothing is logged, saved or evaluated. The schedule must not end within."""
    before, state, train = begin(task, options, devices)
    batches = task.data.train(options.seed, options.batch_size)
    steps, spent, finite = 0, 0.0, True
    while finite and (
        steps < options.loop.steps if seconds is None else spent < seconds or steps < 2 * STEPS
    ):
        count = STEPS if seconds is not None else min(STEPS, options.loop.steps - steps)
        taken = batches.take(STEPS)
        began = time.perf_counter()
        state, metrics = train(state, taken, count)
        finite = bool(np.all(np.asarray(metrics["finite"])[:count]))
        if steps:  # the first chunk is compiled
            spent += time.perf_counter() - began
        steps += count
    first = jax.local_devices()[0]
    return Within(before, jax.device_put(evaluated_params(state), first), steps, finite)


def begin(task: Task, options: Options, devices: int) -> tuple[Params, TrainState, Callable[..., Any]]:
    """Returns initial parameters, the state of training that begins with them, and `train(state, batches, count)`,
    which returns the next state and the metrics of `train.train_chunk`."""
    params = initial_params(task, options.seed, task.data.validation()[0])
    before = jax.tree.map(jnp.copy, params)  # those of the state are overwritten
    carry = () if task.objective.first_carry is None else task.objective.first_carry(params)
    mesh = batch_mesh(dividing(options.batch_size, devices))
    optimizer = options.optimizer.for_run(options.loop.steps, options.loop.eval_every)
    state = on_devices(create_state(params, optimizer, jax.random.key(options.seed), carry), mesh)
    return before, state, partial(train_chunk, loss_fn=task.objective.loss, optimizer=optimizer, mesh=mesh)


def steps_in_time(run: Run, name: str, task: Task, options: Options, seconds: float) -> int:
    """Returns how many steps of a task's training take so many seconds, at least 2, by the time of a step without
    evaluations and checkpoints. It is measured once, and kept as `arrays/times/NAME.npz` for a resumed run."""

    def timed() -> dict[str, np.ndarray]:
        found = seconds_a_step(task, options, run.devices)
        print(f"{name}: {1e3 * found:.1f} ms a step", flush=True)
        return {"seconds": np.array(found)}

    return max(2, int(seconds / float(run.cached(f"times/{name}", timed)["seconds"])))


def width_of_size(count: Callable[[int], int], parameters: int, step: int = 1) -> int:
    """Returns the multiple w of `step` whose `count(w)` is nearest to a number of parameters, for a count that is a
    quadratic function of w."""
    three = [step, 2 * step, 3 * step]
    square, slope, level = np.polyfit(three, [count(width) - parameters for width in three], 2)
    root = (-slope + np.sqrt(max(slope**2 - 4 * square * level, 0.0))) / (2 * square)
    below = step * max(1, math.floor(root / step))
    return min((below, below + step), key=lambda width: abs(count(width) - parameters))
