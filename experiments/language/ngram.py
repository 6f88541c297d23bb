"""Count n-grams, n = 1 to --order, and compare smoothings; perplexity, size, samples.

The models are estimated from the training split of a text (--data.dir, or the prose of Python's language
reference). Perplexities count every token, including line ends, as is usual on PTB. The scores of stupid back-off
don't sum to one, so its perplexity isn't comparable with the others. A token of probability 0 makes the
perplexity infinite; the share of such tokens follows in brackets.
"""

import math
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from data import Corpus, TextConfig
from experiments.harness.checks import check_at_least, check_distinct, check_positive, check_seed
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.language.corpus import bits_per_character, checked_corpus, encoded_prompt
from experiments.task_report import padded
from experiments.text_files import save_tokenizer
from models.ngram import NgramModel, Smoothing, perplexity, smoothed
from models.ngram.counts import NgramCounts


@dataclass(frozen=True)
class Config:
    """n-grams."""

    data: TextConfig = field(default_factory=TextConfig)
    order: int = 5
    """Longest n-grams."""
    smoothings: tuple[Smoothing, ...] = ("mle", "add_k", "stupid_backoff", "katz", "kneser_ney")
    """Smoothing methods; samples and continuations use the last one named."""
    add_k: float = 0.01
    """Number that add_k adds to each count."""
    prompt: str | None = None
    """Text to continue; by default the most frequent pair of tokens."""
    continuations: int = 10
    """Number of likeliest next tokens to show."""
    sample_tokens: int = 60
    """Tokens drawn for each n."""
    seed: int = 0
    """Seed of the samples."""

    def __post_init__(self) -> None:
        check_at_least(1, order=self.order, continuations=self.continuations)
        check_seed(self.seed)
        check_at_least(0, sample_tokens=self.sample_tokens)
        check_distinct(smoothings=self.smoothings)
        check_positive(add_k=self.add_k)

    def check(self) -> None:
        """Checks the text and the prompt, before a run is begun."""
        corpus = self.corpus
        if self.prompt is not None:
            encoded_prompt(corpus.tokenizer, self.prompt)

    @cached_property
    def corpus(self) -> Corpus:
        """Returns the corpus, loaded when first asked for. Raises ValueError if there is nothing to validate on."""
        return checked_corpus(self.data)


def main(config: Config, run: Run) -> str:
    """Counts, smooths, evaluates, samples; returns the report."""
    corpus = config.corpus
    save_tokenizer(run.folder, corpus)
    vocabulary = corpus.tokenizer.vocabulary
    print(corpus.summary(), flush=True)
    began = time.perf_counter()
    counts = NgramCounts.of(corpus.splits["train"], len(vocabulary), config.order, vocabulary.end_id)
    shorter = f" (the text has no longer ones, so --order {config.order} is {counts.order})"
    said = shorter if counts.order < config.order else ""
    print(f"counted to n = {counts.order}{said} in {time.perf_counter() - began:.1f} s", flush=True)
    held_out = corpus.held_out

    record: dict[str, np.ndarray] = {"order": np.arange(1, counts.order + 1), "size": counts.sizes()}
    record |= {f"unseen|{split}": counts.unseen(corpus.splits[split]) for split in held_out}
    models: list[NgramModel] = []  # of the last smoothing
    for smoothing in config.smoothings:
        began = time.perf_counter()
        models = [smoothed(counts.truncated(n), smoothing, k=config.add_k) for n in record["order"].tolist()]
        for split in held_out:
            p = [model.probabilities(corpus.splits[split]) for model in models]
            record[f"perplexity|{smoothing}|{split}"] = np.array([perplexity(each) for each in p])
            record[f"zero|{smoothing}|{split}"] = np.array([np.mean(each == 0) for each in p])
        print(f"{full_name(smoothing)}: {time.perf_counter() - began:.1f} s", flush=True)
    run.write_arrays("ngram", record)

    prompt, following = continued(config, corpus, models[-1])
    text = "\n\n".join(
        [
            format_table(record, config.smoothings, held_out),
            following,
            samples(config, corpus, models, prompt),
        ]
    )
    run.write_table(text)
    draw(run.folder)
    run.finish(results(config, corpus, record, held_out))
    return text


def results(
    config: Config, corpus: Corpus, record: dict[str, np.ndarray], held_out: list[str]
) -> dict[str, object]:
    """Collects of each smoothing and split the perplexities by n (null for infinity) and the bits per character of
    the last."""
    found: dict[str, object] = {"sources": dict(corpus.origin), "n_grams": record["size"].tolist()}
    for split in held_out:
        size = corpus.sizes[split]
        for smoothing in config.smoothings:
            values = record[f"perplexity|{smoothing}|{split}"].tolist()
            found[f"{smoothing}/{split}"] = [value if math.isfinite(value) else None for value in values]
            if math.isfinite(values[-1]):
                bits = bits_per_character(math.log(values[-1]), size.tokens, size)
                found[f"{smoothing}/{split}/bits_per_character"] = bits
    return found


def format_table(
    record: dict[str, np.ndarray], smoothings: tuple[Smoothing, ...], held_out: list[str]
) -> str:
    """Perplexities by smoothing and n of each split, then sizes and what is unseen."""
    orders = record["order"].tolist()
    lines = []
    for split in held_out:
        lines += [row(f"perplexity, {split}", [f"n = {n}" for n in orders])]
        for smoothing in smoothings:
            values, zero = (record[f"{what}|{smoothing}|{split}"] for what in ("perplexity", "zero"))
            entries = [f"{v:.2f}" if z == 0 else f"inf ({z:.1%})" for v, z in zip(values, zero, strict=True)]
            lines.append(row(full_name(smoothing), entries))
        lines.append("")
    lines.append(row("different n-grams, train", [f"{size:,}" for size in record["size"].tolist()]))
    for split in held_out:
        lines.append(
            row(f"unseen, {split}", [f"{share:.1%}" for share in record[f"unseen|{split}"].tolist()])
        )
    return "\n".join(lines)


def row(name: str, entries: list[str]) -> str:
    return f"{name:<28}" + "".join(f"{entry:>14}" for entry in entries)


def continued(config: Config, corpus: Corpus, model: NgramModel) -> tuple[list[int], str]:
    """Formats the prompt and its most likely continuations with their counts as lines."""
    tokenizer = corpus.tokenizer
    given = config.prompt
    prompt = frequent_pair(corpus) if given is None else encoded_prompt(tokenizer, given).tolist()
    shown = tokenizer.decode(prompt)
    lines = [f"after {shown!r}, by {full_name(config.smoothings[-1])}, n = {model.counts.order}:"]
    lines.append(f"{'token':<20}{'probability':>12}{'times seen':>12}  in the text after")
    unit = " " if config.data.unit in ("word", "bpe") else ""
    for token, p, times, order in model.continuations(prompt, config.continuations):
        seen = (
            [corpus.tokenizer.vocabulary.types[t] for t in prompt[len(prompt) - order + 1 :]]
            if order > 1
            else []
        )
        # A prompt begins a line, so that its mark may be what the longest n-gram begins with.
        begins = ["(line)"] if order - 1 > len(prompt) else []
        after = unit.join([*begins, *seen]) if order > 1 else "anything" if order else "nothing: never seen"
        name = repr(tokenizer.vocabulary.types[token])[1:-1]
        lines.append(f"{padded(name, 20)}{p:>12.4f}{times:>12,}  {after}")
    return prompt, "\n".join(lines)


def frequent_pair(corpus: Corpus) -> list[int]:
    """Returns the two tokens of letters that follow one another most often in the training text; [] if there are
    none."""
    vocabulary = corpus.tokenizer.vocabulary
    counts = NgramCounts.of(corpus.splits["train"], len(vocabulary), 2, vocabulary.end_id)
    if counts.order < 2:
        return []
    pairs = np.stack(np.divmod(counts.levels[1].keys, len(vocabulary)), axis=1)
    letters = np.array([token.replace("▁", "").isalpha() for token in vocabulary.types])
    plain = np.where(letters[pairs].all(axis=1), counts.levels[1].counts, 0)
    return pairs[plain.argmax()].tolist() if plain.size and plain.max() else []


def samples(config: Config, corpus: Corpus, models: list[NgramModel], prompt: list[int]) -> str:
    """Draws a text from each order's model, the prompt first; the unknown mark is never drawn."""
    unknown = corpus.tokenizer.vocabulary.unknown_id
    never = [] if unknown is None else [unknown]
    lines = [f"drawn by {full_name(config.smoothings[-1])}, seed {config.seed}:"]
    for model in models:
        generator = np.random.default_rng(config.seed)
        drawn = model.sample(generator, config.sample_tokens, prompt, never=never)
        text = corpus.tokenizer.decode([*prompt, *drawn]).strip("\n")
        lines.append(f"n = {model.counts.order}: " + text.replace("\n", "\n       "))
    return "\n".join(lines)


def full_name(smoothing: str) -> str:
    """Returns what figures and tables call a way of smoothing."""
    from analysis.figures.ngram import NAMES

    return NAMES[smoothing]


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    from analysis.figures.ngram import perplexity_by_order, size_by_order
    from analysis.figures.style import save

    record = read_arrays(folder, "ngram")
    split = "test" if "unseen|test" in record else "valid"
    names = [
        key.split("|")[1] for key in record if key.startswith("perplexity|") and key.endswith(f"|{split}")
    ]
    curves = {
        name: {"order": record["order"], "perplexity": record[f"perplexity|{name}|{split}"]}
        for name in names
        if name != "stupid_backoff"  # its scores don't sum to one: they are no perplexities
    }
    unseen = {key.split("|")[1]: record[key] for key in record if key.startswith("unseen|")}
    where = folder / "figures"
    perplexities = save(perplexity_by_order(curves, split=split), where, "perplexity") if curves else []
    return [
        *perplexities,
        *save(size_by_order(record["order"], record["size"], unseen), where, "size"),
    ]
