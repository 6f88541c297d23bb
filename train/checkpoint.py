"""Checkpoints by Orbax, with what Orbax leaves out: checksums, a comparison before loading, a way back."""

import base64
import errno
import logging
import math
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from train.files import check_name
from train.manifest import (
    MANIFEST,
    DamagedCheckpoint,
    check_files,
    check_same_config,
    check_same_model,
    forms,
    read_manifest,
    write_manifest,
)
from train.processes import barrier
from train.state import TrainState, is_key, leaf_name


class Restored(NamedTuple):
    """A checkpoint read back: what `Checkpoints.save` was given."""

    step: int
    state: TrainState
    position: bytes
    extras: dict[str, Any]


class NotSaved(OSError):
    """A checkpoint couldn't be written: no space, no permission. Those written before are as they were."""

    def __str__(self) -> str:
        return str(self.strerror)


class Checkpoints:
    """The checkpoints of one run, a folder for each step; written while training goes on.

    Orbax writes the leaves under their names (`params/cell/recurrent`), bit for bit; what it writes when killed
    is never taken for a checkpoint. Then comes `manifest.json`: dtype and shape of every leaf, the data
    position, the extras, the config, the score, and a CRC-32 of every file. It completes the checkpoint; without it
    there is none.
    """

    def __init__(self, folder: Path | str, keep: int = 2, config: Mapping[str, Any] | None = None) -> None:
        """Touches nothing yet.

        Args:
            folder: where they stand.
            keep: how many of the newest stay; the best one stays besides.
            config: by option what made the model, in terms that JSON holds: goes into every checkpoint, and one
                that was saved with other values isn't loaded.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one checkpoint must be kept")
        self.folder = Path(folder).absolute()
        self.keep = keep
        self.config = dict(config or {})
        self._orbax: Any = None  # a Checkpointer of Orbax, which takes half a second to import
        self._thread: ThreadPoolExecutor | None = None
        self._saving: Future[None] | None = None

    def close(self) -> None:
        """Waits, and ends the threads; saving again starts them again. Raises NotSaved as `wait`."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None
            self._end_orbax()

    def wait(self) -> None:
        """Returns when the checkpoint being written is whole on disk. Raises NotSaved where it can't be."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def steps(self) -> list[int]:
        """The steps saved whole, oldest first."""
        folders = [path.name for path in self.folder.glob("*") if os.path.lexists(path / MANIFEST)]
        return sorted(int(name) for name in folders if name.isdecimal() and str(int(name)) == name)

    def recorded_steps(self) -> list[int]:
        """Lists the steps whose manifest is whole and says that it is theirs, oldest first."""
        return [step for step in self.steps() if self._content(step) is not None]

    def check(self) -> None:
        """Reads, without a model, what `restore_latest` would load. Raises DamagedCheckpoint where there are
        checkpoints and none is whole, ValueError where the newest whole one was saved with another config."""
        damages: list[DamagedCheckpoint] = []
        for step in reversed(self.steps()):
            folder = self.folder / str(step)
            try:
                content = read_manifest(folder)
                check_files(folder, content)
            except DamagedCheckpoint as damage:
                damages.append(damage)
                continue
            check_same_config(folder, content, self.config)
            return
        if damages:
            raise _none_whole(damages)

    def best(self, among: Iterable[int] | None = None) -> int | None:
        """The step saved with the lowest score, the latest of equals; None where none has one."""
        contents = {step: self._content(step) for step in (self.steps() if among is None else among)}
        scores = {step: content["score"] for step, content in contents.items() if content is not None}
        scored = [(score, -step) for step, score in scores.items() if score is not None]
        return -min(scored)[1] if scored else None

    def save(
        self,
        step: int,
        state: TrainState,
        position: bytes = b"",
        extras: dict[str, Any] | None = None,
        score: float | None = None,
    ) -> None:
        """Begins to write a checkpoint once the one before is whole; `state` may be given away when it returns.

        When it is whole on disk, the oldest go, but for the best.

        Args:
            step: the number of updates done; checkpoints of this step or later belong to an abandoned
                continuation (or are damaged) and are removed too.
            state: what to save.
            position: where the data stands, in the data's own words.
            extras: anything else that JSON can hold.
            score: what was found of this state by validation, lower being better; None if it wasn't asked.

        Raises:
            NotSaved: this one, or the one before, can't be written.
            ValueError: the folder's path isn't UTF-8, which Orbax can't write to or read from.
        """
        check_name(self.folder)
        self.wait()
        leaves = _named_leaves(state)
        # Orbax refuses arrays without entries; their shape is all there is to know of them.
        arrays = {name: _own(_bits(leaf)) for name, leaf in leaves.items() if leaf.size}
        content = {
            "step": step,
            "leaves": forms(leaves),
            "position": base64.b64encode(position).decode(),
            "extras": extras or {},
            "config": self.config,
            "score": None if score is None or not math.isfinite(score) else score,
        }
        with self._or_not_saved(step):
            writing = self._writer().save_checkpointables_async(
                step, {"state": arrays}, force=True, overwrite=True
            )
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "checkpoint")
            self._saving = self._thread.submit(self._complete, step, content, writing)
        if jax.process_count() > 1:
            self.wait()  # what Orbax sums over the processes must not meet what training sums

    def _complete(self, step: int, content: dict[str, Any], writing: Any) -> None:
        """Does what remains when Orbax has written the leaves; the other thread doesn't touch Orbax meanwhile."""
        with self._or_not_saved(step):
            writing.result()
            if jax.process_index() == 0:
                write_manifest(self.folder / str(step), content)
            barrier(f"manifest {step}")
            # Only now may another go: a kill at any moment leaves one that is whole.
            saved = [saved for saved in self.steps() if saved <= step]
            self._keep([*saved[-self.keep :], self.best(saved)])

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints of later steps: training went back."""
        self.wait()
        with self._or_not_saved(step):
            self._keep([saved for saved in self.steps() if saved <= step])

    def restore_latest(self, template: TrainState, before: int | None = None) -> Restored | None:
        """The newest checkpoint that is whole, on the template's devices; None if there is none at all.

        Args:
            template: a state of the same model and optimizer; its values don't matter.
            before: only checkpoints of earlier steps than this one are looked at.

        Raises:
            ValueError: it is a checkpoint of another model or config, with the name of what differs first.
            DamagedCheckpoint: all there are can't be read. If an older one can, a warning says so instead.
        """
        self.wait()
        damages: list[DamagedCheckpoint] = []
        for step in reversed([saved for saved in self.steps() if before is None or saved < before]):
            try:
                restored = self.restore(step, template)
            except DamagedCheckpoint as damage:
                damages.append(damage)
                continue
            for damage in damages:
                warnings.warn(f"{damage}; going on from step {step} instead", stacklevel=2)
            return restored
        if damages:
            raise _none_whole(damages)
        return None

    def restore(self, step: int, template: TrainState) -> Restored:
        """The checkpoint of this step; raises as `restore_latest`."""
        check_name(self.folder)
        self.wait()
        folder = self.folder / str(step)
        content = read_manifest(folder)
        leaves = _named_leaves(template)
        check_same_model(folder, content, leaves, self.config)
        # Checked before Orbax sees them: it reads altered weights without a word, and other damage ends in
        # pages of tracebacks from its threads.
        check_files(folder, content)
        from orbax.checkpoint import v1 as ocp

        wanted = {name: _abstract_bits(leaf) for name, leaf in leaves.items() if leaf.size}
        arrays: Any = ocp.load_checkpointables(str(folder), {"state": wanted})["state"]
        values = [
            _from_bits(arrays[name], leaf) if leaf.size else jnp.copy(leaf) for name, leaf in leaves.items()
        ]
        state = jax.tree.unflatten(jax.tree.structure(template), values)
        return Restored(step, state, base64.b64decode(content["position"]), content["extras"])

    def _content(self, step: int) -> dict[str, Any] | None:
        try:
            return read_manifest(self.folder / str(step))
        except DamagedCheckpoint:
            return None

    def _keep(self, kept: list[int | None]) -> None:
        orbax = self._writer()
        for other in [checkpoint.step for checkpoint in orbax.checkpoints if checkpoint.step not in kept]:
            orbax.delete(other)

    def _writer(self) -> Any:
        if self._orbax is None:
            from orbax.checkpoint import v1 as ocp

            # Only who writes may clean up after a kill: a reader would take away what a running job writes.
            self._orbax = ocp.training.Checkpointer(str(self.folder), cleanup_tmp_directories=True)
        return self._orbax

    def _end_orbax(self) -> None:
        orbax, self._orbax = self._orbax, None
        if orbax is not None:
            orbax.close()

    @contextmanager
    def _or_not_saved(self, step: int) -> Iterator[None]:
        """Says in a sentence what kept a checkpoint from being written, and takes away what was written of it."""
        try:
            yield
        except Exception as error:
            why = _refused_by_the_system(error)
            if why is None:
                raise
            with suppress(Exception):  # it knows of files that are to go
                self._end_orbax()
            for begun in (self.folder / str(step), *self.folder.glob(f"{step}.*")):
                if not (begun / MANIFEST).exists():
                    shutil.rmtree(begun, ignore_errors=True)
            steps = self.steps()
            newest = f"the newest checkpoint there is of step {steps[-1]}" if steps else "there is none yet"
            said = f"step {step} could not be saved in {self.folder} ({os.strerror(why).lower()}); {newest}"
            raise NotSaved(why, said) from error


def _none_whole(damages: list[DamagedCheckpoint]) -> DamagedCheckpoint:
    return DamagedCheckpoint(f"{damages[0]}, and no older checkpoint is whole; start the run anew")


def _named_leaves(state: TrainState) -> dict[str, jax.Array]:
    leaves = [(leaf_name(path), jnp.asarray(leaf)) for path, leaf in jax.tree.leaves_with_path(state)]
    named = dict(leaves)
    if len(named) < len(leaves):
        raise ValueError("two leaves of the state have the same name; take '/' out of the parameters' names")
    return named


def _bits(leaf: jax.Array) -> jax.Array:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _own(leaf: jax.Array) -> jax.Array:
    """On an accelerator Orbax copies before it returns; on the CPU it would read memory that the next step is
    given."""
    return jnp.copy(leaf) if any(device.platform == "cpu" for device in leaf.devices()) else leaf


def _abstract_bits(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    bits = _bits(leaf)
    return jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=bits.sharding)


def _from_bits(bits: jax.Array, like: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(like)) if is_key(like) else bits


# What the words of an error without a number (TensorStore's) tell of what the system said.
_WORDS = {
    number: os.strerror(number)
    for number in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG),
        *(errno.EMFILE, errno.ENFILE),
    )
}


def _refused_by_the_system(error: BaseException | None) -> int | None:
    """The number of the system's error behind an exception; None where there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        for number, words in _WORDS.items():
            if words in str(error):
                return number
        error = error.__cause__ or error.__context__
    return None


def _not_of_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


# Keeps what Orbax logs off the terminal, whichever of its threads and however late: what matters comes as an
# exception.
logging.getLogger("absl").addFilter(_not_of_orbax)
