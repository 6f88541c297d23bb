"""Heat maps as images with axis labels and a colour bar, for use during training: they take a few milliseconds, a
matplotlib figure seventy."""

import math
from functools import lru_cache

import numpy as np
from matplotlib import colormaps, font_manager
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from analysis.figures.style import Numbers, checked, demand_shape

WIDTH, HEIGHT = 480, 240  # of the map, in pixels
LEFT, TOP, RIGHT, BOTTOM = 46, 24, 84, 40  # margins
INK, EMPTY = (0, 0, 0), 255


def heat_image(steps: ArrayLike, lags: ArrayLike, logs: ArrayLike, title: str) -> np.ndarray:
    """Draws a quantity by lag over training, `[rows, columns, 3]` of uint8: `steps [n]`, `lags [K]`, natural
    logarithms `[n, K]`, shown as powers of ten; white where they aren't finite."""
    along = checked("steps", np.asarray(steps, np.float64), "[n]")
    rows = checked("lags", np.asarray(lags, np.int64), "[K]")
    values = demand_shape("logarithms", logs, (len(along), len(rows))) / math.log(10)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 0.0)
    high = max(high, low + 1e-3)

    canvas = np.full((TOP + HEIGHT + BOTTOM, LEFT + WIDTH + RIGHT, 3), EMPTY, np.uint8)
    # Lags increase upwards; each pixel shows the report and lag of its position.
    report = np.arange(WIDTH) * len(along) // WIDTH
    lag = np.arange(HEIGHT)[::-1] * len(rows) // HEIGHT
    canvas[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] = colours(values.T[lag][:, report], low, high)
    bar = np.linspace(high, low, HEIGHT)[:, None]
    canvas[TOP : TOP + HEIGHT, LEFT + WIDTH + 12 : LEFT + WIDTH + 24] = colours(bar, low, high)

    image = Image.fromarray(canvas)
    draw, small, large = ImageDraw.Draw(image), font(11), font(12)
    draw.text((LEFT + WIDTH / 2, TOP / 2), title, INK, large, anchor="mm")
    draw.text((LEFT + WIDTH / 2, TOP + HEIGHT + 30), "training step", INK, small, anchor="mm")
    draw.text((6, TOP / 2), "lag", INK, small, anchor="lm")
    for place in ticks(len(rows), 6):
        y = TOP + HEIGHT * (1 - (place + 0.5) / len(rows))
        draw.text((LEFT - 6, y), f"{rows[place]}", INK, small, anchor="rm")
    for place in ticks(len(along), 6):
        x = LEFT + WIDTH * (place + 0.5) / len(along)
        draw.text((x, TOP + HEIGHT + 12), f"{along[place]:,.0f}", INK, small, anchor="mm")
    for share in np.linspace(0, 1, 5):
        label = f"10^{low + share * (high - low):.1f}"
        draw.text((LEFT + WIDTH + 28, TOP + (1 - share) * (HEIGHT - 1)), label, INK, small, anchor="lm")
    return np.asarray(image)


def colours(values: Numbers, low: float, high: float) -> np.ndarray:
    """Maps values to viridis from low to high, `[..., 3]` of uint8; white where a value isn't finite."""
    with np.errstate(invalid="ignore"):
        shares = np.where(np.isfinite(values), (values - low) / (high - low), 0.0)
    return np.where(np.isfinite(values)[..., None], colormaps["viridis"](shares, bytes=True)[..., :3], EMPTY)


def ticks(count: int, most: int) -> list[int]:
    """Returns at most `most` of the indices 0 … count − 1, including both ends."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Returns the font of the figures."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
