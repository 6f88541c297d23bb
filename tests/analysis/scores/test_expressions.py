"""Values of expressions against Python's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Statistics, corpus_score
from analysis.scores.expressions import SameValue, expression_value

PARTS = st.recursive(
    st.integers(0, 999).map(str),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from(("+", "-", "*", " - ")), parts).map("".join),
        st.tuples(st.sampled_from("+-"), parts).map("".join),
        parts.map("({})".format),
    ),
    max_leaves=8,
)


@given(PARTS)
def test_values_are_those_of_python(text: str) -> None:
    assert expression_value(text) == eval(text)  # of digits, signs and parentheses only


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "2+",
            "(2",
            "2)",
            "()",
            "(2)(3)",
            "2 3",
            "007",
            "2**3",
            "9**9**9",
            "2*(3**4)",
            "*2",
            "(*2)",
        ),
        *(
            "2/3",
            "7%2",
            "2.0+1",
            "1_0",
            "1e3",
            "0x1",
            "True+1",
            "a",
            "2;3",
            "2,3",
            "2#3",
            "2\n+3",
            "²",
            "٣+1",
        ),
        *("abs(-2)", "__import__('os')", "(" * 300 + "2" + ")" * 300, "1" + "+1" * 100_000, "9" * 5000),
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_anything_else_has_none(text: str) -> None:
    assert expression_value(text) is None


def test_share_of_right_values() -> None:
    """Another expression of the same value is right; what has none is wrong, beside a reference without one too."""
    score = SameValue()
    assert isinstance(score, Statistics)
    assert corpus_score(score, ["3+2", "2+(3*4)", "2+", "4-1"], ["2+3", "2+3*4", "2+3", "1-4"]) == 0.5
    assert score.of("a", "a").tolist() == [0, 1]
