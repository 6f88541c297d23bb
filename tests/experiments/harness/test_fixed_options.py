"""Options of the loop that a resumed run must keep, since its parameters depend on them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from experiments.gradients import flossing
from experiments.harness.files import write_json
from experiments.harness.options import describe
from experiments.harness.resuming import check_same, fingerprint_of
from experiments.memory import adding
from train import LoopConfig, OptimizerConfig

STOP, BACK = LoopConfig(), LoopConfig(nonfinite="rollback")
FREE: dict[str, Any] = {
    "log_every": 7,
    "eval_every": 7,
    "save_every": 7,
    "chunk": 7,
    "keep": 7,
    "steps": 5000,
}
PLATEAU, COSINE = OptimizerConfig(schedule="validation_plateau"), OptimizerConfig(schedule="cosine")
WARM = OptimizerConfig(schedule="warmup_cosine", warmup_steps=5)


def described(loop: LoopConfig, optimizer: OptimizerConfig) -> dict[str, Any]:
    return describe("adding", adding.Config(loop=loop, optimizer=optimizer))


@pytest.mark.parametrize(
    ("loop", "optimizer", "fixed", "because"),
    [
        (STOP, OptimizerConfig(), (), ""),
        (STOP, PLATEAU, ("eval_every",), "--optimizer.schedule validation_plateau"),
        (STOP, COSINE, ("steps",), "--optimizer.schedule cosine"),
        (STOP, WARM, ("steps",), "--optimizer.schedule warmup_cosine"),
        (STOP, dataclasses.replace(COSINE, decay_steps=9), (), ""),
        (BACK, OptimizerConfig(), ("save_every", "keep", "eval_every"), "--nonfinite rollback"),
    ],
    ids=["none", "plateau", "cosine", "warm-up", "cosine of a given length", "rollback"],
)
def test_fixed_where_another_option_needs_it(
    tmp_path: Path, loop: LoopConfig, optimizer: OptimizerConfig, fixed: tuple[str, ...], because: str
) -> None:
    """All others may differ; the checkpoints record the same options."""
    before = described(loop, optimizer)
    for name, value in FREE.items():
        now = described(dataclasses.replace(loop, **{name: value}), optimizer)
        if name not in fixed:
            check_same(before, now, tmp_path, ())
            assert fingerprint_of(before) == fingerprint_of(now)
            continue
        option = f"--{name.replace('_', '-')}"
        said = (
            f"was begun with {option} {getattr(loop, name)}, not {value}, and {because} depends on it: resume"
        )
        with pytest.raises(ValueError, match=said):
            check_same(before, now, tmp_path, ())
        assert fingerprint_of(before).keys() == fingerprint_of(now).keys()
        assert fingerprint_of(before)[option] == getattr(loop, name)


def test_another_schedule_is_named_itself(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"with --optimizer.schedule cosine, not validation_plateau: resume"):
        check_same(described(STOP, COSINE), described(STOP, PLATEAU), tmp_path, ())


def test_a_run_of_before_computes_as_it_did(tmp_path: Path) -> None:
    """One begun before a batch could be computed in parts or in half precision."""
    before, now = described(STOP, COSINE), described(STOP, COSINE)
    del before["config"]["loop"]["accumulate"], before["config"]["loop"]["precision"]
    check_same(before, now, tmp_path, ())
    halved = described(dataclasses.replace(STOP, precision="bfloat16"), COSINE)
    with pytest.raises(ValueError, match=r"with --precision float32, not bfloat16: resume"):
        check_same(before, halved, tmp_path, ())


def test_flossing_that_follows_the_steps(tmp_path: Path) -> None:
    """By default 200, and as many as the steps where these are fewer: more of them would floss longer."""
    short, long, longer = (flossing.Config(loop=LoopConfig(steps=steps)) for steps in (100, 300, 400))
    write_json(tmp_path / "config.json", describe("flossing", short))
    short.check_resumed(tmp_path)
    with pytest.raises(
        ValueError, match=r"^--steps 300 would floss for 200 steps, and .* for 100: resume with"
    ):
        long.check_resumed(tmp_path)
    write_json(tmp_path / "config.json", describe("flossing", long))
    longer.check_resumed(tmp_path)
