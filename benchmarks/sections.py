"""The sections of the page after the layers: a table each, with a paragraph that describes the measurement."""

from typing import Any

from benchmarks.work import Work

NAMES = {"elman": "Elman", "gru": "GRU, reset after", "lstm": "LSTM"}


def eager(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per cell and size."""
    lines = [
        "`unroll` without `jax.jit` around it, on one device, beside the same call jitted: medians in "
        "milliseconds, taking turns. The last columns show by how much 1,000 more eager calls grow the resident "
        "memory of the process and the number of live arrays. To measure this alone: `python -m benchmarks.eager`.",
        "",
        "| T, B, D, H | | jitted | eager | times jitted | MiB grown | arrays grown |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        work, seconds = Work(**row["work"]), row["seconds"]
        jitted, called = (1e3 * seconds[name] for name in ("jitted", "eager"))
        lines.append(
            f"| {work.T}, {work.B}, {work.D}, {work.H} | {NAMES[work.family]} | {jitted:.3g} | {called:.3g} | "
            f"{called / jitted:.2f} | {row['grown_bytes'] / 2**20:.2f} | {row['grown_arrays']} |"
        )
    return lines


def kernels(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size."""
    kinds = list(rows[0]["seconds"])
    lines = [
        "Forward and backward of the LSTM on one core with one device's shard of the batch, kernel by kernel from "
        "a trace of XLA's program. *Thin products* are those of one step (h R, z̄ Rᵀ), *large products* those of a "
        "block of steps (x W, xᵀ z̄, hᵀ z̄). The *local part* is the other work of every step; the *rest* is done "
        "once per block or once in all: summing gradients, touching memory for the first time, slicing blocks. "
        "Tracing adds about 0.4 µs per kernel, most noticeably to the local part of a small layer. To measure this "
        "alone: `python -m benchmarks.kernels`.",
        "",
        f"| T, B, D, H | ms | {' | '.join(kinds)} | GFLOP/s of the products | of all |",
        f"| --- | ---: |{' ---: |' * (len(kinds) + 2)}",
    ]
    for row in rows:
        work, seconds = Work(**row["work"]), row["seconds"]
        total = sum(seconds.values())
        inside = seconds["thin products"] + seconds["large products"]
        shares = " | ".join(f"{seconds[kind] / total:.0%}" for kind in kinds)
        speeds = " | ".join(f"{work.products(True) / spent / 1e9:.0f}" for spent in (inside, total))
        size = f"{work.T}, {work.B}, {work.D}, {work.H}"
        lines.append(f"| {size} | {1e3 * total:.3g} | {shares} | {speeds} |")
    return lines


def jacobians(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per cell and length."""
    names = list(rows[0]["seconds"])
    lines = [
        "All T Jacobians `[S, S]` of a layer with H = 256, in ms: `step_jacobians` (ours, in closed form for these "
        "cells); `jax.jacfwd` under `vmap` over all steps, which computes the product with R that all steps share "
        "only once; jitted `jax.jacfwd` called at every step; and only writing as many numbers. In brackets: "
        "multiples of our time.",
        "",
        f"| T, S | | {' | '.join(names)} |",
        f"| --- | --- |{' ---: |' * len(names)}",
    ]
    for row in rows:
        seconds = row["seconds"]
        cells = [f"{1e3 * seconds[name]:.3g} ({seconds[name] / seconds['ours']:.1f})" for name in names]
        lines.append(f"| {row['T']}, {row['S']} | {NAMES[row['family']]} | {' | '.join(cells)} |")
    return lines


def lyapunov(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per number of exponents and side."""
    ours = {row["k"]: row["seconds"] for row in rows if row["side"] == "ours"}
    lines = [
        "The k leading exponents of a driven tanh net, H = 256, T = 1,000, in float32: `lyapunov_spectrum`; a loop "
        "in PyTorch that, like ours, takes directional derivatives of any step (by `torch.func`); and one with the "
        "derivative of tanh written by hand. Both loops take a QR at every step. Medians over separate processes "
        "that take turns. Each starts from its own random frame, so the exponents differ by what 1,000 steps have "
        "not yet forgotten of it.",
        "",
        "| k | | seconds | times ours | largest difference of an exponent from ours |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        ratio, apart = f"{row['seconds'] / ours[row['k']]:.2f}", f"{row['apart']:.1g}"
        lines.append(f"| {row['k']} | {row['side']} | {row['seconds']:.3f} | {ratio} | {apart} |")
    return lines


def language_model(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per side."""
    rivals = [row["tokens_per_second"] for row in rows if row["side"] == "PyTorch"]
    lines = [
        "The small LSTM of Zaremba, Sutskever & Vinyals 2014: embedding, two layers of 200 units, softmax over "
        "10,000 words, 20 steps of 20 rows, clipping and gradient descent. Ours is `train_chunk` with the norms, "
        "metrics and checks of every run, beside the same step in PyTorch. Separate processes take turns of 20 "
        "steps with the same weights and words; losses must agree to 1e-3, or the benchmark stops. Medians in "
        "milliseconds, with the interquartile range in brackets. To measure this alone: "
        "`python -m benchmarks.language_model`.",
        "",
        "| | ms a step | tokens a second | times PyTorch |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        times = f"{row['tokens_per_second'] / rivals[0]:.2f}" if rivals else "–"
        lines.append(
            f"| {row['side']} | {shown(row['quartiles'])} | {row['tokens_per_second']:,.0f} | {times} |"
        )
    return lines


def gpt(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size and side."""
    lines = [
        "A small GPT: embedding and learned positions, pre-norm blocks of 4 heads with GELU, softmax over 65 "
        "characters, mean cross entropy over random windows, clipping and Adam. Ours is `train_chunk` with the "
        "norms, metrics and checks of every run, beside the same step in Flax Linen, one jitted scan over the "
        "steps, and in PyTorch, written as in nanoGPT. Separate processes take turns with the same weights and "
        "windows; losses must agree to 1e-3, or the benchmark stops. Medians in milliseconds, with the "
        "interquartile range in brackets. To measure this alone: `python -m benchmarks.gpt`.",
        "",
        "| layers × units, T, B | | ms a step | tokens a second | ours as fast as it, times |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    best = {row["size"]: row["tokens_per_second"] for row in rows if row["side"] == "ours"}
    for row in rows:
        times = f"{best[row['size']] / row['tokens_per_second']:.2f}"
        lines.append(
            f"| {row['size']} | {row['side']} | {shown(row['quartiles'])} | {row['tokens_per_second']:,.0f} | "
            f"{times} |"
        )
    return lines


def translation(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size and side."""
    lines = [
        "The system `attention` of `python -m experiments translation`: a bidirectional GRU reads the source, a "
        "GRU with additive attention and its context fed back writes the target; all sizes 256, 64 pairs, 6,000 "
        "tokens on each side, tied output layer, clipping and Adam. Ours is `train_chunk` with the norms, metrics"
        " and checks of every run, beside the same step in PyTorch: `nn.GRU` over packed sources, a loop over "
        "tokens, one product for the logits of all steps. Lengths are drawn between three quarters and the whole "
        "of L and T; tokens are those of the targets, without padding. Separate processes take turns with the "
        "same weights and pairs; losses must agree to 1e-3, or the benchmark stops. Medians in milliseconds, with"
        " the interquartile range in brackets. To measure this alone: `python -m benchmarks.translation`.",
        "",
        "| L, T | | ms a step | target tokens a second | times PyTorch |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    rivals = {row["size"]: row["tokens_per_second"] for row in rows if row["side"] == "PyTorch"}
    for row in rows:
        speed = row["tokens_per_second"]
        times = f"{speed / rivals[row['size']]:.2f}" if rivals else "–"
        lines.append(
            f"| {row['size']} | {row['side']} | {shown(row['quartiles'])} | {speed:,.0f} | {times} |"
        )
    return lines


def tagging(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size and side."""
    return words_a_second(
        rows,
        "The tagger of `python -m experiments pos_tagging --characters none`: word embeddings of 100 numbers, an "
        "LSTM of 128 units in both directions, 17 tags, 32 sentences whose lengths are drawn between half and the "
        "whole of T, clipping and Adam. Ours is `train_chunk`, one batch a call, with the norms, metrics and "
        "checks of every run, beside the same step in PyTorch, with packed sentences and with padded ones, whose "
        "backward direction is turned round within each length. Separate processes take turns with the same "
        "weights and sentences; losses must agree to 1e-3, or the benchmark stops. Medians in milliseconds, with "
        "the interquartile range in brackets. To measure this alone: `python -m benchmarks.tagging`.",
    )


def sentiment(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size and side."""
    return words_a_second(
        rows,
        "The net of `python -m experiments sentiment`: word embeddings of 100 numbers, an LSTM of 128 units in "
        "both directions, attention of 64 over its outputs, two classes. Sentences, sides, turns and checks are "
        "those of the tagger above. To measure this alone: `python -m benchmarks.sentiment`.",
    )


def words_a_second(
    rows: list[dict[str, Any]], text: str, *, size: str = "T", unit: str = "words"
) -> list[str]:
    """Tabulates one line per size and side; the ratio is to the fastest of PyTorch's sides."""
    lines = [
        text,
        "",
        f"| {size} | | ms a step | {unit} a second | times the faster PyTorch |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    rivals: dict[str, float] = {}
    for row in rows:
        if row["side"].startswith("PyTorch"):
            rivals[row["size"]] = max(rivals.get(row["size"], 0), row["tokens_per_second"])
    for row in rows:
        speed = row["tokens_per_second"]
        times = f"{speed / rivals[row['size']]:.2f}" if rivals else "–"
        lines.append(
            f"| {row['size']} | {row['side']} | {shown(row['quartiles'])} | {speed:,.0f} | {times} |"
        )
    return lines


def turing(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per side."""
    lines = [
        "The machine of `python -m experiments turing_tasks --preset copy`: an LSTM of 100 units, a memory of 128 "
        "rows of 20 numbers, two heads, 32 sequences of 1 to 20 vectors to copy (41 steps), clipping and Adam. "
        "Ours is `train_chunk` with the norms, metrics and checks of every run, beside the same equations in "
        "PyTorch, a loop over the steps. Separate processes take turns with the same weights and sequences; losses "
        "must agree to 1e-3, or the benchmark stops. Medians in milliseconds, with the interquartile range in "
        "brackets. To measure this alone: `python -m benchmarks.turing`.",
        "",
        "| | ms a step | steps a second | times PyTorch |",
        "| --- | ---: | ---: | ---: |",
    ]
    rivals = [row["tokens_per_second"] for row in rows if row["side"] == "PyTorch"]
    for row in rows:
        speed = row["tokens_per_second"]
        times = f"{speed / rivals[0]:.2f}" if rivals else "–"
        lines.append(f"| {row['side']} | {shown(row['quartiles'])} | {speed:.1f} | {times} |")
    return lines


def decoding(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per side."""
    times = {row["side"]: row["seconds"] for row in rows}
    lines = [
        f"A Transformer with 4 layers of 128 units writes one text of {rows[0]['tokens']} tokens, in two ways, "
        "each one jitted scan: by `step`, which keeps the keys and values of earlier tokens in a cache, and by "
        "computing the whole window again for every token. Both must write the same tokens, or the benchmark "
        "stops. Medians of runs that take turns. To measure this alone: `python -m benchmarks.decoding`.",
        "",
        "| | seconds | tokens a second | times as fast as recomputing |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, seconds in times.items():
        speed, ratio = rows[0]["tokens"] / seconds, times["recomputed"] / seconds
        lines.append(f"| {name} | {seconds:.3g} | {speed:,.0f} | {ratio:.1f} |")
    return lines


def beam(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per side."""
    rivals = [row["sentences_per_second"] for row in rows if row["side"] == "PyTorch"]
    different = max(row["different"] for row in rows)
    lines = [
        f"Beam search of width 5 over {rows[0]['sentences']:,} sources of 13 tokens on average: an encoder and a "
        "decoder of one GRU each, 256 units, additive attention, 6,000 tokens, random weights; translations have "
        f"{rows[0]['words']:.0f} tokens on average, at most 30. `beam_search` beside a loop over tokens in "
        "PyTorch. Separate processes take turns with the same weights and batches; translations must be the same "
        f"({different} differ, where two hypotheses are equal but for rounding), and scores to 1e-4, or the "
        "benchmark stops. Medians, with the interquartile range in brackets. To measure this alone: "
        "`python -m benchmarks.beam`.",
        "",
        "| | ms in all | sentences a second | times PyTorch |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        times = f"{row['sentences_per_second'] / rivals[0]:.2f}" if rivals else "–"
        speed = row["sentences_per_second"]
        lines.append(f"| {row['side']} | {shown(row['quartiles'])} | {speed:,.0f} | {times} |")
    return lines


def attention(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size and method."""
    lines = [
        "A GRU that attends to L places after each of its 20 steps, B = 64, all sizes 256: `fused`, which `unroll` "
        "chooses by itself, beside a plain scan, whose forward pass is the same. Backward is what the gradients in "
        "parameters, inputs and memory take beyond the forward pass. The gradients agree, or the benchmark stops. "
        "Medians in milliseconds of runs that take turns. To measure this alone: `python -m benchmarks.attention`.",
        "",
        "| score | L | method | forward | backward | times forward |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        forward, backward = 1e3 * row["forward"], 1e3 * (row["both"] - row["forward"])
        lines.append(
            f"| {row['score']} | {row['L']} | {row['method']} | {forward:.3g} | {backward:.3g} | "
            f"{backward / forward:.2f} |"
        )
    return lines


def start(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per command."""
    lines = [
        "Seconds until `python -m experiments …` answers (median of three) or logs its first training step "
        "(measured once): with an empty compilation cache, with the cache of an earlier run, and on resuming that "
        "run after it was stopped. To measure this alone: `python -m benchmarks.start`.",
        "",
        "| | seconds | of the first time |",
        "| --- | ---: | ---: |",
    ]
    for row in rows:
        share = f"{row['of_cold']:.2f}" if "of_cold" in row else "–"
        command, *more = row["what"].split(", ")
        lines.append(f"| {', '.join([f'`{command}`', *more])} | {row['seconds']:.1f} | {share} |")
    return lines


def shown(quartiles: list[float]) -> str:
    """Formats the median in milliseconds, with the interquartile range in brackets."""
    low, median, high = quartiles
    return f"{1e3 * median:.3g} ({1e3 * (high - low):.2g})"
