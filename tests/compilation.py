"""XLA's options for compiling what is tested."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import jax


def share_compiled_programs() -> str | None:
    """Keeps compiled programs in one folder for the whole session, workers and started processes included.

    Returns the folder if it was made here, to be removed at the end; None if the environment names one already,
    as it does for all but the session's first process.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    folder = tempfile.mkdtemp(prefix="unroll-compiled-")
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    for name, value in settings.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)
    return folder


@contextlib.contextmanager
def optimizations(wanted: bool) -> Iterator[None]:
    """With most of XLA's optimizations or without them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", not wanted)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
