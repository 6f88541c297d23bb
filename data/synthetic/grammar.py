"""Sentences of a small English grammar, made from a seed, with everything known about them.

A sentence has tags, slots, an intent, a tree, key phrases and a polarity. Words are ambiguous on purpose: "saw",
"that", "can" and "book" have two or three tags, "boston" is a city or a band, "terribly" makes "exciting" stronger,
"not" makes "dull" praise. One content word in eight is invented ("dasterness"), so held-out sentences hold words
never seen.

The same seed gives the same sentences on every machine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from data.position import random_words
from data.synthetic.grammar_rules import LEXICON, RULES, SUFFIXES, Rule, Symbol

Kind = Literal["request", "story", "opinion", "research"]
INVENTED = 8  # one word in so many of a class with a suffix is invented
_BLOCK = 64  # random words drawn at once


@dataclass(frozen=True)
class GrammarSentence:
    """A sentence of N words and what is known about it.

    Attributes:
        kind: request, story, opinion or research.
        words: lower-case words `[N]`.
        tags: the universal part of speech of each (UPOS; Nivre et al. 2020) `[N]`.
        slots: IOB2 tags `[N]`: "B-to.city", "I-to.city", "O"; all "O" but in requests.
        intent: of a request ("flight"), else its kind.
        tree: its constituents in brackets: "(S (NP (PRON i)) (VP (VERB saw) …))", words under their tags.
        key_phrases: of research, the phrases that the sentence is about, blanks between words.
        polarity: of an opinion 1 or −1, else 0.
    """

    kind: Kind
    words: tuple[str, ...]
    tags: tuple[str, ...]
    slots: tuple[str, ...]
    intent: str
    tree: str
    key_phrases: tuple[str, ...]
    polarity: int

    @property
    def text(self) -> str:
        """Returns the words, blanks between them."""
        return " ".join(self.words)


def grammar_sentences(
    seed: int, count: int, *, kinds: Sequence[Kind] = get_args(Kind)
) -> list[GrammarSentence]:
    """Makes `count` different sentences, each of one of the `kinds` at random; opinions of both polarities alike.

    Raises ValueError for a count below 1, for no kind, and for a count so large that most
    sentences drawn were drawn before.
    """
    if count < 1:
        raise ValueError(f"count is {count}: make at least 1 sentence.")
    if not kinds:
        raise ValueError(f"kinds is empty: name one or more of {', '.join(get_args(Kind))}.")
    found: dict[tuple[str, ...], GrammarSentence] = {}
    for drawn in range(2 * count + 1000):
        sentence = _sentence(_draws(seed, drawn), kinds)
        found.setdefault(sentence.words, sentence)
        if len(found) == count:
            return list(found.values())
    raise ValueError(
        f"count is {count:,}: the grammar gives too few different sentences of kind {', '.join(kinds)}; make fewer."
    )


class _Part(NamedTuple):
    """A part of a sentence: its words, tags and slots, the key phrases in it, and its tree."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    slots: tuple[str, ...]
    keys: tuple[str, ...]
    tree: str


Draw = Callable[[int], int]  # a random integer below so many


def _draws(seed: int, sentence: int) -> Draw:
    """Returns a source of random integers of its own for each sentence."""

    def words() -> Iterator[int]:
        block = 0
        while True:
            yield from random_words(_BLOCK, seed, stream=sentence * 2**20 + block).tolist()
            block += 1

    drawn = words()
    return lambda below: next(drawn) % below


def _sentence(draw: Draw, kinds: Sequence[Kind]) -> GrammarSentence:
    kind = kinds[draw(len(kinds))]
    polarity = 1 - 2 * draw(2) if kind == "opinion" else 0
    (chosen,) = _choose(RULES[kind.upper()], draw)
    part = _expand(chosen, polarity, draw)
    intent = chosen.name.partition(".")[2] if kind == "request" else kind
    return GrammarSentence(kind, part.words, part.tags, part.slots, intent, part.tree, part.keys, polarity)


def _choose(rule: Rule, draw: Draw) -> list[Symbol]:
    """Draws one right side of a rule; of its optional symbols each stays half of the time."""
    return [symbol for symbol in rule[draw(len(rule))] if not symbol.optional or draw(2)]


def _expand(symbol: Symbol, polarity: int, draw: Draw) -> _Part:
    """Draws words for a symbol; `polarity` is what it must express, and a symbol marked "-" the opposite."""
    polarity *= symbol.sign
    if symbol.tag:
        part = _leaf((symbol.name,), symbol.tag)
    elif symbol.name in RULES:
        parts = [_expand(child, polarity, draw) for child in _choose(RULES[symbol.name], draw)]
        words, tags, slots, keys = (tuple(x for part in parts for x in part[axis]) for axis in range(4))
        inside = " ".join(part.tree for part in parts)
        part = _Part(words, tags, slots, keys, f"({symbol.name.partition('.')[0]} {inside})")
    else:
        tag, *choices = LEXICON[symbol.name]
        if len(choices) == 2:  # words of both polarities
            choices = choices[:1] if polarity > 0 else choices[1:]
        if symbol.name in SUFFIXES and not draw(INVENTED):
            part = _leaf((_invented(symbol.name, draw),), tag)
        else:
            part = _leaf(tuple(choices[0][draw(len(choices[0]))].split("_")), tag)
    if symbol.slot:
        marks = ("B-", *("I-",) * (len(part.words) - 1))
        part = part._replace(slots=tuple(mark + symbol.slot for mark in marks))
    if symbol.key:
        part = part._replace(keys=(*part.keys, " ".join(part.words)))
    return part


def _leaf(words: tuple[str, ...], tag: str) -> _Part:
    tree = " ".join(f"({tag} {word})" for word in words)
    return _Part(words, (tag,) * len(words), ("O",) * len(words), (), tree)


def _invented(name: str, draw: Draw) -> str:
    """Makes up a word that ends as words of its class do."""
    consonants, vowels, suffixes = "bdfgklmnprstv", "aeiou", SUFFIXES[name]
    syllables = "".join(consonants[draw(len(consonants))] + vowels[draw(len(vowels))] for _ in range(2))
    return syllables + consonants[draw(len(consonants))] + suffixes[draw(len(suffixes))]
