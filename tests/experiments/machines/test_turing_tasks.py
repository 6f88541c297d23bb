"""The tasks of the Neural Turing machine: costs, longer sequences, what is watched, a run, mistakes."""

import json
import math
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import Batch
from data.synthetic import turing_tasks as tasks
from experiments.harness.files import read_arrays
from experiments.machines.bits import (
    BAYES,
    GUESSING,
    Sizes,
    TaskName,
    answers,
    bit_costs,
    bits_of,
    held_out,
    longer,
    maker,
)
from experiments.machines.heads import watched
from experiments.machines.turing_tasks import PRESETS
from models import LSTM, NeuralTuringMachine, SequenceTagger, unroll
from tests.experiments.command import command
from tests.experiments.conftest import alone

TINY = (
    "--tasks",
    "copy",
    "--sizes.copied",
    3,
    "--cells",
    "ntm(slots=6, width=4)",
    "lstm",
    "--hidden-size",
    6,
)
TINY += (
    "--batch-size",
    4,
    "--steps",
    4,
    "--eval-every",
    2,
    "--save-every",
    2,
    "--beyond",
    1,
    2,
    "--devices",
    1,
)


def test_costs_beside_a_loop() -> None:
    """Bits asked for, of the sequences that are there: a padded one has neither bits nor a place in the mean."""
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(4, 3, 2)), rng.integers(-1, 2, (4, 3, 2))
    mask = np.arange(4)[:, None] < np.array([4, 2, 0])
    bits = wrong = 0.0
    for t, b, k in np.argwhere(mask[..., None] & (targets >= 0)):
        p = 1 / (1 + math.exp(-logits[t, b, k]))
        bits -= math.log2(p if targets[t, b, k] else 1 - p)
        wrong += (p > 0.5) != targets[t, b, k]
    found = bit_costs(jnp.asarray(logits), Batch(np.zeros((4, 3, 1)), targets, mask))
    np.testing.assert_allclose(found["bits"], (bits, 2), rtol=1e-5)
    np.testing.assert_allclose(found["wrong"], (wrong, 2))


@pytest.mark.parametrize("name", get_args(TaskName))
def test_tasks_grow(name: TaskName) -> None:
    """Longer sequences have all one size; a fair coin costs a bit for every bit asked for."""
    sizes = Sizes(copied=3, repeated=2, repeats=2, items=3, bits=9, vectors=4, sorted=3)
    batch = held_out(maker(name, sizes), 20)
    asked = (np.asarray(batch.targets) != tasks.NOT_ASKED).sum() / 20
    assert answers(name, [batch])[GUESSING] == {"bits": asked, "wrong": asked / 2}
    for what, (size, make) in longer(name, sizes, 2).items():
        lengths = held_out(make, 5).mask.sum(axis=0)
        assert (lengths == lengths[0]).all(), what
        assert lengths[0] > batch.mask.sum(axis=0).max()
        assert size % 2 == 0
        wider = jax.eval_shape(lambda key, make=make: make(key, 1), jax.random.key(0))
        assert wider.inputs.shape[-1] == batch.inputs.shape[-1]


def test_bits_of_ngrams() -> None:
    """Those not asked for come from the inputs; the best estimator is better than a coin, on long sequences."""
    batch = held_out(maker("dynamic_ngrams", Sizes(bits=200)), 50)
    bits = np.asarray(bits_of(batch))
    np.testing.assert_array_equal(bits[:-1], batch.inputs[1:, :, 0])
    np.testing.assert_array_equal(bits[5:], batch.targets[5:, :, 0])
    found = answers("dynamic_ngrams", [batch])
    assert found[GUESSING]["bits"] == 195
    assert 120 < found[BAYES]["bits"] < 160


def test_what_is_watched_is_what_the_machine_does() -> None:
    """The last memory is that of `unroll`, what is read is what it gives out, and the answers are the model's."""
    model = SequenceTagger(NeuralTuringMachine(5, slots=6, width=4, reads=2), 8)
    batch = jax.tree.map(jnp.asarray, held_out(maker("copy", Sizes(copied=3)), 1))
    params: Any = model.init(jax.random.key(0), batch.inputs, mask=batch.mask)
    seen = watched(model, params, batch)
    steps = int(batch.mask.sum())
    xs = jnp.asarray(batch.inputs)[:steps, 0]
    final, ys = unroll(model.cell, params["params"]["recurrent"]["cell"], xs)
    np.testing.assert_allclose(seen["watched|memory"][-1], final.memory, atol=1e-6)
    np.testing.assert_allclose(seen["watched|reads"].reshape(steps, -1), ys[:, 5:], atol=1e-6)
    np.testing.assert_allclose(seen["watched|read_weights"].sum(axis=-1), 1, rtol=1e-5)
    logits = model.apply(params, xs[:, None])
    np.testing.assert_allclose(seen["watched|answers"], jax.nn.sigmoid(jnp.asarray(logits))[:, 0], atol=1e-6)


@pytest.mark.slow
def test_what_a_run_leaves(shared: Path) -> None:
    with alone(shared, "turing_tasks") as folder:
        if not (folder / "results.json").exists():
            assert command("turing_tasks", *TINY, "--run-dir", folder) == 0
    nets = json.loads((folder / "results.json").read_text())["nets"]
    assert list(nets) == ["copy, ntm slots=6, width=4", "copy, lstm"]
    for net in nets.values():
        assert net["longer|vectors|size"] == [3, 6]
        assert net["longer|vectors|bits"][1] > net["longer|vectors|bits"][0]
    arrays = read_arrays(folder, "nets")
    assert arrays["copy, ntm slots=6, width=4|watched|memory"].shape == (7, 6, 4)
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert drawn == {"training.png", "longer.png", "heads_copy_ntm_slots_6_width_4.png"}
    table = (folder / "table.txt").read_text()
    assert "3 vectors" in table
    assert "guessing" in table
    assert command("inspect", folder) == 0


def test_presets_can_be_built() -> None:
    """One of each task, with memory for the longest copies that are tested."""
    assert set(PRESETS) == set(get_args(TaskName))
    for name, config in PRESETS.items():
        assert config.tasks == (name,)
        assert [type(layer) for layer in config.layers().values()] == [NeuralTuringMachine, LSTM]
    machine: Any = next(iter(PRESETS["copy"].layers().values()))
    assert machine.slots > PRESETS["copy"].sizes.copied * max(PRESETS["copy"].beyond)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cells", "ntm(slots=0)"), "slots must be a whole number of at least 1"),
        (("--cells", "ntm(slots=4, shift=2)"), "moves a head to 5 places, but the memory has 4 rows"),
        (("--sizes.sorted", 21), "--sizes.sorted 21 are more than there are: --sizes.vectors is 20"),
        (("--sizes.copied", 0), "--sizes.copied must be a whole number of at least 1"),
        (("--direction", "both"), "needs no memory for the bits asked for"),
    ],
)
def test_refusals(options: tuple[Any, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("turing_tasks", *options) == 2
    assert said in capsys.readouterr().err
