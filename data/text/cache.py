"""A text prepared once and kept: written by TFDS, verified whenever it is used again."""

import dataclasses
import errno
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from data.text.corpus import Corpus, Size, TextConfig, Texts, read_texts, tokenised
from data.text.tokenizers import Bytes, Characters, SentencePiece, Tokenizer, Words
from data.text.vocabulary import Vocabulary

MANIFEST = "prepared.json"
_FORM = 3  # of what is written; another one is prepared anew


def load_corpus(config: TextConfig) -> Corpus:
    """The text that a config names, taken apart; from files, prepared once and read from the cache after.

    What is prepared stands in a folder of its own beside `prepared.json`: the settings, a SHA-256 of every source,
    of every file written, and of itself. It appears by one renaming, whole or not at all, so that neither a kill
    nor a full disk leaves a folder that misleads; a damaged one is prepared anew, and this said, but nothing is
    taken away that wasn't prepared. With `config.cache` a folder that was prepared with other settings, or of other
    files, is refused rather than replaced.

    Raises ValueError, as a sentence for the user, for every fault of files or settings.
    """
    config.check()
    if config.dir is None and config.tfds is None:
        return tokenised(read_texts(config), config)
    if config.tfds is None:
        texts = read_texts(config)
    else:
        from data.text.tfds_text import read_catalogue

        texts = read_catalogue(config)
    settings = _settings(config, texts)
    folder = config.cache or _default_folder(config, settings)
    _check_name(folder)
    damaged = False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        try:
            return _read(folder, settings, texts)
        except _Damaged as damage:
            damaged = True
            print(f"the prepared data in {folder} are damaged ({damage}): preparing them anew", flush=True)
    corpus = tokenised(texts, config)
    _write(folder, corpus, settings, damaged=damaged)
    return corpus


class _Damaged(Exception):
    """Raised where what was prepared isn't as it was written."""


def _settings(config: TextConfig, texts: Texts) -> dict[str, Any]:
    """All that decides what is prepared, as option and value."""
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
    return {"form": _FORM, "options": used, "sources": dict(texts.origin)}


def _default_folder(config: TextConfig, settings: dict[str, Any]) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if root.startswith("~"):  # no HOME, and no entry in the user database
        raise ValueError(
            "there is no home folder to keep the prepared text in: name a folder by --data.cache"
        )
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
    """Into a folder beside it, which then takes its name, in place of a damaged one."""
    from data.text.tfds_cache import write_splits

    folder.parent.mkdir(parents=True, exist_ok=True)
    making = folder.with_name(f"{folder.name}.making-{secrets.token_hex(8)}")
    making.mkdir()
    try:
        write_splits(making, corpus.splits)
        for name, content in corpus.tokenizer_files().items():
            (making / name).write_bytes(content)
        files = sorted(path for path in making.rglob("*") if path.is_file())
        prepared = {
            "settings": settings,
            "sizes": {split: dataclasses.asdict(size) for split, size in corpus.sizes.items()},
            "files": {str(path.relative_to(making)): _checksum(path) for path in files},
        }
        prepared["checksum"] = _digest(prepared)
        (making / MANIFEST).write_text(json.dumps(prepared, indent=1) + "\n", encoding="utf-8")
        if damaged:
            _refuse_strangers(folder, {MANIFEST, *prepared["files"]})
            shutil.rmtree(folder, ignore_errors=True)
        try:
            making.replace(folder)
        except OSError as error:
            # Another process has prepared the same meanwhile, and may be reading it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _read(folder: Path, settings: dict[str, Any], texts: Texts) -> Corpus:
    """Reads what `_write` wrote. Raises ValueError where it was prepared otherwise, `_Damaged` where it isn't
    whole."""
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{folder} holds files, but no {MANIFEST}: name an empty or a prepared folder with --data.cache"
        )
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content.pop("checksum") != _digest(content):
            raise ValueError
        there, files = content["settings"], dict(content["files"])
        sizes = {split: Size(**size) for split, size in content["sizes"].items()}
        options, sources = dict(there["options"]), dict(there["sources"])
        form = there["form"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _Damaged(f"{MANIFEST} has been altered") from None
    _compare(folder, settings, options, sources)
    if form != _FORM:
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
    """Reads `Corpus.tokenizer_files`, in the cache or in a run's folder."""
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    if unit == "bpe":
        return SentencePiece(vocabulary, (folder / "bpe.model").read_bytes())
    return {"character": Characters, "byte": Bytes, "word": Words}[unit](vocabulary)


def _compare(
    folder: Path, settings: dict[str, Any], options: dict[str, Any], sources: dict[str, str]
) -> None:
    mend = "name another folder with --data.cache, or prepare this one's text again with its own settings"
    for name in settings["options"] | options:
        mine, theirs = settings["options"].get(name), options.get(name)
        if mine != theirs:
            option = name.replace("_", "-")
            raise ValueError(f"{folder} was prepared with --data.{option} {theirs}, not {mine}: {mend}")
    for name in settings["sources"] | sources:
        if settings["sources"].get(name) != sources.get(name):
            known = "another text" if name in settings["sources"] and name in sources else "other files"
            raise ValueError(f"{folder} was prepared from {known} ({name} differs): {mend}")


def _refuse_strangers(folder: Path, ours: set[str]) -> None:
    """Raises ValueError where a folder that is to be replaced holds what we never wrote."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and str(path.relative_to(folder)) not in ours:
            raise ValueError(
                f"{folder} holds {path.relative_to(folder)}, which is no part of the prepared data: take it away, "
                "or name another folder with --data.cache"
            )


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
