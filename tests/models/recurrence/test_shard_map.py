"""`unroll` inside a `jax.shard_map` that checks what varies, in a process that has two devices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.recurrence.shard_map_checks import WAYS

ROOT = Path(__file__).parents[3]


@pytest.mark.full
def test_every_way_through_time() -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.recurrence.shard_map_checks"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == len(WAYS) + 1  # and a model
