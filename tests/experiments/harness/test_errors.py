"""User mistakes: their sentences, told from bugs, and with the option's name."""

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.text.files import longest_line
from experiments.cell_spec import parse_cell
from experiments.harness.checks import (
    check_at_least,
    check_distinct,
    check_finite,
    check_not_negative,
    check_positive,
    check_rising,
)
from experiments.harness.errors import UserError, name_options, report_refusal
from experiments.harness.files import read_run
from experiments.harness.options import option_fields
from experiments.memory import adding
from tests.experiments.command import command
from train import LoopConfig


def test_refusals_and_bugs(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence that our own `raise` gives is the user's; what Python raises in a line of ours is a bug."""
    with pytest.raises(ValueError, match="not a run folder") as ours:
        read_run(Path("nowhere"))
    assert report_refusal(ours.value) == 2
    assert capsys.readouterr().err.startswith("error: nowhere is not a run folder")
    with pytest.raises(ValueError, match="empty") as pythons:
        longest_line([])
    with pytest.raises(ValueError, match="empty"):
        report_refusal(pythons.value)
    with pytest.raises(ValueError, match="invalid literal") as tests:
        raise ValueError("invalid literal")
    with pytest.raises(ValueError, match="invalid literal"):
        report_refusal(tests.value)


def test_a_library_field_becomes_an_option() -> None:
    """`loop.steps` is `--steps` on the command line; any other sentence, and any bug, stays as it is."""
    fields = option_fields(adding.Config())
    with pytest.raises(UserError, match=r"^--steps is 0; ") as refused, name_options(fields):
        LoopConfig(steps=0)
    assert refused.value.option == "--steps"
    assert pickle.loads(pickle.dumps(refused.value)).option == "--steps"
    with pytest.raises(ValueError, match="unknown cell") as other, name_options(fields):
        parse_cell("lsmt", 4)
    assert not isinstance(other.value, UserError)
    with pytest.raises(ValueError, match=r"^invalid literal for int") as bug, name_options({"invalid"}):
        int("a")
    assert not isinstance(bug.value, UserError)


@pytest.mark.parametrize(
    ("check", "fields", "told"),
    [
        (check_at_least, {"lengths": 0}, "--lengths must be a whole number of at least 1, but is 0"),
        (check_at_least, {"loop.steps": True}, "--steps must be a whole number of at least 1, but is True"),
        (
            check_at_least,
            {"batch_size": 3 * 10**9},
            "--batch-size must be at most 2147483647, but is 3000000000",
        ),
        (check_positive, {"rate": math.nan}, "--rate must be above 0 and finite, but is nan"),
        (check_positive, {"rate": 0.0}, "--rate must be above 0 and finite, but is 0"),
        (check_not_negative, {"noise": -1.0}, "--noise must be at least 0 and finite, but is -1"),
        (check_finite, {"bias": math.inf}, "--bias must be finite, but is inf"),
        (check_distinct, {"gains": ()}, "--gains is empty: give at least one"),
        (check_distinct, {"gains": (1.0, 2.0, 1.0)}, "--gains names one twice: 1.0 2.0 1.0"),
        (check_rising, {"gains": (1.0, 1.0)}, "--gains must rise, but are 1.0 1.0"),
    ],
)
def test_checks_of_values(check: Callable[..., None], fields: dict[str, Any], told: str) -> None:
    arguments = (1,) if check in (check_at_least, check_distinct) else ()
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        check(*arguments, **fields)


def test_a_bug_in_a_nested_check_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tyro catches every ValueError of a nested config, Python's own included."""
    monkeypatch.setattr(
        "train.optimizer.config.require_positive", lambda field, value: int("a") if value == 7.0 else None
    )
    with pytest.raises(ValueError, match="invalid literal for int"):
        command("adding", "--optimizer.learning-rate", 7)
