"""Scores of arithmetic expressions: the value of each, computed without running it."""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import add, mul, neg, pos, sub

import numpy as np
from jaxtyping import Shaped

from analysis.scores.statistics import ratio

EXPRESSION = re.compile(r"[0-9+\-*() ]+")
OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
}
SIGNS: Mapping[type[ast.unaryop], Callable[[int], int]] = {ast.UAdd: pos, ast.USub: neg}


@dataclass(frozen=True)
class SameValue:
    """The share of expressions with the value of their references. Counts: those with the same value, and all.

    What isn't an expression of whole numbers, + - * and parentheses has no value, and counts as wrong."""

    size = 2

    def of(self, prediction: str, reference: str) -> Shaped[np.ndarray, "2"]:
        """Returns 1 or 0 for the right value, and 1."""
        value = expression_value(prediction)
        return np.array([value is not None and value == expression_value(reference), 1], np.int64)

    def value(self, total: Shaped[np.ndarray, "2"]) -> float:
        return ratio(total, "there is no expression to score")


def expression_value(text: str) -> int | None:
    """Returns the value of an expression of whole numbers, + - * and parentheses as Python has it; None for any
    other text, and for one that is too deep for Python's parser."""
    if not EXPRESSION.fullmatch(text):
        return None
    try:
        return node_value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def node_value(node: ast.expr) -> int:
    """Returns the value of a parsed expression. Raises ValueError for what is no arithmetic."""
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=op, operand=operand) if type(op) in SIGNS:
            return SIGNS[type(op)](node_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](node_value(left), node_value(right))
    raise ValueError(f"{ast.unparse(node)} is no sum, difference or product of whole numbers")
