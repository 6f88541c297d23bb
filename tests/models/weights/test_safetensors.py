"""Trees in safetensors files, bit for bit under their names, as the format's description and package have it."""

import json
import struct
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from models import LSTM, Stacked, from_safetensors, to_safetensors

BITS = {"BF16": jnp.bfloat16, "F32": np.float32, "I32": np.int32}


def tree() -> dict[str, Any]:
    params = Stacked((LSTM(3), LSTM(3))).init(jax.random.key(0), 2)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params["layers"][1])
    return {"net": {"layers": (params["layers"][0], half)}, "step": jnp.array(7), "none": jnp.zeros((0, 2))}


def by_description(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a file by the words of the format: 8 bytes of length, a JSON header, the bytes of the arrays."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    words, found = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        found[name] = np.frombuffer(data[start:end], BITS[entry["dtype"]]).reshape(entry["shape"])
    return found, words


def test_there_and_back(tmp_path: Path) -> None:
    path, whole = tmp_path / "w.safetensors", tree()
    path.write_bytes(to_safetensors(whole, {"step": "7"}))
    names = ["net/layers/0/kernel", "net/layers/1/bias", "step", "none"]
    found, words = by_description(path)
    assert words == {"step": "7"}
    assert set(names) < found.keys()
    flat = from_safetensors(path)
    assert flat.keys() == found.keys()
    for name, array in found.items():
        assert flat[name].dtype == array.dtype
        np.testing.assert_array_equal(flat[name], array)
    back = from_safetensors(path, like=jax.eval_shape(tree))
    assert jax.tree.structure(back) == jax.tree.structure(whole)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(whole), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    first = from_safetensors(path, like=whole["net"]["layers"][0], prefix="net/layers/0")
    np.testing.assert_array_equal(first["recurrent"], whole["net"]["layers"][0]["recurrent"])


def test_with_the_package_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    path.write_bytes(to_safetensors({"a": {"b": transposed}, "long": np.array(1 / 3)}))
    np.testing.assert_array_equal(load_file(path)["a/b"], transposed)
    assert from_safetensors(path)["long"] == 1 / 3  # in 64 bits


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(to_safetensors({"a": np.zeros(2, np.float32)}))

    def said(*arguments: Any, **options: Any) -> str:
        call = from_safetensors if isinstance(arguments[0], Path) else to_safetensors
        with pytest.raises(ValueError) as error:  # noqa: PT011, whose words are compared
            call(*arguments, **options)
        return str(error.value)

    assert "has no b: it has a" in said(path, {"b": np.zeros(2, np.float32)})
    assert "a is float32[2] in" in said(path, {"a": np.zeros(3, np.float32)})
    assert "but bfloat16[2] is wanted" in said(path, {"a": jnp.zeros(2, jnp.bfloat16)})
    assert "has a, which the tree" in said(path, {})
    assert "begins with c: there are a" in said(path, prefix="c")
    assert "two arrays have the name a/b" in said({"a/b": np.zeros(1), "a": {"b": np.zeros(1)}})
    assert "a single array has no name" in said(np.zeros(1))
    assert "key is of type key" in said({"key": jax.random.key(0)})
    assert "word is of type str" in said({"word": "a"})
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(path.read_bytes()[:-1])
    assert "is not of the safetensors format, or damaged" in said(damaged)
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    assert 'pip install -e ".[safetensors]"' in said(path)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        from_safetensors(tmp_path / "none.safetensors")
