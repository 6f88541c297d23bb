"""Any pytree of arrays from and to the safetensors format, which other libraries and languages read."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}
SMALL = {"F8_E4M3": jnp.float8_e4m3fn, "F8_E5M2": jnp.float8_e5m2, "C64": np.complex64, "BOOL": np.bool_}
INTEGERS = {f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)}
UNSIGNED = {f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)}
DTYPES: dict[str, Any] = {**FLOATS, **SMALL, **INTEGERS, **UNSIGNED}
"""The types of the format that NumPy and JAX have."""


def to_safetensors(tree: Any, metadata: Mapping[str, str] | None = None) -> bytes:
    """Returns the content of a safetensors file with the arrays of a pytree under their names, `layers/0/kernel`,
    bit for bit, bfloat16 too: `Path("lstm.safetensors").write_bytes(to_safetensors(params))`. `metadata` are words
    kept beside them.

    Raises ValueError for two arrays of one name, one without a name, a type that the format doesn't have, and where
    the package safetensors is missing.
    """
    library, arrays, held = package(), dict[str, np.ndarray](), list[Any](map(np.dtype, DTYPES.values()))
    for name, leaf in named_leaves(tree).items():
        dtype = getattr(leaf, "dtype", type(leaf).__name__)
        if dtype not in held:
            raise ValueError(f"{name} is of type {dtype}, which no safetensors file holds")
        arrays[name] = np.array(leaf, order="C")
    specs = {
        name: library.TensorSpec(
            dtype=array.dtype.name, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes
        )
        for name, array in arrays.items()
    }
    return bytes(library.serialize(specs, metadata=dict(metadata or {})))


def from_safetensors(source: Path | str | bytes, like: Any = None, *, prefix: str = "") -> Any:
    """Reads the arrays of a safetensors file, or of its content: a dictionary by their names, or, given `like`, a
    tree with the structure, shapes and types of `like`, which `jax.eval_shape` may have returned. Arrays are JAX's;
    those of 64 bits are NumPy's where JAX's 64-bit mode is off, as it would round them.

    Of names that begin with `prefix`, such as `recurrent/cell`, the rest is read, and others are left alone.

    Raises ValueError for a file that isn't of the format, for names, shapes or types other than those of `like`, a
    prefix that no name has, and where the package safetensors is missing; OSError where the file can't be read.
    """
    library, place = package(), "the content" if isinstance(source, bytes) else str(source)
    try:
        found = library.deserialize(source if isinstance(source, bytes) else Path(source).read_bytes())
    except library.SafetensorError as error:
        raise ValueError(f"{place} is not of the safetensors format, or damaged: {error}") from None
    start, arrays = prefix.rstrip("/."), dict[str, Any]()
    for name, entry in sorted(found):
        if start and not name.startswith((f"{start}/", f"{start}.")):
            continue
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{name} in {place} is of type {entry['dtype']}, which NumPy and JAX don't have")
        array = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
        kept = jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype
        arrays[name[len(start) + 1 :] if start else name] = jnp.asarray(array) if kept else array
    if start and not arrays:
        raise ValueError(
            f"no name in {place} begins with {prefix}: there are {', '.join(n for n, _ in found)}"
        )
    return arrays if like is None else as_tree(arrays, like, place)


def as_tree(arrays: Mapping[str, Any], like: Any, place: str) -> Any:
    """Puts arrays in their places in a tree like this one. Raises ValueError for other names, shapes or types."""
    wanted = named_leaves(like)
    for name, leaf in wanted.items():
        if name not in arrays:
            raise ValueError(f"{place} has no {name}: it has {', '.join(arrays) or 'nothing'}")
        own, given = (f"{array.dtype}{list(array.shape)}" for array in (arrays[name], leaf))
        if own != given:
            raise ValueError(f"{name} is {own} in {place}, but {given} is wanted")
    if more := [name for name in arrays if name not in wanted]:
        raise ValueError(f"{place} has {', '.join(more)}, which the tree to be filled doesn't have")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def named_leaves(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by their names, in its order.

    Raises ValueError for one without a name and two of one name."""
    named: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not name:
            raise ValueError("a single array has no name: give a dictionary, {'name': array}")
        if name in named:
            raise ValueError(f"two arrays have the name {name}: name them differently")
        named[name] = leaf
    return named


def package() -> ModuleType:
    """Imports the package. Raises ValueError where it is missing."""
    try:
        import safetensors
    except ImportError:
        raise ValueError(
            'the safetensors format needs the package safetensors: pip install -e ".[safetensors]"'
        ) from None
    return safetensors
