"""Compilation in the tests: what is compiled is kept, and with which of XLA's options it is."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

COMPILED = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
"""Compiled programs of all processes of all sessions in this checkout."""


def make_cache() -> Path | None:
    """Gives this session, its workers and the processes they start a cache folder in place of the user's.

    Returns the folder, to be removed at the end; None in a worker, which inherits it. Only compiled programs are
    kept for later sessions, in `COMPILED`.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return None
    folder = Path(tempfile.mkdtemp(prefix="unroll-cache-"))
    share_compiled_programs(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder)
    # Its list of fonts takes a second to make.
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    return folder


def keep_compiled_programs() -> None:
    """Does for this process what the command line does; imported here, for annotations are to be checked in it."""
    from experiments.harness import compilation_cache

    compilation_cache.keep_compiled_programs()


def share_compiled_programs(cache: Path) -> None:
    """Lets processes with a cache folder of their own find the programs that others compiled."""
    link = cache / "unroll" / "compiled"
    if not link.exists():
        COMPILED.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(COMPILED)


@contextlib.contextmanager
def optimizations(wanted: bool) -> Iterator[None]:
    """With most of XLA's optimizations or without them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", not wanted)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def compilations(function: Callable[[], Any]) -> int:
    """Counts the programs that XLA is given while `function` runs."""
    counted = []

    def listen(event: str, *_: Any, **__: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            counted.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.block_until_ready(function())
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return len(counted)
