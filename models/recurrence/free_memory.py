"""The memory that is left, so that what can't fit is refused before it is begun."""

from pathlib import Path

import jax

MEMINFO = Path("/proc/meminfo")


def available_memory() -> int | None:
    """Bytes free on the default device, or in the host's memory where that is the CPU; None where nobody tells."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        told = device.memory_stats() or {}
        return told["bytes_limit"] - told["bytes_in_use"] if "bytes_limit" in told else None
    if not MEMINFO.exists():
        return None
    lines = dict(
        line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines() if ":" in line
    )
    kilobytes = lines.get("MemAvailable", "").split()
    return int(kilobytes[0]) * 1024 if kilobytes else None


def fits(size: int) -> bool:
    """Returns True where `size` bytes are free, or nobody tells."""
    free = available_memory()
    return free is None or size <= free


def check_memory(size: int, what: str, instead: str) -> None:
    """Raises ValueError where `size` bytes, all that is held at once, are more than what is free.

    `what` names the arrays and `instead` what does without them.
    """
    if not fits(size):
        free = available_memory() or 0
        raise ValueError(
            f"{what} would take {size / 2**30:.3g} GiB, and {free / 2**30:.3g} GiB are free: use {instead}"
        )
