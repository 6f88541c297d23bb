"""Sharding of batches over devices.

Parameters and optimizer are replicated; each device computes with its shard of the batch, and sums are added over
all devices. On the CPU a device is a core (`python -m experiments … --devices N`).
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from train.state import PyTree, is_key, leaf_name

BATCH_AXIS = "batch"
"""The name of the mesh axis over which batches are sharded, for `jax.lax.psum` and the like."""

REPLICATED = PartitionSpec()
SHARDED = PartitionSpec(BATCH_AXIS)

F = TypeVar("F", bound=Callable[..., Any])


@runtime_checkable
class HasBatchAxes(Protocol):
    """A batch with leaves whose batch axis isn't the first."""

    def batch_axes(self) -> PyTree:
        """Returns the batch axis of each leaf: a pytree of integers with the structure of the batch."""
        ...


@runtime_checkable
class Paddable(Protocol):
    """A batch that can be padded with masked examples."""

    def pad_to(self, size: int) -> Any:
        """Appends masked examples, which count in no sum, up to `size` in all."""
        ...


def batch_mesh(devices: int | None = None, *, processes: Literal["own", "all"] = "own") -> Mesh:
    """Returns a one-dimensional mesh of the first `devices` devices, or of all, with the axis `BATCH_AXIS`.

    They are those of this process; with `processes="all"`, as many of each process of `jax.distributed`, process
    after process.

    Raises:
        ValueError: there are fewer, or the processes have different numbers.
    """
    local = jax.local_devices()
    if devices is not None and not 1 <= devices <= len(local):
        raise ValueError(f"{devices} devices are requested, but JAX sees {len(local)}")
    by_process = [local]
    if processes == "all":
        by_process = [jax.local_devices(process_index=index) for index in range(jax.process_count())]
    chosen = [group[:devices] for group in by_process]
    if len({len(group) for group in chosen}) > 1:
        counts = ", ".join(str(len(group)) for group in chosen)
        raise ValueError(
            f"the processes have {counts} devices, but their shards of a batch must be equal: give all the same "
            "number of devices"
        )
    return Mesh(np.array(chosen).reshape(-1), (BATCH_AXIS,), axis_types=(AxisType.Auto,))


def axis_over(mesh: Mesh | None) -> str | None:
    """Returns the name of the axis to sum over; None on one device.

    Raises:
        ValueError: the mesh has other axes than `BATCH_AXIS`.
    """
    if mesh is None:
        return None
    if mesh.axis_names != (BATCH_AXIS,):
        raise ValueError(f"the mesh has the axes {mesh.axis_names}; make it by batch_mesh()")
    return BATCH_AXIS if mesh.size > 1 else None


def psum_over(tree: PyTree, axis_name: str | None) -> PyTree:
    """Sums over all devices; the identity on one device."""
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def on_every_device(tree: PyTree, mesh: Mesh) -> PyTree:
    """Replicates a tree on every device of the mesh."""
    return device_put_global(tree, NamedSharding(mesh, REPLICATED))


def device_put_global(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Puts arrays on devices, including those of other processes if all of them call this with equal arrays."""

    def replicated(leaf: Any) -> jax.Array:
        if not leaf.is_fully_addressable:  # already on the devices
            return jax.device_put(leaf, sharding)
        if is_key(leaf):
            bits = replicated(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])

    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: replicated(jax.numpy.asarray(leaf)), tree)


def shard_map_batch(function: F, mesh: Mesh | None, in_specs: Any, out_specs: Any) -> F:
    """Maps a function over the devices, each with its shard of `SHARDED` arguments; returns it unchanged for one.

    Unchecked (`check_vma=False`): gradients taken inside are those of a device's own shard, to be added by
    `psum_over`, and a cell's own scans need not declare what varies over the devices.
    """
    if mesh is None or mesh.size == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)  # type: ignore


def batch_axes(batch: PyTree) -> PyTree:
    """Returns the batch axis of each leaf: by the batch's own `batch_axes`, or else the first."""
    return batch.batch_axes() if isinstance(batch, HasBatchAxes) else jax.tree.map(lambda _: 0, batch)


def batch_specs(batch: PyTree, *, stacked: bool = False) -> PyTree:
    """Returns the partition of each leaf; `stacked` for a chunk of batches like `batch`, leaves `[length, …]`."""
    return jax.tree.map(
        lambda axis: PartitionSpec(*(None,) * (axis + stacked), BATCH_AXIS), batch_axes(batch)
    )


def batch_size(batch: PyTree) -> int:
    """Returns the number of examples of a batch.

    Raises:
        ValueError: a leaf has no batch axis, or leaves differ.
    """
    sizes: dict[int, str] = {}
    axes = jax.tree.leaves(batch_axes(batch))
    for (path, leaf), axis in zip(jax.tree.leaves_with_path(batch), axes, strict=True):
        name, shape = leaf_name(path) or "itself", np.shape(leaf)
        if len(shape) <= axis:
            raise ValueError(
                f"the batch's leaf {name} of shape {shape} has no axis {axis} to shard over the devices; "
                "give the batch a method batch_axes(), or train on one device (mesh=batch_mesh(1))"
            )
        sizes.setdefault(shape[axis], name)
    if len(sizes) != 1:
        found = ", ".join(f"{size} in {name}" for size, name in sizes.items()) or "there is no leaf"
        raise ValueError(
            f"the batch's leaves must have one batch size, but have: {found}; "
            "give the batch a method batch_axes(), or train on one device (mesh=batch_mesh(1))"
        )
    return next(iter(sizes))


def divisible_size(size: int, mesh: Mesh | None, parts: int = 1) -> int:
    """Rounds up to a multiple of the number of devices, and of the parts in which each computes its shard."""
    divisor = parts * (1 if mesh is None else mesh.size)
    return -(-size // divisor) * divisor


def check_divides(batch: PyTree, carry: PyTree, mesh: Mesh | None, parts: int = 1) -> int:
    """Returns the size to which a batch must be padded to divide over the devices, and on each into parts; 0 for
    one device and part.

    Raises:
        ValueError: it neither divides nor can be padded; or the carry doesn't fit it.
    """
    devices = 1 if axis_over(mesh) is None or mesh is None else mesh.size
    if devices * parts == 1:
        return 0
    size, padded_size = batch_size(batch), divisible_size(batch_size(batch), mesh, parts)
    over = f"{devices} devices" if parts == 1 else f"{devices * parts} parts"
    carried = jax.tree.leaves_with_path(carry)
    for path, leaf in carried:
        if np.shape(leaf)[:1] != (size,):
            raise ValueError(
                f"the carry's leaf {leaf_name(path) or 'itself'} of shape {np.shape(leaf)} must begin with the "
                f"batch axis, {size}, to be sharded over {over}"
            )
    if padded_size != size and (carried or not isinstance(batch, Paddable)):
        reason = "and a carry can't be padded" if carried else "and has no method pad_to(size)"
        raise ValueError(
            f"a batch of {size} doesn't divide over {over}, {reason}: make the batch {padded_size}, or use another "
            f"number of devices{'' if parts == 1 else ' or of parts (accumulate)'}"
        )
    return padded_size


def pad_to(batch: Any, size: int) -> Any:
    """Pads the batch to `size` with masked examples; 0 leaves it unchanged."""
    return batch if not size or batch_size(batch) == size else batch.pad_to(size)
