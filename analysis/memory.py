"""How much memory is left, so that what can't fit is refused before it is begun."""

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


def check_memory(size: int, what: str, instead: str) -> None:
    """Raises ValueError where `size` bytes are more than half of what is free: the other half is for the way there.

    `what` names the array and `instead` what does without it.
    """
    free = available_memory()
    if free is not None and size > free / 2:
        raise ValueError(
            f"{what} would take {size / 2**30:.3g} GiB, more than half of the {free / 2**30:.3g} GiB that are "
            f"free: use {instead}"
        )
