"""The benchmarks of Transformers do one and the same work on every side, and their rows become tables."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import attention, decoding, gpt
from benchmarks.command import WORKER
from benchmarks.gpt import Size
from benchmarks.sections import attention as attention_table
from benchmarks.sections import decoding as decoding_table
from benchmarks.sections import gpt as gpt_table

SMALL = Size(layers=1, N=8, T=6, B=2, steps=3)


def test_tables() -> None:
    """Our speed over each side's; a cache's over recomputing."""
    sides = [("ours", 0.1), ("PyTorch", 0.2)]
    rows: list[dict[str, Any]] = [
        {"size": "s", "side": side, "quartiles": [t, t, t], "tokens_per_second": 10 / t, "apart": 0.0}
        for side, t in sides
    ]
    assert gpt_table(rows)[-2:] == [
        "| s | ours | 100 (0) | 100 | 1.00 |",
        "| s | PyTorch | 200 (0) | 50 | 2.00 |",
    ]
    found = [
        {"side": side, "seconds": s, "tokens": 256} for side, s in (("cached", 0.1), ("recomputed", 2.0))
    ]
    seconds = {"forward": 0.02, "both": 0.05}
    rows = [{"score": "general", "L": 9, "method": method} | seconds for method in attention.METHODS]
    assert attention_table(rows)[-1] == "| general | 9 | scan | 20 | 30 | 1.50 |"
    assert decoding_table(found)[-2:] == ["| cached | 0.1 | 2,560 | 20.0 |", "| recomputed | 2 | 128 | 1.0 |"]


@pytest.mark.full
def test_sides_agree() -> None:
    """Real processes: from the same weights the same losses for three updates, PyTorch's too where it is installed,
    or `measure` raises."""
    sides = [side for side in gpt.STEPS.installed() if "one device" not in side and "compiled" not in side]
    steps = dataclasses.replace(gpt.STEPS, sides={side: gpt.STEPS.sides[side] for side in sides})
    rows = steps.measure(say=lambda *_, **__: None, rounds=1, sizes=(SMALL,))
    assert [row["side"] for row in rows] == sides
    assert max(row["apart"] for row in rows) < 1e-5


@pytest.mark.slow
def test_cached_and_recomputed_draw_the_same_tokens() -> None:
    """Or `one` raises."""
    command = [sys.executable, "-m", "benchmarks.decoding", WORKER, "12", "1"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [row["side"] for row in rows] == ["cached", "recomputed"]
    assert decoding.TOKENS == 256


@pytest.mark.slow
def test_both_ways_back_give_the_same_gradients() -> None:
    """Or `one` raises."""
    rows = attention.measure((attention.Size("additive", 5, 3, 2, 4),), 1)
    assert [row["method"] for row in rows] == list(attention.METHODS)
