"""Checkpoints by Orbax, with what Orbax leaves out: checksums, a comparison before loading, a way back."""

import base64
import json
import logging
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from train.meeting import wait_for_all
from train.state import TrainState, is_key, leaf_name

MANIFEST = "manifest.json"


class Restored(NamedTuple):
    """What `Checkpoints.save` was given."""

    step: int
    state: TrainState
    position: bytes
    extras: dict[str, Any]


class DamagedCheckpoint(ValueError):
    """A checkpoint's files are cut short, missing or altered."""


class Checkpoints:
    """The checkpoints of one run, a folder for each step.

    Orbax writes the leaves under their names (`params/cell/recurrent`), bit for bit; what it writes when killed
    is never taken for a checkpoint. Then comes `manifest.json`: dtype and shape of every leaf, the data
    position, the extras, and a CRC-32 of every file. It completes the checkpoint; without it there is none.
    """

    def __init__(self, folder: Path | str, keep: int = 2) -> None:
        """Touches nothing yet. `keep` is how many of the newest checkpoints stay."""
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one checkpoint must be kept")
        self.folder = Path(folder).absolute()
        self.keep = keep
        self._orbax: ocp.training.Checkpointer | None = None

    def close(self) -> None:
        """Ends Orbax's threads; saving again starts them again."""
        if self._orbax is not None:
            self._orbax.close()
            self._orbax = None

    def steps(self) -> list[int]:
        """The steps saved whole, oldest first."""
        folders = [path.parent.name for path in self.folder.glob(f"*/{MANIFEST}")]
        return sorted(int(name) for name in folders if name.isdecimal())

    def save(
        self, step: int, state: TrainState, position: bytes = b"", extras: dict[str, Any] | None = None
    ) -> None:
        """Writes a checkpoint, returns when it is whole on disk, and removes the oldest.

        Args:
            step: the number of updates done; checkpoints of this step or later belong to an abandoned
                continuation (or are damaged) and are removed too.
            state: what to save.
            position: where the data stands, in the data's own words.
            extras: anything else that JSON can hold.
        """
        leaves = _named_leaves(state)
        # Orbax refuses arrays without entries; their shape is all there is to know of them.
        arrays = {name: _bits(leaf) for name, leaf in leaves.items() if leaf.size}
        with _quiet_orbax():
            orbax = self._writer()
            orbax.save_checkpointables(step, {"state": arrays}, force=True, overwrite=True)
            folder = self.folder / str(step)
            content: dict[str, Any] = {
                "leaves": {name: [str(leaf.dtype), list(leaf.shape)] for name, leaf in leaves.items()},
                "position": base64.b64encode(position).decode(),
                "extras": extras or {},
            }
            if jax.process_index() == 0:
                content["files"] = {name: _checksum((folder / name).read_bytes()) for name in _files(folder)}
                _write_manifest(folder / MANIFEST, content)
            wait_for_all(f"manifest {step}")
            # Only now may another go: a kill at any moment leaves one that is whole.
            kept = [saved for saved in self.steps() if saved <= step][-self.keep :]
            for other in [checkpoint.step for checkpoint in orbax.checkpoints if checkpoint.step not in kept]:
                orbax.delete(other)

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints of later steps: training went back."""
        with _quiet_orbax():
            orbax = self._writer()
            for later in [checkpoint.step for checkpoint in orbax.checkpoints if checkpoint.step > step]:
                orbax.delete(later)

    def restore_latest(self, template: TrainState, before: int | None = None) -> Restored | None:
        """The newest checkpoint that is whole, on the template's devices; None if there is none at all.

        Args:
            template: a state of the same model and optimizer; its values don't matter.
            before: only checkpoints of earlier steps than this one are looked at.

        Raises:
            ValueError: it is a checkpoint of another model, with the name of the first leaf that differs.
            DamagedCheckpoint: all there are can't be read. If an older one can, a warning says so instead.
        """
        damages: list[DamagedCheckpoint] = []
        for step in reversed([saved for saved in self.steps() if before is None or saved < before]):
            try:
                restored = self._load(step, template)
            except DamagedCheckpoint as damage:
                damages.append(damage)
                continue
            for damage in damages:
                warnings.warn(f"{damage}; going on from step {step} instead", stacklevel=2)
            return restored
        if damages:
            raise DamagedCheckpoint(f"{damages[0]}, and no older checkpoint is whole; start the run anew")
        return None

    def _load(self, step: int, template: TrainState) -> Restored:
        folder = self.folder / str(step)
        content = _read_manifest(folder)
        leaves = _named_leaves(template)
        _compare(folder, content["leaves"], leaves)
        # Checked before Orbax sees them: it reads altered weights without a word, and other damage ends in
        # pages of tracebacks from its threads.
        for name, checksum in content["files"].items():
            if not (folder / name).is_file():
                raise DamagedCheckpoint(f"the checkpoint {folder} is damaged ({name} is missing)")
            if _checksum((folder / name).read_bytes()) != checksum:
                raise DamagedCheckpoint(f"the checkpoint {folder} is damaged ({name} has been altered)")
        wanted = {name: _abstract_bits(leaf) for name, leaf in leaves.items() if leaf.size}
        with _quiet_orbax():
            arrays: Any = ocp.load_checkpointables(str(folder), {"state": wanted})["state"]
        values = [
            _from_bits(arrays[name], leaf) if leaf.size else jnp.copy(leaf) for name, leaf in leaves.items()
        ]
        state = jax.tree.unflatten(jax.tree.structure(template), values)
        return Restored(step, state, base64.b64decode(content["position"]), content["extras"])

    def _writer(self) -> ocp.training.Checkpointer:
        if self._orbax is None:
            # Only who writes may clean up after a kill: a reader would take away what a running job writes.
            self._orbax = ocp.training.Checkpointer(str(self.folder), cleanup_tmp_directories=True)
        return self._orbax


def _named_leaves(state: TrainState) -> dict[str, jax.Array]:
    leaves = [(leaf_name(path), jnp.asarray(leaf)) for path, leaf in jax.tree.leaves_with_path(state)]
    named = dict(leaves)
    if len(named) < len(leaves):
        raise ValueError("two leaves of the state have the same name; take '/' out of the parameters' names")
    return named


def _bits(leaf: jax.Array) -> jax.Array:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _abstract_bits(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    bits = _bits(leaf)
    return jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=bits.sharding)


def _from_bits(bits: jax.Array, like: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(like)) if is_key(like) else bits


def _compare(folder: Path, there: dict[str, list[Any]], here: dict[str, jax.Array]) -> None:
    """Raises ValueError with the first leaf that is missing, too many, or of another shape or dtype."""
    for name in [*here, *there]:
        mine = _form(str(here[name].dtype), here[name].shape) if name in here else "absent"
        theirs = _form(*there[name]) if name in there else "absent"
        if mine != theirs:
            raise ValueError(
                f"{folder} is a checkpoint of another model: {name} is {theirs} there and {mine} here; "
                "resume with the config it was saved with"
            )


def _form(dtype: str, shape: tuple[int, ...] | list[int]) -> str:
    return f"{dtype}[{','.join(map(str, shape))}]"


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _checksum(content: bytes) -> int:
    return zlib.crc32(content)


def _write_manifest(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({"content": content, "checksum": _checksum(json.dumps(content).encode())}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        # Python writes what it has read in the same words, so the checksum can be taken of that.
        if manifest["checksum"] == _checksum(json.dumps(manifest["content"]).encode()):
            return manifest["content"]
    except (ValueError, LookupError, TypeError):
        pass
    raise DamagedCheckpoint(f"the checkpoint {folder} is damaged ({MANIFEST} has been altered)")


@contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Keeps Orbax's log (absl) off the terminal; what matters comes as an exception."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
