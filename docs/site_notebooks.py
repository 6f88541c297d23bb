"""Turns the notebooks of docs/notebooks/ into pages of the site, with the outputs that they hold."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parent / "notebooks"


@cache
def notebook_pages() -> tuple[dict[str, str], dict[str, bytes]]:
    """Returns {page: Markdown} of all notebooks, and {place: PNG} of their figures."""
    pages: dict[str, str] = {}
    figures: dict[str, bytes] = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        parts: list[str] = []
        shown = 0
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            parts.append(source if cell["cell_type"] == "markdown" else fenced(source, "python"))
            for output in cell.get("outputs", []):
                if picture := output.get("data", {}).get("image/png"):
                    shown += 1
                    name = f"{path.stem}_{shown}.png"
                    figures[f"notebooks/{name}"] = base64.b64decode("".join(picture))
                    parts.append(f"![The figure that the cell above shows]({name})")
                else:
                    parts.append(fenced(printed(output), "text"))
        # HTML, since a link in Markdown to a notebook leads to its page.
        parts.insert(1, f'<a href="{path.name}" download>This page is a notebook: download it</a>.')
        pages[f"notebooks/{path.stem}.md"] = "\n\n".join(parts) + "\n"
    return pages, figures


def fenced(text: str, language: str) -> str:
    """Returns a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def printed(output: dict[str, Any]) -> str:
    """Returns the text of an output: what was printed, or the value of a cell."""
    return "".join(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])
