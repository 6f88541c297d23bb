"""Ways in which the files of a run's folder come to harm."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STRANGE: tuple[Any, ...] = (None, True, -1, 2.5, 10**30, 1e300, "x", "", "\ud800", [], {}, [[]], {"a": [1]})
"""Values that are wrong in most places of our files."""


def nested(depth: int) -> str:
    """Lists in one another."""
    return "[" * depth + "]" * depth


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every `(container, key)` within parsed JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(items):
        yield content, key
        if isinstance(value, dict | list):
            yield from places(value)


def change_json(path: Path, chance: random.Random) -> str:
    """Replaces or deletes one value of a JSON file, or of one line of a `.jsonl`; returns what was done."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    number = chance.randrange(len(lines))
    content = json.loads(lines[number])
    container, key = chance.choice(list(places(content)))
    if chance.random() < 0.25:
        del container[key]
        done = f"without {key!r}"
    else:
        container[key] = chance.choice(STRANGE)
        done = f"{key!r} = {container[key]!r}"
    lines[number] = json.dumps(content)
    path.write_text("\n".join(lines) + "\n")
    return f"{path.name}: {done}"


def change_bytes(path: Path, chance: random.Random) -> str:
    """Flips one byte, cuts the file short, or empties it; returns what was done."""
    content = bytearray(path.read_bytes())
    how = chance.choice(("flip", "flip", "flip", "cut", "empty"))
    at = chance.randrange(max(1, len(content)))
    if how == "flip" and content:
        content[at] ^= 1 << chance.randrange(8)
    path.write_bytes(content if how == "flip" else content[:at] if how == "cut" else b"")
    return f"{path.name}: {how} at {at}"


def change_kind(path: Path, chance: random.Random) -> str:
    """Puts a pipe, a folder, or a link to nothing in a file's place; returns what was done."""
    path.unlink()
    how = chance.choice(("pipe", "folder", "link"))
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    return f"{path.name}: a {how}"


def damage(folder: Path, chance: random.Random) -> str:
    """Damages one file of a run; returns what was done."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    own = [p for p in files if "checkpoints" not in p.parts and "tensorboard" not in p.parts]
    path = chance.choice(own if chance.random() < 0.8 else files)
    ways = [change_bytes, change_kind, *([change_json] * 4 if path.suffix in (".json", ".jsonl") else [])]
    return chance.choice(ways)(path, chance)
