"""Prepared text: read again as it was, verified, refused where it is another's, and whole or not there."""

import codecs
import dataclasses
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data.text.cache
from data import Corpus, TextConfig, load_corpus, load_tokenizer
from data.text.tfds_cache import BLOCK
from data.text.tokenizers import Unit

TRAIN, VALID = "a b c a b\n" * 20_000, "a c b\n" * 10


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two files, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "train.txt").write_text(TRAIN)
    (folder / "valid.txt").write_text(VALID)
    return folder


def same(one: Corpus, other: Corpus) -> bool:
    return (
        all(np.array_equal(one.splits[split], other.splits[split]) for split in {*one.splits, *other.splits})
        and one.sizes == other.sizes
        and one.tokenizer == other.tokenizer
    )


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each text that is taken apart."""
    calls: list[int] = []
    real = data.text.cache.tokenise

    def counted(*arguments):
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(data.text.cache, "tokenise", counted)
    return calls


@pytest.mark.parametrize("unit", ["word", "character", "byte", "bpe"])
def test_prepared_once(source: Path, once: list[int], unit: Unit) -> None:
    config = TextConfig(dir=source, unit=unit, bpe_size=9 if unit == "bpe" else TextConfig.bpe_size)
    first = load_corpus(config)
    assert first.sizes["train"].tokens > BLOCK  # several records
    again = load_corpus(config)
    assert len(once) == 1
    assert same(first, again)
    assert first.tokenizer.decode(again.split("valid")) == VALID
    assert again.splits["train"].dtype == np.int32


def test_a_cache_of_its_own_for_each_setting_and_text(source: Path, once: list[int]) -> None:
    load_corpus(TextConfig(dir=source))
    load_corpus(TextConfig(dir=source, min_count=3))
    (source / "valid.txt").write_text("b a\n")
    assert load_corpus(TextConfig(dir=source)).sizes["valid"].tokens == 3
    assert len(once) == 3


def test_a_named_folder_is_of_one_text_and_setting(source: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    load_corpus(TextConfig(dir=source, cache=kept))
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    with pytest.raises(
        ValueError, match=r"kept was prepared with --data.unit word, not character: name another"
    ):
        load_corpus(TextConfig(dir=source, cache=kept, unit="character"))
    with pytest.raises(ValueError, match=r"prepared with --data.vocabulary-limit None, not 2"):
        load_corpus(TextConfig(dir=source, cache=kept, vocabulary_limit=2))
    (source / "valid.txt").write_text("b a\n")
    with pytest.raises(ValueError, match=r"kept was prepared from another text \(valid.txt differs\)"):
        load_corpus(TextConfig(dir=source, cache=kept))
    (source / "test.txt").write_text("b a\n")
    (source / "valid.txt").write_text(VALID)
    with pytest.raises(ValueError, match=r"kept was prepared from other files \(test.txt differs\)"):
        load_corpus(TextConfig(dir=source, cache=kept))
    assert before == {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"text has files, but no prepared.json: name an empty"):
        load_corpus(TextConfig(dir=source, cache=source))


def damaged_files(kept: Path) -> list[Path]:
    return [path for path in sorted(kept.rglob("*")) if path.is_file()]


def test_damage_is_seen_and_mended(
    source: Path, tmp_path: Path, once: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte flipped in each file, and each file gone: said, prepared anew, and the same as before."""
    kept = tmp_path / "kept"
    config = TextConfig(dir=source, cache=kept)
    first = load_corpus(config)
    names = [path.relative_to(kept) for path in damaged_files(kept)]
    assert len(names) >= 5
    for name in names:
        content = bytearray((kept / name).read_bytes())
        content[len(content) // 2] ^= 0xFF
        (kept / name).write_bytes(content)
        capsys.readouterr()
        assert same(load_corpus(config), first)
        assert f"are damaged ({name} has been altered): preparing them" in capsys.readouterr().out
    (kept / "vocabulary.json").unlink()
    assert same(load_corpus(config), first)
    assert "(vocabulary.json is missing)" in capsys.readouterr().out
    assert len(once) == 2 + len(names)


def test_a_failure_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk full at the last file: no folder, no remains, and the next call prepares."""

    def full(self: Corpus) -> None:
        raise OSError(28, "No space left on device")

    kept = tmp_path / "kept"
    with monkeypatch.context() as patched:
        patched.setattr(Corpus, "tokenizer_files", full)
        with pytest.raises(OSError, match="No space left"):
            load_corpus(TextConfig(dir=source, cache=kept))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]
    assert load_corpus(TextConfig(dir=source, cache=kept)).sizes["valid"].tokens == 40


def test_an_interruption_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the first thing written: the temporary folder itself."""
    made = Path.mkdir

    def interrupted(self: Path, *given: Any, **more: Any) -> None:
        made(self, *given, **more)
        if ".making-" in self.name:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_corpus(TextConfig(dir=source, cache=tmp_path / "kept"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


def test_leftovers_of_killed_processes_are_removed_after_a_day(source: Path, tmp_path: Path) -> None:
    """Those that look like the cache's own and are old; a young one may still be written, others are the user's."""
    names = ["a.making-0123456789abcdef", "b.making-0123456789abcdef", "a.making-thesis"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("a")
        for path in (tmp_path / name / "file", tmp_path / name):
            os.utime(path, (0, 0))
    (tmp_path / names[1] / "new").write_text("a")
    load_corpus(TextConfig(dir=source, cache=tmp_path / "kept"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[1:], "kept", "text"])


def test_bad_text_leaves_nothing(source: Path, tmp_path: Path) -> None:
    (source / "valid.txt").write_text("x y\n")
    with pytest.raises(ValueError, match="only unknown words"):
        load_corpus(TextConfig(dir=source))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


def test_no_home(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder must be named where neither HOME nor the user database tells of one."""

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ValueError, match=r"there is no home folder .* name a folder by --data.cache"):
        load_corpus(TextConfig(dir=source))
    assert load_corpus(TextConfig(dir=source, cache=source.parent / "kept")).sizes["valid"].tokens == 40


def test_names_that_are_not_utf8(source: Path, once: list[int]) -> None:
    """Text is read from such a folder and kept in one whose name is; to keep it in such a folder is refused."""
    odd = source.rename(os.fsdecode(bytes(source) + b"\xff"))
    (odd / "train.txt").rename(odd / os.fsdecode(b"train\xfe.txt"))
    first = load_corpus(TextConfig(dir=odd))
    assert same(first, load_corpus(TextConfig(dir=odd)))
    assert len(once) == 1
    (kept,) = (source.parent / "cache" / "unroll" / "text").iterdir()
    assert kept.name.startswith("text\ufffd-")
    with pytest.raises(ValueError, match="is not UTF-8, and no text can be prepared there"):
        load_corpus(TextConfig(dir=odd, cache=odd / "kept"))


def test_files_that_are_cut(tmp_path: Path) -> None:
    """Each is cut alike, in the order of their names; shares are among the settings."""
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "b.txt").write_text("dddddddddd")
    (folder / "a.txt").write_text("aaaaaaaacd")
    config = TextConfig(dir=folder, unit="character", cache=tmp_path / "kept")
    corpus = load_corpus(config)
    assert {split: corpus.tokenizer.decode(ids) for split, ids in corpus.splits.items()} == {
        "train": "aaaaaaaadddddddd", "valid": "<unk>d", "test": "dd"
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"was prepared with --data.valid-share 0.1, not 0.2"):
        load_corpus(TextConfig(dir=folder, unit="character", cache=tmp_path / "kept", valid_share=0.2))


def test_the_embedded_text_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    corpus = load_corpus(TextConfig(unit="character"))
    assert list(corpus.splits) == ["train", "valid", "test"]
    ((name, checksum),) = corpus.origin.items()
    assert name == "Python's language reference"
    assert len(checksum) == 64
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ValueError, match=r"--data.cache is for --data.dir"):
        load_corpus(TextConfig(cache=tmp_path))


@pytest.mark.parametrize("unit", ["word", "character", "byte", "bpe"])
def test_a_tokenizer_saved_with_a_run(tmp_path: Path, unit: Unit) -> None:
    corpus = load_corpus(TextConfig(unit=unit, bpe_size=300 if unit == "bpe" else TextConfig.bpe_size))
    for name, content in corpus.tokenizer_files().items():
        (tmp_path / name).write_bytes(content)
    assert load_tokenizer(tmp_path, unit) == corpus.tokenizer
    shutil.rmtree(tmp_path)


def test_whole_files_begin_lines(tmp_path: Path) -> None:
    """Of several files without a last line break none is glued to the next, and each last line has its end."""
    folder = tmp_path / "books"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.txt").write_text(f"{name}1 x\n" * 8 + "x y\n" + f"x {name}z")
    corpus = load_corpus(TextConfig(dir=folder, min_count=1, cache=tmp_path / "kept"))
    text = {split: corpus.tokenizer.decode(ids) for split, ids in corpus.splits.items()}
    assert text["train"] == "a1 x\n" * 8 + "b1 x\n" * 8
    assert text["test"].count("\n") == 2
    assert corpus.sizes["test"].tokens == 6


def test_a_manifest_is_verified_too(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept"
    config = TextConfig(dir=source, cache=kept)
    first = load_corpus(config)
    manifest = kept / "prepared.json"
    content = manifest.read_text()
    for altered in (
        content.replace('"characters": 2', '"characters": 9', 1),
        content.replace('"form"', '"from"'),
    ):
        assert altered != content
        manifest.write_text(altered)
        assert same(load_corpus(config), first)
        assert "(prepared.json has been altered)" in capsys.readouterr().out


def test_nothing_of_the_users_is_taken_away(source: Path, tmp_path: Path) -> None:
    """A folder with a `prepared.json` of somebody else's, and a damaged one with a file put beside."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "prepared.json").write_text('{"prepared": true}')
    (mine / "thesis.txt").write_text("thesis")
    with pytest.raises(ValueError, match=r"mine contains thesis.txt"):
        load_corpus(TextConfig(dir=source, cache=mine))
    assert (mine / "thesis.txt").read_text() == "thesis"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "text"]


def test_lines_too_long_are_refused_before_and_after_preparing(source: Path) -> None:
    (source / "train.txt").write_text("a b c\n" + "a " * 100 + "\n")
    load_corpus(TextConfig(dir=source))
    with pytest.raises(ValueError, match=r"line 2 of .*train.txt has 200 characters, more than 150"):
        load_corpus(TextConfig(dir=source, longest_line=150))
    (source / "train.txt").unlink()
    (source / "valid.txt").write_text("a" * 200)
    with pytest.raises(ValueError, match=r"has 200 characters"):
        load_corpus(TextConfig(dir=source / "valid.txt", longest_line=150))


@pytest.mark.parametrize("valid", ["x y\n", "x <unk> y\n", "<unk>\n"])
def test_a_text_of_which_nothing_is_known(source: Path, valid: str) -> None:
    (source / "valid.txt").write_text(valid)
    with pytest.raises(ValueError, match="only unknown words"):
        load_corpus(TextConfig(dir=source))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"valid_share": 0.2}, "has files for its parts"),
        ({"unit": "byte", "vocabulary_limit": 5}, "--data.vocabulary-limit is for characters and words"),
        ({"unit": "bpe", "min_count": 5}, "--data.min-count is for characters and words"),
        (
            {"unit": "character", "bpe_size": 2},
            "--data.bpe-size is for --data.unit bpe, not for .* character",
        ),
        ({"unit": "byte", "longest_line": 9}, "--data.longest-line is for words and bpe, not for .* byte"),
        ({"tfds_feature": "label"}, "--data.tfds-feature is for --data.tfds"),
        ({"dir": None, "test_share": 0.0}, "the embedded text has its parts"),
    ],
)
def test_options_that_would_do_nothing(source: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_corpus(dataclasses.replace(TextConfig(dir=source), **options))


def test_characters_are_counted_whatever_the_unit(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("привет мир\n" * 20)
    (tmp_path / "valid.txt").write_text("мир\n")
    units: tuple[Unit, ...] = ("character", "byte", "word")
    for unit in units:
        config = TextConfig(dir=tmp_path, unit=unit, cache=tmp_path / unit)
        assert load_corpus(config).sizes["valid"].characters == 4


def test_a_text_of_a_byte_order_mark_alone(source: Path) -> None:
    (source / "valid.txt").write_bytes(codecs.BOM_UTF16_LE)
    (source / "train.txt").write_bytes("a b\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"valid.txt is empty: give a text that holds something"):
        load_corpus(TextConfig(dir=source, encoding="utf-16"))
