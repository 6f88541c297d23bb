"""Corpora in each layout, as the tests write them; what can't be used; utterances joined by index; batches."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from data.speech.batches import SpeechEncoder, collate_speech, joined_batches
from data.speech.corpus import SpeechConfig, load_speech
from data.speech.features import FeaturesConfig, FrontEnd
from data.speech.joined import JoinConfig, JoinedUtterances, Part, Utterance, single_utterance
from data.speech.labels import Labels, labels_as_text, labels_from_text, learn_labels
from data.speech.recordings import Recording
from data.speech.sound import Sound, wav_bytes

FSDD = Path(__file__).resolve().parents[4] / "shared" / "data" / "fsdd"


def wav(seed: int, size: int = 900) -> bytes:
    return wav_bytes(Sound(np.random.default_rng(seed).uniform(-0.5, 0.5, size).astype(np.float32), 8000))


def write_fsdd(folder: Path) -> None:
    """Two speakers, one packed."""
    folder.mkdir()
    for index in (0, 5, 10, 11):
        (folder / f"3_ann_{index}.wav").write_bytes(wav(index))
    with tarfile.open(folder / "bob.tar.gz", "w:gz") as archive:
        for index in (1, 6, 12):
            content = wav(index)
            member = tarfile.TarInfo(f"bob/8_bob_{index}.wav")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_librispeech(folder: Path) -> None:
    for split in ("train-clean", "dev-clean", "test-clean"):
        chapter = folder / split / "84" / "121"
        chapter.mkdir(parents=True)
        (chapter / "84-121-0000.wav").write_bytes(wav(1))
        (chapter / "84-121.trans.txt").write_text("84-121-0000 GO ON\n")


def write_common_voice(folder: Path) -> None:
    (folder / "clips").mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (folder / "clips" / f"{split}.wav").write_bytes(wav(2))
        (folder / f"{split}.tsv").write_text(f'client_id\tpath\tsentence\nc1\t{split}.mp3\t"Go" On\n')


def write_csv(folder: Path) -> None:
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.wav").write_bytes(wav(number))
    rows = "".join(f"{number}.wav,Go on\n" for number in range(12))
    (folder / "train.csv").write_text(f"file,text\n{rows}")


@pytest.mark.parametrize(
    ("write", "sizes", "texts"),
    [
        (write_fsdd, [3, 2, 2], {"three", "eight"}),
        (write_librispeech, [1, 1, 1], {"go on"}),
        (write_common_voice, [1, 1, 1], {'"go" on'}),
        (write_csv, [10, 1, 1], {"go on"}),
    ],
    ids=["fsdd", "librispeech", "common voice", "csv"],
)
def test_layouts(write, sizes: list[int], texts: set[str], tmp_path: Path) -> None:
    """Read, and read again from the cache."""
    write(tmp_path / "files")
    config = SpeechConfig(
        tmp_path / "files", alphabet='abcdefghijklmnopqrstuvwxyz "', cache=tmp_path / "kept"
    )
    first, again = load_speech(config), load_speech(config)
    assert [len(found) for found in first.splits.values()] == sizes
    for split, found in first.splits.items():
        assert {one.text for one in found} <= texts
        for one, kept in zip(found, again.splits[split], strict=True):
            np.testing.assert_array_equal(one.samples, kept.samples)
            assert one[1:] == kept[1:]
    assert "files" in first.summary()


def test_a_speaker_is_left_out(tmp_path: Path) -> None:
    write_fsdd(tmp_path / "files")
    found = load_speech(SpeechConfig(tmp_path / "files", left_out="bob", cache=tmp_path / "kept"))
    assert {split: {one.speaker for one in part} for split, part in found.splits.items()} == {
        "train": {"ann"}, "valid": {"ann"}, "test": {"bob"},
    }  # fmt: skip
    assert found.words
    with pytest.raises(ValueError, match="left-out eve is none of the speakers: there are ann, bob"):
        load_speech(SpeechConfig(tmp_path / "files", left_out="eve", cache=tmp_path / "kept"))


BAD = {
    "letter": ("1.wav,naïve", "row 2 of .*train.csv has the letter 'ï'"),
    "missing": ("none.wav,go", "row 2 of .*train.csv: there is no file .*none.wav"),
    "text": ("1.wav,", "row 2 of .*train.csv has no text"),
    "entries": ("1.wav,a,b", "row 2 of .*train.csv doesn't have as many entries"),
    "sound": ("train.csv,go", "row 2 of .*train.csv: .*train.csv is no WAV file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_named_and_can_be_left_out(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row, said = BAD[name]
    write_csv(tmp_path / "files")
    table = tmp_path / "files" / "train.csv"
    table.write_text(table.read_text().replace("\n0.wav,Go on", f"\n{row}"))
    with pytest.raises(ValueError, match=said) as refused:
        load_speech(SpeechConfig(table, cache=tmp_path / "kept"))
    assert "\n" not in str(refused.value)
    if name != "entries":  # a table that can't be read has no rows to leave out
        for _ in range(2):  # from the cache too
            found = load_speech(SpeechConfig(table, skip_bad=1, cache=tmp_path / "kept"))
            assert sum(map(len, found.splits.values())) == 11
            assert capsys.readouterr().out.startswith("left out: row 2 of")
        with pytest.raises(ValueError, match=said):
            load_speech(SpeechConfig(table, cache=tmp_path / "kept"))


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no file or folder"), ("", "in a layout that is known")]
)
def test_no_layout_is_refused(content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "files").mkdir()
    with pytest.raises(ValueError, match=said):
        load_speech(SpeechConfig(tmp_path / "files"))


@pytest.mark.slow
@pytest.mark.skipif(not FSDD.is_dir(), reason="the recordings of FSDD are not there")
def test_fsdd_is_whole(tmp_path: Path) -> None:
    found = load_speech(SpeechConfig(FSDD, cache=tmp_path))
    assert [len(part) for part in found.splits.values()] == [1600, 200, 200]
    assert min(len(one.samples) for part in found.splits.values() for one in part) < 0.15 * 8000


WORDS = [
    Recording(np.full(80 * size, 0.2, np.float32), text, speaker, name=text)
    for size, text, speaker in ((20, "three", "a"), (30, "two", "a"), (10, "six", "b"))
]
LABELS = Labels(tuple("ehinorstuwx "))


def joined(seed: int = 0, **options) -> JoinedUtterances:
    return JoinedUtterances(WORDS, JoinConfig(fewest=2, most=4), 8000, seed, 1000, **options)


def test_utterance_i_depends_on_the_seed_and_i_alone() -> None:
    one, other = joined(), joined()
    later = [other[i] for i in (7, 3)][::-1]
    for index, found in zip((3, 7), later, strict=True):
        np.testing.assert_array_equal(found.samples, one[index].samples)
        assert found.parts == one[index].parts
        assert one.samples(index) == len(found.samples) == found.parts[-1].end
    assert not np.array_equal(joined(1)[3].samples, one[3].samples)
    assert len({found.text for found in map(one.__getitem__, range(30))}) > 10


def test_an_utterance_is_words_of_one_speaker_with_pauses() -> None:
    source = joined()
    numbers = set()
    for index in range(40):
        found = source[index]
        words = found.text.split(" ")
        assert set(words) in ({"six"}, {"three"}, {"two"}, {"three", "two"})
        numbers.add(len(words))
        for part, after in zip(found.parts, found.parts[1:], strict=False):
            assert part.end == after.start
            if part.text == " ":
                assert 400 <= part.end - part.start <= 2000
                assert np.abs(found.samples[part.start : part.end]).max() < 0.002
            else:
                level = np.sqrt(np.mean(found.samples[part.start : part.end] ** 2))
                assert abs(20 * np.log10(level / 0.1)) < 3.1
    assert numbers == {2, 3, 4}
    blocks = [{len(joined(block=4)[4 * b + i].text.split(" ")) for i in range(4)} for b in range(8)]
    assert all(len(block) == 1 for block in blocks)


def test_labels_are_spread_evenly_over_each_word() -> None:
    """A step lasts 160 samples; pauses have the blank between words, or without one what was said before."""
    encoder = SpeechEncoder(FrontEnd(FeaturesConfig(filters=4)), LABELS.encode)
    parts = (Part("three", 0, 1600), Part(" ", 1600, 2400), Part("two", 2400, 3360))
    example = encoder(Utterance(np.zeros(3360, np.float32), parts))
    assert LABELS.decode(example.labels) == "three two"
    assert LABELS.decode(example.spread) == "tthhrreeee" + " " * 5 + "ttwwooo"
    mute = encoder(Utterance(np.zeros(3360, np.float32), (parts[0], Part("", 1600, 2400), parts[2])))
    assert LABELS.decode(mute.spread)[10:15] == "eeeee"
    whole = encoder(single_utterance(WORDS[1]))
    assert LABELS.decode(whole.spread) == "tttttwwwwwoooooo"  # 2,400 samples: 31 frames, 16 steps


def test_batches_go_on_from_their_position() -> None:
    encoder = SpeechEncoder(FrontEnd(FeaturesConfig(filters=4)), LABELS.encode)
    source = joined(block=4)

    def batches(**share):
        return joined_batches(source, encoder, batch_size=4, multiple=(8, 4), **share)

    first = batches()
    first.take(1)
    position = first.get_state()
    second = first.take(2)
    again = batches()
    again.set_state(position)
    for one, other in zip(second, again.take(2), strict=True):
        np.testing.assert_array_equal(one, other)
    assert second.inputs.shape[1] % 8 == second.labels.shape[1] % 4 == 0
    batch = batches().take(1)
    texts = [LABELS.decode(batch.labels[0, :, i][batch.label_mask[0, :, i]]) for i in range(4)]
    assert texts == [source[i].text for i in range(4)]
    shares = [batches(process_index=p, process_count=2).take(1) for p in range(2)]
    for leaf, *parts in zip(batch, *shares, strict=True):
        np.testing.assert_array_equal(leaf, np.concatenate(parts, axis=2))
    with pytest.raises(ValueError, match="raise the bound"):
        collate_speech([encoder(source[0])], (1, 1))


def test_labels_of_each_kind_are_read_back() -> None:
    texts = ["three two", "six two two"] * 5
    for kind in ("letters", "words", "pieces"):
        labels = learn_labels(kind, texts, "abcdefghijklmnopqrstuvwxyz ", 20)
        for known in (labels, labels_from_text(labels_as_text(labels))):
            assert known.decode(known.encode("two six three")) == "two six three"
            assert known.encode("two six").min() >= 1
            assert known.encode("two six").max() < known.classes
    assert learn_labels("words", texts, "", 0).types == ("six", "three", "two")
    with pytest.raises(ValueError, match="'z' in 'zoo' is none of the letters"):
        learn_labels("letters", texts, "abcdefghijklmnopqrstuvwxyz ", 0).encode("zoo")
