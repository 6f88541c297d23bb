"""The report of `depth`: the best rate of each net, the table, the figures and the results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.depth.nets import KINDS, LABELS, Kind
from experiments.harness.files import arrays_with_prefix, read_arrays

MOMENTS = ("before", "after")
FOUR = 4  # the layers beyond which the notes see little gain


class Found(NamedTuple):
    """A finished training, with `arrays` of its size, losses and measures of layers."""

    comparison: str
    kind: Kind
    layers: int
    arrays: Mapping[str, np.ndarray]

    @property
    def key(self) -> str:
        """Returns the name of its arrays in a run's."""
        return f"{self.comparison}|{self.kind}|{self.layers}|{float(self.arrays['rate']):g}"


def best_rates(found: Sequence[Found]) -> list[Found]:
    """Returns of each net the training at the rate of the least validation loss."""
    best: dict[tuple[str, str, int], Found] = {}
    for one in found:
        place = (one.comparison, one.kind, one.layers)
        if place not in best or one.arrays["valid"] < best[place].arrays["valid"]:
            best[place] = one
    return list(best.values())


def format_table(found: Sequence[Found], frequencies: float) -> str:
    """Formats a block for each comparison with a row for each net, and what depth gained."""
    best, blocks = best_rates(found), []
    for comparison in dict.fromkeys(one.comparison for one in best):
        rows = [one for one in best if one.comparison == comparison]
        blocks.append("\n".join([*head(comparison), *(row(one) for one in rows)]))
        blocks.append("\n".join(gains(rows)))
    blocks.append(
        f"Frequencies of characters: {frequencies:.4f} nats. Gradients: norms in all weights of a layer, before\n"
        "training. Residual: distance of a window's tokens after the last layer from equal vectors, 0 … 1; rank:\n"
        "their effective rank."
    )
    return "\n\n".join(blocks)


def head(comparison: str) -> list[str]:
    """Returns the two lines above the rows."""
    first = f"{comparison.replace('_', ' '):<24}{'':>39}{'nats, test':>11}"
    second = f"{'':<24}{'layers':>6}{'width':>7}{'parameters':>11}{'steps':>7}{'rate':>8}{'':>11}"
    if comparison == "equal_time":
        first += f"{'gradient before':>18}{'residual':>16}{'rank':>7}"
        second += f"{'first':>10}{'last':>8}{'before':>9}{'after':>7}{'after':>7}"
    return [first.rstrip(), second.rstrip()]


def row(one: Found) -> str:
    """Formats a net."""
    arrays = one.arrays
    text = (
        f"{LABELS[one.kind]:<24}{one.layers:>6}{int(arrays['width']):>7}{int(arrays['parameters']):>11,}"
        f"{int(arrays['steps']):>7,}{float(arrays['rate']):>8g}{float(arrays['test']):>11.4f}"
    )
    if "after|rank" not in arrays:
        return text
    gradient, (before, after) = arrays["before|gradient"], (arrays[f"{m}|residual"][-1] for m in MOMENTS)
    return (
        f"{text}{gradient[0]:>10.4f}{gradient[-1]:>8.4f}{before:>9.2f}{after:>7.2f}"
        f"{arrays['after|rank'][-1]:>7.1f}"
    )


def gains(rows: Sequence[Found]) -> list[str]:
    """Says of each kind what the best of the deeper nets up to four layers gained over the shallowest one, and what
    still deeper ones add to the best of these."""
    lines = []
    for kind in KINDS:
        losses = {one.layers: float(one.arrays["test"]) for one in rows if one.kind == kind}
        if len(losses) < 2:
            continue
        least = min(losses)
        some = {layers: loss for layers, loss in losses.items() if least < layers <= FOUR}
        deeper = {layers: loss for layers, loss in losses.items() if layers > max(FOUR, least)}
        said, reached = [], losses[least]
        if some:
            best = min(some, key=some.__getitem__)
            said.append(f"{reached - some[best]:+.3f} nats from {least} to {best} layers")
            reached = min(reached, some[best])
        if deeper:
            best = min(deeper, key=deeper.__getitem__)
            said.append(f"{reached - deeper[best]:+.3f} from the best of these to {best}")
        lines.append(f"{LABELS[kind]}: {', '.join(said)} (above 0: a lower loss)")
    return lines


def results(found: Sequence[Found], frequencies: float) -> dict[str, Any]:
    """Returns the numbers of every training, by comparison, kind, depth and rate; None for what isn't finite."""

    def plain(value: Any) -> Any:
        array = np.asarray(value, np.float64)
        listed = np.where(np.isfinite(array), array, np.nan).tolist()
        if isinstance(listed, list):
            return [None if x != x else x for x in listed]
        return None if listed != listed else listed

    own = {one.key: {name: plain(value) for name, value in one.arrays.items()} for one in found}
    return {"frequencies": frequencies, **own}


def stored(folder: Path) -> list[Found]:
    """Reads what a finished run found."""
    arrays = read_arrays(folder, "depth")
    found = []
    for key in dict.fromkeys("|".join(name.split("|")[:4]) for name in arrays):
        comparison, kind, layers, _ = key.split("|")
        own: Any = arrays_with_prefix(key, arrays)
        found.append(Found(comparison, kind, int(layers), own))  # type: ignore[arg-type]
    return found


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.outcomes import outcomes_against
    from analysis.figures.style import save

    best = best_rates(stored(folder))
    panels: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for one in best:
        curves = panels.setdefault(one.comparison.replace("_", " "), {})
        curve = curves.setdefault(LABELS[one.kind], {"x": np.zeros(0), "values": np.zeros((0, 1))})
        curve["x"] = np.append(curve["x"], one.layers)
        curve["values"] = np.append(curve["values"], [[float(one.arrays["test"])]], axis=0)
    drawn = {"loss": outcomes_against(panels, x_label="layers", y_label="loss, test (nats a character)")}
    measured = [one for one in best if "after|rank" in one.arrays]
    if measured:
        gradients, tokens = by_layer(measured, "gradient"), by_layer(measured, "residual")
        drawn["gradients"] = outcomes_against(gradients, x_label="layer", y_label="gradient norm", log="y")
        drawn["token_rank"] = outcomes_against(
            tokens,
            x_label="layer (0: embeddings)",
            y_label="distance from equal tokens",
            limits=(0.0, 1.05),
        )
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def by_layer(found: Sequence[Found], quantity: str) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Returns a panel for each kind before and one after training, with a curve over the layers for each depth."""
    panels: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    first = 1 if quantity == "gradient" else 0
    for moment in MOMENTS:
        for one in found:
            values = one.arrays[f"{moment}|{quantity}"]
            curve = {"x": np.arange(first, first + len(values), dtype=float), "values": values[:, None]}
            name = f"{one.layers} layer{'s' * (one.layers > 1)}"
            panels.setdefault(f"{LABELS[one.kind]}, {moment} training", {})[name] = curve
    return panels
