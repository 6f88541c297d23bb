"""The page's sections beside the layers' times: each a table of what one measurement found, with what it is."""

from typing import Any

from benchmarks.work import Work

NAMES = {"elman": "Elman", "gru": "GRU, reset after", "lstm": "LSTM"}


def eager(rows: list[dict[str, Any]]) -> list[str]:
    """A line a cell and size."""
    lines = [
        "`unroll` called without `jax.jit` around it, on one device, beside the same call jitted: medians in "
        "milliseconds, by turns. Then 1,000 more eager calls: by how much the process's resident memory grows, "
        "and by how many the arrays that are alive. By itself: `python -m benchmarks.eager`.",
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
    """A line a size."""
    kinds = list(rows[0]["seconds"])
    lines = [
        "Forward and backward of the LSTM on one core with one device's share of the batch, kernel by kernel in "
        "the trace of XLA's program. *Thin products* are those of a step (h R, z̄ Rᵀ), *large products* those of a "
        "block of steps (x W, xᵀ z̄, hᵀ z̄), the *local part* what else is done at every step, the *rest* what is "
        "done once a block or once in all: gradients summed, memory first touched, blocks cut. Tracing adds about "
        "0.4 µs to a kernel, and so most to the local part of a small layer. By itself: "
        "`python -m benchmarks.kernels`.",
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
    """A line a cell and length."""
    names = list(rows[0]["seconds"])
    lines = [
        "All T Jacobians `[S, S]` of a layer with H = 256, in ms: `step_jacobians`, whose closed form these "
        "cells have; `jax.jacfwd` under `vmap` over all steps, where the one product with R that all share is done "
        "once; `jax.jacfwd`, jitted, called at every step; and the writing of so many numbers alone. In brackets: "
        "times ours.",
        "",
        f"| T, S | | {' | '.join(names)} |",
        f"| --- | --- |{' ---: |' * len(names)}",
    ]
    for row in rows:
        seconds = row["seconds"]
        cells = [f"{1e3 * seconds[name]:.3g} ({seconds[name] / seconds['ours']:.1f})" for name in names]
        lines.append(f"| {row['T']}, {row['S']} | {NAMES[row['family']]} | {' | '.join(cells)} |")
    return lines


def exponents(rows: list[dict[str, Any]]) -> list[str]:
    """A line a number of exponents and side."""
    ours = {row["k"]: row["seconds"] for row in rows if row["side"] == "ours"}
    lines = [
        "A driven tanh net, H = 256, T = 1,000, the k leading exponents in float32: `lyapunov_spectrum` beside a "
        "loop in PyTorch that takes directional derivatives of any step by `torch.func` as ours does, and beside "
        "one with the derivative of tanh written into it; both with a QR at every step. Median of processes of "
        "their own, by turns. Each begins with a frame of its own draw: the exponents differ by what 1,000 steps "
        "have not yet forgotten of it.",
        "",
        "| k | | seconds | times ours | largest difference of an exponent from ours |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        ratio, apart = f"{row['seconds'] / ours[row['k']]:.2f}", f"{row['apart']:.1g}"
        lines.append(f"| {row['k']} | {row['side']} | {row['seconds']:.3f} | {ratio} | {apart} |")
    return lines


def language_model(rows: list[dict[str, Any]]) -> list[str]:
    """A line a side."""
    rivals = [row["tokens_per_second"] for row in rows if row["side"] == "PyTorch"]
    lines = [
        "The small LSTM of Zaremba, Sutskever & Vinyals 2014: embedding, two layers of 200 units, softmax over "
        "10,000 words, 20 steps of 20 rows, clipping and gradient descent. `train_chunk` with the norms, metrics "
        "and checks that every run of ours has, beside the same step in PyTorch; processes of their own, by turns "
        "of 20 steps; the same weights and words, and the same losses to 1e-3 or the run is refused. Medians in "
        "milliseconds, the quartiles' distance in brackets. By itself: `python -m benchmarks.language_model`.",
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


def start_times(rows: list[dict[str, Any]]) -> list[str]:
    """A line a command."""
    lines = [
        "Seconds until `python -m experiments …` has answered, median of three, or has logged its first training "
        "step, once: with no compiled program kept, with those of an earlier run, and resumed after that run was "
        "stopped. By itself: `python -m benchmarks.start`.",
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
    """The median in milliseconds, and in brackets the distance of the quartiles."""
    low, median, high = quartiles
    return f"{1e3 * median:.3g} ({1e3 * (high - low):.2g})"
