"""Training in several processes: shards of a batch, broadcasts, barriers, and the main process.

Every process runs the same loop on a mesh of the devices of all processes (`batch_mesh(processes="all")`), with
replicated parameters. On a mesh of one process each function returns its argument.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from train.sharding import batch_size, batch_specs, pad_to
from train.state import PyTree, TrainState
from train.stop import StopRequest


def is_main(mesh: Mesh) -> bool:
    """Returns True in the main process, which writes."""
    return not mesh.is_multi_process or jax.process_index() == 0


def global_batch(shards: PyTree, mesh: Mesh, *, stacked: bool = False) -> PyTree:
    """Assembles a batch, or stacked ones, from the shard of each process; a shard that doesn't divide over the
    process's devices is padded first."""
    if not mesh.is_multi_process:
        return shards
    shards = jax.device_get(shards)
    one = jax.tree.map(lambda leaf: leaf[0], shards) if stacked else shards
    devices = mesh.local_mesh.size
    size = -(-batch_size(one) // devices) * devices
    if stacked:
        count = len(jax.tree.leaves(shards)[0])
        each = [pad_to(jax.tree.map(lambda leaf, i=i: leaf[i], shards), size) for i in range(count)]
        shards = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    else:
        shards = pad_to(shards, size)
    return jax.tree.map(
        lambda leaf, spec: jax.make_array_from_process_local_data(NamedSharding(mesh, spec), leaf),
        shards,
        batch_specs(one, stacked=stacked),
    )


def local_view(state: TrainState, mesh: Mesh) -> TrainState:
    """Returns the state as this process can read it alone; of the carry its first device's shard."""
    if not mesh.is_multi_process:
        return state
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), state)


def gather(state: TrainState, mesh: Mesh) -> TrainState:
    """Gathers the whole state into this process."""
    if not mesh.is_multi_process:
        return state
    carry = multihost_utils.process_allgather(state.carry, tiled=True)
    return TrainState(
        *(local_view(state, mesh).__dict__[name] for name in ("step", "params", "opt_state")),
        carry=jax.tree.map(jax.numpy.asarray, carry),
        key=state.key.addressable_data(0),
    )


def broadcast(value: Any, mesh: Mesh) -> Any:
    """Returns the main process's value, as JSON, in all processes."""
    if not mesh.is_multi_process:
        return value
    text = json.dumps(value).encode() if is_main(mesh) else b""
    size = int(multihost_utils.broadcast_one_to_all(np.array(len(text), np.int32)))
    sent = np.frombuffer(text.ljust(size), np.uint8)[:size]
    return json.loads(multihost_utils.broadcast_one_to_all(sent).tobytes())


def sum_over_processes(vector: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Adds a vector of numbers of each process, in double precision; the sum is the same in all of them."""
    vector = np.asarray(vector, np.float64)
    if not mesh.is_multi_process:
        return vector
    # As bytes: JAX would round them to single precision.
    rows = np.asarray(multihost_utils.process_allgather(np.frombuffer(vector.tobytes(), np.uint8)))
    return np.sum([np.frombuffer(row.tobytes()) for row in rows], axis=0).reshape(vector.shape)


def shared_dir(folder: Path, mesh: Mesh) -> Path:
    """Returns the main process's folder. Raises ValueError, in all processes, if one doesn't see it."""
    if not mesh.is_multi_process:
        return folder
    if is_main(mesh):
        folder.mkdir(parents=True, exist_ok=True)
    home = Path(broadcast(str(folder.absolute()), mesh))
    seen = multihost_utils.process_allgather(np.array(home.is_dir()))
    if not seen.all():
        raise ValueError(
            f"process {int(np.argmin(seen))} doesn't see {home}: all processes save in one folder; put it on a "
            "file system that all hosts share"
        )
    return home


def agree_to_stop(stop: StopRequest, mesh: Mesh) -> bool:
    """Returns True in all processes if any was asked to stop. A signal that arrives meanwhile counts next time."""
    if not mesh.is_multi_process:
        return stop.requested
    asked = multihost_utils.process_allgather(np.array([stop.requested, stop.signal], np.int32))
    if not asked[:, 0].any():
        return False  # leaves `stop` unchanged, as a signal may have set it meanwhile
    stop.requested, stop.signal = True, int(asked[:, 1].max())
    return True


BARRIER_TIMEOUT_MS = 10 * 60 * 1000
_barrier_count = itertools.count()


def barrier(what: str) -> None:
    """Waits for all processes; call it equally often, in the same order, on every process."""
    if jax.process_count() > 1:
        from jax._src import distributed  # there is no public access; Orbax uses it too

        service = distributed.global_state.client
        assert service is not None
        service.wait_at_barrier(f"unroll {what} {next(_barrier_count)}", BARRIER_TIMEOUT_MS)
