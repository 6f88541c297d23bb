"""A cache of tokenised texts: written by TFDS, verified on every use."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from data.text.corpus import Corpus, Size, TextConfig, Texts, read_texts, tokenise
from data.text.tokenizers import Bytes, Characters, SentencePiece, Tokenizer, Words
from data.text.vocabulary import Vocabulary

MANIFEST = "prepared.json"
_FORMAT = 3  # of the cache; data in another format are prepared again
_TEMPORARY = re.compile(r".+\.making-[0-9a-f]{16}", re.DOTALL)
_ABANDONED = 24 * 3600  # seconds after which nobody is still writing a temporary folder


def load_corpus(config: TextConfig) -> Corpus:
    """Returns the tokenised text of a config; a text from files is prepared once and then read from the cache.

    The cache is a folder per text and settings, whose `prepared.json` holds the settings and a SHA-256 of every
    source, of every file written, and of itself. The folder appears by one rename, so that a kill or a full disk
    can't leave an incomplete one. A damaged folder is prepared again with a notice, but files that the cache didn't
    write are never removed. If `config.cache` names a folder prepared with other settings or from other files, it
    is rejected and not replaced.

    Raises ValueError for every fault of files or settings.
    """
    config.check()
    if config.dir is None and config.tfds is None:
        return tokenise(read_texts(config), config)
    if config.tfds is None:
        texts = read_texts(config)
    else:
        from data.text.tfds_text import load_tfds_text

        texts = load_tfds_text(config)
    settings = _settings(config, texts)
    folder = config.cache or _default_folder(config, settings)
    _check_name(folder)
    damaged = False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        try:
            return _read(folder, settings, texts)
        except _Damaged as damage:
            damaged = True
            print(f"the prepared data in {folder} are damaged ({damage}): preparing them again", flush=True)
    corpus = tokenise(texts, config)
    _write(folder, corpus, settings, damaged=damaged)
    return corpus


class _Damaged(Exception):
    """Raised if the prepared data have changed since they were written."""


def _settings(config: TextConfig, texts: Texts) -> dict[str, Any]:
    """Returns everything that the prepared data depend on, as options and values."""
    used: dict[str, Any] = {"unit": config.unit}
    if config.encoding != TextConfig.encoding:
        used["encoding"] = config.encoding
    if config.unit in ("character", "word"):
        used |= {"min_count": config.min_count, "vocabulary_limit": config.vocabulary_limit}
    if config.unit == "bpe":
        used["bpe_size"] = config.bpe_size
    if config.tfds is not None:
        used |= {"tfds": config.tfds, "tfds_feature": config.tfds_feature}
    elif len(texts.origin) != len(texts.splits) or any("part)" in name for name in texts.names.values()):
        used |= {"valid_share": config.valid_share, "test_share": config.test_share}
    return {"form": _FORMAT, "options": used, "sources": dict(texts.origin)}


def _default_folder(config: TextConfig, settings: dict[str, Any]) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if root.startswith("~"):  # no HOME, and no entry in the user database
        raise ValueError("there is no home folder for the prepared text: name a folder by --data.cache")
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    name = config.dir.resolve().name if config.dir is not None else str(config.tfds).replace("/", "_")
    readable = os.fsencode(name).decode(errors="replace")  # a name may be no UTF-8
    return Path(root) / "unroll" / "text" / f"{readable}-{digest}"


def _check_name(folder: Path) -> None:
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{folder.absolute()} is not UTF-8, and no text can be prepared there: name another by --data.cache"
        ) from None


def _write(folder: Path, corpus: Corpus, settings: dict[str, Any], *, damaged: bool) -> None:
    """Writes into a temporary folder, then renames it, in place of a damaged one."""
    from data.text.tfds_cache import write_splits

    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder.parent)
    temporary = folder.with_name(f"{folder.name}.making-{secrets.token_hex(8)}")
    try:
        temporary.mkdir()
        write_splits(temporary, corpus.splits)
        for name, content in corpus.tokenizer_files().items():
            (temporary / name).write_bytes(content)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        prepared = {
            "settings": settings,
            "sizes": {split: dataclasses.asdict(size) for split, size in corpus.sizes.items()},
            "files": {str(path.relative_to(temporary)): _checksum(path) for path in files},
        }
        prepared["checksum"] = _digest(prepared)
        (temporary / MANIFEST).write_text(json.dumps(prepared, indent=1) + "\n", encoding="utf-8")
        if damaged:
            _check_only_our_files(folder, {MANIFEST, *prepared["files"]})
            shutil.rmtree(folder, ignore_errors=True)
        try:
            temporary.replace(folder)
        except OSError as error:
            # Another process has prepared the same folder meanwhile, and may be reading it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(parent: Path) -> None:
    """Removes temporary folders of processes that were killed: those not written to for a day."""
    for path in parent.iterdir():
        if not _TEMPORARY.fullmatch(path.name) or path.is_symlink():
            continue
        with contextlib.suppress(OSError):  # its process lives and is renaming it
            written = max(found.lstat().st_mtime for found in [path, *path.rglob("*")])
            if time.time() - written > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _read(folder: Path, settings: dict[str, Any], texts: Texts) -> Corpus:
    """Reads a folder written by `_write`. Raises ValueError if it was prepared with other settings, and
    `_Damaged` if it is incomplete or altered."""
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{folder} has files, but no {MANIFEST}: name an empty or a prepared folder with --data.cache"
        )
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content.pop("checksum") != _digest(content):
            raise ValueError
        stored, files = content["settings"], dict(content["files"])
        sizes = {split: Size(**size) for split, size in content["sizes"].items()}
        options, sources = dict(stored["options"]), dict(stored["sources"])
        form = stored["form"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _Damaged(f"{MANIFEST} has been altered") from None
    _compare(folder, settings, options, sources)
    if form != _FORMAT:
        raise _Damaged("they are of another release")
    for name, checksum in files.items():
        if not (folder / name).is_file():
            raise _Damaged(f"{name} is missing")
        if _checksum(folder / name) != checksum:
            raise _Damaged(f"{name} has been altered")
    from data.text.tfds_cache import read_splits

    splits = read_splits(folder, list(sizes))
    return Corpus(splits, load_tokenizer(folder, options["unit"]), sizes, texts.origin)


def load_tokenizer(folder: Path, unit: str) -> Tokenizer:
    """Reads the files written from `Corpus.tokenizer_files`, in the cache or in a run's folder."""
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    if unit == "bpe":
        return SentencePiece(vocabulary, (folder / "bpe.model").read_bytes())
    return {"character": Characters, "byte": Bytes, "word": Words}[unit](vocabulary)


def _compare(
    folder: Path, settings: dict[str, Any], options: dict[str, Any], sources: dict[str, str]
) -> None:
    remedy = "name another folder with --data.cache, or prepare this one's text again with its own settings"
    for name in settings["options"] | options:
        wanted, found = settings["options"].get(name), options.get(name)
        if wanted != found:
            option = name.replace("_", "-")
            raise ValueError(f"{folder} was prepared with --data.{option} {found}, not {wanted}: {remedy}")
    for name in settings["sources"] | sources:
        if settings["sources"].get(name) != sources.get(name):
            known = "another text" if name in settings["sources"] and name in sources else "other files"
            raise ValueError(f"{folder} was prepared from {known} ({name} differs): {remedy}")


def _check_only_our_files(folder: Path, ours: set[str]) -> None:
    """Raises ValueError if a folder to be replaced contains files that the cache didn't write."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and str(path.relative_to(folder)) not in ours:
            raise ValueError(
                f"{folder} contains {path.relative_to(folder)}, which is not part of the prepared data: move it, "
                "or name another folder with --data.cache"
            )


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
