"""Compiled programs on disk: later processes find them, and nothing that happens to them changes or stops a run."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.harness.compilation_cache import CompiledPrograms, machine, make_room, root_folder
from tests.experiments.command import arrays_bytes, untimed
from tests.experiments.processes import ROOT

PROGRAM = bytes(range(256)) * 3


def surroundings(cache: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has set nothing of JAX's cache, which the tests themselves have."""
    ours = {name: value for name, value in os.environ.items() if "_CACHE_" not in name}
    return ours | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), **more}


@pytest.fixture
def programs(tmp_path: Path) -> CompiledPrograms:
    kept = CompiledPrograms(tmp_path / "machine", tmp_path)
    kept.put("jit_f-1", PROGRAM)
    kept.put("jit_f-2", PROGRAM[::-1])
    return kept


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_what_is_kept_is_found(programs: CompiledPrograms, tmp_path: Path) -> None:
    again = CompiledPrograms(tmp_path / "machine", tmp_path)
    assert again.get("jit_f-1") == PROGRAM
    assert again.get("jit_f-2") == PROGRAM[::-1]
    assert again.get("jit_f-3") is None
    long = "f" * 3000 + "/../g"  # a function's name may be longer than a file's
    again.put(long, PROGRAM)
    assert programs.get(long) == PROGRAM
    assert len(files(tmp_path)) == 3


def test_any_damage_is_seen_and_mended(programs: CompiledPrograms, tmp_path: Path) -> None:
    for path in files(tmp_path):
        whole = path.read_bytes()
        flipped = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(0, len(whole), 7)]
        other = next(other for other in files(tmp_path) if other != path).read_bytes()
        for damaged in [*flipped, whole[:-1], whole[:20], b"", whole + b"\0", other]:
            path.write_bytes(damaged)
            found = [programs.get(key) for key in ("jit_f-1", "jit_f-2")]
            assert found.count(None) == 1
            assert set(found) <= {None, PROGRAM, PROGRAM[::-1]}
            assert not path.exists()
            path.write_bytes(whole)
    files(tmp_path)[0].write_bytes(b"")
    programs.put("jit_f-1", PROGRAM)
    programs.put("jit_f-2", PROGRAM[::-1])
    assert (programs.get("jit_f-1"), programs.get("jit_f-2")) == (PROGRAM, PROGRAM[::-1])


def test_a_disk_that_refuses_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    nowhere = CompiledPrograms(tmp_path / "file" / "machine", tmp_path / "file")
    nowhere.put("jit_f-1", PROGRAM)
    assert nowhere.get("jit_f-1") is None

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    kept = CompiledPrograms(tmp_path / "machine", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        kept.put("jit_f-1", PROGRAM)
    assert kept.get("jit_f-1") is None
    assert [path.name for path in files(tmp_path)] == ["file"]
    kept.put("jit_f-1", PROGRAM)
    assert kept.get("jit_f-1") == PROGRAM


def test_size_is_bounded_and_what_was_used_last_stays(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "left by an older JAX").write_bytes(bytes(3000))
    os.utime(tmp_path / "old" / "left by an older JAX", (1, 1))
    kept = CompiledPrograms(tmp_path / "machine", tmp_path, limit=10_000)
    for i in range(40):
        kept.put(f"jit_f-{i}", bytes(1000))
        for age, path in enumerate(sorted(files(tmp_path), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, (age + 2, age + 2))  # in order, whatever the clock's grain
        assert kept.get("jit_f-0") is not None  # used again and again
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 10_000
    assert kept.get("jit_f-39") is not None
    assert kept.get("jit_f-5") is None
    assert not (tmp_path / "old" / "left by an older JAX").exists()
    kept.put("jit_g", bytes(20_000))  # larger than all that there may be
    assert kept.get("jit_g") is None
    assert make_room(tmp_path, 0) == 0
    assert files(tmp_path) == []


def test_where_they_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert root_folder() == tmp_path / "unroll" / "compiled"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unset in ("", "relative"):  # which the XDG specification says to ignore
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert root_folder() == tmp_path / "home" / ".cache" / "unroll" / "compiled"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert root_folder() is None


def test_another_processor_has_a_folder_of_its_own(tmp_path: Path) -> None:
    told = "model name\t: A\ncpu MHz\t\t: {}\nflags\t\t: fpu {}\n"
    names = []
    for clock, flags in (("2000", "avx2"), ("3000", "avx2"), ("2000", "avx2 avx512f")):
        (tmp_path / "cpuinfo").write_text(told.format(clock, flags))
        names.append(machine(tmp_path / "cpuinfo"))
    assert names[0] == names[1] != names[2]
    assert machine(tmp_path / "none") not in names


COMPUTE = """
from experiments.harness.compilation_cache import keep_compiled_programs
keep_compiled_programs()
import jax
print(int(jax.jit(lambda x: 3 * x + 1)(2)))
"""
DISGUISED = """
from experiments.harness.compilation_cache import CompiledPrograms
found = CompiledPrograms.get
CompiledPrograms.get = lambda self, key: found(self, key) and b"whole, and no program"
"""


@pytest.mark.parametrize("case", ["kept", "off", "a file in the way", "elsewhere", "no home", "disguised"])
def test_a_process_computes_the_same_whatever_the_cache(case: str, tmp_path: Path) -> None:
    """And says nothing of it. `disguised`: a whole file that isn't what JAX wants."""
    cache = tmp_path / "cache"
    more = {
        "off": {"JAX_ENABLE_COMPILATION_CACHE": "0"},
        "elsewhere": {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")},
        "no home": {"XDG_CACHE_HOME": "", "HOME": str(tmp_path / "none" / "such")},
    }.get(case, {})
    if case == "a file in the way":
        cache.write_text("")
    if case == "no home":
        (tmp_path / "none").write_text("")  # nor can one be made
    for code in [COMPUTE, DISGUISED + COMPUTE] if case == "disguised" else [COMPUTE]:
        done = subprocess.run(
            [sys.executable, "-c", code], env=surroundings(cache, **more), capture_output=True, text=True
        )
        assert (done.stdout, done.stderr, done.returncode) == ("7\n", "", 0)
    assert bool(cache.is_dir() and files(cache)) == (case in ("kept", "disguised"))


@pytest.mark.full
def test_later_runs_and_the_runs_of_a_sweep_compile_nothing(tmp_path: Path) -> None:
    """Damaged programs alone are compiled and written anew, and all bits stay."""
    cache = tmp_path / "cache"
    small = {"length": 6, "hidden-size": 4, "batch-size": 4, "steps": 4, "eval-every": 2, "save-every": 4}
    small |= {"devices": 1}  # as a sweep gives it to its runs
    options = ["adding", *(word for name, value in small.items() for word in (f"--{name}", str(value)))]

    def run(*arguments: str) -> str:
        words = [sys.executable, "-m", "experiments", *arguments]
        environment = surroundings(cache, JAX_DISABLE_MOST_OPTIMIZATIONS="1")
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run(*options, "--run-dir", "first")
    kept = files(cache / "unroll" / "compiled")
    (tmp_path / "links").mkdir()
    # Links tell whether a file was written anew.
    links = {path: tmp_path / "links" / path.name for path in kept}
    for path, link in links.items():
        os.link(path, link)
    damaged = kept[::4]
    for number, path in enumerate(damaged):
        path.write_bytes([b"", path.read_bytes()[:-9], b"\0" * 999][number % 3])
    run("sweep", *options, "--seeds", "1", "--run-dir", "second")
    (second,) = [path.parent for path in (tmp_path / "second").rglob("metrics.jsonl")]
    assert len(kept) > 10
    assert files(cache / "unroll" / "compiled") == kept
    assert [path for path, link in links.items() if not path.samefile(link)] == damaged
    assert arrays_bytes(second) == arrays_bytes(tmp_path / "first")
    assert untimed(second) == untimed(tmp_path / "first")


LOOK = """
import sys
from experiments.registry import COMMANDS, NAMES, read_options
for name in NAMES:
    read_options(name, [])
import experiments.language.generate, experiments.report.inspect, experiments.report, experiments.sweep
slow = ("matplotlib", "orbax", "grain", "tensorflow_datasets", "sklearn", "sentencepiece", "tensorboardX",
        "scipy.optimize", "scipy.special")
print([name for name in slow if name in sys.modules])
"""


def test_options_are_read_without_what_only_a_run_needs() -> None:
    """`--help` and a wrong option wait for no library that draws, saves or reads data."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
