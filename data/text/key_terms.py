"""Documents with their key terms, and the places in a document where they stand, as IOB tags."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from data.synthetic.grammar import grammar_sentences
from data.text.cache_folder import Written, prepare_once
from data.text.files import SPLITS

OUTSIDE, BEGIN, INSIDE = range(3)
SENTENCES = 6  # of a document that is made
TOKEN = re.compile(r"\w+(?:['’.&+/]\w+)*|[^\w\s]")


class Document(NamedTuple):
    """A text, its tokens and its key terms."""

    name: str
    tokens: tuple[str, ...]
    terms: tuple[str, ...]


@dataclass(frozen=True)
class KeyTermsConfig:
    """The choice of documents with key terms."""

    dir: Path | None = None
    """A folder, or a zip archive or a folder with one, of texts NAME.txt and their key terms NAME.key, a term a
    line (Inspec). Default: texts of a grammar, made from --data.seed."""
    test: int = 500
    """Documents for test: the last, in the order of their names."""
    valid: int = 100
    """Documents for validation: the last of the others."""
    documents: int = 300
    """Training documents that are made, and a fifth as many for validation and for test."""
    seed: int = 0
    """Seed of the documents that are made."""
    cache: Path | None = None
    """Folder for the prepared documents of --data.dir. Default: one per text in the user's cache."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        for name in ("test", "valid", "documents"):
            if getattr(self, name) < 1:
                raise ValueError(f"--data.{name} must be 1 or more, but is {getattr(self, name)}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"--data.seed must lie in 0 … 2**64 - 1, but is {self.seed}")


class DocumentText(NamedTuple):
    """Documents by split, train, valid and test, and a checksum by the name of each file."""

    splits: Mapping[str, Sequence[Document]]
    origin: Mapping[str, str]

    def summary(self) -> str:
        """Describes the documents: a line in total, and one for each split."""
        lines = [f"documents: {', '.join(self.origin)}"]
        for name, documents in self.splits.items():
            words, terms = (sum(len(document[side]) for document in documents) for side in (1, 2))
            lines.append(f"  {name:<6}{len(documents):>7,} documents, {words:,} tokens, {terms:,} key terms")
        return "\n".join(lines)


def load_documents(config: KeyTermsConfig) -> DocumentText:
    """Reads the documents of `--data.dir`, prepared once and then read from the cache, and splits them: the last
    `test` are for test, the last `valid` of the others for validation.

    Raises ValueError for every fault of files or settings, among them a document without key terms.
    """
    config.check()
    if config.dir is None:
        return made_documents(config)
    location = archive_of(config.dir)
    files = read_archive(location) if location.is_file() else read_folder(location)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    origin = {location.name: digest.hexdigest()}
    documents = prepare_once(
        config.cache,
        name=location.name,
        options={},
        sources=origin,
        prepare=lambda: parse_documents(files, location),
        write=_write,
        read=_read,
    )
    left = len(documents) - config.test - config.valid
    if left < 1:
        raise ValueError(
            f"{location} has {len(documents):,} documents, which leaves none to train on beside --data.test "
            f"{config.test} and --data.valid {config.valid}: lower them"
        )
    ends = (0, left, left + config.valid, len(documents))
    splits = {split: documents[start:end] for split, start, end in zip(SPLITS, ends, ends[1:], strict=False)}
    return DocumentText(splits, origin)


def made_documents(config: KeyTermsConfig) -> DocumentText:
    """Makes documents of the grammar's sentences on research, whose key phrases are their terms."""
    held_out = max(config.documents // 5, 1)
    count = config.documents + 2 * held_out
    sentences = grammar_sentences(config.seed, count * SENTENCES, kinds=("research",))
    documents = []
    for number in range(count):
        own = sentences[number * SENTENCES : (number + 1) * SENTENCES]
        tokens = tuple(token for sentence in own for token in (*sentence.words, "."))
        terms = tuple(dict.fromkeys(term for sentence in own for term in sentence.key_phrases))
        documents.append(Document(str(number + 1), tokens, terms))
    ends = (0, config.documents, config.documents + held_out, count)
    splits = {split: documents[start:end] for split, start, end in zip(SPLITS, ends, ends[1:], strict=False)}
    return DocumentText(splits, {f"made from seed {config.seed}": digest_of(documents)})


def digest_of(documents: Sequence[Document]) -> str:
    """Returns a checksum of documents."""
    return hashlib.sha256(json.dumps(documents, ensure_ascii=False).encode()).hexdigest()


def archive_of(location: Path) -> Path:
    """Returns the zip archive that is meant, or the folder of texts. Raises ValueError if there is nothing."""
    if not location.exists():
        raise ValueError(
            f"there is no file or folder {location}: name one that holds documents with --data.dir"
        )
    if location.is_file():
        return location
    archives = sorted(location.glob("*.zip"))
    if len(archives) > 1:
        raise ValueError(
            f"{location} holds {archives[0].name} and {archives[1].name}: name one with --data.dir"
        )
    return archives[0] if archives else location


def read_archive(path: Path) -> dict[str, bytes]:
    """Reads the texts and key terms of a zip archive: contents by file name. Raises ValueError if it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            return {Path(name).name: archive.read(name) for name in wanted(archive.namelist())}
    except zipfile.BadZipFile:
        raise ValueError(f"{path} is no zip archive, or damaged: give one, or a folder") from None


def read_folder(folder: Path) -> dict[str, bytes]:
    """Reads the texts and key terms of a folder and its folders: contents by file name."""
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    return {Path(name).name: (folder / name).read_bytes() for name in wanted(names)}


def wanted(names: Sequence[str]) -> list[str]:
    """Returns the names of key terms, and of texts: where a folder `docsutf8` holds them, of those alone."""
    texts = [name for name in names if name.endswith(".txt")]
    inside = [name for name in texts if Path(name).parent.name == "docsutf8"]
    return [*(inside or texts), *(name for name in names if name.endswith(".key"))]


def parse_documents(files: Mapping[str, bytes], location: Path) -> list[Document]:
    """Returns the documents of NAME.txt and NAME.key, in the order of their names, numbers by value.

    Raises ValueError, naming the file, for a text without key terms or words, and if there is no text at all.
    """
    names = sorted((name.removesuffix(".txt") for name in files if name.endswith(".txt")), key=_order)
    if not names:
        raise ValueError(
            f"{location} holds no documents: put texts NAME.txt there, and their key terms NAME.key"
        )
    documents = []
    for name in names:
        terms = read_terms(decoded(files.get(f"{name}.key", b""), f"{name}.key", location))
        if not terms:
            raise ValueError(
                f"the document {name}.txt of {location} has no key terms: list them in {name}.key, one a line, or "
                "take it out"
            )
        tokens = tokens_of(decoded(files[f"{name}.txt"], f"{name}.txt", location))
        if not tokens:
            raise ValueError(f"the document {name}.txt of {location} has no words: take it out")
        documents.append(Document(name, tokens, terms))
    return documents


def read_terms(text: str) -> tuple[str, ...]:
    """Returns the key terms of lines, each once, lower-cased. A tab within a line is where the term was wrapped,
    and reads as a blank; one before it is nothing."""
    lines = (" ".join(line.split()).lower() for line in text.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))


def tokens_of(text: str) -> tuple[str, ...]:
    """Returns the words, numbers and signs of a text. Parts joined by hyphens are words of their own, and the
    hyphen is a sign, since key terms and texts differ in them."""
    return tuple(TOKEN.findall(text))


def spelt(tokens: Sequence[str]) -> str:
    """Returns tokens as a term: lower-cased, with blanks between words, and none around hyphens and apostrophes."""
    return re.sub(r" ?([-'’/]) ?", r"\1", " ".join(tokens)).lower()


def stem_term(term: str) -> str:
    """Returns the stems of a term's words, by Porter's rules. Porter 1980."""
    return " ".join(map(stem, tokens_of(term.lower())))


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("porter")


@cache
def stem(word: str) -> str:
    """Returns the stem of a lower-cased word."""
    return _stemmer().stemWord(word)


def occurrences(tokens: Sequence[str], terms: Sequence[str]) -> list[tuple[int, int]]:
    """Returns the places `(start, end)` where stemmed terms stand among stemmed tokens, none within or across
    another: from the left, the longest at each place."""
    wanted = {tuple(term.split()) for term in terms}
    longest, start = max(map(len, wanted), default=0), 0
    found = []
    while start < len(tokens):
        ends = range(min(start + longest, len(tokens)), start, -1)
        end = next((end for end in ends if tuple(tokens[start:end]) in wanted), None)
        if end is not None:
            found.append((start, end))
        start = start + 1 if end is None else end
    return found


def iob_of(document: Document) -> Int32[np.ndarray, "T"]:
    """Returns the tag of each token: `BEGIN` and `INSIDE` a key term, whose words agree by their stems, or
    `OUTSIDE`."""
    stems = [stem(token.lower()) for token in document.tokens]
    tags = np.full(len(stems), OUTSIDE, np.int32)
    for start, end in occurrences(stems, [stem_term(term) for term in document.terms]):
        tags[start:end] = INSIDE
        tags[start] = BEGIN
    return tags


def spans(tokens: Sequence[str], longest: int = 6) -> Iterator[tuple[int, int]]:
    """Yields every span of up to `longest` tokens that begins and ends with a word."""
    words = [token[0].isalnum() for token in tokens]
    for start in range(len(tokens)):
        for end in range(start + 1, min(start + longest, len(tokens)) + 1):
            if words[start] and words[end - 1]:
                yield start, end


def _order(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (-1, name)


def decoded(content: bytes, name: str, location: Path) -> str:
    """Returns a file's text. Raises ValueError, naming the file, where it isn't UTF-8."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} of {location} is not UTF-8, at byte {error.start}: convert it") from None


def _write(folder: Path, documents: Sequence[Document]) -> Written:
    from data.text.tfds_records import write_records

    records = [
        {"name": document.name, "tokens": " ".join(document.tokens), "terms": "\n".join(document.terms)}
        for document in documents
    ]
    write_records(folder, {"train": records})
    return {}, {}


def _read(folder: Path, details: dict[str, Any]) -> list[Document]:
    from data.text.tfds_records import read_records

    return [
        Document(record["name"], tuple(record["tokens"].split(" ")), tuple(record["terms"].split("\n")))
        for record in read_records(folder, ["train"])["train"]
    ]
