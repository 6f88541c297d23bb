"""Checkpoints: bit for bit back, never of another model, never damaged without saying so."""

import errno
import os
import re
import shutil
import threading
import warnings
from contextlib import closing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

import train.checkpoint
from tests.train.toy import ADAM, bits, toy_state
from train import Checkpoints, DamagedCheckpoint, NotSaved, TrainState, create_state


def all_sorts() -> TrainState:
    """Leaves of every kind a state may hold, one of them without entries (a map without input)."""
    params = {
        "cell": {"recurrent": jnp.array([[1.5, -0.0], [jnp.nan, jnp.inf]]), "input": jnp.zeros((0, 2))},
        "half": jnp.arange(3, dtype=jnp.bfloat16),
    }
    carry = (jnp.array([1 + 2j]), jnp.array([True, False]), jnp.arange(3), jax.random.PRNGKey(5))
    return create_state(params, ADAM, jax.random.key(7, impl="rbg"), carry)


def written(folder: Path, step: int, state: TrainState) -> None:
    """A checkpoint, whole."""
    with closing(Checkpoints(folder)) as checkpoints:
        checkpoints.save(step, state)


def save_and_wait(checkpoints: Checkpoints, step: int, state: TrainState) -> None:
    checkpoints.save(step, state)
    checkpoints.wait()


def test_back_bit_for_bit(tmp_path):
    checkpoints, state = Checkpoints(tmp_path / "c"), all_sorts()
    extras = {"seconds": 0.1, "evaluation": {"error": float("inf")}}
    checkpoints.save(3, state, b"\x00position\xff", extras)
    checkpoints.wait()
    blank = jax.tree.map(lambda leaf: leaf, all_sorts())
    restored = Checkpoints(tmp_path / "c").restore_latest(blank)
    assert restored is not None
    assert (restored.step, restored.position, restored.extras) == (3, b"\x00position\xff", extras)
    assert bits(restored.state) == bits(state)
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    assert [leaf.dtype for leaf in jax.tree.leaves(restored.state)] == [
        leaf.dtype for leaf in jax.tree.leaves(state)
    ]
    assert jax.random.uniform(restored.state.key) == jax.random.uniform(state.key)


def test_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none" / "yet", keep=2)
    assert checkpoints.steps() == []
    assert checkpoints.restore_latest(toy_state()) is None
    assert not (tmp_path / "none").exists()
    for step in (5, 10, 15):
        checkpoints.save(step, toy_state())
    checkpoints.wait()
    assert checkpoints.steps() == [10, 15]
    checkpoints.save(12, toy_state())
    checkpoints.wait()
    assert checkpoints.steps() == [10, 12]
    checkpoints.close()
    checkpoints.save(12, toy_state())
    checkpoints.close()
    assert Checkpoints(tmp_path / "none" / "yet").steps() == [10, 12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p | {"w": jnp.zeros((4, 9))}, r"params/w is float32\[4,6\] there and float32\[4,9\] here"),
        (
            lambda p: p | {"w": jnp.zeros((4, 6), jnp.bfloat16)},
            r"params/w is float32\[4,6\] there and bfloat16",
        ),
        (lambda p: p | {"b": jnp.zeros(2)}, r"params/b is absent there and float32\[2\] here"),
        (lambda p: {"w": p["w"]}, r"params/v is float32\[6,2\] there and absent here"),
    ],
)
def test_another_model(tmp_path, change, message):
    state = toy_state()
    written(tmp_path, 1, state)
    other = create_state(change(state.params), ADAM, jax.random.key(0), jnp.zeros((8, 1)))
    with pytest.raises(ValueError, match="is a checkpoint of another model: " + message) as caught:
        Checkpoints(tmp_path).restore_latest(other)
    assert not isinstance(caught.value, DamagedCheckpoint)


def files_of(folder: Path) -> list[Path]:
    return [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size
    ]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two good checkpoints; the weights don't compress, so that most bytes of the files are theirs."""
    folder = tmp_path_factory.mktemp("saved")
    random = np.random.default_rng(0)
    states = [
        create_state({"w": random.normal(size=(40, 50)).astype("float32")}, ADAM, jax.random.key(i))
        for i in (1, 2)
    ]
    checkpoints = Checkpoints(folder)
    for step, state in zip((10, 20), states, strict=True):
        checkpoints.save(step, state)
    checkpoints.close()
    return folder, states


@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink])
def test_damage_is_found_whatever_the_file(saved, tmp_path, harm, capfd):
    """The older checkpoint is used and a warning says so; but one without a manifest was never finished."""
    source, (older, newer) = saved
    for name in files_of(source / "20"):
        folder = tmp_path / "copy"
        shutil.copytree(source, folder)
        harm(folder / "20" / name)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            restored = Checkpoints(folder).restore_latest(newer)
        assert restored is not None
        assert restored.step == 10
        assert bits(restored.state) == bits(older)
        if harm is not Path.unlink or name.name != "manifest.json":
            (warning,) = said
            what = "missing" if harm is Path.unlink else "been altered"
            assert re.fullmatch(
                rf"the checkpoint {folder}/20 is damaged \({name} (is|has) {what}\); continuing from step 10 "
                "instead",
                str(warning.message),
            )
        shutil.rmtree(folder)
    assert capfd.readouterr() == ("", "")


def test_all_damaged(saved, tmp_path):
    source, (state, _) = saved
    folder = tmp_path / "copy"
    shutil.copytree(source, folder)
    for step in ("10", "20"):
        shutil.rmtree(folder / step / "state")
    with pytest.raises(DamagedCheckpoint, match=r"copy/20 is damaged \(.*all older checkpoints"):
        Checkpoints(folder).restore_latest(state)


def test_damaged_checkpoint_gives_way(saved, tmp_path):
    """After falling back to step 10 the run saves step 15; the damaged 20 must not be the newest any more."""
    source, (state, _) = saved
    folder = tmp_path / "copy"
    shutil.copytree(source, folder)
    shutil.rmtree(folder / "20" / "state")
    written(folder, 15, state)
    assert Checkpoints(folder).steps() == [10, 15]
    restored = Checkpoints(folder).restore_latest(state)
    assert restored is not None
    assert restored.step == 15


def test_nothing_is_printed(saved, capfd):
    folder, (state, _) = saved
    Checkpoints(folder).restore_latest(state)
    assert capfd.readouterr() == ("", "")


def test_bad_input(tmp_path):
    odd = Checkpoints(tmp_path / os.fsdecode(b"\xff"))
    for attempt in (lambda: odd.save(1, toy_state()), lambda: odd.restore(1, toy_state())):
        with pytest.raises(ValueError, match="is not UTF-8, and checkpoints can't be kept there"):
            attempt()
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoints(tmp_path, keep=0)
    twice = create_state({"a/b": jnp.ones(1), "a": {"b": jnp.ones(1)}}, ADAM, jax.random.key(0))
    with pytest.raises(ValueError, match="same name"):
        Checkpoints(tmp_path).save(1, twice)


def test_the_best_stays(tmp_path):
    """Whatever its age, as long as no better one is saved; among equals the latest; NaN is no score."""
    checkpoints, state = Checkpoints(tmp_path, keep=2), toy_state()
    left = []
    for step, score in enumerate([3.0, 2.0, None, float("nan"), 2.5, 2.0, 4.0, 1.0, 9.0]):
        checkpoints.save(step, state, score=score)
        checkpoints.wait()
        left.append((checkpoints.steps(), checkpoints.best()))
    assert left == [
        ([0], 0),
        ([0, 1], 1),
        ([1, 2], 1),
        ([1, 2, 3], 1),
        ([1, 3, 4], 1),
        ([4, 5], 5),
        ([5, 6], 5),
        ([6, 7], 7),
        ([7, 8], 7),
    ]
    checkpoints.close()
    assert Checkpoints(tmp_path).best() == 7  # as a later process finds it


def test_saved_while_training_goes_on(tmp_path, monkeypatch):
    """`save` returns before the checkpoint is whole, and what is done to the state after it isn't in it."""
    whole = threading.Event()
    write = train.checkpoint.write_manifest
    monkeypatch.setattr(train.checkpoint, "write_manifest", lambda *given: (whole.wait(60), write(*given)))
    checkpoints, state = Checkpoints(tmp_path), toy_state()
    before = bits(state)
    checkpoints.save(1, state)
    assert checkpoints.steps() == []
    zeroed = jax.jit(lambda s: jax.tree.map(lambda leaf: leaf * 0, s), donate_argnums=0)(state.params)
    jax.block_until_ready(zeroed)
    whole.set()
    checkpoints.wait()
    assert checkpoints.steps() == [1]
    restored = checkpoints.restore_latest(toy_state())
    assert restored is not None
    assert bits(restored.state) == before
    checkpoints.close()


@pytest.mark.parametrize("place", ["save", "manifest"])
def test_what_the_system_refuses(tmp_path, monkeypatch, place):
    """No space: a sentence, nothing left of what was begun, the one before whole; and it goes on once there is."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    checkpoints, state = Checkpoints(tmp_path), toy_state()
    checkpoints.save(1, state)
    checkpoints.wait()
    with monkeypatch.context() as patch:
        if place == "save":
            patch.setattr(ocp.training.Checkpointer, "save_checkpointables_async", full)
        else:
            patch.setattr(train.checkpoint, "write_manifest", full)
        with pytest.raises(NotSaved) as caught:
            save_and_wait(checkpoints, 2, state)
    assert str(caught.value) == (
        f"step 2 could not be saved in {tmp_path} (no space left on device); "
        "the newest checkpoint is of step 1"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    checkpoints.save(3, state)
    checkpoints.close()
    assert Checkpoints(tmp_path).steps() == [1, 3]


def test_another_config(tmp_path):
    """A checkpoint says which options it was made with, where no shape would tell."""
    with closing(Checkpoints(tmp_path, config={"--cell": "elman", "--bias": 1.0})) as checkpoints:
        checkpoints.save(1, toy_state())
    assert Checkpoints(tmp_path, config={"--bias": 1.0, "--new": 0}).restore_latest(toy_state()) is not None
    with pytest.raises(ValueError, match="--cell was 'elman' there and is 'gru' here"):
        Checkpoints(tmp_path, config={"--cell": "gru", "--bias": 1.0}).restore_latest(toy_state())


@pytest.mark.parametrize("way", ["renamed", "copied", "swapped"])
def test_step_is_in_the_manifest(tmp_path, way):
    """A folder's name doesn't say which step it holds: the one before is used, and nothing claims to be later."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (20, 40, 60):
        save_and_wait(checkpoints, step, toy_state())
    checkpoints.close()
    if way == "renamed":
        (tmp_path / "60").rename(tmp_path / "120")
    elif way == "copied":
        shutil.copytree(tmp_path / "60", tmp_path / "120")
    else:
        for old, new in (("40", "x"), ("60", "40"), ("x", "60")):
            (tmp_path / old).rename(tmp_path / new)
    with pytest.warns(UserWarning, match=r"is of step [46]0: the folder was renamed or copied"):
        restored = Checkpoints(tmp_path).restore_latest(toy_state())
    assert restored is not None
    assert restored.step == {"renamed": 40, "copied": 60, "swapped": 20}[way]


@pytest.mark.parametrize("harm", ["folder", "deep", "dangling"])
def test_odd_manifests_are_walked_past(tmp_path, harm):
    """The older checkpoint is used, and the next of that step takes the place of the odd one."""
    checkpoints = Checkpoints(tmp_path)
    for step in (20, 40):
        save_and_wait(checkpoints, step, toy_state())
    checkpoints.close()
    manifest = tmp_path / "40" / "manifest.json"
    manifest.unlink()
    if harm == "folder":
        manifest.mkdir()
    elif harm == "dangling":
        manifest.symlink_to(tmp_path / "nowhere")
    else:
        manifest.write_text("[" * 100_000)
    assert Checkpoints(tmp_path).recorded_steps() == [20]
    with pytest.warns(UserWarning, match="is damaged"):
        restored = Checkpoints(tmp_path).restore_latest(toy_state())
    assert restored is not None
    assert restored.step == 20
    written(tmp_path, 40, toy_state())
    assert Checkpoints(tmp_path).recorded_steps() == [20, 40]
    assert not (tmp_path / "nowhere").exists()
