"""Health while training, and what to say of a loss that isn't finite: the laboratory handed to the loop."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from analysis import first_nonfinite, half_life
from analysis.health import health_arrays, leading_values
from data import Batch
from experiments.cell_view import CellView, longest, on_first_device
from experiments.harness.errors import UserError
from experiments.objective import Measure
from models import Cell, SelfAttentive, holds_cache
from models.cell import Array, Params
from models.layers.layer import is_causal
from train import HealthConfig, LoopConfig, Probe, TrainState, read_metrics

SPLIT = "health"
ROWS = 24  # lags of the heat map


def check_health(cell: Cell, loop: LoopConfig) -> None:
    """Raises UserError where health is asked for of a net that has no step or a cache for its state, or beyond the
    end of the run."""
    if loop.health.every > loop.steps:
        raise UserError(
            "--health.every",
            f"is {loop.health.every}, but the run ends at step {loop.steps}: measure more often",
        )
    if loop.health.every:
        check_causal(cell)
        check_no_cache(cell, "--health.every")


def check_no_cache(cell: Cell, option: str) -> None:
    """Raises UserError where Jacobians are asked for of a state that is, or holds, a key–value cache."""
    if not holds_cache(cell):
        return
    inner = f", or look into its recurrence, {cell.cell}, alone" if isinstance(cell, SelfAttentive) else ""
    raise UserError(
        option,
        f"can't look into a {type(cell).__name__}: its state is a key–value cache, which only copies, so that "
        "Jacobians and exponents say nothing of it; measure its influence ∂y_t/∂x_s (analysis.influence, or the "
        f"experiment attention_paths){inner}",
    )


def check_causal(cell: Cell) -> None:
    """Raises UserError where health is asked for of a net that has no step."""
    if not is_causal(cell):
        raise UserError(
            "--health.every",
            "needs a net that reads forward only, for one that reads from the end has no step whose "
            "Jacobian could be measured: take --direction forward, or leave --health.every out",
        )


def health_probe(
    cell: Cell,
    model: nn.Module,
    measure: Measure,
    batch: Batch,
    config: HealthConfig,
    method: str = "__call__",
) -> Probe | None:
    """Builds what `fit` is to ask for, on the longest sequences of a batch; None where nothing is asked for.
    `method` of the model makes the answer that is measured."""
    if not config.every:
        return None
    check_causal(cell)
    check_no_cache(cell, "--health.every")
    batch = longest(batch, config.examples)
    view = CellView(model, measure, method)

    def ask(state: TrainState) -> dict[str, float]:
        params = on_first_device(state.params)
        found = jax.device_get(arrays_of(cell, view, config.directions, params, batch))
        return health_figures(found, config.directions)

    return Probe(SPLIT, config.every, ask, heat_map)


@partial(jax.jit, static_argnums=(0, 1, 2))
def arrays_of(cell: Cell, view: CellView, directions: int, params: Params, batch: Batch) -> dict[str, Array]:
    """Computes `health_arrays` of the cell in a model."""
    own, xs = view.entry(params, batch)
    return health_arrays(cell, own, xs, view.loss(params, batch), directions=directions)


def health_figures(measured: Mapping[str, Any], directions: int) -> dict[str, float]:
    """Turns the arrays into figures for the log, medians over the sequences; logarithms are natural ones.

    `exponent` λ₁, `half_life` in steps; `log_gradient/lag_K`; `log_singular_I/lag_K`, the I-th largest singular
    value of a product over K steps; `saturated/GATE`, and `saturated` of all gates together.
    """
    norms = np.median(np.asarray(measured["gradient_norms"], np.float64), axis=1)
    rows = np.unique(np.linspace(1, len(norms), min(ROWS, len(norms))).round().astype(int))
    lags, values = leading_values(measured, directions)
    middle = np.median(values, axis=0)  # [L, m]
    gates = {
        name.removeprefix("saturated_"): float(share)
        for name, share in measured.items()
        if name.startswith("saturated_")
    }
    with np.errstate(divide="ignore"):
        gradients = {f"log_gradient/lag_{lag}": float(np.log(norms[lag - 1])) for lag in rows}
    m = middle.shape[1]
    return {
        "exponent": float(np.median(measured["exponents"])),
        "half_life": half_life(measured["gradient_norms"]),
        **({"saturated": float(np.mean(list(gates.values())))} if gates else {}),
        **{f"saturated/{name}": share for name, share in gates.items()},
        **{
            f"log_singular_{place}/lag_{lag}": float(row[place - 1])
            for lag, row in zip(lags, middle, strict=True)
            for place in sorted({1, (m + 1) // 2, m})
        },
        **gradients,
    }


def by_lag(records: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Collects what all records log under `name/lag_K`: the lags `[K]`, and the values `[n, K]`."""
    start = f"{name}/lag_"
    lags = sorted(
        {int(key.removeprefix(start)) for record in records for key in record if key.startswith(start)}
    )
    values = [[record.get(f"{start}{lag}", math.nan) for lag in lags] for record in records]
    return np.array(lags), np.array(values, np.float64).reshape(len(values), len(lags))


def column(records: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Collects one figure of all records, NaN where a record lacks it."""
    return np.array([record.get(name, math.nan) for record in records], np.float64)


def heat_map(records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Draws the pictures for TensorBoard: gradient and largest singular value by lag over training."""
    from analysis.figures.heat_image import heat_image

    steps, pictures = column(records, "step"), {}
    for name, title in (
        ("log_gradient", "gradient norm by lag"),
        ("log_singular_1", "largest singular value of the product over each lag"),
    ):
        lags, values = by_lag(records, name)
        pictures[name] = heat_image(steps, lags, values, title)
    return pictures


@dataclass(frozen=True)
class Series:
    """The series that a figure of health is drawn from: columns over training `[n]`, tables `[n, K]`."""

    step: np.ndarray
    exponent: np.ndarray
    half_life: np.ndarray
    clipped_share: np.ndarray
    saturated: dict[str, np.ndarray]
    gradient_lags: np.ndarray
    log_gradient: np.ndarray
    singular_lags: np.ndarray
    log_singular: dict[int, np.ndarray]


def series(records: Sequence[Mapping[str, Any]]) -> Series:
    """Returns the records of a run as arrays."""
    names = dict.fromkeys(key for record in records for key in record)
    places = sorted(
        {int(n.split("/")[0].removeprefix("log_singular_")) for n in names if n.startswith("log_singular_")}
    )
    gates = [name.removeprefix("saturated/") for name in names if name.startswith("saturated/")]
    gradient_lags, log_gradient = by_lag(records, "log_gradient")
    return Series(
        step=column(records, "step"),
        exponent=column(records, "exponent"),
        half_life=column(records, "half_life"),
        clipped_share=column(records, "clipped_share"),
        saturated={gate: column(records, f"saturated/{gate}") for gate in gates},
        gradient_lags=gradient_lags,
        log_gradient=log_gradient,
        singular_lags=by_lag(records, "log_singular_1")[0],
        log_singular={place: by_lag(records, f"log_singular_{place}")[1] for place in places},
    )


def draw_health(run: Path, part: Path | None = None) -> list[Path]:
    """Draws a figure for each net in the run's folder (or in that part of it) whose health was measured, from its
    metrics."""
    from analysis.figures.health import health_figure
    from analysis.figures.style import save

    drawn: list[Path] = []
    for path in sorted((part or run).rglob("metrics.jsonl")):
        records = [record for record in read_metrics(path) if record["split"] == SPLIT]
        if records:
            inner = path.parent.relative_to(run).parts
            figure = health_figure(**vars(series(records)))
            drawn += save(figure, run / "figures", "_".join(("health", *inner)))
    return drawn


def incident_sentence(report: Mapping[str, Any]) -> str:
    """Formats a report of `nonfinite.json` in a line."""
    cause = f"; {report['first']['sentence']}" if report["first"] else ""
    return f"step {report['step']}: loss {report['loss']}, gradient {report['grad_norm']}{cause}; {report['done']}"


def explainer(
    cell: Cell, model: nn.Module, measure: Measure, method: str = "__call__"
) -> Callable[[TrainState, Any], dict[str, Any]]:
    """Builds what `fit` asks where a loss or gradient isn't finite: `first_nonfinite` of that batch, as JSON holds
    it."""
    view = CellView(model, measure, method)

    def diagnose(state: TrainState, batch: Any) -> dict[str, Any]:
        if not is_causal(cell):
            return {}  # it has no step, hence no first one
        params = on_first_device(state.params)
        try:
            own, xs = view.entry(params, batch)
            found = first_nonfinite(cell, own, xs, view.loss(params, batch))
        except ValueError as refused:  # what the laboratory can't look at must not hide what was met
            return {"sentence": f"its origin can't be determined ({refused})"}
        if found is None:
            return {
                "sentence": "in evaluation mode, states, loss and ∂loss/∂states are finite: the non-finite value "
                "arises in the parameter gradient, the update, or training-time randomness (dropout)"
            }
        fields = asdict(found)
        written = {name: str(value) if isinstance(value, float) else value for name, value in fields.items()}
        return {"sentence": str(found), **written}

    return diagnose
