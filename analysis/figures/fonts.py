"""Fonts of figures: DejaVu Sans, which comes with matplotlib, and installed ones for the characters that it lacks.

Attributes:
    CJK: families with Chinese characters, the first to be preferred, as far as they are installed.
    FAMILIES: the families of all texts; a character is drawn in the first that has it.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import east_asian_width

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

CJK = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "SimHei",
    "Noto Sans CJK JP",  # the name of the whole collection to matplotlib before 3.11; it has all characters
    "Droid Sans Fallback",
    "Arial Unicode MS",
)


def installed() -> list[str]:
    """Returns DejaVu Sans and those of the other families that matplotlib has listed."""
    listed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in CJK if name in listed)]


FAMILIES = installed()
_told: set[str] = set()  # characters without a glyph, once the warning is given


def lay_out(figure: Figure) -> None:
    """Lays the figure out, and looks for newly installed fonts if a character has no glyph.

    Warns once a process if none is found."""
    with glyphs_missing() as missing:
        figure.draw_without_rendering()
    if missing and list_new_fonts():
        for text in figure.findobj(Text):
            if isinstance(text, Text):
                text.set_fontfamily(FAMILIES)
        with glyphs_missing() as missing:
            figure.draw_without_rendering()
    if missing and not _told:
        _told.update(missing)
        shown = " ".join(sorted(missing)[:5]) + (" …" if len(missing) > 5 else "")
        warnings.warn(
            f"no installed font of the figures has {shown}: boxes stand in their place; for Chinese install Noto "
            "Sans CJK (fonts-noto-cjk on Debian and Ubuntu) or WenQuanYi Micro Hei (fonts-wqy-microhei)",
            stacklevel=3,
        )


@contextmanager
def glyphs_missing() -> Iterator[set[str]]:
    """Yields a set, which holds the characters without a glyph at the end, and drops matplotlib's warning for
    each."""
    missing: set[str] = set()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield missing
    for warning in said:
        glyph = re.match(r"Glyph (\d+) .* missing from", str(warning.message), re.DOTALL)
        if glyph:
            missing.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def list_new_fonts() -> bool:
    """Adds font files to matplotlib's list, which is as old as its cache; returns True if `FAMILIES` grew."""
    known = {Path(font.fname) for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if Path(path) not in known:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):  # a file that matplotlib can't read
                continue
    before = len(FAMILIES)
    FAMILIES[:] = installed()
    return len(FAMILIES) > before


def letters(text: str) -> int:
    """Returns the width of a text in Latin letters; a Chinese character is as wide as two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
