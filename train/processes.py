"""One training in several processes: whose share is whose, what all agree on, and what the first alone does.

Every process runs the same loop on a mesh of the devices of all (`batch_mesh(processes="all")`). Parameters are on
every device alike. On a mesh of one process each function gives back what it is given.
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
    """Tells whether this process is the one that writes."""
    return not mesh.is_multi_process or jax.process_index() == 0


def global_batch(shares: PyTree, mesh: Mesh, *, stacked: bool = False) -> PyTree:
    """A batch, or stacked ones, of which each process has given its share; one that doesn't divide over the
    process's devices is filled up first."""
    if not mesh.is_multi_process:
        return shares
    shares = jax.device_get(shares)
    one = jax.tree.map(lambda leaf: leaf[0], shares) if stacked else shares
    own = mesh.local_mesh.size
    size = -(-batch_size(one) // own) * own
    if stacked:
        count = len(jax.tree.leaves(shares)[0])
        each = [pad_to(jax.tree.map(lambda leaf, i=i: leaf[i], shares), size) for i in range(count)]
        shares = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    else:
        shares = pad_to(shares, size)
    return jax.tree.map(
        lambda leaf, spec: jax.make_array_from_process_local_data(NamedSharding(mesh, spec), leaf),
        shares,
        batch_specs(one, stacked=stacked),
    )


def local_view(state: TrainState, mesh: Mesh) -> TrainState:
    """The state as this process can look at it by itself; of the carry its first device's share."""
    if not mesh.is_multi_process:
        return state
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), state)


def gather(state: TrainState, mesh: Mesh) -> TrainState:
    """The state in whole, in this process alone."""
    if not mesh.is_multi_process:
        return state
    carry = multihost_utils.process_allgather(state.carry, tiled=True)
    return TrainState(
        *(local_view(state, mesh).__dict__[name] for name in ("step", "params", "opt_state")),
        carry=jax.tree.map(jax.numpy.asarray, carry),
        key=state.key.addressable_data(0),
    )


def broadcast(known: Any, mesh: Mesh) -> Any:
    """Returns what the first process knows, in terms of JSON, in all of them."""
    if not mesh.is_multi_process:
        return known
    text = json.dumps(known).encode() if is_main(mesh) else b""
    size = int(multihost_utils.broadcast_one_to_all(np.array(len(text), np.int32)))
    sent = np.frombuffer(text.ljust(size), np.uint8)[:size]
    return json.loads(multihost_utils.broadcast_one_to_all(sent).tobytes())


def shared_dir(folder: Path, mesh: Mesh) -> Path:
    """The first process's folder. Raises ValueError, in all of them, where one doesn't see it."""
    if not mesh.is_multi_process:
        return folder
    if is_main(mesh):
        folder.mkdir(parents=True, exist_ok=True)
    home = Path(broadcast(str(folder.absolute()), mesh))
    seen = multihost_utils.process_allgather(np.array(home.is_dir()))
    if not seen.all():
        raise ValueError(
            f"process {int(np.argmin(seen))} doesn't see {home}: several processes save in one folder; put it on a "
            "file system that all their hosts share"
        )
    return home


def agree_to_stop(stop: StopRequest, mesh: Mesh) -> bool:
    """Tells whether any process was asked to stop; then all are. A signal that comes while they ask counts next
    time."""
    if not mesh.is_multi_process:
        return stop.requested
    asked = multihost_utils.process_allgather(np.array([stop.requested, stop.signal], np.int32))
    if not asked[:, 0].any():
        return False  # without a word to `stop`, which a signal may have set meanwhile
    stop.requested, stop.signal = True, int(asked[:, 1].max())
    return True


LONGEST = 10 * 60 * 1000  # ms
_met = itertools.count()


def barrier(what: str) -> None:
    """Returns when every process has come here: as often, and in the same order. One process doesn't wait."""
    if jax.process_count() > 1:
        from jax._src import distributed  # Orbax asks there too: there is no other door

        service = distributed.global_state.client
        assert service is not None
        service.wait_at_barrier(f"unroll {what} {next(_met)}", LONGEST)
