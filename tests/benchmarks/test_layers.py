"""The benchmark of recurrent layers: it times one and the same work, counts it right, and says what it found."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params

from benchmarks.compare import LARGE, Measured, Peer, check_same, compare, peers
from benchmarks.layers import products
from benchmarks.layers.large_product import OPERATIONS
from benchmarks.record import about, kept_beside, put_in, save
from benchmarks.report import page, ratios
from benchmarks.work import FAMILIES, Family, Work
from models import CELLS, unroll
from models.weights.torch import from_torch


@pytest.mark.parametrize("family", FAMILIES)
def test_products_are_those_that_xla_counts(family: Family) -> None:
    """The count is XLA's of a step by step forward pass, less what isn't a product, which is little beside it."""
    work = Work(family, 1, 512, 256, 256)
    cell: Any = CELLS[family](work.H)  # pyright: ignore[reportCallIssue]
    params = from_torch(cell, work.weights())

    def counted(function: Any) -> float:
        analysis: Any = jax.jit(function).lower(params, jnp.asarray(work.inputs())).compile().cost_analysis()
        return analysis["flops"]

    def square(params: Any, xs: jax.Array) -> jax.Array:
        return jnp.sum(unroll(cell, params, xs, method="scan")[1] ** 2)

    assert counted(square) == pytest.approx(work.products(backward=False), rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [6, 100])
def test_products_alone_leave_out_none(family: Family, steps: int) -> None:
    """The trace, loops counted as often as they go round, holds the products of the work and no others."""
    work = Work(family, steps, 16, 3, 4)
    layer = products.build(work, False)
    for function, backward in ((layer.compiled_forward, False), (layer.compiled_both, True)):
        traced = jax.make_jaxpr(function)(*layer.arguments)
        assert product_count(traced.jaxpr) == work.products(backward)


def product_count(jaxpr: Any) -> float:
    """Floating-point operations of the matrix products in a trace."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            left, _ = (variable.aval.shape for variable in equation.invars)
            ((contracted, _), _) = equation.params["dimension_numbers"]
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        for inner in jaxprs_in_params(equation.params):
            total += equation.params.get("length", 1) * product_count(inner)
    return total


def measured(family: Family, times: dict[str, float]) -> list[dict[str, Any]]:
    work = asdict(Work(family, 20, 4, 3, 8))
    return [
        {
            "peer": peer,
            "work": work,
            "way": way,
            "quartiles": [time] * 3,
            "first_seconds": 1.5,
            "peak_bytes": 2**21,
        }
        for way in ("forward", "both")
        for peer, time in times.items()
    ]


RECORD: dict[str, Any] = {
    "date": "today",
    "machine": "a machine",
    "versions": {"jax": "1"},
    "accelerator": "On an accelerator: not measured.",
    "eager": [
        {
            "work": asdict(Work("gru", 20, 4, 3, 8)),
            "seconds": {"jitted": 2e-4, "eager": 5e-4},
            "grown_bytes": 2**19,
            "grown_arrays": 0,
        }
    ],
    "kernels": [
        {
            "work": asdict(Work("lstm", 20, 4, 3, 8)),
            "seconds": {"thin products": 1e-5, "large products": 2e-5, "local part": 6e-5, "rest": 1e-5},
        }
    ],
    "jacobians": [
        {"family": "lstm", "T": 16, "S": 512, "seconds": {"ours": 0.004, "jacfwd, all steps": 0.008}},
    ],
    "lyapunov": [
        {"k": 32, "side": "ours", "seconds": 0.2, "apart": 0.0},
        {"k": 32, "side": "torch", "seconds": 0.5, "apart": 2e-6},
    ],
    "language_model": [
        {"side": "ours", "quartiles": [0.04] * 3, "tokens_per_second": 1e4, "apart": 0.0},
        {"side": "PyTorch", "quartiles": [0.05] * 3, "tokens_per_second": 8e3, "apart": 1e-5},
    ],
    "start": [
        {"what": "--help", "seconds": 0.25},
        {"what": "char_lm, repeated", "seconds": 3.0, "of_cold": 0.25},
    ],
    "rows": [
        *measured(
            "lstm",
            {
                "ours": 0.002,
                "Linen": 0.005,
                "Linen, sharded": 0.001,
                "PyTorch": 0.003,
                "products alone": 0.0015,
                "one large product": OPERATIONS / 4e8,
            },
        ),
        *measured("elman", {"ours": 0.002, "Linen": 0.001}),
    ],
}


def test_ratios() -> None:
    assert ratios(RECORD, "both", "lstm", ("Linen", "NNX")) == {"20, 4, 3, 8": pytest.approx(2.5)}
    assert ratios(RECORD, "both", "lstm", ("Linen", "Linen, sharded")) == {"20, 4, 3, 8": pytest.approx(0.5)}
    assert ratios(RECORD, "both", "elman", ("PyTorch",)) == {}


def test_quartiles_are_kept_in_place_of_times() -> None:
    """However many calls a layer is timed for, its row is as long."""
    times = [0.001 * n for n in (4, 1, 3, 2, 7, 6, 5)]
    row = Measured("ours", Work("lstm", 20, 4, 3, 8), "both", times, 1.5, 2**21, 0.1).summary()
    assert row.pop("quartiles") == pytest.approx([0.002, 0.004, 0.006])
    assert row.items() <= RECORD["rows"][6].items()
    assert set(row) == set(RECORD["rows"][6]) - {"quartiles"}
    assert Measured("ours", Work("lstm", 20, 4, 3, 8), "both", [0.5]).summary()["quartiles"] == [0.5] * 3


def test_page(tmp_path: Path) -> None:
    save(RECORD, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert text == page(RECORD)
    assert "| best JAX peer as shipped | 0.50 (worst 0.50) | – | 2.50 (worst 2.50) |" in text
    assert "| PyTorch | – | – | 1.50 (worst 1.50) |" in text
    assert "| lstm 20, 4, 3, 8 | 2 / 1.5 |" in text
    assert "| 2 (0) | 5 (0) | 1 (0) | 3 (0) | 1.5 (0) | 0 | 0 | 19% | 75% |" in text
    assert "| 20, 4, 3, 8 | 0.1 | 10% | 20% | 60% | 10% | 5 | 2 |" in text
    assert "| 20, 4, 3, 8 | GRU, reset after | 0.2 | 0.5 | 2.50 | 0.50 | 0 |" in text
    assert "| 16, 512 | LSTM | 4 (1.0) | 8 (2.0) |" in text
    assert "| 32 | torch | 0.500 | 2.50 | 2e-06 |" in text
    assert "| ours | 40 (0) | 10,000 | 1.25 |" in text
    assert "| `char_lm`, repeated | 3.0 | 0.25 |" in text
    assert (tmp_path / "benchmarks.png").stat().st_size > 10_000


def test_a_part_is_put_in(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.json").write_text(json.dumps(RECORD))
    put_in("language_model", [RECORD["language_model"][0] | {"tokens_per_second": 123456.0}], tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "123,456" in text
    assert "| 32 | torch | 0.500 | 2.50 | 2e-06 |" in text
    kept = json.loads((tmp_path / "benchmarks.json").read_text())
    assert kept["rows"] == RECORD["rows"]
    assert len(kept["language_model"]) == 1
    assert text.count("Measured in a separate run: ") == 1
    assert page(RECORD).count("Measured in a separate run: ") == 0


def test_rows_are_exchanged_for_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.json").write_text(json.dumps(RECORD))
    fresh = [row for row in measured("lstm", {"ours": 0.004}) if row["way"] == "forward"]
    kept = kept_beside(about() | {"rows": fresh, "kernels": []}, tmp_path)
    assert len(kept["rows"]) == len(RECORD["rows"])
    assert ratios(kept, "forward", "lstm", ("Linen",)) == {"20, 4, 3, 8": pytest.approx(1.25)}
    assert ratios(kept, "both", "lstm", ("Linen",)) == {"20, 4, 3, 8": pytest.approx(2.5)}
    assert kept["kernels"] == RECORD["kernels"]
    text = page(kept)
    assert "### LSTM\n\nMeasured in a separate run: " in text.split("## Forward\n")[1]
    assert text.count("Measured in a separate run: ") == 1


def test_other_work_is_refused() -> None:
    check_same(Work("lstm", 1, 1, 1, 1), {"ours": 1.0, "Linen": 1.00001})
    with pytest.raises(ValueError, match=r"not the same work in lstm 1,1,1,1: .*'Linen': 1.1"):
        check_same(Work("lstm", 1, 1, 1, 1), {"ours": 1.0, "Linen": 1.1})


@pytest.mark.full
def test_those_installed_agree() -> None:
    """Real processes, for a moment: the same mean square everywhere, or `compare` raises."""
    taking = ("ours", "flax_linen", "flax_nnx", "products", "large_product")
    chosen = [peer for peer in peers(2) if peer.module in taking]
    rows = compare(chosen, [Work("gru", 5, 4, 3, 4)], rounds=1, seconds=0.0, say=lambda *_, **__: None)
    assert {row.peer for row in rows} == {peer.name for peer in chosen}
    assert all(len(row.times) >= 3 and row.first_seconds > 0 for row in rows)
    assert all(row.value > 0 for row in rows if row.peer != LARGE)


@pytest.mark.slow
def test_a_worker_that_dies_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"benchmarks\.worker nothing 1 ended without an answer"):
        compare([Peer("x", "nothing")], [Work("gru", 5, 4, 3, 4)], rounds=1, seconds=0.0)
