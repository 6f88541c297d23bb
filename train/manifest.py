"""`manifest.json`, which completes a checkpoint: its content, and a checksum of every file."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from train.files import read_file, write_file

MANIFEST = "manifest.json"


class DamagedCheckpoint(ValueError):
    """Files of a checkpoint are truncated, missing or altered."""


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes the content with checksums of every file in the folder and of the manifest itself, atomically."""
    whole = {**content, "files": {name: _checksum((folder / name).read_bytes()) for name in _files(folder)}}
    manifest = {"content": whole, "checksum": _checksum(json.dumps(whole).encode())}
    write_file(folder / MANIFEST, json.dumps(manifest, indent=1))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads the content written by `write_manifest`. Raises DamagedCheckpoint if it was altered, or if the folder's
    name is not the step that was saved in it."""
    fault = "has been altered"
    try:
        manifest = json.loads(read_file(folder / MANIFEST))
        # Python serialises what it has read to the same text, so the checksum can be computed from that.
        if manifest["checksum"] == _checksum(json.dumps(manifest["content"]).encode()):
            step = manifest["content"].get("step", folder.name)
            if str(step) == folder.name:
                return manifest["content"]
            fault = f"is of step {step}: the folder was renamed or copied"
    except FileNotFoundError:
        fault = "is missing"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError):
        pass
    raise DamagedCheckpoint(f"the checkpoint {folder} is damaged ({MANIFEST} {fault})")


def check_files(folder: Path, content: Mapping[str, Any]) -> None:
    """Raises DamagedCheckpoint, naming the first file that is missing or altered."""
    for name, checksum in content["files"].items():
        if not (folder / name).is_file():
            raise DamagedCheckpoint(f"the checkpoint {folder} is damaged ({name} is missing)")
        try:
            found = _checksum(read_file(folder / name))
        except OSError as error:
            raise DamagedCheckpoint(
                f"the checkpoint {folder} is damaged ({name} can't be read: {error.strerror})"
            ) from None
        if found != checksum:
            raise DamagedCheckpoint(f"the checkpoint {folder} is damaged ({name} has been altered)")


def leaf_specs(leaves: Mapping[str, jax.Array]) -> dict[str, list[Any]]:
    """Returns dtype and shape of every leaf, as JSON."""
    return {name: [str(leaf.dtype), list(leaf.shape)] for name, leaf in leaves.items()}


def check_same_model(
    folder: Path, content: Mapping[str, Any], leaves: Mapping[str, jax.Array], config: Mapping[str, Any]
) -> None:
    """Raises ValueError, naming the first leaf that is missing, unexpected, or of another shape or dtype; or as
    `check_same_config`."""
    here, there = leaf_specs(leaves), content["leaves"]
    for name in [*here, *there]:
        mine, theirs = _format_spec(here.get(name)), _format_spec(there.get(name))
        if mine != theirs:
            raise ValueError(
                f"{folder} is a checkpoint of another model: {name} is {theirs} there and {mine} here; "
                "resume with the config it was saved with"
            )
    check_same_config(folder, content, config)


def check_same_config(folder: Path, content: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raises ValueError, naming the first option that both sides have and whose values differ."""
    saved = content["config"]
    for option in config.keys() & saved.keys():
        if config[option] != saved[option]:
            raise ValueError(
                f"{folder} is a checkpoint of another run: {option} was {saved[option]!r} there and is "
                f"{config[option]!r} here; resume with the config it was saved with"
            )


def _format_spec(form: list[Any] | None) -> str:
    return "absent" if form is None else f"{form[0]}[{','.join(map(str, form[1]))}]"


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _checksum(content: bytes) -> int:
    return zlib.crc32(content)
