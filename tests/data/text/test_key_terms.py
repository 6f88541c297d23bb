"""Documents with key terms: files, stems, places in the text, the cache, and what is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from data.text.key_terms import (
    BEGIN,
    INSIDE,
    OUTSIDE,
    Document,
    KeyTermsConfig,
    iob_of,
    load_documents,
    occurrences,
    read_terms,
    spans,
    spelt,
    stem,
    stem_term,
    tokens_of,
)

INSPEC = Path(__file__).parents[4] / "shared" / "data" / "inspec"
TEXT = "A three-player quantum game.\r\nThe players' games are quantum games"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents 2, 9 and 10, numbered so that names and numbers differ in order."""
    home = tmp_path / "documents"
    for name in ("docsutf8", "keys"):
        (home / name).mkdir(parents=True)
    for number in (2, 9, 10):
        (home / "docsutf8" / f"{number}.txt").write_text(TEXT)
        (home / "keys" / f"{number}.key").write_text(f"quantum game\n\tthree-player\tgames\nterm {number}\n")
    (home / "lan.txt").write_text("EN")
    return home


def config(location: Path, **options: int) -> KeyTermsConfig:
    return KeyTermsConfig(dir=location, cache=location.parent / "cache", **{"test": 1, "valid": 1, **options})


def test_documents_of_a_folder_and_of_an_archive(folder: Path) -> None:
    """The last is for test, the one before for validation; the same from a zip archive, and from the cache."""
    text = load_documents(config(folder))
    assert [[d.name for d in found] for found in text.splits.values()] == [["2"], ["9"], ["10"]]
    (document,) = text.splits["test"]
    assert document.terms == ("quantum game", "three-player games", "term 10")
    assert document.tokens[:5] == ("A", "three", "-", "player", "quantum")
    assert load_documents(config(folder)) == text
    with zipfile.ZipFile(folder.parent / "a.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, f"Set/{path.relative_to(folder)}")
    packed = load_documents(
        KeyTermsConfig(dir=folder.parent / "a.zip", test=1, valid=1, cache=folder.parent / "b")
    )
    assert packed.splits == text.splits
    assert "train       1 documents, 14 tokens, 3 key terms" in text.summary()


def test_wrapped_terms() -> None:
    """A tab before a line is nothing, one within it a blank; equal terms count once."""
    read = read_terms("quantum game\r\n\tnonzero\tsum difficulty\r\n\r\nQuantum  game\n")
    assert read == ("quantum game", "nonzero sum difficulty")


def test_stems_are_porters() -> None:
    """Examples of Porter 1980."""
    words = {
        "caresses": "caress",
        "ponies": "poni",
        "relational": "relat",
        "hopefulness": "hope",
        "rate": "rate",
    }
    assert {word: stem(word) for word in words} == words
    assert stem_term("Three-Player Quantum games") == "three - player quantum game"
    assert spelt(tokens_of("Three-player game's  a.b C")) == "three-player game's a.b c"


def test_tags() -> None:
    """Stems agree; the longest term at a place wins; terms that touch begin anew."""
    tokens = tokens_of("quantum games quantum game theory of games")
    document = Document("1", tokens, ("quantum game", "quantum game theory", "game"))
    assert iob_of(document).tolist() == [BEGIN, INSIDE, BEGIN, INSIDE, INSIDE, OUTSIDE, BEGIN]
    assert occurrences(["a", "b", "a"], ["a b", "b a"]) == [(0, 2)]
    assert occurrences(["a"], []) == []


def test_tags_agree_with_a_search_by_text() -> None:
    """Of terms without a common word: the marked tokens are those that a search of the stemmed text finds."""
    random = np.random.default_rng(0)
    for _ in range(50):
        words = random.choice(list("abcdef"), 30).tolist()
        terms = ("a b", "c", "d e f")
        tags = iob_of(Document("1", tuple(words), terms))
        text = " ".join(words)
        assert (tags == BEGIN).sum() == sum(
            f" {text} ".replace(" ", "  ").count(f" {t.replace(' ', '  ')} ") for t in terms
        )


def test_spans_begin_and_end_with_words() -> None:
    found = list(spans(("a", "-", "b", "."), longest=3))
    assert found == [(0, 1), (0, 3), (2, 3)]


def test_what_is_refused(folder: Path) -> None:
    (folder / "keys" / "9.key").write_text("\n")
    with pytest.raises(ValueError, match=r"the document 9.txt of .* has no key terms: list them in 9.key"):
        load_documents(config(folder))
    (folder / "keys" / "9.key").write_text("a\n")
    (folder / "docsutf8" / "2.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"2.txt of .* is not UTF-8, at byte 0"):
        load_documents(config(folder))
    (folder / "docsutf8" / "2.txt").write_text(" ")
    with pytest.raises(ValueError, match=r"the document 2.txt of .* has no words: take it out"):
        load_documents(config(folder))
    (folder / "docsutf8" / "2.txt").write_text("a")
    with pytest.raises(
        ValueError, match=r"has 3 documents, which leaves none to train on beside --data.test 2"
    ):
        load_documents(config(folder, test=2))
    (folder / "a.zip").write_text("no archive")
    with pytest.raises(ValueError, match=r"a.zip is no zip archive, or damaged"):
        load_documents(config(folder))
    (folder / "b.zip").write_text("no archive")
    with pytest.raises(ValueError, match=r"holds a.zip and b.zip: name one"):
        load_documents(config(folder))
    with pytest.raises(ValueError, match="there is no file or folder"):
        load_documents(config(folder / "nowhere"))
    empty = folder.parent / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"holds no documents: put texts NAME.txt there"):
        load_documents(KeyTermsConfig(dir=empty, cache=empty.parent / "other"))
    with pytest.raises(ValueError, match=r"--data.test must be 1 or more, but is 0"):
        KeyTermsConfig(test=0).check()


@pytest.mark.skipif(not INSPEC.is_dir(), reason="Inspec isn't there")
def test_inspec(tmp_path: Path) -> None:
    """Its key terms: 13.6 a document, of which 58 % stand in the text as they are, 61 % by their stems."""
    text = load_documents(KeyTermsConfig(dir=INSPEC, cache=tmp_path / "cache"))
    documents = [document for found in text.splits.values() for document in found]
    assert len(documents) == 2000
    assert len(text.splits["test"]) == 500
    total = sum(len(document.terms) for document in documents)
    assert total / 2000 == pytest.approx(13.63, abs=0.01)
    standing = []
    for normal in (str.lower, stem_term):
        texts = [f" {normal(' '.join(document.tokens))} " for document in documents]
        terms = [
            [f" {normal(' '.join(tokens_of(term)))} " for term in document.terms] for document in documents
        ]
        standing.append(sum(term in text for text, own in zip(texts, terms, strict=True) for term in own))
    assert standing[0] / total == pytest.approx(0.580, abs=0.002)
    assert standing[1] / total == pytest.approx(0.608, abs=0.002)


def test_made_documents() -> None:
    """Without files documents are made, each of its own sentences; all of their key terms stand in them."""
    text = load_documents(KeyTermsConfig(documents=20))
    assert [len(found) for found in text.splits.values()] == [20, 4, 4]
    documents = [document for found in text.splits.values() for document in found]
    for document in documents:
        written = f" {' '.join(document.tokens)} "
        assert document.terms
        assert all(f" {term} " in written for term in document.terms)
        assert (iob_of(document) == BEGIN).sum() >= len(document.terms) - 1
    sentences = [s for d in documents for s in " ".join(d.tokens).split(" . ")]
    assert len(set(sentences)) > 0.9 * len(sentences)
