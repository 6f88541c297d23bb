"""The evidence of claims: how each piece is read from the `results.json` of its runs."""

import math

import numpy as np

from experiments.claims.results import Arrays, Reader, Results, row, rows

GAINS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
BIASES = (0.0, 1.0, 2.0, 4.0)
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LAYERS = 6


# --- recurrent cells


def gradients(results: Results) -> Arrays:
    """Reads slopes of gradients: `elman`, `lstm [G, N]` against `gain [G]`, `lstm|bias [F, N]` against `bias [F]`,
    and `elman|orthogonal [N]`."""
    against = {"elman": GAINS, "lstm": GAINS, "lstm|bias": BIASES}
    found = {
        name: rows(results, *(f"{name}.{x:g}.slopes" for x in values)) for name, values in against.items()
    }
    orthogonal = row(results, "elman|orthogonal.slopes")
    return {"gain": np.array(GAINS), "bias": np.array(BIASES), **found, "elman|orthogonal": orthogonal}


def rates(cell: str) -> Reader:
    """Reads, against `rate [R]`, of a cell without and with clipping: `…|held_out [R, N]`, infinite for a net that
    wasn't finite to the end, `…|largest` gradient norm, and `…|climbed`, how far ln loss rose in all."""
    keys = {"held_out": "losses", "largest": "largest_norms", "climbed": "climbs"}

    def read(results: Results) -> Arrays:
        found = {
            f"{cell}{words}|{key}": rows(results, *(f"temporal_order.{clip}.{x:g}.{theirs}" for x in RATES))
            for words, clip in (("", "none"), (", clipped", "global_norm"))
            for key, theirs in keys.items()
        }
        return {"rate": np.array(RATES), **found}

    return read


def depths(results: Results) -> Arrays:
    """Reads, against `depth [L]`, `held_out`, `first_layer` and `last_layer [L, N]`."""
    depth = range(1, LAYERS + 1)
    keys = {"held_out": "losses", "first_layer": "first_layer", "last_layer": "last_layer"}
    found = {key: rows(results, *(f"{layers}.{theirs}" for layers in depth)) for key, theirs in keys.items()}
    return {"depth": np.array(depth, float), **found}


def gated(results: Results) -> Arrays:
    """Reads, of one LSTM, `lstm|…`, and of GRUs with as many units and as many parameters, `gru|…`:
    `held_out [nets, N]`, `parameters` and `weights [nets]`."""
    return {
        f"{cell}|{key}": rows(results, *(f"{net}.{theirs}" for net in nets)).reshape(shape)
        for cell, nets in (("lstm", ("lstm",)), ("gru", ("gru", "gru_wide")))
        for key, theirs, shape in (
            ("parameters", "parameters", -1),
            ("weights", "weights", -1),
            ("held_out", "losses", (len(nets), -1)),
        )
    }


def memory(results: Results) -> Arrays:
    """Reads the longest sequences that each cell solves, `CELL [tasks]`, 0 for none, and the longest `tried`."""
    tasks, cells = ("adding", "copy_memory"), ("elman", "lstm", "lru")
    solved: dict[tuple[str, str], list[int]] = {(task, cell): [0] for task in tasks for cell in cells}
    tried = 0
    for key, value in results.items():
        task, cell, length, what = key.split(".")
        if what == "solved":
            tried = max(tried, int(length))
            if value and (task, cell) in solved:
                solved[task, cell].append(int(length))
    found = {cell: np.array([max(solved[task, cell]) for task in tasks]) for cell in cells}
    return {"tasks": np.array(tasks), "tried": np.array(tried or math.nan, int), **found}


def speed(results: Results) -> Arrays:
    """Reads the seconds of a step `[L]` of each cell's scan and of attention, against `length [L]`."""
    found = {cell: row(results, f"{cell}.scan.seconds") for cell in ("elman", "gru", "lstm")}
    attention = "transformer layers=1, context=T.whole"
    length = row(results, f"{attention}.length").astype(int)
    return {"length": length, "attention": row(results, f"{attention}.seconds"), **found}


def stacks(results: Results) -> Arrays:
    """Reads the test losses of nets of a kind and depth at equal parameters, `loss|KIND|LAYERS [1]`."""
    return {
        f"loss|{kind}|{layers}": row(results, f"equal_parameters|{kind}|{layers}|0.004.test")
        for kind in ("lstm", "residual_lstm", "pre_norm")
        for layers in (4, 8)
    }


def turing(results: Results) -> Arrays:
    """Reads the wrong bits on sequences of twice the length of training, `ntm`, `lstm [tasks]`."""
    tasks = {"copy": "vectors", "associative_recall": "items"}
    cells = {"ntm": "ntm slots=16, width=10", "lstm": "lstm"}
    return {"tasks": np.array(list(tasks))} | {
        name: np.array(
            [results[f"nets.{task}, {cell}.longer|{what}|bits"][1] for task, what in tasks.items()]
        )
        for name, cell in cells.items()
    }


def measured_as(name: str, key: str) -> Reader:
    """Reads one number of one net as `NAME [1]`."""
    return lambda results: {name: row(results, key)}


# --- language


def ngrams(results: Results) -> Arrays:
    """Reads test perplexities by n of counts and of smoothed counts, and the numbers of n-grams up to n."""
    names = {"mle": "mle/test", "kneser_ney": "kneser_ney/test", "sizes": "n_grams"}
    return {name: row(results, key) for name, key in names.items()}


def families(results: Results) -> Arrays:
    """Reads the test perplexities of `windows` of 2, 4 and 7 words and of an LSTM, and of 5-grams and the window of
    as many words the sizes too."""
    windows = [f"window order={order}.test_perplexity" for order in (3, 5, 8)]
    names = {"ngram": "5-gram, Kneser–Ney", "window": "window order=5", "lstm": "lstm"}
    found = {name: np.array(float(results[f"{key}.test_perplexity"])) for name, key in names.items()}
    sizes = {f"{name}_size": np.array(float(results[f"{key}.size"])) for name, key in names.items()}
    return {"windows": row(results, *windows), **found, **sizes}


def sizes(results: Results) -> Arrays:
    """Reads parameters and losses of the small Transformers, the smallest first."""
    nets = ("small_gpt_1x32", "small_gpt_2x64", "small_gpt_2x96", "small_gpt_3x128")
    return {
        "parameters": row(results, *(f"{net}.parameters" for net in nets)),
        "losses": row(results, *(f"{net}.cross_entropy" for net in nets)),
    }


def tags(results: Results) -> Arrays:
    """Reads the accuracy on words of several tags of a net and of their commonest tags."""
    commonest = "baselines.the commonest tag of each word.ambiguous"
    return {
        "ambiguous": np.array(results["test.ambiguous"]),
        "commonest": np.array(results[commonest]),
    }


def sentiment(results: Results) -> Arrays:
    """Reads the accuracies of the net that reads both ways and, after it, of that which reads forward, `[1]`."""
    both, forward = (
        key for key in results if key.startswith("nets.") and key.removesuffix(".accuracy") != key
    )
    return {"accuracy|both": row(results, both), "accuracy|forward": row(results, forward)}


# --- pairs


def search(results: Results) -> Arrays:
    """Reads BLEU `[S, W]` and seconds by width, and `length_bleu [S, n]` by length, of the `systems`; and how far
    any two heads of one layer diverge."""
    names = list(dict.fromkeys(key.split(".")[1] for key in results if key.startswith("systems.")))
    of = {
        key: [f"systems.{name}.{key}" for name in names]
        for key in ("width|bleu", "width|seconds", "length|bleu")
    }
    apart: list[float] = []
    for key, values in results.items():
        if key.endswith("|divergence") and len(values) > 1:
            table = np.array(values, float)
            apart += table[~np.eye(len(table), dtype=bool)].tolist()
    first = f"systems.{names[0]}"
    if not apart:
        raise ValueError("there are no heads")
    return {
        "systems": np.array(names),
        "widths": row(results, f"{first}.widths"),
        "bleu": rows(results, *of["width|bleu"]),
        "seconds": rows(results, *of["width|seconds"]),
        "joined": np.array(int(results[f"{first}.joined"])),
        "lengths": row(results, f"{first}.lengths").astype(int),
        "length_bleu": rows(results, *of["length|bleu"]),
        "divergence": np.array(apart),
    }


def source(results: Results) -> Arrays:
    """Reads for each net by length `NET [n]`, the accuracy after training, and `reach|NET [n]`, the gradient by the
    first letter over that by the last before it."""
    nets, lengths = ("fixed context", "fixed context, source reversed", "attention"), (5, 10, 20, 40, 80)
    found = {"lengths": np.array(lengths), "trained": np.array(20)}
    for net in nets:
        found[net] = row(results, *(f"{net}.after training.accuracy.{n}" for n in lengths))
        rows_of = [row(results, f"{net}.before training.gradients.{n}") for n in lengths]
        found[f"reach|{net}"] = np.array([norms[0] / norms[-1] for norms in rows_of])
    return found


def paths(results: Results) -> Arrays:
    """Reads the influence of the first input after training, `total` and by `recurrence [tasks]`, and the τ of
    Kendall of the `nets` that attend."""
    tasks = ("copy_memory", "adding", "text")
    nets = (*tasks, "text, transformer")
    ends = {
        path: np.array([row(results, f"{task}, after training.{path}")[-1] for task in tasks])
        for path in ("total", "recurrence")
    }
    tau = row(results, *(f"{net}, after training.tau.mean" for net in nets))
    return {"tasks": np.array(tasks), "nets": np.array(nets), "tau": tau, **ends}


def trimming(results: Results) -> Arrays:
    """Reads the share of doubled letters that are right, of both nets and of one without an error."""
    names = {
        "ctc": "systems.CTC",
        "trimmed": "systems.frame by frame, trimmed",
        "bound": "baselines.perfect, trimmed",
    }
    return {name: np.array(float(results[f"{key}.doubled"])) for name, key in names.items()}


def sentences(results: Results) -> Arrays:
    """Reads the shares of right answers `[2, 1]` of the probes of grammar and of those of meaning, of both nets."""
    kinds = {"grammar": ("word order", "missing word"), "meaning": ("next sentence", "same text")}
    return {
        f"{kind}|{net}": rows(results, *(f"probes.{net}.{probe}" for probe in probes))
        for kind, probes in kinds.items()
        for net in ("autoencoder", "skip-thought")
    }


def pairs(results: Results) -> Arrays:
    """Reads the exact translations of the nets of few pairs, and of the dictionary."""
    nets = ("few pairs", "back-translation", "no pairs", "all pairs")
    words = float(results["baselines.word by word.exact"])
    return {net: np.array(float(results[f"systems.{net}.exact"])) for net in nets} | {
        "word by word": np.array(words)
    }
