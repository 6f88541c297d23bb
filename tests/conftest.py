"""Strict settings for the whole suite: shapes in annotations are checked, silent broadcasting is an error."""

import gc
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

# XLA's older code generator compiles faster. Later versions lack it, and abort at a flag that they don't know.
OLDER_GENERATOR = "--xla_cpu_use_fusion_emitters=false"
if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1" and version("jaxlib").startswith("0.10."):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = flags if OLDER_GENERATOR in flags else f"{flags} {OLDER_GENERATOR}".strip()

import jax
import pytest
from hypothesis import HealthCheck, settings

from tests.compilation import keep_compiled_programs, make_cache, optimizations
from tests.shapes import check_annotations

CACHE = make_cache()

check_annotations()  # before anything of ours is imported

keep_compiled_programs()

jax.config.update("jax_numpy_rank_promotion", "raise")

# Tracing makes very many objects, and few of them in circles: searching for these less often saves a twentieth.
gc.set_threshold(50_000, 10, 10)

# JAX begins here, with one device: else the first experiment run in this process would give it one for each core,
# and what later tests see would depend on their order. Several devices are tested in processes of their own.
jax.devices()

# A shell starts what runs in the background deaf to Ctrl-C, which some tests send themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Compilation makes first examples slow, and a timed test is no test.
settings.register_profile(
    "unroll", deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unroll")


@pytest.hookimpl(trylast=True)  # when it is known which tests are slow, and which are run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files with the most slow tests first where several workers share them, so that none is left with a
    long file at the end while the others are idle."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    weights = Counter[Path]()
    for item in items:
        weights[item.path] += 5 if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -weights[item.path])


def pytest_unconfigure() -> None:
    """Removes the session's cache folder, in the process that made it."""
    if CACHE is not None:
        shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_functions() -> Iterator[None]:
    """Each keeps four pieces of memory mapped; a process may have 65,530, beyond which the compiler dies."""
    yield
    jax.clear_caches()


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """For tests that are nearly all compilation: XLA takes half the time for what then runs somewhat slower."""
    with optimizations(False):
        yield
