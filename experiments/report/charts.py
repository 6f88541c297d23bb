"""Curves as SVG: readable without a script, which shows their values on hover."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from experiments.report.reading import Line, Numbers

WIDTH, HEIGHT = 420, 250  # of a chart, in units of its own
LEFT, RIGHT, TOP, BOTTOM = 54, 18, 8, 34  # margins around what is drawn
MOST = 600  # points of a line: more can't be told apart on a screen
LOG_RANGE = 100.0  # a metric that spans this factor or more, and is positive, stands on a log axis
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Style:
    """The style of a net's lines everywhere on the page: indices into the palette and the dash patterns."""

    colour: int
    dashes: int

    def attributes(self) -> str:
        """Returns SVG attributes; the colour comes from the page's palette, which dark mode changes."""
        from analysis.figures.style import ON_OFF

        pattern = "" if self.dashes == 0 else " ".join(f"{1.4 * d:g}" for d in ON_OFF[self.dashes - 1])
        return f'stroke="var(--c{self.colour})"' + (f' stroke-dasharray="{pattern}"' if pattern else "")


def style_of(run: int, net: int, several: bool) -> Style:
    """Returns of several runs a colour per run and dashes per net, of one run a colour per net; after eight, new
    dashes."""
    from analysis.figures.style import COLOURS, ON_OFF

    colour, dashes = (run, net) if several else (net, 0)
    return Style(colour % len(COLOURS), (dashes + colour // len(COLOURS)) % (len(ON_OFF) + 1))


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic map from a range of values to a range of page coordinates."""

    low: float
    high: float
    start: float | int
    end: float | int
    log: bool = False

    def __call__(self, values: Numbers) -> Numbers:
        """Returns the coordinates of values, which must be positive on a log scale (see `logarithmic`)."""
        low, high = self.shape(np.array([self.low, self.high]))
        return self.start + (self.end - self.start) * (self.shape(values) - low) / (high - low)

    def shape(self, values: Numbers) -> Numbers:
        return np.log10(values) if self.log else values


def chart(
    lines: Mapping[str, tuple[Style, Line]], label: str, steps: tuple[float, float]
) -> tuple[str, dict[str, object]]:
    """Draws one metric over a range of steps as SVG. Returns it with the axis and points that the script needs.

    A line breaks where a value isn't finite, and a cross at the upper edge marks the step.
    """
    drawn = {key: (style, thinned(line)) for key, (style, line) in lines.items()}
    values = np.concatenate([line.values for _, line in drawn.values()])
    x = Scale(*steps, LEFT, WIDTH - RIGHT)
    y = y_scale(values[np.isfinite(values)])
    parts = [*axes(x, y), *(curve(key, style, line, x, y) for key, (style, line) in drawn.items())]
    svg = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>'
    )
    data = {
        "low": x.low,
        "high": x.high,
        "start": x.start,
        "end": x.end,
        "lines": {
            key: {
                "steps": line.steps.tolist(),
                "values": [rounded(v) for v in line.values],
                "y": places(line, y),
            }
            for key, (_, line) in drawn.items()
        },
    }
    return svg, data


def y_scale(finite: Numbers) -> Scale:
    """Returns the vertical scale for a metric's finite values."""
    log = logarithmic(finite)
    if log:
        return Scale(finite.min() / 1.2, finite.max() * 1.2, HEIGHT - BOTTOM, TOP, log=True)
    low, high = widened(finite)
    margin = 0.04 * (high - low)
    return Scale(low - margin, high + margin, HEIGHT - BOTTOM, TOP)


def logarithmic(finite: Numbers) -> bool:
    """Tells whether a metric with these finite values gets a log axis."""
    return bool(finite.size and finite.min() > 0 and finite.max() >= LOG_RANGE * finite.min())


def widened(values: Numbers) -> tuple[float, float]:
    """Returns the smallest and largest value, padded if they are equal."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.0 if high > low else 0.1 * abs(low) or 1.0
    return low - room, high + room


def axes(x: Scale, y: Scale) -> list[str]:
    """Draws the grid, the ticks and the label of the step axis."""
    from matplotlib.ticker import MaxNLocator

    parts = []
    for value in ticks(y):
        at = f"{float(y(np.array([value]))[0]):.1f}"
        parts += [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>']
        parts += [
            f'<text class="tick" x="{LEFT - 6}" y="{at}" dy=".35em" text-anchor="end">{number(value)}</text>'
        ]
    for value in MaxNLocator(5, steps=[1, 2, 5, 10], integer=True).tick_values(x.low, x.high):
        if x.low <= value <= x.high:
            at = f"{float(x(np.array([value]))[0]):.1f}"
            parts += [f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>']
            parts += [
                f'<text class="tick" x="{at}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>'
            ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, f'<text class="tick" x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">step</text>']


def ticks(y: Scale) -> list[float]:
    """Returns round values within the scale: at most six powers of ten on a log axis."""
    from matplotlib.ticker import MaxNLocator

    if not y.log:
        values = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(y.low, y.high)
        return [float(v) for v in values if y.low <= v <= y.high]
    powers = range(math.ceil(math.log10(y.low)), math.floor(math.log10(y.high)) + 1)
    return [10.0**p for p in powers[:: 1 + len(powers) // 7]]


def number(value: float) -> str:
    """Formats a tick label: `0.05`, `10⁻⁷`, `2·10⁶`."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}".replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    factor = f"{float(mantissa):g}·".replace("-", "−")
    return ("" if factor == "1·" else factor) + "10" + str(int(exponent)).translate(SUPERSCRIPTS)


def curve(key: str, style: Style, line: Line, x: Scale, y: Scale) -> str:
    """Draws a line with gaps, a dot for an isolated point, and a cross at the top for a non-finite value."""
    at, good = x(line.steps), np.isfinite(line.values)
    path, dots = [], []
    for stretch in stretches(good):
        points = list(zip(at[stretch], y(line.values[stretch]), strict=True))
        path += ["M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in points)]
        dots += points if len(points) == 1 else []
    crosses = "".join(f"M{px - 3:.1f} {TOP}l6 6m0 -6l-6 6" for px in at[~good])
    colour = f"var(--c{style.colour})"
    return (
        f'<g data-key="{key}"><path class="line" {style.attributes()} d="{"".join(path)}"/>'
        + "".join(f'<circle r="2.5" cx="{px:.1f}" cy="{py:.1f}" fill="{colour}"/>' for px, py in dots)
        + (f'<path class="odd" stroke="{colour}" d="{crosses}"/>' if crosses else "")
        + "</g>"
    )


def stretches(good: Sequence[bool] | np.ndarray) -> list[slice]:
    """Returns the slices of consecutive True values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def places(line: Line, y: Scale) -> list[float]:
    """Returns the heights of a line's points; non-finite ones lie at the upper edge."""
    good = np.isfinite(line.values)
    heights = np.full(len(good), float(TOP))
    heights[good] = y(line.values[good])
    return [round(float(height), 1) for height in heights]


def thinned(line: Line, most: int = MOST) -> Line:
    """Keeps at most `most` points: the lowest, the highest and a non-finite value of each stretch of steps."""
    if len(line.steps) <= most:
        return line
    kept = [0, len(line.steps) - 1]
    for part in np.array_split(np.arange(len(line.steps)), most // 3 - 1):
        good = part[np.isfinite(line.values[part])]
        kept += list(part[~np.isfinite(line.values[part])][:1])
        if good.size:
            kept += [int(good[line.values[good].argmin()]), int(good[line.values[good].argmax()])]
    chosen = sorted(set(kept))
    return Line(line.split, line.metric, line.steps[chosen], line.values[chosen])


def rounded(value: float) -> float | str:
    """Rounds to six digits; NaN and infinities become text, which JSON can hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)
