"""Parallel text: tokens that decode to the text, prepared once, long pairs, and what is refused."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data.text.parallel
from data import (
    ParallelConfig,
    ParallelText,
    load_parallel,
    load_tokenizers,
    pair_batches,
    pair_bounds,
    vocabulary_digest,
)
from data.text.pair_batches import pair_lengths
from data.text.tokenizers import SentencePiece

MULTI30K = Path(__file__).parents[4] / "shared" / "data" / "multi30k"
SMALL = ParallelConfig(count=300, held_out=20, types=90)


def sentences(language: str, numbers: Sequence[int]) -> str:
    """A line for each number: it and its words, with a blank too many that is to be kept."""
    words = {"de": ("Ein  Mann", "geht", "läuft"), "en": ("A  man", "walks", "runs")}[language]
    return "".join(f"{words[0]} {words[1 + number % 2]} {number}.\n" for number in numbers)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of training and validation files, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "text"
    folder.mkdir()
    for name, numbers in (("train", range(120)), ("val", range(200, 220)), ("test", range(220, 230))):
        for language in ("de", "en"):
            (folder / f"{name}.{language}").write_text(sentences(language, numbers))
    return folder


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each text that is tokenised."""
    calls: list[int] = []
    real = data.text.parallel._tokenise

    def counted(*arguments):
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(data.text.parallel, "_tokenise", counted)
    return calls


def assert_decodes(text: ParallelText) -> None:
    """The ids of every pair end with the only end mark, and decode to its sentences."""
    for pairs, examples in text.splits.values():
        assert len(pairs) == len(examples)
        for pair, example in zip(pairs, examples, strict=True):
            for sentence, ids, tokenizer in zip(pair, example, (text.source, text.target), strict=True):
                assert ids.dtype == np.int32
                assert np.flatnonzero(ids == tokenizer.vocabulary.end_id).tolist() == [len(ids) - 1]
                assert tokenizer.decode(ids) == sentence + "\n"


def same(one: ParallelText, other: ParallelText) -> bool:
    return one.digest == other.digest and all(
        one.split(name).pairs == other.split(name).pairs
        and all(
            np.array_equal(a, b)
            for x, y in zip(one.split(name).examples, other.split(name).examples, strict=True)
            for a, b in zip(x, y, strict=True)
        )
        for name in (*one.splits, *other.splits)
    )


@pytest.mark.parametrize("vocabulary", ["shared", "separate"])
def test_made_pairs(vocabulary) -> None:
    text = load_parallel(dataclasses.replace(SMALL, vocabulary=vocabulary))
    assert_decodes(text)
    assert {name: len(split.pairs) for name, split in text.splits.items()} == {
        "train": 300, "valid": 20, "test": 20
    }  # fmt: skip
    assert text.held_out == ["valid", "test"]
    trained = {pair.source for pair in text.split("train").pairs}
    held_out = {pair.source for name in text.held_out for pair in text.split(name).pairs}
    assert len(held_out) == 40
    assert not trained & held_out
    assert any("ig" in source for source in held_out)  # numbers as well as dates
    assert any(source.startswith("der ") for source in held_out)
    assert text.shared == (vocabulary == "shared") == (text.source is text.target)
    assert len(text.source.vocabulary) == 90
    train = text.split("train").examples
    batches = pair_batches(train, batch_size=8, seed=0, bounds=pair_bounds(train))
    assert batches.take(1).inputs.shape[2] == 8
    ids = text.encode_source(text.split("test").pairs[0].source)
    assert np.array_equal(ids, text.split("test").examples[0].inputs)


def test_pieces_are_learned_from_the_training_pairs_alone(files: Path) -> None:
    text = load_parallel(ParallelConfig(dir=files, vocabulary="separate", types=60))
    for side, tokenizer in enumerate((text.source, text.target)):
        training = "\n".join(pair[side] for pair in text.split("train").pairs)
        assert tokenizer == SentencePiece.learn(training, 60, at_most=True)
    (files / "val.de").write_text(sentences("de", range(200, 219)) + "Ein  Mann geht ὅλος.\n")
    other = load_parallel(ParallelConfig(dir=files, vocabulary="separate", types=60))
    assert other.digest == text.digest
    assert other.split("valid").pairs[-1].source == "Ein  Mann geht ὅλος."
    assert other.source.vocabulary.unknown_id in other.split("valid").examples[-1].inputs


@pytest.mark.parametrize("vocabulary", ["shared", "separate"])
def test_files_are_prepared_once(files: Path, once: list[int], vocabulary) -> None:
    config = ParallelConfig(dir=files, vocabulary=vocabulary)
    first = load_parallel(config)
    assert_decodes(first)
    assert same(first, load_parallel(config))
    assert len(once) == 1
    assert set(first.origin) == {
        f"{name}.{side}" for name in ("train", "val", "test") for side in ("de", "en")
    }
    back = load_parallel(dataclasses.replace(config, source="en", target="de"))
    assert back.split("train").pairs[0] == first.split("train").pairs[0][::-1]
    (files / "val.en").write_text(sentences("en", range(300, 320)))
    assert not same(first, load_parallel(config))
    assert len(once) == 3


def test_damage_is_mended_and_other_settings_are_refused(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    config = ParallelConfig(dir=files, cache=kept, types=60)
    first = load_parallel(config)
    (kept / "shared.model").write_bytes(b"")
    assert same(first, load_parallel(config))
    assert "(shared.model has been altered): preparing them again" in capsys.readouterr().out
    for change, said in (
        ({"types": 50}, "was prepared with --data.types 60, not 50"),
        ({"vocabulary": "separate"}, "was prepared with --data.vocabulary shared, not separate"),
        ({"source": "en", "target": "de"}, "was prepared with --data.source de, not en"),
    ):
        with pytest.raises(ValueError, match=said):
            load_parallel(dataclasses.replace(config, **change))


def test_tokenizers_saved_with_a_run(tmp_path: Path) -> None:
    for vocabulary in ("separate", "shared"):
        text = load_parallel(dataclasses.replace(SMALL, vocabulary=vocabulary))
        folder = tmp_path / vocabulary
        folder.mkdir()
        for name, content in text.tokenizer_files().items():
            (folder / name).write_bytes(content)
        source, target = load_tokenizers(folder)
        assert (source, target) == (text.source, text.target)
        assert (source is target) == text.shared
        assert vocabulary_digest(source, target) == text.digest
        source_only = next(folder.glob("*.model"))
        source_only.unlink()
        with pytest.raises(ValueError, match=f"there are no pieces .*{source_only.name}"):
            load_tokenizers(folder)
    with pytest.raises(ValueError, match="there is no vocabulary"):
        load_tokenizers(tmp_path)


def test_one_file_is_split_and_a_missing_validation_file_made_up_for(files: Path, tmp_path: Path) -> None:
    lines = [f"quelle {number % 40}\tziel {number}\n" for number in range(100)]
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    config = ParallelConfig(dir=tmp_path / "pairs.tsv", types=60)
    text = load_parallel(config)
    assert {name: len({p.source for p in split.pairs}) for name, split in text.splits.items()} == {
        "train": 32, "valid": 4, "test": 4
    }  # fmt: skip
    assert load_parallel(dataclasses.replace(config, seed=1)).split("test").pairs != text.split("test").pairs
    for side in ("de", "en"):
        (files / f"val.{side}").unlink()
    text = load_parallel(ParallelConfig(dir=files, valid_share=0.25))
    assert {name: len(split.pairs) for name, split in text.splits.items()} == {
        "train": 90, "valid": 30, "test": 10
    }  # fmt: skip
    with pytest.raises(
        ValueError, match=r"no valid split: give a file for it, or a --data.valid-share above 0"
    ):
        load_parallel(ParallelConfig(dir=files, valid_share=0.0))
    with pytest.raises(ValueError, match=r"the pairs have no dev split, only train and valid and test"):
        text.split("dev")


def test_long_pairs_are_left_out_of_training_and_refused_elsewhere() -> None:
    text = load_parallel(dataclasses.replace(SMALL, longest=12))
    whole = load_parallel(SMALL)
    lengths = [max(pair_lengths(example)) - 1 for example in whole.split("train").examples]
    assert text.left_out == sum(length > 12 for length in lengths) > 0
    assert f"  {text.left_out} training pairs were left out: longer than --data.longest" in text.summary()
    assert max(max(pair_lengths(example)) for example in text.split("train").examples) == 13
    assert_decodes(text)
    assert text.digest == whole.digest
    assert len(text.split("test").pairs) == 20
    assert max(max(pair_lengths(example)) for example in text.split("test").examples) > 13
    with pytest.raises(
        ValueError, match=r"pair \d+ of the valid split has \d+ tokens on a side, more than --data"
    ):
        load_parallel(dataclasses.replace(SMALL, longest_held_out=12))
    with pytest.raises(ValueError, match="every training pair has more than 1 tokens on a side: raise"):
        load_parallel(dataclasses.replace(SMALL, longest=1))


def test_joined_pairs_are_for_training(files: Path) -> None:
    text = load_parallel(ParallelConfig(dir=files, joined=3))
    assert_decodes(text)
    sources = [pair.source for pair in text.split("train").pairs]
    assert sorted(" ".join(sources).replace(". ", ".\n").split("\n")) == sorted(
        sentences("de", range(120)).splitlines()
    )
    assert max(source.count(".") for source in sources) == 3
    assert [pair.source.count(".") for pair in text.split("valid").pairs] == [1] * 20


def test_sources_to_translate() -> None:
    text = load_parallel(dataclasses.replace(SMALL, longest_held_out=40))
    for sentence, said in (
        ("  ", "the source is empty: give a sentence"),
        ("ein\nzwei", "the source has several lines"),
        (
            "ein ½ + ein",
            "the source 'ein ½ [+] ein' has characters that .* can't spell: '½', '[+]'; leave them out",
        ),
        ("αβγδεζη", r"'ε' and 2 more; leave"),
        ("ein " * 50, r"the source '(ein ){15}…' has \d+ tokens, more than 40: break it into sentences"),
    ):
        with pytest.raises(ValueError, match=said):
            text.encode_source(sentence)
    assert text.source.decode(text.encode_source(" einundzwanzig ")) == "einundzwanzig\n"


def test_what_misleads_scores_is_said(files: Path) -> None:
    assert "warning" not in load_parallel(ParallelConfig(dir=files)).summary()
    (files / "val.en").write_text("ὅλος\n" * 20)
    (files / "test.de").write_text(sentences("de", range(110, 120)))
    said = load_parallel(ParallelConfig(dir=files)).summary()
    assert "warning: " in said
    assert "of the valid targets can't be spelt with pieces of the training text" in said
    assert "10 sources occur in train" in said
    assert "  train       120 pairs, 720 and 720 tokens" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "--data.count must be 1 or more, but is 0"),
        ({"held_out": 0}, "--data.held-out must be 1 or more"),
        ({"types": 2}, "--data.types must be 3 or more, but is 2"),
        ({"longest": 0}, "--data.longest must be 1 or more"),
        ({"joined": 0}, "--data.joined must be 1 or more"),
        ({"seed": -1}, "--data.seed must lie in 0"),
        ({"source": "en"}, "--data.source and --data.target are both en"),
        ({"source": "fr"}, "--data.source is fr, but numbers are made in en and de"),
        ({"kind": "copy", "source": "fr"}, "name languages, but --data.kind copy has none"),
        ({"valid_share": 0.6, "test_share": 0.4, "dir": Path("a")}, "leave something to train on"),
        ({"cache": Path("a")}, "--data.cache is for the files of --data.dir: leave it out here"),
        ({"test": "a"}, "--data.test is for the files of --data.dir"),
        ({"dir": Path("a"), "kind": "copy"}, "--data.kind is for pairs that are made, without --data.dir"),
        ({"dir": Path("a"), "encoding": "klingon"}, "--data.encoding 'klingon' is none that Python knows"),
        ({"dir": Path("nowhere")}, "no file or folder nowhere"),
        (
            {"types": 20},
            "--data.types 20 doesn't fit this text: its characters and marks are .* types already",
        ),
        ({"kind": "reversal", "length": 1}, "count is .*: 1 to 13 different pairs are made, half of all"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_parallel(ParallelConfig(**options))


def test_shares_of_files_that_are_split_already(files: Path) -> None:
    for option, config in (
        ("valid", ParallelConfig(dir=files, valid_share=0.2)),
        ("test", ParallelConfig(dir=files, test_share=0.2)),
    ):
        said = f"--data.{option}-share is for pairs that are split, but .* has files for its parts"
        with pytest.raises(ValueError, match=said):
            load_parallel(config)


@pytest.mark.slow
def test_multi30k(tmp_path: Path) -> None:
    """Every sentence of the sets decodes to itself, and little of the batches is padding."""
    if not MULTI30K.is_dir():
        pytest.skip("needs the files of Multi30k in shared/data/multi30k beside the checkout")
    text = load_parallel(ParallelConfig(dir=MULTI30K, cache=tmp_path / "kept"))
    assert {name: len(split.pairs) for name, split in text.splits.items()} == {
        "train": 29_000, "valid": 1_014, "test": 1_000
    }  # fmt: skip
    assert text.left_out == 0
    assert len(text.source.vocabulary) == 8000
    for name in text.held_out:
        for side, tokenizer in enumerate((text.source, text.target)):
            ids = np.concatenate([example[side] for example in text.split(name).examples])
            assert tokenizer.decode(ids) == "".join(f"{pair[side]}\n" for pair in text.split(name).pairs)
            assert not (ids == tokenizer.vocabulary.unknown_id).any()
    train = text.split("train").examples
    bounds = pair_bounds(train)
    assert len(bounds) == 9
    batches = pair_batches(train, batch_size=64, seed=0, bounds=bounds)
    shares = []
    for _ in range(batches.batches_per_epoch):
        batch = batches.take(1)
        shares.append((batch.mask.sum() + batch.target_mask.sum(), batch.mask.size + batch.target_mask.size))
    used, size = np.sum(shares, axis=0)
    assert 0.83 < used / size < 0.85
