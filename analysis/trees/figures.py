"""Figures of trees: constituents above their words."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import style
from matplotlib.axes import Axes

from analysis.figures.fonts import letters
from analysis.figures.style import COLOURS, GREY, SETTINGS, Figure
from analysis.scores.spans import Span

LEVEL, WORD, LETTER = 0.32, 0.62, 0.075  # inches: between constituents, for tag and word, of a letter's width
GAP = 0.14  # between words


class DrawnTree(NamedTuple):
    """A tree as it is drawn: its constituents, outer ones before those within, and a title. Those that aren't among
    `expected` are coloured."""

    title: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    spans: tuple[Span, ...]
    expected: tuple[Span, ...]


def trees_figure(rows: Sequence[Sequence[DrawnTree]]) -> Figure:
    """Draws trees, a row for each sentence: words at the foot with their tags, above them the constituents, joined
    to their parts by lines. Constituents that aren't expected are coloured and dashed.

    Raises ValueError without a tree, and for constituents outside the words.
    """
    if not rows or not all(rows):
        raise ValueError("there is no tree to draw: give at least one in each row")
    for tree in (tree for row in rows for tree in row):
        if any(not 0 <= span.start < span.end <= len(tree.words) for span in tree.spans):
            raise ValueError(
                f"a constituent of {' '.join(tree.words)!r} lies outside its words: give spans of them"
            )
    widths = [sum(map(width_of, row)) for row in rows]
    heights = [max(depth_of(tree) for tree in row) * LEVEL + WORD + 0.35 for row in rows]
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(max(widths), sum(heights)))
        top = sum(heights)
        for row, height in zip(rows, heights, strict=True):
            left, top = 0.0, top - height
            for tree in row:
                place = (
                    left / max(widths),
                    top / sum(heights),
                    width_of(tree) / max(widths),
                    height / sum(heights),
                )
                axes = figure.add_axes(place)
                axes.set_axis_off()
                axes.set_xlim(0, width_of(tree))
                axes.set_ylim(0, height)
                draw_tree(axes, tree)
                left += width_of(tree)
    return figure


def places_of(words: Sequence[str], tags: Sequence[str]) -> list[float]:
    """Returns the middles of words side by side, in inches."""
    places, right = [], 0.25
    for word, tag in zip(words, tags, strict=True):
        width = max(letters(word), letters(tag), 3) * LETTER + GAP
        places.append(right + width / 2)
        right += width
    return places


def width_of(tree: DrawnTree) -> float:
    """Returns the width of a tree, in inches, its title included."""
    widths = (
        max(letters(w), letters(t), 3) * LETTER + GAP for w, t in zip(tree.words, tree.tags, strict=True)
    )
    return max(sum(widths), letters(tree.title) * LETTER) + 0.5


def depth_of(tree: DrawnTree) -> int:
    """Returns the most constituents above a word."""
    return max(levels_of(tree), default=0)


def levels_of(tree: DrawnTree) -> list[int]:
    """Returns for each constituent how many levels it stands above the tags, one more than the highest within."""
    levels = [1] * len(tree.spans)
    for outer in range(len(tree.spans) - 1, -1, -1):
        inside = [level for level, _ in parts_of(tree, outer, levels)]
        levels[outer] = 1 + max(inside, default=0)
    return levels


def parts_of(tree: DrawnTree, outer: int, levels: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the level and the place in `spans` of each constituent within one."""
    start, end = tree.spans[outer][1:]
    return [
        (levels[inner], inner)
        for inner in range(outer + 1, len(tree.spans))
        if start <= tree.spans[inner].start and tree.spans[inner].end <= end
    ]


def draw_tree(axes: Axes, tree: DrawnTree) -> None:
    """Draws one tree into axes that are measured in inches."""
    xs, levels = places_of(tree.words, tree.tags), levels_of(tree)
    axes.text(0.1, axes.get_ylim()[1] - 0.12, tree.title, ha="left", va="top", fontsize=9, color=GREY)
    for x, word, tag in zip(xs, tree.words, tree.tags, strict=True):
        axes.text(x, 0.1, word, ha="center", va="center", fontsize=8.5)
        axes.text(x, 0.36, tag, ha="center", va="center", fontsize=7, color=GREY)
    free, parents = [-1] * len(xs), [-1] * len(tree.spans)  # the innermost constituent around each
    for number, span in enumerate(tree.spans):
        parents[number] = free[span.start]
        free[span.start : span.end] = [number] * (span.end - span.start)
    below: list[list[tuple[float, float]]] = [[] for _ in tree.spans]
    for x, parent in zip(xs, free, strict=True):
        if parent >= 0:
            below[parent].append((x, 0.3))
    points = [(0.0, 0.0)] * len(tree.spans)
    for number in range(len(tree.spans) - 1, -1, -1):  # those within come first
        ends = [x for x, _ in below[number]]
        points[number] = (min(ends) + max(ends)) / 2, WORD + (levels[number] - 1) * LEVEL
        if parents[number] >= 0:
            below[parents[number]].append(points[number])
    expected = list(tree.expected)
    for number, ((x, y), span) in enumerate(zip(points, tree.spans, strict=True)):
        right = span in expected
        if right:
            expected.remove(span)
        colour, dashes = (COLOURS[0], "-") if right else (COLOURS[1], "--")
        for to_x, to_y in below[number]:
            axes.plot([x, to_x], [y - 0.09, to_y + 0.1], dashes, color=colour, linewidth=0.9)
        axes.text(x, y, span.type, ha="center", va="center", fontsize=8.5, color=colour)
