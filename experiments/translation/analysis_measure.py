"""Measurements of one trained translation model: scores by length and by width, and statistics of its heads."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from analysis import Bleu, HeadStatistics, LengthRatio, corpus_score, head_statistics
from data import Pair, PairExample, held_out_pairs, pair_bounds
from data.text.tokenizers import SentencePiece
from experiments.encoder_decoder.search import SearchConfig, search_targets
from experiments.translation.alignment import source_attention
from experiments.translation.task import TOGETHER, HeldOut
from models import EncoderDecoder
from models.cell import Params


class Subject(NamedTuple):
    """A trained model with its tokenizers, and the most sentences that were joined in training."""

    model: EncoderDecoder
    params: Params
    source: SentencePiece
    target: SentencePiece
    joined: int


def analyse(
    subject: Subject,
    pairs: Sequence[Pair],
    search: SearchConfig,
    *,
    lengths: Sequence[int],
    widths: Sequence[int],
    sentences: int,
) -> dict[str, np.ndarray]:
    """Measures a model on test pairs, `sentences` of them, or of each length and for each width.

    Returns `lengths [n]`, the sentences joined to a source, their mean `words [n]` and `length|bleu [n]`; `widths
    [W]` with `width|bleu`, `width|ratio` and `width|seconds [W]`; `joined`, the most in training; and of a model
    that attends, for each layer `heads|LAYER|entropy` and `heads|LAYER|distance [heads]`, `heads|LAYER|divergence
    [heads, heads]`, and those that uniform weights would have, `uniform|entropy` and `uniform|distance`."""
    joined = [join(pairs, length, sentences) for length in lengths]
    by_length = [scores(search, subject, held_out_of(subject, each)) for each in joined]
    kept = list(pairs[:sentences])
    held = held_out_of(subject, kept)
    by_width = [timed_scores(replace(search, width=width), subject, held) for width in widths]
    return {
        "joined": np.array(subject.joined),
        "lengths": np.array(lengths),
        "words": np.array([np.mean([len(pair.source.split()) for pair in each]) for each in joined]),
        "length|bleu": np.array([each["bleu"] for each in by_length]),
        "widths": np.array(widths),
        **{f"width|{name}": np.array([each[name] for each in by_width]) for name in by_width[0]},
        **attention_statistics(subject, kept),
    }


def join(pairs: Sequence[Pair], length: int, count: int) -> list[Pair]:
    """Joins successive pairs by blanks, `length` to each; at most `count` of them, and no pair in two."""
    groups = [pairs[i * length : (i + 1) * length] for i in range(min(count, len(pairs) // length))]
    return [Pair(*map(" ".join, zip(*group, strict=True))) for group in groups]


def held_out_of(subject: Subject, pairs: Sequence[Pair]) -> HeldOut:
    """Returns pairs in batches of one length, so that one program searches for all."""
    examples = encoded(subject, pairs)
    size, bounds = min(TOGETHER, len(examples)), pair_bounds(examples)[-1:]
    return HeldOut(pairs, held_out_pairs(examples, batch_size=size, bounds=bounds))


def scores(search: SearchConfig, subject: Subject, held: HeldOut) -> dict[str, float]:
    """Translates sources, and measures BLEU, lower-cased, and the length ratio."""
    found = search_targets(subject.model, subject.params, held, search)
    lines = held.sorted.restore_order([subject.target.decode(best[0].ids) for best in found])
    return {
        "bleu": corpus_score(Bleu(lowercase=True), lines, held.references),
        "ratio": corpus_score(LengthRatio(), lines, held.references),
    }


def timed_scores(search: SearchConfig, subject: Subject, held: HeldOut) -> dict[str, float]:
    """Measures `scores`, and then the seconds of one more search, which compiles nothing."""
    found = scores(search, subject, held)
    start = time.monotonic()
    search_targets(subject.model, subject.params, held, search)
    return found | {"seconds": time.monotonic() - start}


def encoded(subject: Subject, pairs: Sequence[Pair]) -> list[PairExample]:
    """Returns the ids of pairs."""
    return [
        PairExample(subject.source.encode(pair.source), subject.target.encode(pair.target)) for pair in pairs
    ]


def attention_statistics(subject: Subject, pairs: Sequence[Pair]) -> dict[str, np.ndarray]:
    """Measures how each head attends to the source while the model reads the references: means over the pairs."""
    maps = source_attention(subject.model, subject.params, encoded(subject, pairs))
    if not maps[0]:
        return {}
    found: dict[str, np.ndarray] = {}
    for number, layer in enumerate(maps[0], start=1):
        mean = mean_statistics([each[layer] for each in maps])
        found |= {f"heads|{number}|{name}": values for name, values in mean._asdict().items()}
    first = [next(iter(each.values()))[:1] for each in maps]
    uniform = mean_statistics([np.full_like(weights, 1 / weights.shape[-1]) for weights in first])
    return found | {
        "uniform|entropy": uniform.entropy[0],
        "uniform|distance": uniform.distance[0],
    }


def mean_statistics(weights: Sequence[np.ndarray]) -> HeadStatistics:
    """Returns the means of `head_statistics` over sentences, each of which counts once."""
    parts: Any = map(head_statistics, weights)
    return HeadStatistics(*(np.mean(values, axis=0) for values in zip(*parts, strict=True)))
