"""The Chinese pages say what the English ones say: the same code, names and numbers, and each leads to the other.

Their commands and links are read with all others in `test_docs.py`.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COUNTERPARTS = {  # of each Chinese page: the English pages that it takes its facts from, its translation first
    "README.zh.md": ("README.md", "experiments/README.md"),
    "docs/zh/adding_a_cell.md": ("docs/adding_a_cell.md",),
    "docs/zh/adding_a_task.md": ("docs/adding_a_task.md",),
    "docs/zh/from_the_notes.md": ("docs/coverage.md",),
    "docs/zh/gradients.md": ("docs/gradients.md",),
    "docs/zh/reading_the_figures.md": ("docs/reading_the_figures.md",),
}
WHOLE = (
    "adding_a_cell",
    "adding_a_task",
    "reading_the_figures",
)  # pages that are translated section by section
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^\n((?: {4}.*\n(?:\n(?= {4}))?)+)", re.MULTILINE)
COMMENT = re.compile(r" {2,}# .*")
SPAN = re.compile(r"`([^`]+)`")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    """The code of a page, fenced and indented; comments beside commands are words, not code."""
    fenced = [(m.start(), m[2] if m[1] == "python" else COMMENT.sub("", m[2])) for m in FENCED.finditer(text)]
    indented = [(m.start(), COMMENT.sub("", m[1])) for m in INDENTED.finditer(FENCED.sub("", text))]
    return [code for _, code in (*fenced, *indented)]


def numbers(text: str) -> set[str]:
    """The numbers of a page outside its code, as they are written."""
    text = SPAN.sub("", INDENTED.sub("", FENCED.sub("", text)))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[−-]?\d+)?", text))


def names(text: str) -> set[str]:
    """All that stands in backquotes in a page, the breaks of its lines aside."""
    return {" ".join(span.split()) for span in SPAN.findall(FENCED.sub("", text))}


def test_every_chinese_page_is_listed() -> None:
    pages = [ROOT / "README.zh.md", *(ROOT / "docs" / "zh").glob("*.md")]
    assert {page.relative_to(ROOT).as_posix() for page in pages} == COUNTERPARTS.keys()


@pytest.mark.parametrize("page", COUNTERPARTS)
def test_each_page_leads_to_the_other(page: str) -> None:
    for here, there in ((page, COUNTERPARTS[page][0]), (COUNTERPARTS[page][0], page)):
        links = re.findall(r"\]\(([^)#]+)\)", "\n".join(read(here).splitlines()[:6]))
        assert (ROOT / there).resolve() in {((ROOT / here).parent / link).resolve() for link in links}


@pytest.mark.parametrize("page", COUNTERPARTS)
def test_code_is_that_of_the_english_page(page: str) -> None:
    """Block by block where a page is translated whole, else line by line."""
    english = "\n".join(read(other) for other in COUNTERPARTS[page])
    if Path(page).stem in WHOLE:
        assert blocks(read(page)) == blocks(english)
        assert [*map(len, re.findall(r"^#+", FENCED.sub("", read(page)), re.MULTILINE))] == [
            *map(len, re.findall(r"^#+", FENCED.sub("", english), re.MULTILINE))
        ]
    known = {line.strip() for block in blocks(english) for line in block.splitlines()}
    assert {line.strip() for block in blocks(read(page)) for line in block.splitlines()} <= known


@pytest.mark.parametrize("page", COUNTERPARTS)
def test_numbers_are_those_of_the_english_page(page: str) -> None:
    assert numbers(read(page)) <= set[str]().union(*(numbers(read(other)) for other in COUNTERPARTS[page]))


def test_names_are_those_of_the_english_pages() -> None:
    english = [
        "README.md",
        "experiments/README.md",
        *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
    ]
    known = set[str]().union(*(names(read(page)) for page in english))
    for page in COUNTERPARTS:
        unknown = names(read(page)) - known
        assert not unknown, f"{page} names what no English page does: {sorted(unknown)}"


def test_what_the_comparisons_see() -> None:
    text = "see `x=3`, 1,500 steps, −2.5e-3\n\n    y = 7    # why 8\n\n```sh\nmake    # 9 minutes\n```\n"
    assert numbers(text) == {"1,500", "2.5e-3"}
    assert blocks(text) == ["make\n", "    y = 7\n"]
