"""Small finished runs, made once for all the tests that look at them, whichever process they are in."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import pytest

from tests.compilation import share_compiled_programs
from tests.experiments.command import LEAKY, SMALL, command, prepared_apart, unboxed
from tests.experiments.small_text import TINY, write

OPTIONS: dict[str, tuple[str | float, ...]] = {
    "adding": ("--cell", "elman", "--length", 10, *SMALL),
    "copy_memory": ("--cell", "elman", "--length", 5, *SMALL),
    "temporal_order": ("--cell", "elman", "--length", 12, *SMALL),
    "digits": ("--cell", "elman", "--permuted", *SMALL),
    # Gentle inputs: at the default gain a unit of these small nets saturates to a Jacobian of exactly 0.
    "gradients": (*SMALL, "--images", 8, "--trajectories", 2, "--input-gain", 4),
    # Length 2 is solved, 30 is not, and 40 therefore not tried.
    "long_memory": (
        *("--tasks", "adding", "--cells", "elman", "--lengths", 2, 30, 40, *SMALL),
        *("--steps", 300, "--eval-every", 10, "--chunk", 10, "--optimizer.learning-rate", 0.02),
    ),
    "ngram": ("--order", 3),
    # Newton's Jacobians take 512 bytes at length 4, and four times that at 16: too much.
    "speed": (
        *("--cells", "elman", "--methods", "scan", "associative", "newton", "--lengths", 4, 16),
        *("--hidden-size", 4, "--input-size", 2, "--batch-size", 2, "--repeats", 2, "--newton-memory", 1e-6),
    ),
    "jacobian_spectra": (
        *(
            "--cells",
            "elman(recurrent_init=gaussian(gain=G))",
            "--gains",
            0.5,
            1.5,
            "--hidden-size",
            5,
        ),
        *("--length", 10, "--shown-lags", 1, 10, "--trajectories", 2, "--batch-size", 10),
        *("--steps", 20, "--eval-every", 20, "--save-every", 20, "--chunk", 20),
    ),
    "lyapunov": (
        *("--cells", "elman(activation=sigmoid)", "--hidden-size", 4, "--length", 10, "--batch-size", 10),
        *("--units", 40, "--gains", 0.5, 1.5, "--trajectory", 400, "--warmup", 100, "--measure-every", 10),
        *("--steps", 20, "--eval-every", 20, "--save-every", 20, "--chunk", 10),
    ),
    "edge_of_chaos": (
        *("--gains", 0.8, 1.6, "--biases", 0.1, 0.5, "--lengths", 1, 6, "--units", 30, "--draws", 1),
        *("--trajectory", 250, "--hidden-size", 16, "--updates", 60, "--optimizer.learning-rate", 0.01),
    ),
    "attention_paths": (
        *("--tasks", "text", "--cell", "elman", "--beside", "transformer(layers=1, heads=3)", "--window", 16),
        *("--context", 8, "--examples", 4, *SMALL, "--steps", 20, "--eval-every", 20, "--save-every", 20),
    ),
    "fixed_points": (
        *("--cell", "gru", "--bits", 2, "--length", 15, "--starts", 40, "--probability", 0.2, *SMALL),
        *("--optimizer.learning-rate", 0.03),
    ),
    "flossing": (
        *("--tasks", "delayed_recall", "--delay", 3, "--recall-length", 12),
        *("--exponents", 2, "--floss.steps", 40, "--repeats", 1, *SMALL),
    ),
}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all of this session's processes: pytest-xdist gives each worker one within it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def leaky(shared: Path) -> str:
    """A cell in a user's own file, as the command line names it."""
    path = shared / "mine.py"
    path.write_text(LEAKY)
    return f"{path}:Leaky(alpha=0.3)"


@pytest.fixture
def mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Returns what is said, to standard error, of a command that ends with code 2 before any run is begun."""
    monkeypatch.chdir(tmp_path)

    def say(*arguments: str | float | Path) -> str:
        capsys.readouterr()
        assert command(*arguments) == 2
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert not (tmp_path / "runs").exists()
        return unboxed(err)

    return say


@pytest.fixture
def refused(mistake: Callable[..., str]) -> Callable[..., None]:
    """`refused(said, name, *options)`: the command line refuses that in such a sentence, and leaves no folder."""

    def check(said: str, *given: str | float) -> None:
        assert said in mistake(*given)

    return check


@pytest.fixture(scope="session")
def options(leaky: str) -> dict[str, tuple[str | float, ...]]:
    """The options with which each experiment's small run was made."""
    return OPTIONS | {"gradients": ("--cells", "elman", leaky, *OPTIONS["gradients"])}


@contextlib.contextmanager
def alone(shared: Path, name: str) -> Iterator[Path]:
    """Yields the folder `name`, to one process at a time: whoever comes second waits, and finds it made."""
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared / "runs" / name


@pytest.fixture(scope="session")
def finished(options: dict[str, tuple[str | float, ...]], shared: Path) -> Callable[[str], Path]:
    """The folder of an experiment's small run, made when first asked for, by one process alone; to be read only."""

    @cache
    def run(name: str) -> Path:
        with alone(shared, name) as folder:
            if not (folder / "results.json").exists():  # the last that a run writes
                assert command(name, *options[name], "--run-dir", folder) == 0
        return folder

    return run


@pytest.fixture
def copied(finished: Callable[[str], Path], tmp_path: Path) -> Path:
    """A finished run of adding, to be spoilt."""
    return shutil.copytree(finished("adding"), tmp_path / "copied")


@pytest.fixture(scope="module")
def one_task() -> Iterator[None]:
    """Equal tasks are one object in this process, so that its runs compile once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.problems.partial", cache(partial))
        yield


@pytest.fixture
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and caches of the test's own."""
    monkeypatch.chdir(tmp_path)
    share_compiled_programs(tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def text(shared: Path) -> Path:
    """A small text of three files."""
    with alone(shared, "text"):
        folder = shared / "text"
        return folder if folder.exists() else write(folder)


@pytest.fixture(scope="session")
def words(text: Path, shared: Path) -> Path:
    """A finished run on its words; to be read only."""
    with alone(shared, "words") as folder:
        if not (folder / "results.json").exists():
            prepared_apart(folder, "language_model", *TINY, "--data.dir", text)
    return folder
