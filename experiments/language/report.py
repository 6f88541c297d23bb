"""The report of experiments that train language models: perplexities, what they depend on, a sample."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import attention_maps
from data import Corpus, Tokenizer, pairs
from experiments.harness.files import read_arrays, read_run
from experiments.harness.run import Run
from experiments.language.config import TextModelConfig, TextTraining
from experiments.language.corpus import bits_per_character, finite_or_none, perplexity_of
from experiments.language.evaluate import by_frequency, by_position, losses_from_zero, text_gradients
from experiments.language.held_out import losses_of, split_losses, window_pieces
from experiments.network import NetworkConfig
from experiments.task_report import training_record
from models import LanguageModel, Sampling, generate, holds_cache
from models.cell import Array, Params
from models.ngram import perplexity, smoothed
from models.ngram.counts import NgramCounts
from models.token_ids import embed

ORDER = 3  # of the n-gram model to compare with
MAPPED = 24  # tokens of held-out text whose score maps are drawn
BATCH = 64  # steps of a batch in the last evaluation


def report(run: Run, config: TextModelConfig, corpus: Corpus, before: Params, after: Params) -> str:
    """Evaluates, measures, samples, writes and draws; returns the report."""
    model = config.model(corpus.tokenizer)
    held_out = corpus.held_out
    rivals = ngram_perplexities(corpus, held_out)
    losses: dict[str, np.ndarray] = {}
    results: dict[str, Any] = {"sources": dict(corpus.origin)}
    last = held_out[-1]
    for split in held_out:
        losses[split] = final_losses(config, model, after, corpus, split)
        results[split] = scores(losses[split], corpus, split) | {f"{ORDER}_gram_perplexity": rivals[split]}
    if config.reading == "windows":
        results[last] |= full_context_scores(config, model, after, corpus, last)
    run.write_arrays("curves", training_record(run.folder))
    measured = measures(config, corpus, model, last, losses[last], before, after)
    if config.reading == "windows":
        measured["full_context"] = np.array(results[last]["full_context_cross_entropy"])
    run.write_arrays("measures", measured | {"rival": np.array(rivals["valid"])})
    sample = sampled_text(model, after, corpus.tokenizer, config.seed, config.sample_tokens)
    text = f"{format_table(results, held_out)}\n\nsample:\n{sample}"
    run.write_table(text)
    run.finish(finite_or_none(results))
    draw(run.folder)
    return text


def scores(losses: np.ndarray, corpus: Corpus, split: str) -> dict[str, float | int]:
    """Computes scores from the losses of a split's tokens, in nats: their number, their mean, and what follows from
    it."""
    mean = math.fsum(losses) / len(losses)
    found = {
        "tokens": len(losses),
        "cross_entropy": mean,
        "perplexity": perplexity_of(mean),
        "bits_per_character": bits_per_character(mean, len(losses), corpus.sizes[split]),
    }
    known = corpus.splits[split][-len(losses) :] != corpus.tokenizer.vocabulary.unknown_id
    if corpus.sizes[split].unknown and known.any():
        found["known_perplexity"] = perplexity_of(math.fsum(losses[known]) / np.count_nonzero(known))
    return found


def final_losses(
    config: TextTraining, model: LanguageModel, params: Params, corpus: Corpus, split: str
) -> np.ndarray:
    """Returns −ln p of every token of a split as it is read at the end."""
    length = config.length if config.reading == "windows" else BATCH
    return split_losses(model, params, corpus, split, config.reading, config.test_rows, length)


def full_context_scores(
    config: TextModelConfig, model: LanguageModel, params: Params, corpus: Corpus, split: str
) -> dict[str, float | int]:
    """Computes scores from overlapping windows: the names of `scores` after `full_context_`, and the stride."""
    stride = config.window_stride
    losses = losses_of(model, params, window_pieces(corpus, split, config.length, stride))
    found = scores(losses, corpus, split)
    return {f"full_context_{name}": value for name, value in found.items() if name != "tokens"} | {
        "full_context_stride": stride
    }


def ngram_perplexities(corpus: Corpus, splits: list[str]) -> dict[str, float]:
    """Measures a 3-gram model with modified Kneser–Ney smoothing on each split."""
    vocabulary = corpus.tokenizer.vocabulary
    counts = NgramCounts.of(corpus.splits["train"], len(vocabulary), ORDER, vocabulary.end_id)
    model = smoothed(counts, "kneser_ney")
    return {split: perplexity(model.probabilities(corpus.splits[split])) for split in splits}


def measures(
    config: TextModelConfig,
    corpus: Corpus,
    model: LanguageModel,
    split: str,
    losses: np.ndarray,
    before: Params,
    after: Params,
) -> dict[str, np.ndarray]:
    """Measures what the figures are drawn from: by position, by frequency, gradients by lag before and after
    training."""
    vocabulary = corpus.tokenizer.vocabulary
    seen, following = pairs(corpus.split(split), vocabulary.end_id)
    found = {
        f"frequency|{k}": v
        for k, v in by_frequency(losses, corpus.split(split)[-len(losses) :], vocabulary.counts).items()
    }
    length = min(config.longest(config.positions), len(seen))
    from_zero = by_position(losses_from_zero(model, after, seen, following, length))
    found |= {f"position|{k}": v for k, v in from_zero.items()}
    if config.reading == "stream":
        found["carried"] = np.array(losses.mean())
    lags = min(config.longest(config.lags), len(seen))
    pieces = min(config.examples, len(seen) // lags)
    starts = np.linspace(0, len(seen) - lags, pieces).round().astype(int)
    windows = seen[starts[None] + np.arange(lags)[:, None]]
    targets = following[starts + lags - 1]
    found["gradients|of_inputs"] = np.array(holds_cache(model.cell))
    if holds_cache(model.cell):
        read = corpus.split(split)[: config.longest(MAPPED)]
        words = [corpus.tokenizer.decode([int(token)]) for token in read]
        found |= {"attention_words": np.array(words)} | {
            f"attention|layer {i + 1}": np.asarray(weights)
            for i, weights in enumerate(score_maps(model, after, read).values())
        }
    for moment, params in (("before", before), ("after", after)):
        found[f"gradients|{moment}"] = np.asarray(text_gradients(model, params, windows, targets))
    return found


def score_maps(model: LanguageModel, params: Params, tokens: np.ndarray) -> dict[str, Array]:
    """Returns the attention weights of each layer, `[heads, T, T]`, as the model reads tokens `[T]`."""
    held = params["params"]
    xs = embed(held["embedding"]["embedding"], jnp.asarray(tokens), what="tokens")
    return attention_maps(model.cell, held["recurrent"]["cell"], xs)


def sampled_text(
    model: LanguageModel,
    params: Params,
    tokenizer: Tokenizer,
    seed: int,
    tokens: int,
    temperature: float = 0.8,
) -> str:
    """Draws text from the model, beginning a line."""
    vocabulary = tokenizer.vocabulary
    never = () if vocabulary.unknown_id is None else (vocabulary.unknown_id,)
    drawn = generate(
        model, params, [line_start(tokenizer)], Sampling(temperature, never=never), jax.random.key(seed)
    )
    return tokenizer.decode(itertools.islice(drawn, tokens))


def line_start(tokenizer: Tokenizer) -> int:
    """Returns the token after which a line begins: the end mark, a line break, or where there is neither the
    commonest."""
    vocabulary = tokenizer.vocabulary
    if vocabulary.end_id is not None:
        return vocabulary.end_id
    if "\n" in vocabulary:
        return int(vocabulary.encode(["\n"])[0])
    return int(np.argmax(vocabulary.counts))


def format_table(results: dict[str, Any], splits: list[str]) -> str:
    """Formats a row for each score, a column for each split."""
    rows = {
        "tokens": ("tokens", ",.0f"),
        "cross_entropy": ("cross entropy (nats a token)", ".4f"),
        "perplexity": ("perplexity", ".2f"),
        "known_perplexity": ("perplexity of known tokens alone", ".2f"),
        "bits_per_character": ("bits per character", ".4f"),
        "full_context_cross_entropy": ("cross entropy, full context", ".4f"),
        "full_context_perplexity": ("perplexity, full context", ".2f"),
        "full_context_bits_per_character": ("bits per character, full context", ".4f"),
        f"{ORDER}_gram_perplexity": (f"perplexity of a {ORDER}-gram, Kneser–Ney", ".2f"),
    }
    lines = ["".join([f"{'':<36}", *(f"{split:>12}" for split in splits)])]
    for key, (name, digits) in rows.items():
        entries = [format_score(results[s][key], digits) if key in results[s] else "" for s in splits]
        if any(entries):
            lines.append("".join([f"{name:<36}", *(f"{entry:>12}" for entry in entries)]))
    return "\n".join(lines)


def format_score(value: float | int, digits: str) -> str:
    """Formats a number for a table, also one that has grown without bound in training."""
    return f"{value:{digits}}" if value < 1e7 else f"{value:.3g}"


def carried_line(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the options of `perplexity_by_position` for the loss with more context than a start at zero has."""
    if "full_context" in found:
        return {"carried": float(found["full_context"]), "carried_label": "full context"}
    return {"carried": float(found["carried"])} if "carried" in found else {}


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.attention import attention_figure
    from analysis.figures.gradients import gradient_against_lag
    from analysis.figures.language import perplexity_by_frequency, perplexity_by_position, perplexity_curves
    from analysis.figures.style import save

    config: dict[str, Any] = read_run(folder)["config"]
    record, found = read_arrays(folder, "curves"), read_arrays(folder, "measures")
    name = NetworkConfig(**config["network"]).describe(config["cell"])
    drawn = {
        "training": perplexity_curves(
            {
                split: {
                    "step": record[f"{split}/cross_entropy/step"],
                    "cross_entropy": record[f"{split}/cross_entropy"],
                }
                for split in ("train", "validation")
            },
            baseline=float(found["rival"]),
            baseline_label=f"{ORDER}-gram, Kneser–Ney",
        ),
        "perplexity_by_position": perplexity_by_position(
            **{key: found[f"position|{key}"] for key in ("position", "cross_entropy", "error")},
            **carried_line(found),
        ),
        "perplexity_by_frequency": perplexity_by_frequency(
            **{key: found[f"frequency|{key}"] for key in ("least", "cross_entropy", "share")}
        ),
        "gradient_against_lag": gradient_against_lag(
            {name: found["gradients|before"]},
            {name: found["gradients|after"]},
            of_inputs=bool(found.get("gradients|of_inputs", False)),
        ),
    }
    maps = {key.removeprefix("attention|"): found[key] for key in found if key.startswith("attention|")}
    if maps:
        words = [str(word) for word in found["attention_words"]]
        drawn["attention"] = attention_figure(maps, words, words)
    return [path for title, figure in drawn.items() for path in save(figure, folder / "figures", title)]
