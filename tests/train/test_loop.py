"""The loop: what it computes, logs, saves and refuses; a stopped and resumed run in one process."""

import io
import os
import signal
import threading
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.compilation import compilations
from tests.train.toy import ADAM, LOOP, ToyBatches, bits, eval_fn, loss_fn, toy_batch, toy_state, train_toy
from train import (
    Checkpoints,
    LoopConfig,
    NonFinite,
    OptimizerConfig,
    Probe,
    StopRequest,
    create_state,
    fit,
    next_boundary,
    read_metrics,
    squared_error,
    stop_on_signals,
)


def untimed(folder):
    return [
        {name: value for name, value in record.items() if name != "seconds"}
        for record in read_metrics(folder)
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, train_toy(folder)


def test_linear_regression_is_solved(tmp_path):
    """Full-batch gradient descent comes to the solution of the normal equations."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 3)).astype("float32"), random.normal(size=(30, 1)).astype("float32")

    class Same(ToyBatches):
        def take(self, count):
            super().take(count)
            return np.stack([x] * count), np.stack([y] * count)

    def loss(params, carry, batch, key):
        return squared_error(batch[0] @ params, batch[1]), (carry, {})

    optimizer = OptimizerConfig("sgd", 0.2, clip="none")
    state = create_state(jnp.zeros((3, 1)), optimizer, jax.random.key(0))
    config = LoopConfig(steps=300, eval_every=1000, save_every=1000)
    result = fit(state, loss_fn=loss, optimizer=optimizer, batches=Same(), config=config, folder=tmp_path)
    np.testing.assert_allclose(result.state.params, np.linalg.lstsq(x, y)[0], atol=1e-5)
    assert (result.step, result.finished, result.evaluation) == (300, True, {})
    assert not state.params.is_deleted()


def test_records(unbroken):
    folder, result = unbroken
    records = read_metrics(folder)
    train = [record for record in records if record["split"] == "train"]
    assert [record["step"] for record in train] == [*range(7, 90, 7), 90]
    assert all(record["clipped_norm"] <= min(record["grad_norm"], 1) + 1e-6 for record in train)
    assert all(train[i]["seconds"] <= train[i + 1]["seconds"] for i in range(len(train) - 1))
    assert {"loss", "learning_rate", "update_norm", "param_norm", "size", "seconds"} < train[0].keys()
    validation = [record for record in records if record["split"] == "validation"]
    assert [record["step"] for record in validation] == [0, 30, 60, 90]

    batches = [toy_batch(10_000 + i) for i in range(3)]

    def error(params):
        return np.mean([(np.tanh(x @ params["w"]) @ params["v"] - y) ** 2 for x, y in batches])

    first, last = (jax.tree.map(np.asarray, state.params) for state in (toy_state(ADAM), result.state))
    assert validation[0]["error"] == pytest.approx(error(first), rel=1e-5)
    assert result.evaluation["error"] == validation[-1]["error"] == pytest.approx(error(last), rel=1e-5)
    assert validation[-1]["error"] < validation[0]["error"]
    assert Checkpoints(folder / "checkpoints").steps() == [60, 80, 90]
    assert list((folder / "tensorboard").glob("events*"))


@pytest.mark.parametrize("at", [7, 21, 56, 84])
def test_stopped_and_resumed(unbroken, tmp_path, at):
    """The hook cuts the chunks otherwise than in the unbroken run; the bits must not show it."""
    stop, batches = StopRequest(), ToyBatches()

    def hook(step, state):
        assert step == state.step
        stop.requested = step == at
        return {}

    first = train_toy(tmp_path, on_log=hook, stop=stop, batches=batches)
    assert (first.step, first.finished) == (at, False)
    assert batches.index == at
    assert max(Checkpoints(tmp_path / "checkpoints").steps()) == at
    second = train_toy(tmp_path, resume=True)
    folder, result = unbroken
    assert bits(second.state) == bits(result.state)
    assert second.evaluation == result.evaluation
    assert second.seconds > first.seconds
    assert untimed(tmp_path) == untimed(folder)


def test_more_steps(unbroken, tmp_path):
    train_toy(tmp_path, replace(LOOP, steps=33))
    with pytest.raises(ValueError, match="trained for 33 steps, more than the 20 requested"):
        train_toy(tmp_path, replace(LOOP, steps=20), resume=True)
    again = train_toy(tmp_path, replace(LOOP, steps=33), resume=True)
    assert (again.step, again.finished) == (33, True)
    assert again.evaluation
    longer = train_toy(tmp_path, replace(LOOP, log_every=1), resume=True)
    assert bits(longer.state) == bits(unbroken[1].state)


def test_options_that_may_differ_on_resuming(unbroken, tmp_path):
    """Strides of logging, evaluating, measuring and saving, and steps a dispatch: the same bits."""
    train_toy(tmp_path, replace(LOOP, steps=33))
    other = LoopConfig(steps=90, log_every=4, eval_every=9, save_every=11, chunk=23, keep=1)
    probe = Probe("size", 8, lambda state: {"w": float(jnp.sum(state.params["w"]))})
    resumed = train_toy(tmp_path, other, resume=True, probe=probe)
    assert bits(resumed.state) == bits(unbroken[1].state)


def test_resume_with_nothing_to_resume(unbroken, tmp_path):
    """A run killed before its first checkpoint begins anew; what it logged goes."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 7, "split": "train", "loss": 9}\n{"ste')
    result = train_toy(tmp_path, resume=True)
    assert bits(result.state) == bits(unbroken[1].state)
    assert untimed(tmp_path) == untimed(unbroken[0])


def test_hook_figures_are_logged(tmp_path):
    config = replace(LOOP, steps=20)
    train_toy(tmp_path, config, on_log=lambda step, state: {"twice": 2 * step})
    assert [r["twice"] for r in read_metrics(tmp_path) if r["split"] == "train"] == [14, 28, 40]


@pytest.mark.parametrize(("broken", "last"), [(0, 0), (10, 10), (47, 47)])
def test_nan_stops_with_the_last_good_state(unbroken, tmp_path, broken, last):
    batches = ToyBatches(broken=broken)
    with pytest.raises(NonFinite) as caught:
        train_toy(tmp_path, batches=batches)
    error = caught.value
    assert (error.step, error.parameters) == (last + 1, {"params/v": "nan", "params/w": "nan"})
    assert np.isnan(error.loss)
    assert error.checkpoint == tmp_path / "checkpoints" / str(last)
    assert str(error).startswith(
        f"step {last + 1}: the loss is nan and the norm of its gradient nan in params/v (nan)"
    )
    assert batches.index == last
    record = read_metrics(tmp_path)[-1]
    assert record["step"] == last + 1
    assert np.isnan(record["loss"])

    restored = Checkpoints(tmp_path / "checkpoints").restore_latest(toy_state())
    assert restored is not None
    assert restored.step == last
    # With sound data the run goes on from there as if nothing had been.
    result = train_toy(tmp_path, resume=True)
    assert bits(result.state) == bits(unbroken[1].state)
    assert untimed(tmp_path) == untimed(unbroken[0])


def root_loss(params, carry, batch, key):
    """Its gradient in `scale` is 0 · ∞ where the batch is zero; the loss itself is finite."""
    loss = jnp.sum(params["w"] ** 2) + jnp.sqrt(jnp.sum(params["scale"] * batch))
    return (loss, jnp.ones(())), (carry, {})


def large_loss(params, carry, batch, key):
    """A gradient whose entries are finite and whose norm overflows."""
    loss = jnp.sum(params["w"]) * jnp.where(jnp.sum(batch) == 0, 1e30, 1.0) + 0 * jnp.sum(params["scale"])
    return (loss, jnp.ones(())), (carry, {})


@pytest.mark.parametrize(
    ("loss", "fault"), [(root_loss, {"params/scale": "nan"}), (large_loss, {"params/w": "too large"})]
)
def test_the_culprit_is_named(tmp_path, loss, fault):
    class Flags(ToyBatches):
        def take(self, count):
            first = self.index
            super().take(count)
            return np.array([float(first + i != 5) for i in range(count)], np.float32)

    state = create_state({"w": jnp.ones(3), "scale": jnp.ones(())}, ADAM, jax.random.key(0))
    with pytest.raises(NonFinite) as caught:
        fit(state, loss_fn=loss, optimizer=ADAM, batches=Flags(), config=LOOP, folder=tmp_path)
    assert caught.value.step == 6
    assert np.isfinite(caught.value.loss)
    assert caught.value.parameters == fault


def test_refusals(unbroken, tmp_path):
    folder, _ = unbroken
    with pytest.raises(ValueError, match=f"{folder} already has a run of 90 steps"):
        train_toy(folder)
    with pytest.raises(ValueError, match="no validation batch"):
        train_toy(tmp_path, validation=[])
    with pytest.raises(ValueError, match=r"loop.chunk is 0"):
        LoopConfig(chunk=0)
    other = toy_state(width=9)
    with pytest.raises(
        ValueError, match=r"another model: params/v is float32\[6,2\] there and float32\[9,2\] here"
    ):
        fit(
            other,
            loss_fn=loss_fn,
            optimizer=ADAM,
            batches=ToyBatches(),
            config=LOOP,
            folder=folder,
            resume=True,
        )

    class Short(ToyBatches):
        def take(self, count):
            return super().take(count - 1)

    with pytest.raises(ValueError, match=r"take\(7\) .* first axis is 7, but the first axes are \[\(6,\)\]"):
        train_toy(tmp_path, batches=Short())


def test_boundaries():
    config = LoopConfig(steps=130, chunk=25, eval_every=40, save_every=60, log_every=7)
    stops, step = [], 0
    while step < 130:
        step = next_boundary(step, config)
        stops.append(step)
    assert stops == [25, 40, 50, 60, 75, 80, 100, 120, 125, 130]
    assert next_boundary(31, config) == 40
    assert next_boundary(31, config, config.log_every) == 35


def test_strides_without_a_common_factor_compile_nothing_more(tmp_path):
    """Chunks of every length between evaluations, checkpoints and the end are padded to one."""
    even = LoopConfig(steps=60, log_every=10, eval_every=10, save_every=20, chunk=10)
    train_toy(tmp_path / "even", even)
    uneven = replace(even, log_every=7, eval_every=13, save_every=17)
    assert compilations(lambda: train_toy(tmp_path / "uneven", uneven)) == 0


def test_progress_is_shown(tmp_path):
    stream = io.StringIO()
    train_toy(tmp_path, label="toy", stream=stream)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("toy  step 10/90  ")
    assert "validation error" in lines[-1]
    assert lines[-1].startswith("toy  step 90/90  ")


def test_signals_ask_to_stop(capfd):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_on_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        # A second signal does what it always did.
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert "once more stops at once" in capfd.readouterr().err


def test_a_terminal_that_closes_asks_to_stop():
    """SIGHUP does, once; but not where it is ignored, as `nohup` has it."""
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert (stop.requested, stop.signal) == (True, signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):  # what it did before
                signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_signals_outside_the_main_thread():
    def enter():
        with stop_on_signals() as stop:
            stops.append(stop)

    stops = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not stops[0].requested


def test_stopped_before_it_began(tmp_path):
    result = train_toy(tmp_path, stop=StopRequest(requested=True))
    assert (result.step, result.finished) == (0, False)
    assert Checkpoints(tmp_path / "checkpoints").steps() == [0]


def test_evaluation_needs_no_gradient_step(tmp_path):
    """Resuming a finished run trains nothing and still tells its last evaluation."""
    config = replace(LOOP, steps=10)
    first = train_toy(tmp_path, config)
    again = train_toy(tmp_path, config, resume=True, eval_fn=eval_fn)
    assert again.evaluation == first.evaluation
    assert untimed(tmp_path)[-1]["split"] == "validation"


# --- ending early


def test_stop_when_ends_at_the_first_evaluation_at_which_it_is_true(unbroken, tmp_path):
    """The metrics up to there are those of a run that went on."""
    folder, _ = unbroken
    errors = {r["step"]: r["error"] for r in read_metrics(folder) if r["split"] == "validation"}
    assert errors[30] > errors[60] > errors[90]
    bound = errors[60]
    result = train_toy(tmp_path, stop_when=lambda evaluation: evaluation["error"] <= bound)
    assert (result.step, result.finished, result.evaluation) == (60, True, {"error": errors[60]})
    assert untimed(tmp_path) == [record for record in untimed(folder) if record["step"] <= 60]
    assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == 60


def test_stop_when_and_resume(tmp_path):
    """Stopped before the end that an evaluation gives, and resumed after it: the same bits, and not a step more."""

    def enough(evaluation):
        asked.append(dict(evaluation))
        return evaluation["error"] < bound

    whole = train_toy(tmp_path / "toy")
    errors = [r["error"] for r in read_metrics(tmp_path / "toy") if r["split"] == "validation"]
    bound, asked = (errors[1] + errors[2]) / 2, []
    ended = train_toy(tmp_path / "whole", stop_when=enough)
    assert (whole.step, ended.step) == (90, 60)

    stop = StopRequest()

    def stopping(step, state):
        stop.requested = step == 35
        return {}

    halfway = train_toy(tmp_path / "part", stop_when=enough, stop=stop, on_log=stopping)
    assert (halfway.step, halfway.finished) == (35, False)
    for _ in range(2):  # the second time there is nothing to do
        resumed = train_toy(tmp_path / "part", stop_when=enough, resume=True, on_log=lambda step, state: {})
        assert (resumed.step, resumed.finished) == (60, True)
        assert bits(resumed.state) == bits(ended.state)
        assert untimed(tmp_path / "part") == untimed(tmp_path / "whole")
    # More steps asked for change nothing: it was enough.
    longer = train_toy(tmp_path / "part", replace(LOOP, steps=120), stop_when=enough, resume=True)
    assert (longer.step, bits(longer.state)) == (60, bits(ended.state))


@pytest.mark.parametrize("at", [35, 70])
def test_the_best_evaluation_is_known_and_kept(tmp_path, at):
    """Also of a run that was stopped; what a state that wasn't evaluated is worth, nobody knows."""
    config = replace(LOOP, keep=1, save_every=30)
    selection = lambda evaluation: -evaluation["error"]  # noqa: E731  (the worst, which is not the newest)
    whole = train_toy(tmp_path / "whole", config, selection=selection)
    errors = {r["step"]: r["error"] for r in read_metrics(tmp_path / "whole") if r["split"] == "validation"}
    assert errors[0] > errors[30] > max(errors[60], errors[90])
    assert whole.best == (0, -errors[0])  # before the first update; of the states that were saved it is 30
    assert Checkpoints(tmp_path / "whole/checkpoints").steps() == [30, 90]

    stop = StopRequest()
    stopping = lambda step, state: setattr(stop, "requested", step == at) or {}  # noqa: E731
    train_toy(tmp_path / "part", config, selection=selection, stop=stop, on_log=stopping)
    assert Checkpoints(tmp_path / "part/checkpoints").steps() == [*range(30, at, 30), at]
    assert train_toy(tmp_path / "part", config, selection=selection, resume=True).best == whole.best
    assert Checkpoints(tmp_path / "part/checkpoints").best() == 30
    # Without a judge, an evaluation's only figure counts.
    assert train_toy(tmp_path / "plain", config).best == (90, min(errors.values()))
