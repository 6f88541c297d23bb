"""Chinese in figures: drawn in a font that has it, or one warning where none does."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from analysis.figures import fonts
from analysis.figures.attention import attention_figure
from analysis.figures.style import save, wrapped

TEXT = list("循环")


@pytest.fixture
def latin_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose list of fonts has no Chinese, and that has not warned yet."""
    monkeypatch.setattr(fonts, "_told", set())
    before = list(fonts.FAMILIES)
    fonts.FAMILIES[:] = ["DejaVu Sans"]
    yield
    fonts.FAMILIES[:] = before


def drawn(folder: Path, text: list[str]) -> np.ndarray:
    """The picture of a score map, `[rows, columns]`, whose ticks are the characters of a text."""
    size = len(text)
    png, _ = save(attention_figure({"layer": np.eye(size)[None]}, text, text), folder, "map")
    return np.asarray(Image.open(png).convert("L"))


@pytest.mark.usefixtures("latin_alone")
def test_one_warning_where_no_font_has_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "CJK", ())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        drawn(tmp_path, TEXT)
        drawn(tmp_path, list("梯度"))
    (warning,) = said
    assert str(warning.message).startswith("no installed font of the figures has 循 环: boxes stand")


@pytest.mark.usefixtures("latin_alone")
def test_an_installed_font_draws_it(tmp_path: Path) -> None:
    """Found even if it was installed after matplotlib listed its fonts: every character has a glyph of its own."""
    if not fonts.list_new_fonts():
        pytest.skip("no font with Chinese characters is installed")
    file = Path(font_manager.findfont(fonts.FAMILIES[1]))
    assert {ord(character) for character in TEXT} <= font_manager.get_font(file).get_charmap().keys()
    fonts.FAMILIES[:] = ["DejaVu Sans"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        late, early = drawn(tmp_path, TEXT), drawn(tmp_path, TEXT)
    np.testing.assert_array_equal(late, early)
    assert np.any(late != drawn(tmp_path, TEXT[::-1]))


def test_names_break_between_chinese_characters() -> None:
    assert wrapped("循环单元（泄漏）：α=0.3", 10) == "循环单元（\n泄漏）：α=\n0.3"
    assert wrapped("elman activation=relu", 12) == "elman\nactivation=\nrelu"
