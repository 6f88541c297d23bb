"""Training data that a model makes of one-sided text: translations back, and sentences to denoise.

One model may write both languages: a mark in front of the source asks for one. The marks are the unknown piece,
which no source has, and the end mark, which none has in front.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data import PairExample, held_out_pairs
from data.text.pair_tokenizers import Ids
from data.text.tokenizers import SentencePiece
from experiments.encoder_decoder.search import SearchConfig, Space, search_targets
from models import EncoderDecoder
from models.cell import Params

TOGETHER = 250  # sentences that are translated together
GREEDY = SearchConfig(width=1, normalise="none")
DROPPED, MOVED = (
    0.1,
    3,
)  # of the noise: the share of pieces left out, and the places that one moves by (Lample 2018)


def translate(
    model: EncoderDecoder, params: Params, sources: Sequence[Ids], longest: int, search: SearchConfig = GREEDY
) -> list[Ids]:
    """Returns the translation of each source, the end mark last, cut to `longest` pieces."""
    end = np.array([model.writer.end], np.int32)
    examples = [PairExample(source, end) for source in sources]
    bound = max(len(source) for source in sources)
    held = held_out_pairs(examples, batch_size=min(TOGETHER, len(examples)), bounds=[(bound, 1)])
    found = search_targets(model, params, held.batches, search, space=Space(0, longest))
    ranked = held.restore_order(found)
    return [np.append(np.array(best.ids[: longest - 1], np.int32), end) for best, *_ in ranked]


def back_translated(
    model: EncoderDecoder, params: Params, targets: Sequence[Ids], longest: int
) -> list[PairExample]:
    """Returns targets with the sources that a model of the other direction gives them, cut to `longest` pieces
    (Sennrich, Haddow & Birch 2016)."""
    sources = translate(model, params, targets, longest)
    return [PairExample(*pair) for pair in zip(sources, targets, strict=True)]


def pack(pairs: Sequence[PairExample]) -> dict[str, np.ndarray]:
    """Returns pairs as arrays, for `unpack`."""
    sides = {"source": [pair.inputs for pair in pairs], "target": [pair.targets for pair in pairs]}
    lengths = {f"{side}_lengths": np.array(list(map(len, found))) for side, found in sides.items()}
    return {side: np.concatenate(found) for side, found in sides.items()} | lengths


def unpack(arrays: Mapping[str, np.ndarray]) -> list[PairExample]:
    """Returns the pairs that `pack` made arrays of."""
    sides = [
        np.split(arrays[side].astype(np.int32), np.cumsum(arrays[f"{side}_lengths"])[:-1])
        for side in ("source", "target")
    ]
    return [PairExample(*pair) for pair in zip(*sides, strict=True)]


def noised(ids: Ids, random: np.random.Generator) -> Ids:
    """Leaves pieces out, and moves others by at most MOVED places; the end mark stays last."""
    kept = ids[:-1][random.random(len(ids) - 1) >= DROPPED]
    order = np.argsort(np.arange(len(kept)) + random.uniform(0, MOVED + 1, len(kept)), kind="stable")
    return np.append(kept[order], ids[-1:])


@dataclass(frozen=True)
class OneSided:
    """Text in two languages, no sentence of which is the translation of another, and a dictionary of words.

    Attributes:
        sentences: the ids of the sentences of either language, 0 and 1.
        tokenizer: of both.
        dictionaries: the translation of each word into language 0, and into 1; none in the others.
        most: the pairs that are made of each language at a time.
    """

    sentences: tuple[Sequence[Ids], Sequence[Ids]]
    tokenizer: SentencePiece
    dictionaries: tuple[Mapping[str, str], Mapping[str, str]]
    most: int

    def marked(self, ids: Ids, language: int) -> Ids:
        """Returns a source with the mark of the language to write in front."""
        vocabulary = self.tokenizer.vocabulary
        mark = (vocabulary.unknown_id, vocabulary.end_id)[language]
        return np.concatenate([np.array([mark], np.int32), ids])

    def drawn(self, language: int, random: np.random.Generator) -> list[Ids]:
        """Draws sentences of a language."""
        own = self.sentences[language]
        return [own[int(place)] for place in random.permutation(len(own))[: self.most]]

    def word_by_word(self, ids: Ids, language: int) -> Ids:
        """Returns the translation of each word into a language; words that the dictionary lacks stay."""
        known = self.dictionaries[language]
        words = self.tokenizer.decode(ids.tolist()).split()
        return self.tokenizer.encode(" ".join(known.get(word, word) for word in words))

    def made(self, epoch: int, seed: int, translations: Any) -> list[PairExample]:
        """Returns sentences of both languages as targets, once with themselves damaged as the source, and once with
        their translation; `translations(sentences, language)` translates into a language."""
        pairs = []
        for language in (0, 1):
            random = np.random.default_rng([seed, epoch, language])
            damaged, targets = self.drawn(language, random), self.drawn(language, random)
            pairs += [(self.marked(noised(ids, random), language), ids) for ids in damaged]
            sources = translations(targets, 1 - language)
            pairs += [
                (self.marked(source, language), ids) for source, ids in zip(sources, targets, strict=True)
            ]
        return [PairExample(*pair) for pair in pairs]

    def first(self, seed: int) -> list[PairExample]:
        """Returns the pairs to begin with, whose sources are translated word by word."""

        def by_words(sentences: Sequence[Ids], language: int) -> list[Ids]:
            return [self.word_by_word(ids, language) for ids in sentences]

        return self.made(0, seed, by_words)

    def next(
        self, model: EncoderDecoder, params: Params, epoch: int, seed: int, longest: int
    ) -> list[PairExample]:
        """Returns pairs whose sources a model has translated (Lample, Conneau, Denoyer & Ranzato 2018)."""

        def by_model(sentences: Sequence[Ids], language: int) -> list[Ids]:
            return translate(model, params, [self.marked(ids, language) for ids in sentences], longest)

        return self.made(epoch, seed, by_model)
