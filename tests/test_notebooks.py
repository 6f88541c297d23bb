"""The notebooks of docs/ run, hold what they put out, and say in words only what they print."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from docs.run_notebooks import NOTEBOOKS, cleaned, run
from docs.site_notebooks import notebook_pages

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
SHORTEST = "first_cell"
MOST = 300_000  # bytes of a notebook


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[str]:
    """The kinds of a cell's outputs: stdout, or that of a value."""
    return [
        output.get("name") or max(output.data, key=lambda kind: kind == "image/png")
        for output in cell.outputs
    ]


def printed(notebook: Any) -> str:
    """All text that a notebook's cells put out."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "\n".join(o.text if o.output_type == "stream" else o.data.get("text/plain", "") for o in outputs)


def test_there_are_four() -> None:
    assert len(PATHS) == 4
    assert SHORTEST in {path.stem for path in PATHS}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_holds_its_outputs(path: Path) -> None:
    """Those of one run from top to bottom, without errors and warnings, and in a small file."""
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    found = {kind for cell in cells for kind in kinds(cell)}
    assert {"stdout", "image/png"} <= found <= {"stdout", "image/png", "text/plain"}
    assert not re.search(
        r"(?<![\w.])/\w+/\w|0x[0-9a-f]{6}|\d:\d\d\b", printed(notebook)
    )  # paths, addresses, times
    assert cleaned(read(path)) == notebook
    assert path.stat().st_size < MOST


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_numbers_in_words_are_those_of_cells(path: Path) -> None:
    """Every number with a decimal point is printed, or stands in the code."""
    notebook = read(path)
    known = printed(notebook) + "\n".join(cell.source for cell in code_cells(notebook))
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    numbers = set(re.findall(r"\d+\.\d+", words))
    assert not {number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}", known)}


def test_pages_of_the_site_show_what_notebooks_hold() -> None:
    pages, figures = notebook_pages()
    assert pages.keys() == {f"notebooks/{path.stem}.md" for path in PATHS}
    for path in PATHS:
        page, notebook = pages[f"notebooks/{path.stem}.md"], read(path)
        assert all(cell.source in page for cell in notebook.cells)
        assert all(line in page for line in printed(notebook).splitlines() if "Figure size" not in line)
        shown = re.findall(r"!\[.*\]\((.*)\)", page)
        assert len(shown) == sum(kinds(cell).count("image/png") for cell in code_cells(notebook))
        assert all(figures[f"notebooks/{name}"].startswith(b"\x89PNG") for name in shown)


def test_what_differs_from_run_to_run_is_left_out() -> None:
    warning, line = (nbformat.v4.new_output("stream", name=n, text="x") for n in ("stderr", "stdout"))
    cell = nbformat.v4.new_code_cell("f()", outputs=[warning, line], metadata={"execution": {"begin": "now"}})
    notebook = cleaned(
        nbformat.v4.new_notebook(
            cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.7"}}
        )
    )
    assert notebook.cells[0].outputs == [line]
    assert not notebook.cells[0].metadata
    assert "version" not in notebook.metadata.language_info


def marks(path: Path) -> Any:
    return pytest.param(
        path, marks=pytest.mark.slow if path.stem == SHORTEST else pytest.mark.full, id=path.stem
    )


@pytest.mark.parametrize("path", [*map(marks, PATHS)])
def test_a_notebook_runs(path: Path) -> None:
    """From top to bottom, where its own checks raise nothing, to outputs of the same kinds as it holds."""
    held = [kinds(cell) for cell in code_cells(read(path))]
    assert [kinds(cell) for cell in code_cells(run(read(path)))] == held
