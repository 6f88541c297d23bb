"""Times by kernel: every kernel is found in the program and told apart, and the shares add up."""

import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from benchmarks.command import WORKER
from benchmarks.kernels import KINDS, by_kind, products
from benchmarks.work import Work


def test_products_are_told_apart() -> None:
    """A product in a loop and an elementwise loop: the one is found under whatever name XLA gives it."""

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(h @ jnp.ones((64, 64)) + x), None

    def function(h: jax.Array, xs: jax.Array) -> jax.Array:
        return jax.lax.scan(step, h, xs)[0]

    compiled = jax.jit(function).lower(jnp.ones((8, 64)), jnp.ones((5, 8, 64))).compile()
    program = compiled.as_text() or ""
    found = products(program)
    loops = re.findall(r"%?([\w.\-]+) = .*? while\(", program)
    assert 1 <= sum(found.values()) <= 2  # the product, and the kernel around it where there is one
    assert loops
    assert not set(loops) & set(found)
    assert any("tanh" in name for name in found if not found[name])


def test_by_kind() -> None:
    events = (
        [("dot", 2.0)] * 6 + [("wide", 5.0)] * 2 + [("tanh", 1.0)] * 6 + [("add", 3.0)] + [("other", 100.0)]
    )
    found = by_kind(events, {"dot": True, "wide": True, "tanh": False, "add": False}, steps=6)
    assert found == {"thin products": 12.0, "large products": 10.0, "local part": 6.0, "rest": 3.0}


@pytest.mark.slow
def test_of_a_layer() -> None:
    """In a process of its own, for it takes one core."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels", WORKER, "40", "8", "32", "64"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(told.stdout.splitlines()[-1])
    assert set(found["seconds"]) == set(KINDS)
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert Work(**found["work"]).T == 40
