"""Tagged sentences: both forms of files, the cache, the grammar's, and what is refused, with its line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from data.text.tagged import TaggedConfig, TaggedSentence, load_tagged

SHARED = Path(__file__).parents[4] / "shared" / "data"
SLOTS = {
    "seq.in": "fly to new york\nplay it\n",
    "seq.out": "O O B-to I-to\nO O\n",
    "label": "flight\nmusic\n",
}
CONLLU = """# text = I don't
1\tI\tI\tPRON\tPRP\t_\t2\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t0\troot\t_\t_
3\tn't\tnot\tPART\tRB\t_\t2\tadvmod\t_\t_
3.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_

1\tno\tno\tINTJ\tUH\t_\t0\troot\t_\t_
"""


@pytest.fixture
def slots(tmp_path: Path) -> Path:
    for split in ("train", "valid", "test"):
        (tmp_path / "slots" / split).mkdir(parents=True)
        for name, content in SLOTS.items():
            (tmp_path / "slots" / split / name).write_text(content)
    return tmp_path / "slots"


@pytest.fixture
def conllu(tmp_path: Path) -> Path:
    folder = tmp_path / "conllu"
    folder.mkdir()
    for split in ("train", "dev"):
        (folder / f"en-ud-{split}.conllu").write_text(CONLLU)
    (folder / "en-ud-test.conllu.gz").write_bytes(gzip.compress(CONLLU.rstrip().encode()))
    return folder


def test_slots_and_intents(slots: Path, tmp_path: Path) -> None:
    config = TaggedConfig(dir=slots, cache=tmp_path / "cache")
    text = load_tagged(config, "slots")
    first, second = text.splits["test"]
    assert first == TaggedSentence(("fly", "to", "new", "york"), ("O", "O", "B-to", "I-to"), "flight")
    assert second.label == "music"
    assert load_tagged(config, "slots") == text  # from the cache
    assert "3 tags, 2 labels" in text.summary()
    assert "2 sentences, 6 words, 0.0% not in train; 2 sentences occur in train" in text.summary()
    for split in ("train", "valid", "test"):
        (slots / split / "label").unlink()
    assert not load_tagged(TaggedConfig(dir=slots, cache=tmp_path / "other"), "slots").labels()


def test_parts_of_speech(conllu: Path, tmp_path: Path) -> None:
    """Ranges and empty nodes are no words; a last sentence without a blank line is there."""
    text = load_tagged(TaggedConfig(dir=conllu, cache=tmp_path / "a"), "upos")
    for split in ("train", "valid", "test"):
        assert text.splits[split] == [
            (("I", "do", "n't"), ("PRON", "AUX", "PART"), ""),
            (("no",), ("INTJ",), ""),
        ]
    fine = load_tagged(TaggedConfig(dir=conllu, cache=tmp_path / "b"), "xpos")
    assert fine.splits["train"][0].tags == ("PRP", "VBP", "RB")


def test_made_sentences() -> None:
    text = load_tagged(TaggedConfig(sentences=30, held_out=5), "slots")
    assert [len(found) for found in text.splits.values()] == [30, 5, 5]
    assert {"O", "B-to.city"} <= set(text.counts()) - {"NOUN"}
    assert set(text.labels()) <= {"flight", "fare", "table", "weather", "music"}
    assert text.splits["train"][0] not in text.splits["test"]
    tagged = load_tagged(TaggedConfig(sentences=30, held_out=5), "upos")
    assert {"NOUN", "VERB", "DET"} <= set(tagged.counts())
    assert not tagged.labels()


def spoil(path: str, old: str, new: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = (folder / path).read_text()
        assert old in content
        (folder / path).write_text(content.replace(old, new, 1))

    return write


SLOT_FAULTS = {
    "a line more": (spoil("valid/seq.in", "play it", "play it\nstop"), r"has 3 lines, but .*seq.out has 2"),
    "a tag less": (spoil("test/seq.out", "B-to I-to", "B-to"), "line 1 of .*seq.out has 3 tags, .* 4 words"),
    "an empty line": (spoil("train/seq.in", "play it", ""), "line 2 of .*seq.in is empty"),
    "no label": (spoil("train/label", "flight", ""), "line 1 of .*label is empty"),
    "no IOB": (spoil("train/seq.out", "I-to", "X-to"), "line 1 of .*seq.out has 'X-to', which is no IOB tag"),
    "a new type": (
        spoil("test/seq.out", "B-to I-to", "B-from I-from"),
        "the test split has B-from, I-from, which no training sentence has.*--data.unseen miss",
    ),
    "a new label": (spoil("valid/label", "music", "film"), "the valid split has film, which"),
    "no file": (lambda folder: (folder / "test" / "seq.out").unlink(), r"there is no file .*test.seq.out"),
    "no folder": (lambda folder: (folder / "valid").rename(folder / "rest"), "has no folder valid"),
}
CONLLU_FAULTS = {
    "too few columns": (
        spoil("en-ud-dev.conllu", "PRON\tPRP\t_\t2\t", "PRON\tPRP\t_\t"),
        "line 2 .* has 9 columns",
    ),
    "no tag": (spoil("en-ud-train.conllu", "AUX", "_"), "line 4 of .* has no upos"),
    "no sentence": (
        lambda folder: (folder / "en-ud-dev.conllu").write_text("# nothing\n"),
        "en-ud-dev.conllu holds no sentence",
    ),
    "no split": (lambda folder: (folder / "en-ud-dev.conllu").unlink(), "has no valid file in CoNLL-U"),
}


@pytest.mark.parametrize("fault", SLOT_FAULTS)
def test_faulty_slots(slots: Path, fault: str) -> None:
    damage, sentence = SLOT_FAULTS[fault]
    damage(slots)
    with pytest.raises(ValueError, match=sentence):
        load_tagged(TaggedConfig(dir=slots, cache=slots.parent / "cache"), "slots")


@pytest.mark.parametrize("fault", CONLLU_FAULTS)
def test_faulty_conllu(conllu: Path, fault: str) -> None:
    damage, sentence = CONLLU_FAULTS[fault]
    damage(conllu)
    with pytest.raises(ValueError, match=sentence):
        load_tagged(TaggedConfig(dir=conllu, cache=conllu.parent / "cache"), "upos")


def test_wrong_settings(slots: Path) -> None:
    spoil("test/seq.out", "B-to I-to", "B-from I-from")(slots)
    text = load_tagged(TaggedConfig(dir=slots, cache=slots.parent / "cache", unseen="miss"), "slots")
    assert "never in train: B-from, I-from" in text.summary()
    with pytest.raises(ValueError, match="there is no folder"):
        load_tagged(TaggedConfig(dir=slots / "none"), "slots")
    with pytest.raises(ValueError, match="have no xpos"):
        load_tagged(TaggedConfig(), "xpos")
    with pytest.raises(ValueError, match=r"--data.held-out must be 1 or more"):
        load_tagged(TaggedConfig(held_out=0), "slots")
    with pytest.raises(ValueError, match=r"--data.seed"):
        load_tagged(TaggedConfig(seed=-1), "slots")


@pytest.mark.skipif(not (SHARED / "atis").is_dir(), reason="needs ATIS")
def test_atis(tmp_path: Path) -> None:
    config = TaggedConfig(dir=SHARED / "atis", cache=tmp_path / "cache", unseen="miss")
    text = load_tagged(config, "slots")
    assert [len(found) for found in text.splits.values()] == [4478, 500, 893]
    assert (len(text.counts()), len(text.labels())) == (120, 21)
    assert "I-flight_number" in text.unseen("test")


@pytest.mark.skipif(not (SHARED / "ud-english-ewt").is_dir(), reason="needs EWT")
def test_ewt(tmp_path: Path) -> None:
    text = load_tagged(TaggedConfig(dir=SHARED / "ud-english-ewt", cache=tmp_path / "cache"), "upos")
    assert [len(found) for found in text.splits.values()] == [12544, 2001, 2077]
    assert sum(text.counts("test").values()) == 25094
    assert len(text.counts()) == 17
