"""Compiled programs kept on disk, so that a repeated, resumed or swept run starts at once.

JAX's persistent compilation cache decides what is kept and finds it again by a key of the program, the options and
the devices. Its files are ours: each carries a checksum and comes into being in one move, so that neither damage
nor several processes at once can hand JAX a program other than the one it compiled. Whatever goes wrong with a file
or the folder, the program is compiled as if there were no cache.

`JAX_ENABLE_COMPILATION_CACHE=0` turns it off. `JAX_COMPILATION_CACHE_DIR` names a folder for JAX's own cache in its
place, which follows JAX's settings alone.
"""

import contextlib
import hashlib
import os
import platform
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax

from experiments.harness.environment import cores

LIMIT = 512 * 2**20
"""Bytes of all programs together, those of other machines and versions of JAX included."""
# Of /proc/cpuinfo: all that the compiler looks at.
_PROCESSOR = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU", "Features", "isa", "uarch")


class CompiledPrograms:
    """Compiled programs in a folder, by JAX's key. It never raises for what is or happens on the disk.

    Where they would outgrow `limit` bytes, those not used for longest are deleted, in all of `root`.
    """

    def __init__(self, folder: Path, root: Path, limit: int = LIMIT) -> None:
        self._path = folder  # which JAX's log names
        self._root = root
        self._limit = limit
        self._room: int | None = None  # before the first program is written

    def get(self, key: str) -> bytes | None:
        """Returns the program kept for a key; None without one. A damaged one is deleted."""
        path = self._path / _file_name(key)
        try:
            whole = path.read_bytes()
        except OSError:
            return None
        program = whole[_CHECKSUM_SIZE:]
        if whole[:_CHECKSUM_SIZE] != _checksum(key, program):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return program

    def put(self, key: str, program: bytes) -> None:
        """Keeps a program, if the disk lets it."""
        whole = _checksum(key, program) + program
        with contextlib.suppress(OSError):
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._room is None or self._room < len(whole):
                self._room = make_room(self._root, self._limit)
            if self._room >= len(whole):
                self._room -= len(whole)
                self._write(self._path / _file_name(key), whole)

    def _write(self, path: Path, content: bytes) -> None:
        """Writes a file in one move: other processes see it whole or not at all."""
        handle, making = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(making, path)
        except OSError:
            os.unlink(making)
            raise


def _file_name(key: str) -> str:
    """Returns a name that every file system takes: a key begins with the name of a function, however long."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(key: str, program: bytes) -> bytes:
    """Returns a checksum of program and key, so that a whole program under another key counts as damage."""
    return hashlib.sha256(key.encode() + b"\0" + program).digest()


_CHECKSUM_SIZE = hashlib.sha256().digest_size


def make_room(root: Path, limit: int) -> int:
    """Deletes the files not used for longest until three quarters of `limit` are left, if there are more than that;
    returns how many bytes may be added. What another process deletes at the same time counts as deleted."""
    files: list[tuple[float, int, Path]] = []
    for path in root.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                about = path.lstat()
                files.append((about.st_mtime, about.st_size, path))
    total = sum(size for _, size, _ in files)
    if total <= limit * 3 // 4:
        return limit - total
    for _, size, path in sorted(files):
        if total <= limit * 3 // 4:
            break
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        total -= size
    return limit - total


def root_folder() -> Path | None:
    """Returns the folder for compiled programs in the user's cache; None for a user who has neither XDG_CACHE_HOME
    nor a home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        cache = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    except RuntimeError:
        return None
    return cache / "unroll" / "compiled"


def machine(processor: Path = Path("/proc/cpuinfo")) -> str:
    """Names what a compiled program depends on and JAX's key leaves out: the processor with its features, the
    number of cores. Code for one processor may crash another. JAX's version tells which folders are old."""
    try:
        known = processor.read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [line for line in known if line.startswith(_PROCESSOR)]
    except OSError:
        lines = [platform.processor(), platform.node()]
    described = "\n".join([platform.system(), *sorted(set(lines)), str(cores())])
    digest = hashlib.sha256(described.encode()).hexdigest()[:12]
    return f"jax-{jax.__version__}-{platform.machine()}-{digest}"


def keep_compiled_programs() -> None:
    """Keeps what this process compiles from here on, and takes what was kept before, unless the environment says
    otherwise. Touches no file before the first program is compiled."""
    root = root_folder()
    settings: Any = jax.config  # its attributes are made at run time
    chosen = settings.jax_compilation_cache_dir is not None
    if root is None or chosen or not settings.jax_enable_compilation_cache:
        return
    try:
        from jax._src import compilation_cache  # there is no public way to install another cache
    except ImportError:
        return
    if not hasattr(compilation_cache, "get_file_cache"):
        return
    folder = root / machine()
    programs = CompiledPrograms(folder, root)
    compilation_cache.get_file_cache = lambda path: (programs, path)  # type: ignore
    # A kept program that JAX can't read is compiled anew; its user can do nothing about it.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # files without checksums
    jax.config.update("jax_compilation_cache_dir", str(folder))
