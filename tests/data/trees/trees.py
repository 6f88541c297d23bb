"""Random trees for tests."""

from typing import Any

from hypothesis import strategies as st

from data import Constituent, Tree

LABELS, TAGS = ("S", "NP", "VP", "PRT", "ADVP"), ("DT", "NN", "VB", ",", ".")


@st.composite
def random_trees(draw: Any, longest: int = 8) -> Tree:
    """Trees over 1 to `longest` words, with unary chains; several may stand side by side."""

    def below(start: int, end: int, depth: int) -> list[Constituent]:
        """The constituents over these words, in one or several parts."""
        cuts = sorted(draw(st.sets(st.integers(start + 1, end - 1), max_size=3))) if end > start + 1 else []
        found: list[Constituent] = []
        for first, last in zip([start, *cuts], [*cuts, end], strict=True):
            chain = draw(st.integers(0 if last == first + 1 or cuts else 1, 2))
            found += [Constituent(draw(st.sampled_from(LABELS)), first, last) for _ in range(chain)]
            if last > first + 1 and depth:
                found += below(first, last, depth - 1)
        return found

    count = draw(st.integers(1, longest))
    tags = tuple(draw(st.sampled_from(TAGS)) for _ in range(count))
    constituents = below(0, count, 3) if draw(st.booleans()) or count > 1 else []
    return Tree(tuple(f"w{i}" for i in range(count)), tags, tuple(constituents))
