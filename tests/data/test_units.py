"""Texts taken apart and put together again."""

from itertools import pairwise

import numpy as np
import pytest

from data import TextConfig, embedded_text
from data.corpus import Texts, tokenised
from data.units import Bytes, Characters, Pieces, Words

TEXT = "the cat  sat\n\nthe mat, the cat\n"


def test_characters() -> None:
    units = Characters.learn(TEXT, 1, None)
    assert len(units.vocabulary) == 1 + len(set(TEXT))
    assert units.decode(units.encode(TEXT)) == TEXT
    assert units.unknown("a zebra, a zoo") == ["z", "b", "r", "o"]
    assert units.decode(units.encode("az")) == "a<unk>"


def test_bytes_know_everything() -> None:
    units = Bytes.learn(TEXT.encode())
    assert len(units.vocabulary) == 256
    assert units.encode("é").tolist() == [0xC3, 0xA9]
    assert units.decode(units.encode("naïve €")) == "naïve €"
    assert units.unknown("€") == []
    assert units.vocabulary.counts[ord("t")] == TEXT.count("t")


def test_words_and_the_ends_of_lines() -> None:
    units = Words.learn(TEXT, 2, None)
    assert units.vocabulary.types == ("<unk>", "<eos>", "the", "cat")
    ids = units.encode(TEXT)
    assert units.vocabulary.decode(ids) == [
        *("the", "cat", "<unk>", "<eos>"),
        "<eos>",
        *("the", "<unk>", "the", "cat", "<eos>"),
    ]  # fmt: skip
    assert units.decode(ids) == "the cat <unk>\n\nthe <unk> the cat\n"
    assert units.encode("the cat").tolist() == [2, 3, 1]
    assert units.encode_prompt("the cat").tolist() == [2, 3]
    assert units.unknown("a cat, the dog") == ["a", "cat,", "dog"]


def test_pieces_are_learned_and_joined_again() -> None:
    text = embedded_text()["test"][:20_000].rpartition("\n")[0] + "\n"
    units = Pieces.learn(text, 400)
    assert len(units.vocabulary) == 400
    assert units.vocabulary.types[:2] == ("<unk>", "<eos>")
    ids = units.encode(text)
    assert units.decode(ids) == text
    assert sum(units.vocabulary.counts) == len(ids)
    assert len(ids) < 0.6 * len(text)
    assert units.decode(units.encode("two  spaces \n\n end")) == "two  spaces \n\n end\n"
    assert units.unknown("a þ") == ["þ"]
    assert Pieces.learn(text, 400).model == units.model
    # What the merges are: the first joins the pair that stands there most often.
    first = units.vocabulary.types[2]
    words = [" " + word for word in text.split()]
    pairs: dict[str, int] = {}
    for word in words:
        for pair in pairwise(word):
            pairs["".join(pair)] = pairs.get("".join(pair), 0) + 1
    assert pairs[first.replace("▁", " ")] == max(pairs.values())


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (2, "bpe-size must be 3 or more"),
        (10, "characters and marks already; ask for more"),
        (5000, "at most; ask for fewer"),
    ],
)
def test_sizes_that_cant_be_had(size: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pieces.learn(TEXT, size)


def texts(**splits: str) -> Texts:
    return Texts(splits, {"file": "0"}, {split: f"{split}.txt" for split in splits})


def test_what_is_counted() -> None:
    corpus = tokenised(texts(train=TEXT, valid="the cow\n", test="the <unk> cat\n"), TextConfig())
    assert corpus.sizes["train"].tokens == 10
    assert corpus.sizes["train"].unknown == 3 - 1  # sat and "mat,": once each
    assert (corpus.sizes["valid"].tokens, corpus.sizes["valid"].unknown) == (3, 1)
    assert corpus.sizes["test"].unknown == 0  # the text's own mark
    assert "  valid            3 tokens, 1 unknown (33.33%)" in corpus.summary()
    np.testing.assert_array_equal(corpus.split("test"), [2, 0, 3, 1])
    with pytest.raises(ValueError, match="no dev split, only train and valid and test"):
        corpus.split("dev")


def test_a_text_that_marks_unknown_words_itself_keeps_all_its_words() -> None:
    corpus = tokenised(texts(train="a b <unk> b\n", valid="a\n"), TextConfig())
    assert set(corpus.tokenizer.vocabulary.types) == {"<unk>", "<eos>", "a", "b"}


def test_mistakes() -> None:
    with pytest.raises(
        ValueError, match=r"valid.txt holds only unknown words: nothing in it stands in the training"
    ):
        tokenised(texts(train=TEXT, valid="nothing known\nhere\n"), TextConfig())
    line = "the cat " * 125_000
    with pytest.raises(
        ValueError, match=r"line 2 of valid.txt has 1,000,000 characters, more than 100,000: break"
    ):
        tokenised(texts(train=TEXT, valid=f"the\n{line}\n"), TextConfig())
    assert (
        tokenised(texts(train=line, valid=line), TextConfig(longest_line=10**6)).sizes["train"].tokens
        == 250_001
    )
    tokenised(texts(train=line, valid=line), TextConfig(unit="character"))
    for config, said in (
        (TextConfig(vocabulary_limit=0), "--data.vocabulary-limit must be 1 or more, but is 0"),
        (TextConfig(min_count=0), "--data.min-count must be 1 or more, but is 0"),
        (TextConfig(valid_share=0.6, test_share=0.4), "leave something to train on"),
        (TextConfig(valid_share=float("nan")), "must be 0 or more"),
        (TextConfig(longest_line=0), "--data.longest-line must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            tokenised(texts(train=TEXT), config)


@pytest.mark.parametrize("unit", ["word", "bpe"])
def test_a_prompt_of_several_lines(unit: str) -> None:
    """Lines are ended within it, the last one isn't."""
    text = "a b c\nb c a\n" * 20
    tokenizer = Words.learn(text, 1, None) if unit == "word" else Pieces.learn(text, 9)
    whole, end = tokenizer.encode("a b\nc\n"), tokenizer.vocabulary.end_id
    assert list(tokenizer.encode_prompt("a b\nc")) == list(whole[:-1])
    assert list(tokenizer.encode_prompt("a b\nc\n")) == list(whole)
    assert list(tokenizer.encode_prompt("\n")) == [end]
