"""The house rules: who may import whom, what every file says of itself, what may not stand in the repository."""

import ast
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from experiments.registry import SUBJECTS

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "data", "analysis", "train", "experiments", "unroll")
OURS = {*PACKAGES, "benchmarks", "tests"}
# Beside itself, what each may import of ours.
MAY_IMPORT = {
    "models": set(),
    "data": set(),
    "analysis": {"models"},
    "train": {"models"},
    "experiments": {"models", "data", "analysis", "train"},
    "unroll": set(PACKAGES),
    "benchmarks": OURS - {"tests", "unroll"},
}


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.Module) -> set[str]:
    """The top-level packages that a file imports, anywhere in it; "." for its own, named relatively."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else str(node.module).split(".")[0])
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_import_arrows(package: str) -> None:
    forbidden = OURS - MAY_IMPORT[package] - {package}
    wrong = {
        name_of(path): found for path in sources(package) if (found := imported(syntax(path)) & forbidden)
    }
    assert not wrong


def test_arrows_are_seen_wherever_they_stand() -> None:
    """The reader of imports itself: in functions, with aliases, of submodules."""
    inside = "def f():\n    from analysis.figures.gradients import y\n    from . import z\n"
    text = f"import train.loop as x\n{inside}import os, data"
    assert imported(ast.parse(text)) == {"train", "analysis", ".", "os", "data"}


@pytest.mark.parametrize("package", [*sorted(PACKAGES), "benchmarks"])
def test_no_imports_in_a_circle(package: str) -> None:
    """Modules that import none that is left are taken away, again and again: none may be left."""
    left = {module_name(path): path for path in sources(package)}
    arrows = {name: names_in(syntax(path)) & (left.keys() - {package}) for name, path in left.items()}
    while free := [name for name, found in arrows.items() if not found & arrows.keys()]:
        for name in free:
            del arrows[name]
    assert not arrows


def module_name(path: Path) -> str:
    """`models/recurrence/scan.py` → models.recurrence.scan, a package by its own name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("room", [*SUBJECTS, "harness", "shared"])
def test_rooms_of_experiments(room: str) -> None:
    """Subjects import what is shared and never each other, the harness only itself, the shared no subject."""
    home = ROOT / "experiments" / room
    shared = [p for p in sources("experiments") if p.relative_to(ROOT).parts[1] not in (*SUBJECTS, "harness")]
    paths = shared if room == "shared" else sorted(home.rglob("*.py"))
    wrong: dict[str, set[str]] = {}
    for path in paths:
        ours = {n for n in names_in(syntax(path)) if n.startswith("experiments")}
        rooms = {n: n.split(".")[1] for n in ours if "." in n}
        found = {n for n, r in rooms.items() if r in SUBJECTS and r != room}
        found |= {n for n, r in rooms.items() if room == "harness" and r != "harness"}
        wrong |= {name_of(path): found} if found else {}
    assert paths
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_are_one_level_deep_and_not_crowded(package: str) -> None:
    """One level of folders inside a package; at most 25 files beside one another."""
    paths = [p.relative_to(ROOT) for p in sources(package)]
    assert max(len(p.parts) for p in paths) <= 3
    counts = Counter(p.parent for p in paths)
    assert not {room: n for room, n in counts.items() if n > 25}


def names_in(tree: ast.Module) -> set[str]:
    """The modules that a file imports, and what it imports from them, by whole names."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_no_rival_is_needed() -> None:
    rivals = {"torch", "equinox", "tensorflow", "keras"}
    assert not {name_of(p): f for p in sources(*PACKAGES) if (f := imported(syntax(p)) & rivals)}


# --- what files say of themselves


def documented_names(node: ast.ClassDef) -> set[str]:
    return {f.name for f in node.body if isinstance(f, ast.FunctionDef) and ast.get_docstring(f)}


@cache
def inherited() -> dict[str, tuple[list[str], set[str]]]:
    """Of every class of ours its bases' names and its documented methods."""
    classes = [n for p in sources(*PACKAGES) for n in ast.walk(syntax(p)) if isinstance(n, ast.ClassDef)]
    return {c.name: ([ast.unparse(b).split(".")[-1] for b in c.bases], documented_names(c)) for c in classes}


def promised(name: str) -> set[str]:
    """The methods that a class's ancestors document, and those that any protocol of ours does."""
    bases, _ = inherited().get(name, ([], set()))
    above = {m for base in bases for m in promised(base) | inherited().get(base, ([], set()))[1]}
    return above | {m for kinds, methods in inherited().values() if "Protocol" in kinds for m in methods}


def undocumented(path: Path) -> list[str]:
    """Lists what lacks a docstring: the module, public classes, and public functions and methods of more than one
    statement that nothing above documents."""
    tree = syntax(path)
    missing = [] if ast.get_docstring(tree) else ["the module"]

    def functions(body: list[ast.stmt], known: set[str], prefix: str) -> list[str]:
        return [
            prefix + f.name
            for f in body
            if isinstance(f, ast.FunctionDef)
            and not (f.name.startswith("_") or f.name in known or len(f.body) == 1)
            and not ast.get_docstring(f)
        ]

    missing += functions(tree.body, set(), "")
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            missing += [] if ast.get_docstring(node) else [node.name]
            missing += functions(node.body, promised(node.name) | {"setup"}, f"{node.name}.")  # Linen's setup
    return missing


def test_docstrings() -> None:
    assert not {name_of(p): found for p in sources(*PACKAGES) if (found := undocumented(p))}


def test_missing_docstrings_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "bare.py"
    file.write_text(
        "class A:\n    def f(self):\n        x = 1\n        return x\n"
        "class _B: ...\ndef g():\n    x = 1\n    return x\ndef h(): return 1\n"
    )
    assert undocumented(file) == ["the module", "g", "A", "A.f"]


QUESTIONS = {"What", "Where", "Whether", "How", "Which", "Who", "When", "Why"}


def questions(path: Path) -> list[str]:
    """Lists the docstrings that begin like a question in place of a verb or a noun."""
    texts = (
        ast.get_docstring(node) or ""
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    )
    return [
        text.split("\n")[0] for text in texts if text.split(maxsplit=1)[:1] and text.split()[0] in QUESTIONS
    ]


def test_docstrings_begin_with_a_verb_or_a_noun(tmp_path: Path) -> None:
    assert not {name_of(p): found for p in sources(*PACKAGES, "tests") if (found := questions(p))}
    file = tmp_path / "asks.py"
    file.write_text('"""How it is."""\ndef f():\n    """Returns it."""\nclass A:\n    """Whether so."""\n')
    assert questions(file) == ["How it is.", "Whether so."]


# --- what is tracked


@cache
def tracked() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


INDEX = re.compile(
    r"(?<!no-emit-)index-url[ =:]|--find-links|trusted-host"
    r"|://[^/\s\"')]*(?:pypi|mirror|artifactory|nexus|devpi|localhost|\.internal|\.local\b)"
    r"|://[^/\s\"')]*(?:@|:\d)|://\d+\.\d+\.\d+\.\d+|://[^\s\"')]*/simple\b"
)
MACHINE = re.compile(r"(?<![\w.~}-])/(?:work|root|home|Users|mnt|nix)/\w")


@pytest.mark.parametrize(
    ("pattern", "caught", "spared"),
    [
        (INDEX, "--index-url https://a", "--no-emit-index-url --no-header"),
        (INDEX, "http://10.0.0.1/x", "https://arxiv.org/abs/1511.06464"),
        (INDEX, "https://h.example:8080/a", "https://github.com/a/b:c"),
        (INDEX, "https://mypypi.example/a", "a mirror image"),
        (MACHINE, "see /home/someone/x", "a/home/b, ~/root/x"),
    ],
)
def test_patterns(pattern: re.Pattern, caught: str, spared: str) -> None:
    assert pattern.search(caught)
    assert not pattern.search(spared)


def test_no_address_or_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        hits = [
            f"{name_of(path)}:{i}: {line[:80]}"
            for i, line in enumerate(lines, 1)
            if any(p.search(line) for p in (INDEX, MACHINE))
        ]
        found += hits
    assert not found


def requirements(lock: Path) -> dict[str, tuple[str, int]]:
    """Of every requirement with its marker the version and the number of hashes."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    pinned = {}
    for entry in entries:
        requirement, *hashes = re.split(r"\s--hash=sha256:(?=[0-9a-f]{64}\b)", entry)
        name, _, version = requirement.partition("==")
        marker = version.partition(";")[2].strip()
        pinned[f"{name}; {marker}"] = (version.partition(";")[0].strip(), len(hashes))
    return pinned


def test_locks() -> None:
    """Every requirement is pinned and hashed, nothing names an address, and both locks agree."""
    run, dev = (requirements(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock"))
    assert len(run) > 20
    for entries in (run, dev):
        assert not [name for name, (version, hashes) in entries.items() if not version or not hashes]
    pinned = {name.partition(";")[0] + "==" + version for name, (version, _) in dev.items()}
    assert {name.partition(";")[0] + "==" + version for name, (version, _) in run.items()} <= pinned
    for name in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_readme_snippets_run() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md yet")
    snippets = re.findall(
        r"^```python\n(.*?)^```", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert snippets
    namespace: dict[str, object] = {"__name__": "__main__"}
    for snippet in snippets:  # as a reader would type them, one after the other
        exec(compile(snippet, str(readme), "exec"), namespace)


# Where files are written but by `train.files`: figures (opened exclusively), what is added to, and a folder that
# takes its name when it is whole.
WRITERS = {"train/files.py", "train/tracking.py", "analysis/figures/style.py", "data/text/cache_folder.py"}
WRITERS |= {
    f"experiments/{name}.py"
    for name in ("harness/lock", "harness/surroundings", "sweep/engines", "harness/cluster")
}


def test_files_are_written_in_one_place() -> None:
    """Elsewhere a file would be half written at a kill, or written where a link leads."""
    found = []
    for path in sources(*PACKAGES):
        for node in ast.walk(syntax(path)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            writes = called == "open" and any(set(str(word)) & set("wax+") for word in words)
            if writes or called in ("write_text", "write_bytes", "symlink_to"):
                found.append(name_of(path))
    assert set(found) == WRITERS


def test_text_files_name_their_encoding() -> None:
    """Text is read and written in an encoding that is named: a user's locale may hold few of our characters."""
    for path in sources(*PACKAGES, "benchmarks"):
        for node in ast.walk(syntax(path)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called not in ("open", "read_text", "write_text"):
                continue
            # os.open takes flags and gzip.open is binary unless told; a mode with b is bytes.
            words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            binary = any(isinstance(word, str) and "b" in word and len(word) <= 4 for word in words)
            module = getattr(getattr(node.func, "value", None), "id", "")
            named = any(keyword.arg == "encoding" for keyword in node.keywords)
            local = (
                module in ("os", "gzip") or "/proc/" in ast.unparse(node) or "devnull" in ast.unparse(node)
            )
            assert named or binary or local, f"{path}:{node.lineno} names no encoding"
