"""Commands and code in the documents run as shown."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cells import parse_cell
from models import unroll
from models.recurrence import unroll_with_info
from models.ways import Fused
from tests.contract import main as contract

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture
def gated(tmp_path: Path) -> str:
    """The cell of `adding_a_cell.md`, in a file as a user would have it."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "adding_a_cell.md").read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith("# gated.py\n")]
    text = text.removeprefix("# gated.py\n")
    assert len(text.splitlines()) < 30
    path = tmp_path / "gated.py"
    path.write_text(text)
    return f"{path}:Gated"


def test_the_cell_shown_goes_the_fast_way(gated: str) -> None:
    cell = parse_cell(gated, 5)
    params = jax.tree.map(lambda p: p + 0.1, cell.init(jax.random.key(0), 3))
    xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
    assert unroll_with_info(cell, params, xs)[2].method == Fused()

    def gradient(method: Any) -> list[jax.Array]:
        return jax.tree.leaves(
            jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, method=method)[1] ** 2))(params)
        )

    for a, b in zip(gradient("fused"), gradient("scan"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_cell_shown_keeps_the_contract(gated: str) -> None:
    assert contract([gated]) == 0
