"""Sentences of one language: made, from files, their pieces, mistakes."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from data.sentence_text import SentencesConfig, load_sentences


def test_made_sentences() -> None:
    """Encoding is inverted by decoding; too long sentences are left out and counted; the seed decides."""
    config = SentencesConfig(sentences=60, held_out=10, longest=9, types=80)
    text = load_sentences(config)
    assert sum(text.left_out.values()) > 0
    for split, sentences in text.splits.items():
        assert len(sentences) + text.left_out[split] == (60 if split == "train" else 10)
        assert max(len(one.split()) for one in sentences) <= 9
        ids = text.encode(sentences)
        assert [text.tokenizer.decode(row[:-1].tolist()) for row in ids] == list(sentences)
        assert all(row[-1] == text.tokenizer.vocabulary.end_id for row in ids)
    assert "longer than --data.longest left out" in text.summary()
    again = load_sentences(config)
    assert again.splits == text.splits
    assert again.tokenizer.model == text.tokenizer.model


def test_files(tmp_path: Path) -> None:
    lines = [f"a dog {'ran ' * (n % 4)}fast" for n in range(40)]
    (tmp_path / "train.en.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    (tmp_path / "val.en").write_text("a dog fast\n\na dog ran fast\n")
    (tmp_path / "train.de").write_text("x\n")
    config = SentencesConfig(dir=tmp_path, ending="en", longest=5, types=30)
    with pytest.raises(ValueError, match=r"has no test file that ends in \.en"):
        load_sentences(config)
    (tmp_path / "test_2016.en").write_text("a dog ran\n")
    text = load_sentences(config)
    assert text.splits["valid"] == ["a dog fast", "a dog ran fast"]
    assert text.left_out == {"train": 10, "valid": 0, "test": 0}
    assert "1 occur in train" not in text.summary()
    assert "2 occur in train" in text.summary()
    (tmp_path / "test_2016.en").write_text(f"{'a ' * 9}\n")
    with pytest.raises(ValueError, match="no test sentence has at most 5 words"):
        load_sentences(config)


@pytest.mark.parametrize("name", ["longest", "sentences", "held_out", "types"])
def test_refuses_numbers(name: str) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"--data.{name.replace('_', '-')} must be"):
        load_sentences(SentencesConfig(**options))
