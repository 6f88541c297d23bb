"""Adds to the site what docs/ doesn't hold, as hooks of MkDocs (`make docs`, `mkdocs.yml`).

Adds the READMEs, the notebooks, a page of the API for each room or two, and every source file that a page links
to. Rewrites links so that they lead to the same places as in the repository. Imports nothing of what it documents:
reads names from the text of `__init__.py`, and leaves docstrings to mkdocstrings.
"""

import ast
import os
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from docs.site_notebooks import notebook_pages

ROOT = Path(__file__).resolve().parent.parent
# Pages of the repository outside docs/, and their names in the site.
OUTSIDE = {
    "README.md": "index.md",
    "README.zh.md": "index.zh.md",
    "experiments/README.md": "experiments.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
PACKAGES = ("models", "analysis", "train", "data")
# Pages of the API: title, and the modules or rooms whose public names they hold. A package's own page has the rest.
API = {
    "cells": ("Cells", ("models.cells", "models.cell", "models.named_cells", "models.initializers")),
    "recurrence": ("Through time", ("models.recurrence",)),
    "layers": ("Layers and attention", ("models.layers", "models.memory")),
    "decoding": ("Decoding", ("models.decoding",)),
    "models": ("Whole models", ("models",)),
    "weights": ("Weights of other libraries", ("models.weights",)),
    "analysis": ("Analysis", ("analysis",)),
    "figures": ("Figures", ("analysis.figures",)),
    "train": ("Training", ("train",)),
    "text": ("Data: text", ("data.text", "data.trees", "data.words")),
    "data": ("Data", ("data",)),
}
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")


@cache
def syntax(module: str) -> ast.Module:
    """Reads a module or package by its dotted name."""
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def public_names(package: str) -> dict[str, str]:
    """Returns {public name: module that defines it} of a package, from its imports and `__all__`."""
    tree = syntax(package)
    home = {
        alias.name: str(node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (listed,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return {name: home.get(name, package) for name in listed}


def figure_names() -> dict[str, str]:
    """Returns {function: module} of those that draw a figure, and of `save`."""
    found = {}
    for path in sorted((ROOT / "analysis" / "figures").glob("*.py")):
        module = f"analysis.figures.{path.stem}"
        for node in syntax(module.removesuffix(".__init__")).body:
            if isinstance(node, ast.FunctionDef) and (
                node.name == "save" or (node.returns is not None and ast.unparse(node.returns) == "Figure")
            ):
                found[f"{module}.{node.name}"] = module
    return found


def page_of(module: str) -> str:
    """Returns the page of the API on which a module's names stand: that with the longest fitting entry."""
    fits = [
        (len(room), page)
        for page, (_, rooms) in API.items()
        for room in rooms
        if module == room or module.startswith(f"{room}.")
    ]
    return max(fits)[1]


def api_pages() -> dict[str, str]:
    """Writes {page: Markdown} of the API: every public name under the title of its module."""
    names = {f"{p}.{name}": module for p in PACKAGES for name, module in public_names(p).items()}
    rooms: dict[str, dict[str, list[str]]] = {page: defaultdict(list) for page in API}
    for name, module in (names | figure_names()).items():
        rooms[page_of(module)][module].append(name)
    pages = {f"api/{page}.md": api_page(API[page][0], modules) for page, modules in rooms.items()}
    return pages | {"api/index.md": api_overview(names)}


def api_page(title: str, modules: dict[str, list[str]]) -> str:
    """Writes one page: a section a module, with its docstring's first line as title; those of `unroll` first."""
    sections, first_names = [f"# {title}\n"], set(public_names("unroll"))

    def order(module: str) -> tuple[bool, str]:
        return first_names.isdisjoint(name.split(".")[-1] for name in modules[module]), module

    for module in sorted(modules, key=order):
        first = (ast.get_docstring(syntax(module)) or module).split("\n\n")[0].replace("\n", " ")
        head, _, rest = first.rstrip(".").partition(": ")
        sections.append(
            f"## {head} {{ #{module} }}\n\n" + (f"{rest[0].upper()}{rest[1:]}.\n\n" if rest else "")
        )
        sections += [f"::: {name}\n" for name in sorted(modules[module], key=str.lower)]
    return "\n".join(sections)


def api_overview(names: dict[str, str]) -> str:
    """Writes the first page of the API: where to import from, and every public name with its first line."""
    facade = [n for n in public_names("unroll") if n not in PACKAGES]
    home = {name.split(".")[1]: name for name in names if name.split(".")[1] in facade}
    first = ", ".join(f"[`{name}`][{home[name]}]" for name in sorted(home, key=str.lower))
    text = (
        f"# API\n\n`from unroll import …` gives the names that one begins with:\n{first}.\n\n"
        "All others are imported from their package: `from models import SelfAttention`. Sequences are\n"
        "time-major, `xs [T, *batch, D]`: `T` time, `B` batch, `D` input, `H` hidden, `S` the whole state.\n"
        "Examples assume `import jax`, `import jax.numpy as jnp`, `import numpy as np` and the names they use.\n"
    )
    for page, (title, _) in API.items():
        own = sorted((n for n, m in names.items() if page_of(m) == page), key=str.lower)
        links = ", ".join(f"[`{name.split('.')[1]}`][{name}]" for name in own)
        text += f"\n## [{title}]({page}.md)\n\n" + (
            f"From `{own[0].split('.')[0]}`: {links}.\n" if links else ""
        )
        if page == "figures":
            text += "Functions that draw what `analysis` measures: arrays in, a matplotlib figure out.\n"
    return text


def on_config(config: Any) -> Any:
    """Adds the pages that the navigation doesn't name: those in Chinese as a section, all others to the how-tos."""
    listed = {page for section in config.nav for pages in section.values() for page in pages}
    found = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    rest = [page for page in found if page not in listed]
    chinese = [page for page in rest if page.startswith("zh/")]
    if (ROOT / "README.zh.md").exists():
        chinese.insert(0, OUTSIDE["README.zh.md"])
    (how_to,) = (section["How to"] for section in config.nav if "How to" in section)
    how_to += [page for page in rest if not page.startswith("zh/")]
    config.nav += [{"中文": chinese}] if chinese else []
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that don't stand in docs/."""
    # Imported here: the tests read this file without MkDocs, which only `make docs` installs.
    from mkdocs.structure.files import File  # pyright: ignore[reportMissingImports]

    pages = {
        place: (ROOT / path).read_text(encoding="utf-8")
        for path, place in OUTSIDE.items()
        if (ROOT / path).exists()
    }
    notebooks, figures = notebook_pages()
    pages |= notebooks | api_pages()
    linked = {
        path
        for place, text in [
            *pages.items(),
            *((f.src_uri, f.content_string) for f in files.documentation_pages()),
        ]
        for target in LINK.findall(text)
        if (path := in_repository(target, place)) and path.suffix in (".py", ".yml", ".cff", "")
    }
    for path in sorted(linked):
        name = path.relative_to(ROOT).as_posix()
        language = "python" if path.suffix == ".py" else "text"
        body = path.read_text(encoding="utf-8")
        pages[f"source/{name}.md"] = (
            f"---\nsearch:\n  exclude: true\nhide: [toc]\n---\n\n# {name}\n\n````{language}\n{body}````\n"
        )
    for place, content in (pages | figures).items():
        files.append(File.generated(config, place, content=content))
    return files


def in_repository(target: str, place: str) -> Path | None:
    """Returns the file that a link on a page leads to, None if it leads elsewhere or nowhere."""
    origin = next((path for path, page in OUTSIDE.items() if page == place), f"docs/{place}")
    path = Path(os.path.normpath((ROOT / origin).parent / target))
    return path if "://" not in target and path.is_file() and path.is_relative_to(ROOT) else None


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links between files of the repository into links between pages of the site."""
    place = page.file.src_uri
    if place.startswith(("api/", "source/")):
        return markdown

    def lead(match: re.Match[str]) -> str:
        path = in_repository(match[1], place)
        if path is None:
            return match[1]
        name = path.relative_to(ROOT).as_posix()
        inside = (
            re.sub(r"\.ipynb$", ".md", name.removeprefix("docs/"))
            if name.startswith("docs/") and path.suffix != ".py"
            else f"source/{name}.md"
        )
        return os.path.relpath(OUTSIDE.get(name, inside), Path(place).parent).replace(os.sep, "/")

    # Python-Markdown splits no table at a pipe within code, and shows its backslash.
    return re.sub(r"`[^`\n]+`", lambda code: code[0].replace(r"\|", "|"), LINK.sub(lead, markdown))
