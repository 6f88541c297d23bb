"""Two and four devices that share a batch, each in one process that makes all the checks of `shares.py`."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.train import shares

ROOT = Path(__file__).parents[2]
CHECKS = [name for name in vars(shares) if name.startswith("check_")]
pytestmark = pytest.mark.slow


@cache
def outcome(devices: int) -> tuple[list[str], str]:
    """The checks passed, and what was said besides."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.shares"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.full)])
@pytest.mark.parametrize("check", CHECKS)
def test_shares(check: str, devices: int) -> None:
    passed, said = outcome(devices)
    assert check in passed, said[-3000:]
