"""Texts taken apart and put together again."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from data import TextConfig, builtin_text
from data.text.corpus import Texts, tokenise
from data.text.spelling import Speller
from data.text.tokenizers import Bytes, Characters, SentencePiece, Words

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
    text = builtin_text()["test"][:20_000].rpartition("\n")[0] + "\n"
    units = SentencePiece.learn(text, 400)
    assert len(units.vocabulary) == 400
    assert units.vocabulary.types[:2] == ("<unk>", "<eos>")
    ids = units.encode(text)
    assert units.decode(ids) == text
    assert sum(units.vocabulary.counts) == len(ids)
    assert len(ids) < 0.6 * len(text)
    assert units.decode(units.encode("two  spaces \n\n end")) == "two  spaces \n\n end\n"
    assert units.unknown("a þ") == ["þ"]
    assert SentencePiece.learn(text, 400).model == units.model
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
        (10, "its characters and marks are .* types already; ask for more"),
        (5000, "at most; ask for fewer"),
    ],
)
def test_sizes_that_cant_be_had(size: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SentencePiece.learn(TEXT, size)


def texts(**splits: str) -> Texts:
    return Texts(splits, {"file": "0"}, {split: f"{split}.txt" for split in splits})


def test_what_is_counted() -> None:
    corpus = tokenise(texts(train=TEXT, valid="the cow\n", test="the <unk> cat\n"), TextConfig())
    assert corpus.sizes["train"].tokens == 10
    assert corpus.sizes["train"].unknown == 3 - 1  # sat and "mat,": once each
    assert (corpus.sizes["valid"].tokens, corpus.sizes["valid"].unknown) == (3, 1)
    assert corpus.sizes["test"].unknown == 0  # the text's own mark
    assert "  valid            3 tokens, 1 unknown (33.33%)" in corpus.summary()
    np.testing.assert_array_equal(corpus.split("test"), [2, 0, 3, 1])
    with pytest.raises(ValueError, match="no dev split, only train and valid and test"):
        corpus.split("dev")


def test_a_text_that_marks_unknown_words_itself_keeps_all_its_words() -> None:
    corpus = tokenise(texts(train="a b <unk> b\n", valid="a\n"), TextConfig())
    assert set(corpus.tokenizer.vocabulary.types) == {"<unk>", "<eos>", "a", "b"}


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"valid.txt has only unknown words"):
        tokenise(texts(train=TEXT, valid="nothing known\nhere\n"), TextConfig())
    line = "the cat " * 125_000
    with pytest.raises(
        ValueError, match=r"line 2 of valid.txt has 1,000,000 characters, more than 100,000: break"
    ):
        tokenise(texts(train=TEXT, valid=f"the\n{line}\n"), TextConfig())
    assert (
        tokenise(texts(train=line, valid=line), TextConfig(longest_line=10**6)).sizes["train"].tokens
        == 250_001
    )
    tokenise(texts(train=line, valid=line), TextConfig(unit="character"))
    for config, said in (
        (TextConfig(vocabulary_limit=0), "--data.vocabulary-limit must be 1 or more, but is 0"),
        (TextConfig(min_count=0), "--data.min-count must be 1 or more, but is 0"),
        (TextConfig(valid_share=0.6, test_share=0.4), "leave something to train on"),
        (TextConfig(valid_share=float("nan")), "must be 0 or more"),
        (TextConfig(longest_line=0), "--data.longest-line must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            tokenise(texts(train=TEXT), config)


@pytest.mark.parametrize("unit", ["word", "bpe"])
def test_a_prompt_of_several_lines(unit: str) -> None:
    """Lines are ended within it, the last one isn't."""
    text = "a b c\nb c a\n" * 20
    tokenizer = Words.learn(text, 1, None) if unit == "word" else SentencePiece.learn(text, 9)
    whole, end = tokenizer.encode("a b\nc\n"), tokenizer.vocabulary.end_id
    assert list(tokenizer.encode_prompt("a b\nc")) == list(whole[:-1])
    assert list(tokenizer.encode_prompt("a b\nc\n")) == list(whole)
    assert list(tokenizer.encode_prompt("\n")) == [end]


@pytest.mark.parametrize("unit", ["character", "byte", "word", "bpe"])
def test_spelt_is_decode(unit: Any) -> None:
    """Piece by piece as numbers come in, one a number, the text is that of `decode`; a torn character waits."""
    text = "naïve 木 the  cat\n\n sat on 木\nit\n" * 3
    settings = TextConfig(unit=unit, bpe_size=30 if unit == "bpe" else TextConfig.bpe_size)
    tokenizer = tokenise(
        Texts({"train": text.encode() if unit == "byte" else text}, {}, {"train": "text"}), settings
    ).tokenizer
    ids = tokenizer.encode(text)
    for shown in (ids, np.random.default_rng(0).permutation(ids)[:20] if unit != "byte" else ids[3:]):
        found = list(tokenizer.decode_stream(shown))
        assert len(found) == len(shown)
        assert "".join(found) == tokenizer.decode(shown)
    assert "".join(tokenizer.decode_stream(ids)).split() == text.split()


def test_unknown_words_are_warned_of_and_paid_for() -> None:
    """By hand: the share of <unk>, and −log₂ p of their spellings; a mark of the text's own costs nothing."""
    known = "a b a b\n" * 10
    corpus = tokenise(texts(train=known + "ab\n", valid="a zz b\n", test="a <unk> b\n"), TextConfig())
    speller = Speller.of(["ab"])
    assert corpus.sizes["valid"].spelling == pytest.approx(speller.bits("zz"))
    assert corpus.sizes["test"].spelling == 0
    said = corpus.summary()
    assert said.count("warning: ") == 1
    assert "warning: 25.0% of the valid tokens are unknown to the vocabulary" in said
    assert "--data.unit character or bpe" in said
    assert "warning" not in tokenise(texts(train=known, test="a <unk> <unk> b\n"), TextConfig()).summary()
    letters = tokenise(texts(train="abc\n", valid="abé\n"), TextConfig(unit="character"))
    assert letters.sizes["valid"].spelling == pytest.approx(Speller.of(["abc"]).bits("é"))
    pieces = tokenise(texts(train="abc abd\n" * 9, valid="abé\n"), TextConfig(unit="bpe", bpe_size=9))
    assert pieces.sizes["valid"].spelling > 20


def test_the_speller_is_its_equations() -> None:
    """Witten–Bell by hand for "ab", "ac": pairs ^a ab ac b$ c$; what any character may be sums to 1."""
    speller = Speller.of(["ab", "ac"])
    kinds, total, points = 4, 6, 0x110000 + 1  # a a b c $ $: four kinds, six in all
    alone = {c: (n + kinds / points) / (total + kinds) for c, n in {"a": 2, "b": 1, "$": 2}.items()}
    p = (2 + alone["a"]) / (2 + 1) * (1 + 2 * alone["b"]) / (2 + 2) * (1 + alone["$"]) / (1 + 1)
    assert speller.bits("ab") == pytest.approx(-np.log2(p))
    unseen = kinds / points / (total + kinds)
    assert speller.bits("é") == pytest.approx(-np.log2(unseen / 3 * alone["$"]))
    seen = sum(2 ** -speller.bits(c) / alone["$"] for c in "bc") / 3
    assert 0 < seen < 1


@pytest.mark.parametrize("line", ["a b a <eos>\n", "<s> a b a </s>\n"])
def test_end_marks_of_the_texts_own(line: str) -> None:
    corpus = tokenise(texts(train=line * 20, valid="a b\n"), TextConfig())
    assert "20 of 20 lines of the training text bear an end mark of their own" in corpus.summary()
    assert (
        "warning"
        not in tokenise(texts(train="a b\n" * 20 + line, valid="a\n"), TextConfig(min_count=1)).summary()
    )
