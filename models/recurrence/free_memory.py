"""Free memory, so that work that can't fit is refused before it starts."""

import math
from pathlib import Path
from typing import Any

import jax

from models.cell import Array

MEMINFO = Path("/proc/meminfo")


def available_memory() -> int | None:
    """Returns the free bytes of the default device, or of the host if that is the CPU; None if unknown."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else None
    if not MEMINFO.exists():
        return None
    lines = dict(
        line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines() if ":" in line
    )
    kilobytes = lines.get("MemAvailable", "").split()
    return int(kilobytes[0]) * 1024 if kilobytes else None


def fits(size: int) -> bool:
    """Returns True if `size` bytes are free, or the free memory is unknown."""
    free = available_memory()
    return free is None or size <= free


def vmapped(array: Array) -> int:
    """Returns how many such arrays `vmap` computes at once, the product of the axes that it hides; 1 outside it."""
    whole: Any = array
    while hasattr(whole, "batch_dim"):  # a tracer of `vmap`, or of one within another
        whole = whole.val
    return math.prod(whole.shape) // max(1, math.prod(array.shape))


def check_memory(size: int, what: str, instead: str) -> None:
    """Raises ValueError if `size` bytes, the peak memory, are more than is free.

    `what` names the arrays and `instead` the alternative without them.
    """
    if not fits(size):
        free = available_memory() or 0
        raise ValueError(
            f"{what} would take {size / 2**30:.3g} GiB, and {free / 2**30:.3g} GiB are free: use {instead}"
        )
