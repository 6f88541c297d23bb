"""Files of text: what is found, read and cut, and the sentence for each fault."""

import gzip
from pathlib import Path

import pytest

from data import TextConfig, builtin_text, load_corpus
from data.text.files import find_files, read_file, split_text


def test_files_are_told_by_their_names(tmp_path: Path) -> None:
    for name in ("ptb.train.txt.gz", "ptb.valid.txt", "test.txt", "README.txt", "LICENSE.txt", "notes.md"):
        (tmp_path / name).write_text("x")
    found = {split: [path.name for path in paths] for split, paths in find_files(tmp_path).items()}
    assert found == {"train": ["ptb.train.txt.gz"], "valid": ["ptb.valid.txt"], "test": ["test.txt"]}
    assert find_files(tmp_path / "test.txt") == {"": [tmp_path / "test.txt"]}


def test_files_of_no_split_are_all_cut(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt.gz", "contest.txt"):  # contest is no test
        (tmp_path / name).write_text("x")
    assert [path.name for path in find_files(tmp_path)[""]] == ["a.txt.gz", "b.txt", "contest.txt"]


def test_text_plain_and_gzipped(tmp_path: Path) -> None:
    content = "\ufeffé one\r\ntwo\rthree\n".encode()
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed").write_bytes(gzip.compress(content))
    for name in ("plain", "packed"):
        assert read_file(tmp_path / name).content == content
        assert read_file(tmp_path / name).text() == "é one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no text: put files there whose names end in .txt"),
        ({"train.txt": "a", "b.txt": "a"}, "b.txt is of none of the splits train, valid, test by its name"),
        ({"train.txt": "a", "train.txt.gz": "a"}, "train.txt.gz are both train by their names: leave one"),
        ({"test.txt": "a", "valid.txt": "a"}, "has a file for valid and test, but none for train"),
    ],
)
def test_folders_that_leave_it_open(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        find_files(tmp_path)


def test_faults_of_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file or folder .*nowhere: name one"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there is no file"):
        read_file(tmp_path / "nowhere")
    path = tmp_path / "text"
    for empty in (b"", b" \n\n\t", gzip.compress(b"")):
        path.write_bytes(empty)
        with pytest.raises(ValueError, match="text is empty: give a file that holds text"):
            read_file(path)
    path.write_bytes(gzip.compress(b"abc" * 100)[:-12])
    with pytest.raises(ValueError, match="text is damaged: it begins as a gzip file"):
        read_file(path)
    path.write_bytes("é\nab".encode() + b"\xff c")
    place = r"not UTF-8: byte 0xff at offset 5 \(line 2\)"
    with pytest.raises(ValueError, match=f"{place}: name its encoding with --data.encoding"):
        read_file(path).text("utf-8")
    with pytest.raises(ValueError, match=f"{place}: convert it to UTF-8"):
        read_file(path).text()


def test_cut_by_characters() -> None:
    """As tinyshakespeare is cut in the literature: train is the first ⌊0.9 n⌋ characters."""
    text = "".join(chr(97 + i % 26) for i in range(1_115_394))
    parts = split_text(text, 0.1, 0.0, at_lines=False)
    assert {split: len(part) for split, part in parts.items()} == {"train": 1_003_854, "valid": 111_540}
    assert "".join(map(str, parts.values())) == text
    parts = split_text(b"0123456789", 0.1, 0.2, at_lines=False)
    assert parts == {"train": b"0123456", "valid": b"7", "test": b"89"}


def test_cut_at_lines_and_words() -> None:
    text = "one two\nthree\nfour five\nsix\n"
    parts = split_text(text, 0.25, 0.25, at_lines=True)
    assert parts == {"train": "one two\nthree\n", "valid": "four five\n", "test": "six\n"}
    one_line = split_text("aa bb cc dd ee ff", 0.3, 0.0, at_lines=True)
    assert one_line == {"train": "aa bb cc dd ", "valid": "ee ff"}
    with pytest.raises(
        ValueError, match="the text of 3 characters is too short to be cut: nothing is left for"
    ):
        split_text("a b", 0.1, 0.1, at_lines=True)


def test_embedded_text_is_prose_cut_once_and_for_all() -> None:
    parts = builtin_text()
    assert parts == builtin_text()
    sizes = {split: len(text) for split, text in parts.items()}
    assert 200_000 < sum(sizes.values()) < 600_000  # it differs by release of Python
    assert 0.7 < sizes["train"] / sum(sizes.values()) < 0.9
    lines = {split: text.splitlines() for split, text in parts.items()}
    every = [line for found in lines.values() for line in found]
    assert len(set(every)) == len(every)  # so nothing held out stands in the training text too
    assert not any(mark in "".join(every) for mark in ("::=", ">>>"))
    assert all(len(line.split()) >= 6 for line in every)
    spaced = builtin_text(words=True)["test"].splitlines()
    assert [line.replace(" ", "") for line in spaced] == [line.replace(" ", "") for line in lines["test"]]
    assert not any(word.endswith((".", ",")) and len(word) > 1 for line in spaced for word in line.split())


def test_nothing_but_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf\n")
    with pytest.raises(ValueError, match=r"a.txt is empty"):
        read_file(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("café crème\n", "latin-1"), ("“café”, it’s\n" * 9 + "a" * 99, "cp1252"), ("añ\n", "utf-16")],
)
def test_other_encodings(tmp_path: Path, text: str, encoding: str) -> None:
    """Text that isn't UTF-8 is refused with the likely encoding, and read where that is named."""
    source = tmp_path / "source"
    source.mkdir()
    for split in ("train", "valid"):
        (source / f"{split}.txt").write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=rf"not UTF-8: .*: add --data.encoding {encoding}"):
        load_corpus(TextConfig(dir=source, unit="character", cache=tmp_path / "one"))
    with pytest.raises(ValueError, match=r"not UTF-8: .*: convert it to UTF-8$"):
        read_file(source / "train.txt").text()
    corpus = load_corpus(TextConfig(dir=source, unit="character", cache=tmp_path / "two", encoding=encoding))
    assert corpus.tokenizer.decode(corpus.split("train")) == text
    with pytest.raises(ValueError, match=r"--data.encoding 'martian' is none that Python knows"):
        load_corpus(TextConfig(dir=source, encoding="martian"))
    with pytest.raises(ValueError, match="is not ascii: its bytes at offset"):
        load_corpus(TextConfig(dir=source, encoding="ascii"))
    with pytest.raises(ValueError, match=r"--data.encoding is for the files of --data.dir read as text"):
        load_corpus(TextConfig(encoding=encoding))


def test_a_folder_without_a_file_to_validate(tmp_path: Path) -> None:
    """Of train and test only: the last tenth of train, line by line, is to validate."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.txt").write_text("a b\n" * 100)
    (source / "test.txt").write_text("b a\n")
    corpus = load_corpus(TextConfig(dir=source, cache=tmp_path / "one"))
    assert {name: size.lines for name, size in corpus.sizes.items()} == {"train": 90, "valid": 10, "test": 1}
    again = load_corpus(TextConfig(dir=source, valid_share=0.25, cache=tmp_path / "two"))
    assert again.sizes["valid"].lines == 25
    with pytest.raises(ValueError, match="has files for its parts"):
        load_corpus(TextConfig(dir=source, test_share=0.2))
