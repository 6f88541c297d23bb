"""Checkpoints by Orbax, with checksums, validation before loading and fallback to older ones."""

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
    leaf_specs,
    read_manifest,
    write_manifest,
)
from train.processes import barrier
from train.state import TrainState, is_average_name, is_key, leaf_name


class Restored(NamedTuple):
    """The arguments of `Checkpoints.save`, read back."""

    step: int
    state: TrainState
    position: bytes
    extras: dict[str, Any]


class NotSaved(OSError):
    """A checkpoint couldn't be written: no space, no permission. Earlier checkpoints are intact."""

    def __str__(self) -> str:
        return str(self.strerror)


class Checkpoints:
    """The checkpoints of one run, a folder per step; written in the background.

    Orbax writes the leaves under their names (`params/cell/recurrent`), bit for bit. Then `manifest.json` is
    written: dtype and shape of every leaf, the data position, the extras, the config, the score, and a CRC-32 of
    every file. Only a folder with a manifest is a checkpoint, so one left incomplete by a kill is never loaded.
    """

    def __init__(
        self,
        folder: Path | str,
        keep: int = 2,
        config: Mapping[str, Any] | None = None,
        every: int = 1,
    ) -> None:
        """Doesn't touch any file.

        Args:
            folder: of the checkpoints.
            keep: how many of the newest to keep; the best one is kept too.
            config: the options of the run, as JSON: saved in every checkpoint, and a checkpoint that was saved with
                other values isn't loaded.
            every: the stride at which a run without interruption saves. A checkpoint at another step, where a run
                was stopped, displaces none of those, and no rollback goes to it.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one checkpoint must be kept")
        self.folder = Path(folder).absolute()
        self.keep, self.every = keep, every
        self.config = dict(config or {})
        self._orbax: Any = None  # a Checkpointer of Orbax, created lazily: the import takes half a second
        self._thread: ThreadPoolExecutor | None = None
        self._saving: Future[None] | None = None

    def close(self) -> None:
        """Waits, and ends the threads; the next save restarts them. Raises NotSaved as `wait` does."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None
            self._end_orbax()

    def wait(self) -> None:
        """Waits until the checkpoint being written is complete on disk. Raises NotSaved if that fails."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def steps(self) -> list[int]:
        """Lists the steps with a complete checkpoint, oldest first."""
        folders = [path.name for path in self.folder.glob("*") if os.path.lexists(path / MANIFEST)]
        return sorted(int(name) for name in folders if name.isdecimal() and str(int(name)) == name)

    def recorded_steps(self) -> list[int]:
        """Lists the steps whose manifest is undamaged and of that step, oldest first."""
        return [step for step in self.steps() if self._content(step) is not None]

    def check(self) -> None:
        """Checks, without a model, what `restore_latest` would load. Raises DamagedCheckpoint if all checkpoints
        are damaged, ValueError if the newest undamaged one was saved with another config."""
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
            raise _all_damaged(damages)

    def best(self, among: Iterable[int] | None = None) -> int | None:
        """Returns the step with the lowest score, the latest of equals; None if there is no score."""
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
        """Starts writing a checkpoint when the previous one is complete; `state` may be donated on return.

        When it is complete on disk, the oldest are removed, except for the best.

        Args:
            step: the number of updates so far; checkpoints of this step or later belong to an abandoned
                continuation (or are damaged) and are removed too.
            state: what to save.
            position: the position of the data.
            extras: anything else, as JSON.
            score: the validation score of this state, lower is better; None if it wasn't evaluated.

        Raises:
            NotSaved: this one, or the previous one, can't be written.
            ValueError: the folder's path isn't UTF-8, which Orbax doesn't support.
        """
        check_name(self.folder)
        self.wait()
        leaves = _named_leaves(state)
        # Orbax rejects empty arrays; their shape in the manifest suffices.
        arrays = {name: _copy_on_cpu(_bits(leaf)) for name, leaf in leaves.items() if leaf.size}
        content = {
            "step": step,
            "leaves": leaf_specs(leaves),
            "position": base64.b64encode(position).decode(),
            "extras": extras or {},
            "config": self.config,
            "score": None if score is None or not math.isfinite(score) else score,
        }
        with self._raising_not_saved(step):
            writing = self._writer().save_checkpointables_async(
                step, {"state": arrays}, force=True, overwrite=True
            )
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "checkpoint")
            self._saving = self._thread.submit(self._complete, step, content, writing)
        if jax.process_count() > 1:
            self.wait()  # collectives of Orbax must not interleave with those of training

    def _complete(self, step: int, content: dict[str, Any], writing: Any) -> None:
        """Completes a checkpoint after Orbax has written the leaves; no other thread uses Orbax meanwhile."""
        with self._raising_not_saved(step):
            writing.result()
            if jax.process_index() == 0:
                write_manifest(self.folder / str(step), content)
            barrier(f"manifest {step}")
            # Removed only now, so that a kill at any moment leaves a complete checkpoint.
            saved = [saved for saved in self.steps() if saved <= step]
            regular = [saved for saved in saved if saved % self.every == 0]
            self._keep(
                [step for steps in (saved, regular) for step in (*steps[-self.keep :], self.best(steps))]
            )

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, after a rollback."""
        self.wait()
        with self._raising_not_saved(step):
            self._keep([saved for saved in self.steps() if saved <= step])

    def restore_latest(self, template: TrainState, before: int | None = None) -> Restored | None:
        """Loads the newest undamaged checkpoint onto the template's devices; None if there is no checkpoint.

        Args:
            template: a state of the same model and optimizer, with any values.
            before: considers only checkpoints of earlier steps than this one, and only those at the stride `every`.

        Raises:
            ValueError: it is a checkpoint of another model or config; names the first difference.
            DamagedCheckpoint: all checkpoints are damaged. If only newer ones are, it warns instead.
        """
        self.wait()
        damages: list[DamagedCheckpoint] = []
        steps = self.steps()
        if before is not None:
            steps = [step for step in steps if step < before and step % self.every == 0]
        for step in reversed(steps):
            try:
                restored = self.restore(step, template)
            except DamagedCheckpoint as damage:
                damages.append(damage)
                continue
            for damage in damages:
                warnings.warn(f"{damage}; continuing from step {step} instead", stacklevel=2)
            return restored
        if damages:
            raise _all_damaged(damages)
        return None

    def restore(self, step: int, template: TrainState) -> Restored:
        """Loads the checkpoint of this step; raises as `restore_latest` does."""
        check_name(self.folder)
        self.wait()
        folder = self.folder / str(step)
        content = read_manifest(folder)
        leaves = _named_leaves(template)
        check_same_model(folder, content, leaves, self.config)
        # Checked before Orbax reads them: it loads altered weights silently, and prints tracebacks from its threads
        # for other damage.
        check_files(folder, content)
        from orbax.checkpoint import v1 as ocp

        wanted = {name: _abstract_bits(leaf) for name, leaf in leaves.items() if leaf.size}
        arrays: Any = ocp.load_checkpointables(str(folder), {"state": wanted})["state"]
        values = [
            _from_bits(arrays[name], leaf) if leaf.size else jnp.copy(leaf) for name, leaf in leaves.items()
        ]
        state = jax.tree.unflatten(jax.tree.structure(template), values)
        return Restored(step, state, base64.b64decode(content["position"]), content["extras"])

    def restore_params(self, step: int) -> dict[str, jax.Array]:
        """Loads the parameters to evaluate of the checkpoint of this step, whatever the model, onto the first
        device: `{"recurrent/cell/kernel": …}`, those of `evaluated_params`.

        Raises DamagedCheckpoint."""
        folder = self.folder / str(step)
        content = read_manifest(folder)
        check_files(folder, content)
        names = {
            name.removeprefix("params/"): name for name in content["leaves"] if name.startswith("params/")
        }
        means = {
            name.partition("/mean/")[2]: name
            for name in content["leaves"]
            if name.startswith("opt_state/") and "/mean/" in name
        }
        names |= {name: mean for name, mean in means.items() if name in names and not is_average_name(name)}
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        specs = {name: content["leaves"][name] for name in names.values()}
        wanted = {
            name: jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=device)
            for name, (dtype, shape) in specs.items()
            if math.prod(shape)
        }
        from orbax.checkpoint import v1 as ocp

        context = ocp.Context()
        context.pytree.loading.partial_load = True
        with context:
            arrays: Any = ocp.load_checkpointables(str(folder), {"state": wanted})["state"]
        return {short: arrays[name] for short, name in names.items() if name in arrays}

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

            # Only a writer may clean up after a kill: a reader would remove what a running job is writing.
            self._orbax = ocp.training.Checkpointer(str(self.folder), cleanup_tmp_directories=True)
        return self._orbax

    def _end_orbax(self) -> None:
        orbax, self._orbax = self._orbax, None
        if orbax is not None:
            orbax.close()

    @contextmanager
    def _raising_not_saved(self, step: int) -> Iterator[None]:
        """Raises NotSaved for an error of the operating system, and removes the incomplete checkpoint."""
        try:
            yield
        except Exception as error:
            number = _os_error_number(error)
            if number is None:
                raise
            with suppress(Exception):  # it may refer to files that are removed next
                self._end_orbax()
            for partial in (self.folder / str(step), *self.folder.glob(f"{step}.*")):
                if not (partial / MANIFEST).exists():
                    shutil.rmtree(partial, ignore_errors=True)
            steps = self.steps()
            newest = f"the newest checkpoint is of step {steps[-1]}" if steps else "there is none yet"
            message = (
                f"step {step} could not be saved in {self.folder} ({os.strerror(number).lower()}); {newest}"
            )
            raise NotSaved(number, message) from error


def _all_damaged(damages: list[DamagedCheckpoint]) -> DamagedCheckpoint:
    return DamagedCheckpoint(f"{damages[0]}, and so are all older checkpoints; start a new run")


def _named_leaves(state: TrainState) -> dict[str, jax.Array]:
    leaves = [(leaf_name(path), jnp.asarray(leaf)) for path, leaf in jax.tree.leaves_with_path(state)]
    named = dict(leaves)
    if len(named) < len(leaves):
        raise ValueError("two leaves of the state have the same name; avoid '/' in the parameters' names")
    return named


def _bits(leaf: jax.Array) -> jax.Array:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _copy_on_cpu(leaf: jax.Array) -> jax.Array:
    """Copies a leaf on the CPU, where Orbax would read memory that the next step overwrites; on an accelerator
    Orbax copies before it returns."""
    return jnp.copy(leaf) if any(device.platform == "cpu" for device in leaf.devices()) else leaf


def _abstract_bits(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    bits = _bits(leaf)
    return jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=bits.sharding)


def _from_bits(bits: jax.Array, like: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(like)) if is_key(like) else bits


# Maps the text of errors without a number (TensorStore's) to numbers of the operating system.
_MESSAGES = {
    number: os.strerror(number)
    for number in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG),
        *(errno.EMFILE, errno.ENFILE),
    )
}


def _os_error_number(error: BaseException | None) -> int | None:
    """Returns the number of the operating system's error behind an exception; None if there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        for number, words in _MESSAGES.items():
            if words in str(error):
                return number
        error = error.__cause__ or error.__context__
    return None


def _is_not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


# Hides the log messages of Orbax's threads: what matters is raised as an exception.
logging.getLogger("absl").addFilter(_is_not_orbax)
