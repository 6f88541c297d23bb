"""A batch shared out over devices: which axis, which share, and the function that runs on all shares at once.

Parameters and optimizer are on every device alike; each device computes with its share of the batch, and sums are
added over all of them. On the CPU a device is a core (`python -m experiments … --devices N`).
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from train.state import PyTree, is_key, leaf_name

BATCH_AXIS = "batch"
"""The name of the axis over which devices share a batch, for `jax.lax.psum` and its like."""

REPLICATED = PartitionSpec()
SHARDED = PartitionSpec(BATCH_AXIS)

F = TypeVar("F", bound=Callable[..., Any])


@runtime_checkable
class HasBatchAxes(Protocol):
    """A batch whose leaves don't all begin with the batch axis."""

    def batch_axes(self) -> PyTree:
        """The axis of each leaf that is the batch: a pytree of integers of the batch's own form."""
        ...


@runtime_checkable
class Paddable(Protocol):
    """A batch that can hold examples that are none."""

    def pad_to(self, size: int) -> Any:
        """The batch and behind it examples that count in no sum, `size` in all."""
        ...


def batch_mesh(devices: int | None = None, *, processes: Literal["own", "all"] = "own") -> Mesh:
    """The first so many devices, or all there are, in a row named `BATCH_AXIS`.

    Those of this process; or with `processes="all"` so many of each process that `jax.distributed` has brought
    together, process after process.

    Raises:
        ValueError: there are fewer, or one process has more than another.
    """
    there = jax.local_devices()
    if devices is not None and not 1 <= devices <= len(there):
        raise ValueError(f"{devices} devices are asked for, but JAX sees {len(there)}")
    groups = [there]
    if processes == "all":
        groups = [jax.local_devices(process_index=index) for index in range(jax.process_count())]
    chosen = [group[:devices] for group in groups]
    if len({len(group) for group in chosen}) > 1:
        counts = ", ".join(str(len(group)) for group in chosen)
        raise ValueError(
            f"the processes have {counts} devices, and each must share a batch alike: give all the same number "
            "of devices"
        )
    return Mesh(np.array(chosen).reshape(-1), (BATCH_AXIS,), axis_types=(AxisType.Auto,))


def axis_over(mesh: Mesh | None) -> str | None:
    """The name of the axis to add over; None where one device has the whole batch and there is nothing to add.

    Raises:
        ValueError: the mesh has other axes than `BATCH_AXIS`.
    """
    if mesh is None:
        return None
    if mesh.axis_names != (BATCH_AXIS,):
        raise ValueError(f"the mesh has the axes {mesh.axis_names}; make it by batch_mesh()")
    return BATCH_AXIS if mesh.size > 1 else None


def psum_over(tree: PyTree, axis_name: str | None) -> PyTree:
    """The sum over all devices; of one device what it has."""
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def on_every_device(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree on every device of the mesh, in whole."""
    return device_put_global(tree, NamedSharding(mesh, REPLICATED))


def device_put_global(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Arrays on devices, those of other processes included where all of them have the arrays and call this."""

    def replicated(leaf: Any) -> jax.Array:
        if not leaf.is_fully_addressable:  # it is there already
            return jax.device_put(leaf, sharding)
        if is_key(leaf):
            bits = replicated(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])

    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: replicated(jax.numpy.asarray(leaf)), tree)


def shard_map_batch(function: F, mesh: Mesh | None, in_specs: Any, out_specs: Any) -> F:
    """The function on every device with its share of what is `SHARDED`; itself where there is one device.

    Unchecked (`check_vma=False`): gradients taken inside are those of a device's own share, to be added by
    `total`, and a cell's own scans need not declare what varies over the devices.
    """
    if mesh is None or mesh.size == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)  # type: ignore


def batch_axes(batch: PyTree) -> PyTree:
    """Returns the axis of each leaf that is the batch: what `batch_axes` of the batch itself says, or the first of
    all."""
    return batch.batch_axes() if isinstance(batch, HasBatchAxes) else jax.tree.map(lambda _: 0, batch)


def batch_specs(batch: PyTree, *, stacked: bool = False) -> PyTree:
    """Returns where each leaf is cut; `stacked` for a chunk of which `batch` is one, leaves `[length, …]`."""
    return jax.tree.map(
        lambda axis: PartitionSpec(*(None,) * (axis + stacked), BATCH_AXIS), batch_axes(batch)
    )


def batch_size(batch: PyTree) -> int:
    """Counts the examples of a batch.

    Raises:
        ValueError: a leaf has no batch axis, or leaves differ.
    """
    sizes: dict[int, str] = {}
    axes = jax.tree.leaves(batch_axes(batch))
    for (path, leaf), axis in zip(jax.tree.leaves_with_path(batch), axes, strict=True):
        name, shape = leaf_name(path) or "itself", np.shape(leaf)
        if len(shape) <= axis:
            raise ValueError(
                f"the batch's leaf {name} of shape {shape} has no axis {axis} to be cut along over the devices; "
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


def divisible_size(size: int, mesh: Mesh | None) -> int:
    """The next multiple of the number of devices."""
    devices = 1 if mesh is None else mesh.size
    return -(-size // devices) * devices


def check_divides(batch: PyTree, carry: PyTree, mesh: Mesh | None) -> int:
    """The size that a batch must be filled up to so that it divides over the devices, or has already.

    Raises:
        ValueError: it neither divides nor can be filled up; or a carry doesn't go with it.
    """
    if axis_over(mesh) is None or mesh is None:
        return 0
    size, devices = batch_size(batch), mesh.size
    full, carried = divisible_size(size, mesh), jax.tree.leaves_with_path(carry)
    for path, leaf in carried:
        if np.shape(leaf)[:1] != (size,):
            raise ValueError(
                f"the carry's leaf {leaf_name(path) or 'itself'} of shape {np.shape(leaf)} must begin with the "
                f"batch axis, {size}, to be shared out over {devices} devices"
            )
    if full != size and (carried or not isinstance(batch, Paddable)):
        why = "and a carry can't be filled up" if carried else "and has no method filled_up(size)"
        raise ValueError(
            f"a batch of {size} doesn't divide over {devices} devices, {why}: "
            f"make the batch {full}, or take another number of devices"
        )
    return full


def pad_to(batch: Any, size: int) -> Any:
    """The batch with `size` examples, those added being none."""
    return batch if not size or batch_size(batch) == size else batch.pad_to(size)
