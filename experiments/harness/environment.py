"""The environment of a run: versions, devices, commit."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import jax

from experiments.harness.processes import process_count

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "scikit-learn")

# The types of what `environment` writes.
FIELDS: dict[str, Any] = {
    "command": list[str],
    "started": str,
    "python": str,
    "platform": str,
    "devices": list[str],
    "packages": dict[str, str],
    "cpu_count": int | None,
    "commit": str | None,
}


def cores() -> int:
    """Counts the cores that this process may use, which in a container may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(devices: int) -> dict[str, Any]:
    """Returns versions, devices, commit and command of this process."""
    return {
        "command": ["python", "-m", "experiments", *sys.argv[1:]],
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "processes": process_count(),
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()[:devices]],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": git_commit(),
    }


def git_commit() -> str | None:
    """Returns the commit of the code, with + if it has been changed since; None outside a checkout."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
