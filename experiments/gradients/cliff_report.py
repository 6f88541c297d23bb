"""The results of `cliff`: the numbers in its table, and its figures, from the arrays of a run."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis import bistable_range, fixed_point_curve
from experiments.harness.files import read_arrays

PATHS = {"none": "no clipping", "value": "clipped by value", "norm": "clipped by norm"}
W = 5.0  # the weight for which the literature gives the edges of two stable points
BIFURCATION_START = -1.0
SENSITIVITY_STEPS = (50, 2000)


def summary(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Edges and peaks; of each path its first step's length, its highest loss and its last."""
    low, high = bistable_range(W)
    bends = found["bifurcation"]
    results: dict[str, Any] = {
        "bistable": {"w": W, "from": low, "to": high},
        "peak_of_sensitivity": {
            f"T = {steps}": float(bends["b"][np.argmax(bends[f"T = {steps}"])]) for steps in SENSITIVITY_STEPS
        },
        "steepest_step_of_training": int(found["net"]["place"]),
    }
    for piece in ("one_unit", "net"):
        arrays = found[piece]
        results[piece] = {
            PATHS[name]: path_summary(arrays[f"{name}|loss"], arrays[f"{name}|gradient_norm"])
            | {
                "longest_step": finite_largest(
                    np.linalg.norm(np.diff(arrays[f"{name}|where"], axis=0), axis=1)
                )
            }
            for name in PATHS
        }
    arrays = found["net"]
    results["net_all_parameters"] = {
        PATHS[name]: path_summary(arrays[f"{name}|free_loss"], arrays[f"{name}|free_gradient_norm"])
        for name in PATHS
    }
    results["share_of_gradient_in_plane"] = float(arrays["inside"])
    return results


def path_summary(losses: np.ndarray, norms: np.ndarray) -> dict[str, Any]:
    """Summarizes where a path begins, how high it comes, where it ends (None where not finite), and its largest
    gradient."""
    return {
        "begins": float(losses[0]),
        "gradient_norm": finite_largest(norms),
        "highest": finite_largest(losses),
        "ends": float(losses[-1]) if np.isfinite(losses[-1]) else None,
    }


def finite_largest(values: np.ndarray) -> float:
    """Returns the largest finite value, 0 if there is none."""
    return float(np.max(values[np.isfinite(values)], initial=0.0))


def format_table(results: Mapping[str, Any]) -> str:
    """Formats the edges, the peaks, and a row for each path."""
    edges, peaks = results["bistable"], results["peak_of_sensitivity"]
    lines = [
        f"x' = {W:g} σ(x) + b has two stable points for {edges['from']:.5f} < b < {edges['to']:.5f}",
        *(
            f"|∂x_T/∂b| from x_0 = {BIFURCATION_START:g} peaks at b = {b:.5f} for {name}, "
            f"{abs(b - edges['to']):.5f} from the edge"
            for name, b in peaks.items()
        ),
    ]
    place, share = results["steepest_step_of_training"], results["share_of_gradient_in_plane"]
    titles = {
        "one_unit": "one unit",
        "net": f"net, from step {place} of its training on, in the plane",
        "net_all_parameters": "net, the same with all its parameters",
    }
    for piece, title in titles.items():
        lines += [
            "",
            f"{title:<54}{'begins':>9}{'highest':>9}{'ends':>12}{'largest gradient':>18}{'longest step':>14}",
        ]
        for name, row in results[piece].items():
            ends = "not finite" if row["ends"] is None else f"{row['ends']:.4f}"
            longest = f"{row['longest_step']:.3g}" if "longest_step" in row else ""
            lines.append(
                f"  {name:<52}{row['begins']:>9.4f}{row['highest']:>9.4f}{ends:>12}"
                f"{row['gradient_norm']:>18.3g}{longest:>14}".rstrip()
            )
    lines += [
        "",
        "begins, highest, ends: the loss along the path; longest step: distance in the plane that is drawn,",
        f"which holds {share:.0%} of the gradient's length where the net's paths begin.",
    ]
    return "\n".join(lines)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.curves import training_curves
    from analysis.figures.error_surface import (
        bifurcation,
        error_surface_3d,
        error_surface_contours,
        path_styles,
    )
    from analysis.figures.style import save

    labels = {"one_unit": ("weight $w$", "bias $b$")}
    drawn = {}
    for piece, frame in (("one_unit", ""), ("net", ""), ("net", "near_")):
        arrays = read_arrays(folder, piece)
        first, second, loss = (arrays[frame + key] for key in ("first", "second", "loss"))
        paths = {label: arrays[f"{name}|where"] for name, label in PATHS.items()}
        lifted = {
            label: np.column_stack([arrays[f"{name}|where"], arrays[f"{name}|loss"]])
            for name, label in PATHS.items()
        }
        named: dict[str, Any] = {"labels": labels[piece]} if piece in labels else {}
        shown = f"{piece}_{frame}"
        drawn[f"{shown}contours"] = error_surface_contours(
            first, second, loss, arrays[f"{frame}gradient_norm"], paths, **named
        )
        drawn[f"{shown}3d"] = error_surface_3d(first, second, loss, lifted, **named)
    free = {
        label: {"step": np.arange(len(arrays[f"{name}|free_loss"])), "value": arrays[f"{name}|free_loss"]}
        for name, label in PATHS.items()
    }
    drawn["net_losses"] = training_curves(
        free,
        y_label="loss $L$, all parameters",
        baseline=math.log(4),
        baseline_label="guessing",
        colours={name: look["color"] for name, look in path_styles(free).items()},
    )
    bends = read_arrays(folder, "bifurcation")
    x = np.linspace(-8, 8, 4001)
    b, stable = fixed_point_curve(W, x)
    drawn["bifurcation"] = bifurcation(
        (b, x, stable),
        bistable_range(W),
        {f"T = {steps:,}": (bends["b"], bends[f"T = {steps}"]) for steps in SENSITIVITY_STEPS},
        start=BIFURCATION_START,
    )
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
