"""The examples in docstrings run, and the site has a place for every page and every public name."""

import doctest
import runpy
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import analysis
import data
import models
import train

ROOT = Path(__file__).resolve().parents[1]
PACKAGES: dict[str, Any] = {"models": models, "analysis": analysis, "train": train, "data": data}
NAMES = {f"{p}.{name}": getattr(module, name) for p, module in PACKAGES.items() for name in module.__all__}
WITH_EXAMPLE = sorted(name for name, value in NAMES.items() if ">>>" in (value.__doc__ or ""))
# What examples assume: these imports, and those of the public names that they use.
GLOBALS = {"jax": jax, "jnp": jnp, "np": np} | {name.split(".")[1]: value for name, value in NAMES.items()}
FIRST = """models: GRU LRU LSTM Bidirectional Elman LanguageModel SelfAttention SequenceClassifier Stacked
Transformer generate stream unroll
analysis: find_fixed_points gradient_by_lag influence lyapunov_spectrum product_spectrum step_jacobians
train: make_optimizer
data: adding"""


def first_names() -> Iterator[str]:
    """Yields what users meet first, by whole names."""
    package = ""
    for word in FIRST.split():
        if word.endswith(":"):
            package = word.removesuffix(":")
        else:
            yield f"{package}.{word}"


def test_what_users_meet_first_has_an_example() -> None:
    assert not set(first_names()) - set(WITH_EXAMPLE)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_example(name: str) -> None:
    value = NAMES[name]
    (example,) = [
        test
        for test in doctest.DocTestFinder(recurse=False).find(value, name, globs=dict(GLOBALS))
        if test.examples
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(example)
    assert result.attempted
    assert not result.failed


SITE = runpy.run_path(str(ROOT / "docs" / "site_pages.py"))


def test_every_public_name_has_a_place_in_the_site() -> None:
    text = "\n".join(SITE["api_pages"]().values())
    shown = [line.removeprefix("::: ") for line in text.splitlines() if line.startswith("::: ")]
    assert len(shown) == len(set(shown))
    assert not set(NAMES) - set(shown)
    assert "analysis.figures.gradients.gradient_against_lag" in shown


def test_the_navigation_names_pages_and_gets_those_that_it_does_not() -> None:
    """As MkDocs would read it; a list of sections, each a list of pages."""
    text = (
        (ROOT / "mkdocs.yml")
        .read_text(encoding="utf-8")
        .partition("\nnav:\n")[2]
        .partition("\nnot_in_nav")[0]
    )
    nav: list[dict[str, list[str]]] = []
    for line in text.splitlines():
        entry = line.strip().removeprefix("- ")
        if entry.endswith(":"):
            nav.append({entry.removesuffix(":"): []})
        else:
            nav[-1][next(iter(nav[-1]))].append(entry)
    named = [page for section in nav for pages in section.values() for page in pages]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= {place for path, place in SITE["OUTSIDE"].items() if (ROOT / path).exists()}
    pages |= {*SITE["notebook_pages"]()[0], *SITE["api_pages"]()}
    assert not set(named) - pages
    whole = SITE["on_config"](SimpleNamespace(nav=nav)).nav
    assert sorted(page for section in whole for pages in section.values() for page in pages) == sorted(pages)
