"""Sentences of the grammar: what is known about them fits together, and what is ambiguous is."""

from collections import defaultdict

import pytest

from data import GrammarSentence, grammar_sentences
from data.synthetic.grammar_rules import LEXICON, RULES, SUFFIXES


@pytest.fixture(scope="module")
def made() -> list[GrammarSentence]:
    return grammar_sentences(3, 900)


def leaves(tree: str) -> list[tuple[str, str]]:
    """Tags and words of a tree in brackets, after counting its brackets."""
    depth, found, last = 0, [], ""
    for token in tree.replace("(", " ( ").replace(")", " ) ").split():
        depth += {"(": 1, ")": -1}.get(token, 0)
        assert depth >= 0
        if token not in "()" and last not in ("(", ")"):
            found.append((last, token))
        last = token
    assert depth == 0
    return found


def test_everything_known_of_a_sentence_fits_its_words(made: list[GrammarSentence]) -> None:
    for sentence in made:
        assert len(sentence.words) == len(sentence.tags) == len(sentence.slots)
        assert leaves(sentence.tree) == list(zip(sentence.tags, sentence.words, strict=True))
        assert all(f" {phrase} " in f" {sentence.text} " for phrase in sentence.key_phrases)
        assert bool(sentence.key_phrases) == (sentence.kind == "research")
        assert abs(sentence.polarity) == (sentence.kind == "opinion")
        before = "O"
        for slot in sentence.slots:  # IOB2: I continues what is before it
            assert not slot.startswith("I-") or before[2:] == slot[2:]
            before = slot
    words = [sentence.words for sentence in made]
    assert len(set(words)) == len(words)


def test_negation_turns_polarity(made: list[GrammarSentence]) -> None:
    """A reader of its own: count good and bad words, turn each by the negation before it, take the last clause."""
    values = {word: sign for name in ("quality", "verdict", "felt", "feel")
              for sign, words in zip((1, -1), LEXICON[name][1:], strict=True) for word in words}  # fmt: skip
    assert (values["good"], values["boring"], values["joy"], values["hate"]) == (1, -1, 1, -1)
    turned = 0
    for sentence in (sentence for sentence in made if sentence.kind == "opinion"):
        clause = sentence.text.rpartition(" , but ")[2].split(" and ")[0]
        clause = clause.replace("this flat ", "this ")  # a trait of the thing, no verdict on it
        negated = any(
            f" {mark} " in clause for mark in ("not", "never", "hardly", "far from", "anything but")
        )
        (found,) = {values[word] for word in clause.split() if word in values}
        assert found * (-1 if negated else 1) == sentence.polarity, sentence.text
        turned += negated
    assert turned > 60


def test_words_are_ambiguous_and_some_unseen(made: list[GrammarSentence]) -> None:
    tags, fillers = defaultdict(set), defaultdict(set)
    for sentence in made:
        for word, tag, slot in zip(sentence.words, sentence.tags, sentence.slots, strict=True):
            tags[word].add(tag)
            fillers[word].add(slot[2:])
    assert tags["saw"] >= {"NOUN", "VERB"}
    assert tags["that"] == {"DET", "PRON", "SCONJ"}
    assert tags["can"] >= {"NOUN", "AUX"}
    assert {"from.city", "to.city", "band"} <= fillers["boston"]
    known = {word for sentence in made[:600] for word in sentence.words}
    assert any(word not in known and word.endswith("ness") for s in made[600:] for word in s.words)


def test_same_everywhere_and_of_the_kinds_asked_for(made: list[GrammarSentence]) -> None:
    assert grammar_sentences(3, 20) == made[:20]
    assert grammar_sentences(4, 20) != made[:20]
    assert made[0].text == "flat speech coding has improved fast language pukivation"
    assert {s.kind for s in grammar_sentences(0, 50, kinds=("request", "story"))} == {"request", "story"}


def test_rules_name_only_what_exists() -> None:
    used = {symbol.name for rule in RULES.values() for side in rule for symbol in side if not symbol.tag}
    assert used <= {*RULES, *LEXICON}
    assert {*SUFFIXES} <= {*LEXICON} <= used
    assert {*RULES} - used == {"REQUEST", "STORY", "OPINION", "RESEARCH"}


def test_wrong_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="make at least 1 sentence"):
        grammar_sentences(0, 0)
    with pytest.raises(ValueError, match="kinds is empty"):
        grammar_sentences(0, 1, kinds=())
    monkeypatch.setitem(RULES, "REQUEST", RULES["NP.me"])  # whose only sentence is "me"
    with pytest.raises(ValueError, match="too few different sentences of kind request"):
        grammar_sentences(0, 2, kinds=("request",))
