"""Sentences with a class each: both forms of files, folds, the cache, and what is refused."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from data.text.classified import (
    FOLDS,
    ClassifiedConfig,
    ClassifiedSentence,
    classes_of,
    folds,
    load_classified,
)

SHARED = Path(__file__).parents[4] / "shared" / "data"
TRAIN = "a fine film\tgood\nno fun\tbad\n" + "so so\tbad\n" * 8


@pytest.fixture
def tabbed(tmp_path: Path) -> Path:
    folder = tmp_path / "tabbed"
    folder.mkdir()
    (folder / "train.tsv").write_text(TRAIN)
    (folder / "test.tsv.gz").write_bytes(gzip.compress(b"a fine film\tgood\nfine fun\tgood\n"))
    return folder


@pytest.fixture
def by_class(tmp_path: Path) -> Path:
    folder = tmp_path / "by_class"
    folder.mkdir()
    (folder / "mr.pos").write_text("".join(f"fine {i}\n" for i in range(40)))
    (folder / "mr.neg").write_text("".join(f"poor {i}\n" for i in range(30)) + "poor 0\n")
    return folder


def test_tabbed_files(tabbed: Path, tmp_path: Path) -> None:
    """A share of the training sentences is for validation; with a file for it, none is; prepared once."""
    config = ClassifiedConfig(dir=tabbed, cache=tmp_path / "cache", valid_share=0.2)
    text = load_classified(config)
    assert {name: len(found) for name, found in text.splits.items()} == {"train": 8, "valid": 2, "test": 2}
    assert text.splits["test"][0] == ClassifiedSentence(("a", "fine", "film"), "good")
    assert text.classes == ("bad", "good") or {s.label for s in text.splits["train"]} == {"bad"}
    assert not text.folded
    assert load_classified(config) == text  # from the cache
    (tabbed / "dev.tsv").write_text("no fun\tbad\n")
    text = load_classified(ClassifiedConfig(dir=tabbed, cache=tmp_path / "other"))
    assert [len(text.splits[name]) for name in ("train", "valid")] == [10, 1]
    assert "test          2 sentences, 5 words; 1 occur in train" in text.summary()


def test_ten_folds(by_class: Path, tmp_path: Path) -> None:
    """Every sentence is tested in one fold, an equal one in the same; each fold holds its share of each class."""
    texts = [
        load_classified(ClassifiedConfig(dir=by_class, cache=tmp_path / "cache", fold=fold, seed=3))
        for fold in range(1, FOLDS + 1)
    ]
    tested = [text.splits["test"] for text in texts]
    assert sorted(s for found in tested for s in found) == sorted(
        [ClassifiedSentence(("fine", str(i)), "pos") for i in range(40)]
        + [ClassifiedSentence(("poor", str(i)), "neg") for i in [*range(30), 0]]
    )
    for text, found in zip(texts, tested, strict=True):
        assert text.folded
        assert sum(s.label == "pos" for s in found) == 4
        assert sum(map(len, text.splits.values())) == 71
        trained = {s.words for split in ("train", "valid") for s in text.splits[split]}
        assert not trained & {s.words for s in found}
    assert folds(tested[0], 0) != folds(tested[0], 1)


def test_made_sentences() -> None:
    """Without files sentences of both classes are made, different ones in each split."""
    text = load_classified(ClassifiedConfig(sentences=60, held_out=20))
    assert [len(found) for found in text.splits.values()] == [60, 20, 20]
    assert text.classes == classes_of(text.splits["train"]) == ("negative", "positive")
    assert len({s.words for found in text.splits.values() for s in found}) == 100
    assert load_classified(ClassifiedConfig(sentences=60, held_out=20)) == text


def first_line(line: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "train.tsv").write_text(f"{line}\n{TRAIN}")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (first_line("no tab"), r"line 1 of .*train.tsv must be a sentence, one tab and a class of one word"),
        (first_line("two\ttabs\tbad"), r"line 1 of .*train.tsv must be a sentence, one tab"),
        (first_line("\tbad"), r"line 1 of .*train.tsv must be a sentence, one tab"),
        (
            lambda folder: (folder / "dev.tsv").write_text("a\tbad\nb\tawful\n"),
            r"line 2 of .*dev.tsv has the class 'awful', outside those of the training sentences, bad, good",
        ),
        (lambda folder: (folder / "test.tsv.gz").unlink(), r"tabbed has no test.tsv: give one"),
        (lambda folder: (folder / "train.tsv").rename(folder / "b.tsv"), r"is of none of the splits"),
    ],
)
def test_what_is_refused(
    tabbed: Path, tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(tabbed)
    with pytest.raises(ValueError, match=sentence):
        load_classified(ClassifiedConfig(dir=tabbed, cache=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_other_faults(tabbed: Path, by_class: Path, tmp_path: Path) -> None:
    for path in tabbed.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="holds no classified sentences: put train"):
        load_classified(ClassifiedConfig(dir=tabbed))
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        load_classified(ClassifiedConfig(dir=tmp_path / "nowhere"))
    (by_class / "mr.pos").write_text("fine\n\n")
    with pytest.raises(ValueError, match=r"line 2 of .*mr.pos is empty: take it out"):
        load_classified(ClassifiedConfig(dir=by_class, cache=tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"--data.fold must lie in 1 … 10, but is 0"):
        ClassifiedConfig(fold=0).check()
    with pytest.raises(ValueError, match=r"--data.valid-share must lie between 0 and 1, but is 1"):
        ClassifiedConfig(valid_share=1.0).check()


@pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason="SST-2 isn't there")
def test_sst2(tmp_path: Path) -> None:
    text = load_classified(ClassifiedConfig(dir=SHARED / "sst2", cache=tmp_path / "cache"))
    counts = {name: (len(found), sum(s.label == "1" for s in found)) for name, found in text.splits.items()}
    assert counts == {"train": (6920, 3610), "valid": (872, 444), "test": (1821, 909)}


@pytest.mark.skipif(not (SHARED / "rt-polarity").is_dir(), reason="MR isn't there")
def test_mr(tmp_path: Path) -> None:
    text = load_classified(ClassifiedConfig(dir=SHARED / "rt-polarity", cache=tmp_path / "cache", fold=10))
    sizes = [len(text.splits[name]) for name in ("train", "valid", "test")]
    assert sum(sizes) == 10_662
    assert abs(sizes[2] - 1066) < 5
    assert text.classes == classes_of(text.splits["test"]) == ("neg", "pos")
