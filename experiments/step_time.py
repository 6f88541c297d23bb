"""The time of a training step on this machine, apart from evaluations, checkpoints and compilation."""

import time

import jax
import numpy as np

from experiments.run_task import dividing, initial_params
from experiments.task import Options, Task
from train import batch_mesh, create_state, train_chunk
from train.step import on_devices

STEPS, ROUNDS = 5, 5


def seconds_a_step(task: Task, options: Options, devices: int) -> float:
    """Times steps of a task's training, which it doesn't keep: the median of `ROUNDS` times `STEPS` steps.

    Programs are compiled, and not timed, in a round before."""
    params = initial_params(task, options.seed, task.data.validation()[0])
    carry = () if task.objective.first_carry is None else task.objective.first_carry(params)
    mesh = batch_mesh(dividing(options.batch_size, devices))
    optimizer = options.optimizer.for_run(options.loop.steps, options.loop.eval_every)
    state = on_devices(create_state(params, optimizer, jax.random.key(options.seed), carry), mesh)
    batches, times = task.data.train(options.seed, options.batch_size), []
    for _ in range(1 + ROUNDS):
        taken = batches.take(STEPS)
        began = time.perf_counter()
        state, _ = train_chunk(
            state, taken, STEPS, loss_fn=task.objective.loss, optimizer=optimizer, mesh=mesh
        )
        jax.block_until_ready(state)
        times.append((time.perf_counter() - began) / STEPS)
    return float(np.median(times[1:]))
