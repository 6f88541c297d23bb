"""The table and figure of `scaling`, and the power law between loss and parameters."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from experiments.harness.files import read_arrays

Net = Mapping[str, np.ndarray]


def minutes_of(net: Net) -> float:
    """Returns the minutes that a net's steps take."""
    return float(net["steps"] * net["seconds_a_step"]) / 60


def power_law(sizes: np.ndarray, losses: np.ndarray) -> tuple[float, float, float]:
    """Fits L = a N^−b by least squares of ln L: (a, b, largest relative deviation of a loss from it).

    Kaplan et al. 2020 find such a law where neither data nor training limits the net; here the time is fixed."""
    slope, level = np.polyfit(np.log(sizes), np.log(losses), 1)
    fitted = np.exp(level) * sizes**slope
    return float(np.exp(level)), float(-slope), float(np.abs(losses / fitted - 1).max())


def compared(nets: Mapping[str, Net]) -> list[Net]:
    """Returns the Transformers, which read windows, of the shortest training times, at most half as long again as
    the shortest: those whose sizes a law compares, by size."""
    windows = [net for net in nets.values() if "own_windows" in net]
    shortest = min(map(minutes_of, windows), default=0.0)
    return sorted(
        (net for net in windows if minutes_of(net) <= 1.5 * shortest), key=lambda net: int(net["parameters"])
    )


def law_of(nets: Mapping[str, Net]) -> tuple[float, float, float] | None:
    """Fits the law to the Transformers of equal time; None for fewer than three."""
    chosen = compared(nets)
    if len(chosen) < 3:
        return None
    pairs = np.array([(net["parameters"], net["cross_entropy"]) for net in chosen], np.float64)
    return power_law(pairs[:, 0], pairs[:, 1])


def format_table(nets: Mapping[str, Net], split: str) -> str:
    """Formats a row for each net, and a sentence on the law."""
    width = max(map(len, nets))
    lines = [
        f"{'':<{width}}  {'parameters':>10}  {'steps':>6}  {'ms a step':>9}  {'minutes':>7}  "
        f"{'nats a token, ' + split:>19}  {'whole windows':>13}"
    ]
    for name, net in nets.items():
        own = f"{float(net['own_windows']):.4f}" if "own_windows" in net else ""
        lines.append(
            f"{name:<{width}}  {int(net['parameters']):>10,}  {int(net['steps']):>6,}  "
            f"{1e3 * float(net['seconds_a_step']):>9.1f}  {minutes_of(net):>7.2f}  "
            f"{float(net['cross_entropy']):>19.4f}  {own:>13}"
        )
    law = law_of(nets)
    if law is not None:
        lines += ["", law_sentence(nets, *law)]
    return "\n".join(lines)


def law_sentence(nets: Mapping[str, Net], a: float, b: float, deviation: float) -> str:
    """Says how well the law fits, and what the loss does from the smallest Transformer to the largest."""
    losses = [float(net["cross_entropy"]) for net in compared(nets)]
    falls = all(after < before for before, after in pairwise(losses))
    course = "falls with every size" if falls else "doesn't fall with every size"
    return (
        f"Transformers at equal time: {a:.3f} N^{-b:.4f} fits their losses within {deviation:.1%}; "
        f"the loss {course}."
    )


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    from analysis.figures.scaling import loss_against_size_and_time
    from analysis.figures.style import save

    nets: dict[str, dict[str, np.ndarray]] = {}
    for key, value in read_arrays(folder, "scaling").items():
        name, entry = key.split("|", 1)
        nets.setdefault(name, {})[entry] = value
    law = law_of(nets)
    figure = loss_against_size_and_time(
        {
            name: {
                "minutes": net["curve|step"] * float(net["seconds_a_step"]) / 60,
                "cross_entropy": net["curve|cross_entropy"],
            }
            for name, net in nets.items()
        },
        {name: float(net["cross_entropy"]) for name, net in nets.items()},
        {name: float(net["parameters"]) for name, net in nets.items()},
        law=None if law is None else law[:2],
    )
    return save(figure, folder / "figures", "loss_against_size_and_time")
