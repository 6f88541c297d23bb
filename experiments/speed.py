"""Time the unrolling methods of each cell: tokens per second against sequence length.

Times the mean square of a cell's outputs and its gradient, B · T steps per call. Takes the median of --repeats
calls after the first; the methods take turns. A method that can't run a cell is left out, and so is newton if its
Jacobians don't fit into --newton-memory. For newton the number of iterations is given, and whether it fell back
to scan. Attention has one method, "whole", all steps at once; transformer(context=T) sees the whole sequence at
every length T.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.cell_spec import at_length, label, parse_cell
from experiments.footprint import Part, check_fits
from experiments.harness.checks import check_at_least, check_distinct, check_positive, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, read_run
from experiments.harness.run import Run
from experiments.network import MethodName, check_cells, supported_methods
from experiments.training import CELL_HELP
from models import Cell, holds_cache, unroll, unroll_with_info
from models.cell import Array, Params
from models.layers.layer import Layer
from models.state import ravel_state

TimedMethod = Literal[MethodName, "whole"]
KEYS = ("length", "seconds", "rate", "rounds", "fallen")


@dataclass(frozen=True)
class Config:
    """Speed."""

    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=f"The cells to be timed: {CELL_HELP}.")] = (
        "lstm",
        "gru",
        "lru",
        "min_gru",
    )
    methods: tuple[TimedMethod, ...] = ("scan", "fused", "associative", "newton", "whole")
    """Unrolling methods; whole: attention, the only one that it has."""
    lengths: tuple[int, ...] = (64, 256, 1024, 4096)
    """Lengths of the sequences, T."""
    hidden_size: int = 16
    """Units of each cell, H; the work of newton grows with H³."""
    input_size: int = 16
    """Size of the input of a step, D."""
    batch_size: int = 8
    """Sequences per batch, B."""
    repeats: int = 7
    """Timed calls; the median counts."""
    newton_memory: float = 1.0
    """Leave newton out if the Jacobians of all steps need more GiB than this."""
    seed: int = 0
    """Seed of parameters and inputs."""

    def __post_init__(self) -> None:
        check_at_least(
            1, hidden_size=self.hidden_size, input_size=self.input_size, batch_size=self.batch_size
        )
        check_at_least(1, repeats=self.repeats)
        check_seed(self.seed)
        check_cells(self.cells)
        check_distinct(methods=self.methods, lengths=self.lengths)
        for length in self.lengths:
            check_at_least(1, lengths=length)
        check_positive(newton_memory=self.newton_memory)

    def check(self) -> None:
        """Raises ValueError for a cell that cannot be built or goes none of the ways, before anything is timed."""
        inputs = Part(
            4 * max(self.lengths) * self.batch_size * max(self.input_size, self.hidden_size),
            "shorter --lengths, a smaller --batch-size or --hidden-size",
        )
        check_fits({"inputs or outputs": inputs})
        for expression in self.cells:
            able = able_methods(self.cell(expression, max(self.lengths)))
            if not set(able) & set(self.methods):
                raise UserError(
                    "--methods",
                    f"{' '.join(self.methods)}: {expression} goes none of them, but {', '.join(able)}",
                )

    def cell(self, expression: str, length: int) -> Cell:
        """Returns the cell of an expression, in which T is the length."""
        return parse_cell(at_length(expression, length), self.hidden_size)


def able_methods(cell: Cell) -> list[TimedMethod]:
    """Lists the methods that can run a cell."""
    return (
        ["whole"]
        if holds_cache(cell) and isinstance(cell, Layer)
        else [*supported_methods(cell, masked=False)]
    )


def main(config: Config, run: Run) -> str:
    """Times cell by cell, draws, returns the table. A resumed run keeps the cells that it has."""
    for expression in config.cells:
        name = label(expression)
        if run.resumed and (run.folder / "arrays" / f"{array_name(name)}.npz").exists():
            print(f"{name}: timed before", flush=True)
            continue
        able = able_methods(config.cell(expression, max(config.lengths)))
        left_out = [method for method in config.methods if method not in (*able, "whole")]
        if left_out:
            print(f"{name}: can't go by {', '.join(left_out)}", flush=True)
        methods: list[TimedMethod] = [method for method in config.methods if method in able]
        rows = [row for length in config.lengths for row in time_at(config, expression, methods, length)]
        run.write_arrays(
            array_name(name),
            {
                f"{method}|{key}": np.array([row[key] for row in rows if row["method"] == method])
                for method in dict.fromkeys(row["method"] for row in rows)
                for key in KEYS
            },
        )
    panels = stored(run.folder)
    table = format_table(panels)
    run.write_table(table)
    draw(run.folder)
    run.finish(
        {
            name: {
                method: {key: column.tolist() for key, column in c.items()} for method, c in curves.items()
            }
            for name, curves in panels.items()
        }
    )
    return table


def time_at(
    config: Config, expression: str, methods: Sequence[TimedMethod], length: int
) -> list[dict[str, Any]]:
    """Times each method at one length: median seconds, tokens per second, Newton's rounds (else 0)."""
    name, cell = label(expression), config.cell(expression, length)
    key_params, key_inputs = jax.random.split(jax.random.key(config.seed))
    params = jax.jit(cell.init, static_argnums=1)(key_params, config.input_size)
    xs = jax.random.normal(key_inputs, (length, config.batch_size, config.input_size))
    calls: dict[TimedMethod, Callable[[], Any]] = {}
    solves: dict[TimedMethod, tuple[int, bool]] = {}
    for method in methods:
        gib = newton_gib(cell, params, length, config.batch_size)
        if method == "newton" and gib > config.newton_memory:
            print(
                f"{name}, T = {length}: newton left out, its Jacobians would take {gib:.2g} GiB (--newton-memory)",
                flush=True,
            )
            continue
        compiled = value_and_gradient.lower(cell, method, params, xs).compile()
        calls[method] = partial(compiled, params, xs)
        (_, info), _ = jax.block_until_ready(calls[method]())
        solves[method] = (int(info[0].max()), not bool(info[1].all())) if method == "newton" else (0, False)
    seconds: dict[TimedMethod, list[float]] = {method: [] for method in calls}
    for _ in range(config.repeats):
        for method, call in calls.items():  # in turns: a busy moment of the machine meets all
            began = time.perf_counter()
            jax.block_until_ready(call())
            seconds[method].append(time.perf_counter() - began)
    rows = []
    for method, measured in seconds.items():
        median = float(np.median(measured))
        rounds, fallen = solves[method]
        rate = config.batch_size * length / median
        rows.append(
            {
                "method": method,
                "length": length,
                "seconds": median,
                "rate": rate,
                "rounds": rounds,
                "fallen": fallen,
            }
        )
    print(
        f"{name}, T = {length}: " + ", ".join(f"{r['method']} {r['rate']:,.0f}/s" for r in rows), flush=True
    )
    return rows


@partial(jax.jit, static_argnums=(0, 1))
def value_and_gradient(cell: Cell, method: TimedMethod, params: Params, xs: Array) -> Any:
    """Returns the mean square of the outputs, with Newton's rounds and convergence, and its gradient in the
    parameters."""

    def loss(params: Params) -> tuple[Array, tuple[Array | None, Array | None]]:
        if method == "whole":
            return jnp.mean(unroll(cell, params, xs)[1] ** 2), (None, None)
        _, ys, info = unroll_with_info(cell, params, xs, method=method)
        return jnp.mean(ys**2), (info.iterations, info.converged)

    return jax.value_and_grad(loss, has_aux=True)(params)


def newton_gib(cell: Cell, params: Params, length: int, batch_size: int) -> float:
    """Estimates Newton's memory: T · B · S² numbers of four bytes."""
    state = jax.eval_shape(lambda params: ravel_state(cell.initial_state(params))[0], params)
    return 4 * length * batch_size * state.size**2 / 2**30


def array_name(name: str) -> str:
    """Returns a cell's name as a file."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def stored(folder: Path) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Returns `{cell: {method: {key: column}}}` of a run's arrays."""
    panels: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for expression in read_run(folder)["config"]["cells"]:
        curves = panels.setdefault(label(expression), {})
        for name, column in read_arrays(folder, array_name(label(expression))).items():
            method, key = name.split("|")
            curves.setdefault(method, {})[key] = column
    return panels


def format_table(panels: dict[str, dict[str, dict[str, np.ndarray]]]) -> str:
    """Formats a row for each cell and method: thousands of tokens per second at each length, Newton's rounds in
    brackets."""
    lengths = sorted({int(t) for curves in panels.values() for c in curves.values() for t in c["length"]})
    width = max(len(name) for name in panels)
    lines = ["".join([f"{'cell':<{width}}  {'method':<12}", *(f"{f'T = {t}':>14}" for t in lengths)])]
    for name, curves in panels.items():
        for method, curve in curves.items():
            at = {int(t): i for i, t in enumerate(curve["length"])}
            entries = [entry(method, curve, at[t]) if t in at else "left out" for t in lengths]
            lines.append("".join([f"{name:<{width}}  {method:<12}", *(f"{e:>14}" for e in entries)]))
    return "\n".join(
        [
            *lines,
            "",
            "thousands of tokens (B · T) per second, forward and backward; in brackets the most rounds that newton",
            "took, with * where it didn't converge and the result is that of scan.",
        ]
    )


def entry(method: str, curve: dict[str, np.ndarray], i: int) -> str:
    """Formats `1,234` or, for newton, `1,234 (9)`."""
    rate = f"{curve['rate'][i] / 1000:,.4g}"
    return f"{rate} ({curve['rounds'][i]}{'*' * bool(curve['fallen'][i])})" if method == "newton" else rate


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.lengths import seconds_against_length, tokens_per_second
    from analysis.figures.style import save

    panels = stored(folder)
    lines = {
        f"{name}, {method}": curve for name, curves in panels.items() for method, curve in curves.items()
    }
    figures = folder / "figures"
    return [
        *save(tokens_per_second(panels), figures, "tokens_per_second"),
        *save(seconds_against_length(lines), figures, "seconds_against_length"),
    ]
