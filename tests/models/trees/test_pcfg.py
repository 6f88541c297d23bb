"""The likeliest parse of a probabilistic grammar, against the enumeration of all parses."""

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from models import Pcfg

BINARY = Counter(
    {
        ("S", "N", "V"): 5,
        ("V", "v", "N"): 3,
        ("V", "V", "P"): 2,
        ("N", "N", "P"): 1,
        ("P", "p", "N"): 4,
        ("S", "S", "P"): 1,
    }
)
LEXICAL = Counter({("N", "n"): 6, ("N", "p"): 1, ("v", "v"): 3, ("p", "p"): 4, ("V", "v"): 1})
STARTS = Counter({"S": 3, "N": 1})


def parses(symbol: str, tags: str, start: int) -> Iterator[tuple[float, list[tuple[str, int, int]]]]:
    """Every tree of a symbol over tags, with its probability."""
    totals = Counter[str]()
    for rule, count in [*BINARY.items(), *LEXICAL.items()]:
        totals[rule[0]] += count
    own = (symbol, start, start + len(tags))
    if len(tags) == 1 and LEXICAL[symbol, tags]:
        yield LEXICAL[symbol, tags] / totals[symbol], [own]
    for (parent, left, right), count in BINARY.items():
        if parent == symbol:
            for cut in range(1, len(tags)):
                pairs = itertools.product(
                    parses(left, tags[:cut], start), parses(right, tags[cut:], start + cut)
                )
                for (p, a), (q, b) in pairs:
                    yield count / totals[symbol] * p * q, [own, *a, *b]


@pytest.mark.parametrize("tags", ["n", "nv", "nvn", "nvnpn", "nvnpnpn", "npnvpn"])
def test_the_likeliest_parse(tags: str) -> None:
    grammar = Pcfg.learn(BINARY, LEXICAL, STARTS)
    every = [(p * count / 4, tree) for s, count in STARTS.items() for p, tree in parses(s, tags, 0)]
    best, tree = max(every)
    found = grammar.parse(tags)
    assert found is not None
    np.testing.assert_allclose(found[1], np.log(best), rtol=1e-12)
    likeliest = [one for p, one in every if np.isclose(p, best)]
    assert found[0] in likeliest
    assert tree in likeliest


@pytest.mark.parametrize("tags", ["", "v", "vv", "nvx"])
def test_no_parse(tags: str) -> None:
    assert Pcfg.learn(BINARY, LEXICAL, STARTS).parse(tags) is None


def test_refuses_no_tree() -> None:
    with pytest.raises(ValueError, match="no tree to count rules of"):
        Pcfg.learn({}, {}, {})
