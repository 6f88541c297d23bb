"""Checks of options' values, written once. Each raises UserError with the option that a field is."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.harness.errors import UserError
from experiments.harness.options import format_value, option_name

LARGEST = 2**31 - 1  # what JAX counts steps and indexes axes with


def check_at_least(least: int, **fields: Any) -> None:
    """Raises UserError where a field is no whole number from `least` to `LARGEST`."""
    for field, number in fields.items():
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
            raise UserError(
                option_name(field), f"must be a whole number of at least {least}, but is {number!r}"
            )
        if number > LARGEST:
            raise UserError(option_name(field), f"must be at most {LARGEST}, but is {number}")


def check_seed(seed: int) -> None:
    """Raises UserError for a seed that no key can be made from."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError("--seed", f"must be a whole number from 0 to {2**32 - 1}, but is {seed!r}")


def check_positive(**fields: int | float) -> None:
    """Raises UserError where a field isn't above 0 and finite."""
    for field, number in fields.items():
        if not 0 < number < math.inf:
            raise UserError(option_name(field), f"must be above 0 and finite, but is {number:g}")


def check_finite(**fields: int | float) -> None:
    """Raises UserError where a field is NaN or infinite."""
    for field, number in fields.items():
        if not math.isfinite(number):
            raise UserError(option_name(field), f"must be finite, but is {number:g}")


def check_not_negative(**fields: int | float) -> None:
    """Raises UserError where a field isn't at least 0 and finite."""
    for field, number in fields.items():
        if not 0 <= number < math.inf:
            raise UserError(option_name(field), f"must be at least 0 and finite, but is {number:g}")


def check_between(least: int | float, most: int | float, **fields: int | float) -> None:
    """Raises UserError where a field isn't strictly between `least` and `most`."""
    for field, number in fields.items():
        if not least < number < most:
            raise UserError(option_name(field), f"must lie between {least:g} and {most:g}, but is {number:g}")


def check_share(**fields: int | float) -> None:
    """Raises UserError where a field isn't above 0 and at most 1."""
    for field, number in fields.items():
        if not 0 < number <= 1:
            raise UserError(option_name(field), f"must be above 0 and at most 1, but is {number:g}")


def check_distinct(least: int = 1, **fields: Sequence[Any]) -> None:
    """Raises UserError where a list has fewer than `least` values, or one of them twice."""
    for field, values in fields.items():
        if not values:
            raise UserError(option_name(field), "is empty: give at least one")
        if len(values) < least:
            raise UserError(option_name(field), f"must name at least {least} values, but names {len(values)}")
        if len(set(values)) < len(values):
            raise UserError(option_name(field), f"names one twice: {format_value(list(values))}")


def check_rising(**fields: Sequence[int | float]) -> None:
    """Raises UserError where the numbers of a list don't rise."""
    for field, values in fields.items():
        if any(one >= other for one, other in itertools.pairwise(values)):
            raise UserError(option_name(field), f"must rise, but are {format_value(list(values))}")
