"""Evidence made up so that every claim holds by it, but for two that another one excludes."""

import numpy as np

from experiments.claims.finding import FAILED, HELD, PARTLY
from experiments.claims.rows import ROWS

Pieces = dict[str, dict[str, np.ndarray]]
SPREAD = np.array([0.99, 1.0, 1.01])
EXPECTED = dict.fromkeys(ROWS, HELD) | {
    "lstm_still_vanishes": FAILED,  # the contrary of another row
    "unseen": PARTLY,  # where smoothing has a perplexity, it cures
}


def made_up() -> Pieces:
    """Returns every piece of evidence."""
    return {**recurrent(), **of_language(), **of_pairs()}


def recurrent() -> Pieces:
    """Returns what was measured of recurrent cells."""
    learns, fails = 0.1 * SPREAD, 2.0 * SPREAD
    return {
        "gradients": {
            "gain": np.array([1.0, 4.0]),
            "bias": np.array([0.0, 1.0]),
            "elman": np.stack([-0.1 * SPREAD, 0.5 * SPREAD]),
            "lstm": np.stack([-0.1 * SPREAD, 0.2 * SPREAD]),
            "lstm|bias": np.stack([-0.5 * SPREAD, -0.001 * SPREAD]),
            "elman|orthogonal": -0.001 * SPREAD,
        },
        "rates": {
            "rate": np.array([0.01, 0.1, 1.0]),
            "elman|held_out": np.stack([learns, learns, fails]),
            "elman, clipped|held_out": np.stack([learns, learns, learns]),
            "lstm|held_out": np.stack([learns, fails, fails]),
            "lstm, clipped|held_out": np.stack([learns, fails, fails]),
            **{f"elman|{key}": np.stack([5 * SPREAD] * 3) for key in ("climbed", "largest")},
            **{f"lstm|{key}": np.stack([SPREAD] * 3) for key in ("climbed", "largest")},
        },
        "depth": {
            "depth": np.arange(1.0, 7.0),
            "held_out": np.outer([1.0, 0.8, 0.6, 0.5, 0.52, 0.53], SPREAD),
            "first_layer": np.ones((6, 3)),
            "last_layer": np.ones((6, 3)),
        },
        "gated": {
            "lstm|parameters": np.array([400.0]),
            "gru|parameters": np.array([305.0, 405.0]),
            "lstm|weights": np.array([360.0]),
            "gru|weights": np.array([270.0, 350.0]),
            "lstm|held_out": np.array([0.1 * SPREAD]),
            "gru|held_out": np.array([0.1 * SPREAD, 0.09 * SPREAD]),
        },
        "normalised": {"loss|lstm": 0.5 * SPREAD, "loss|batch_norm_lstm": 0.2 * SPREAD},
        "memory": {
            "tasks": np.array(["adding", "copy_memory"]),
            "tried": np.array(200),
            "elman": np.array([0, 50]),
            "lstm": np.array([200, 200]),
            "lru": np.array([200, 200]),
        },
        "speed": {
            "length": np.array([64, 256, 1024]),
            "elman": np.array([0.001, 0.004, 0.016]),
            "gru": np.array([0.002, 0.008, 0.032]),
            "lstm": np.array([0.004, 0.016, 0.064]),
            "attention": np.array([0.0001, 0.0016, 0.0256]),
        },
        "stacks": {
            **{f"loss|lstm|{layers}": (1.8 + layers / 40) * SPREAD for layers in (4, 8)},
            **{f"loss|residual_lstm|{layers}": 1.5 * SPREAD for layers in (4, 8)},
            **{f"loss|pre_norm|{layers}": (2.0 - layers / 10) * SPREAD for layers in (4, 8)},
        },
        "turing": {
            "tasks": np.array(["copy", "associative_recall"]),
            "ntm": np.array([0.1, 0.2]),
            "lstm": np.array([9.0, 5.0]),
        },
    }


def of_language() -> Pieces:
    """Returns what was measured of language models and of labels."""
    level = np.array([0.999, 1.0, 1.001])
    return {
        "ngrams": {
            "mle": np.array([900.0, np.inf, np.inf]),
            "kneser_ney": np.array([250.0, 80.0, 60.0]),
            "sizes": np.array([2e3, 2e4, 5e4]),
        },
        "families": {
            "windows": np.array([70.0, 65.0, 80.0]),
            "window": np.array(60.0),
            "ngram": np.array(65.0),
            "lstm": np.array(55.0),
            "window_size": np.array(1e5),
            "ngram_size": np.array(2e5),
            "lstm_size": np.array(3e5),
        },
        "sizes": {"parameters": np.array([1e4, 1e5, 1e6]), "losses": np.array([2.0, 1.8, 1.6])},
        "truncation": {"loss|5": 2.0 * level, "loss|20": 1.8 * level, "loss|60": 1.8 * level},
        "tags": {"ambiguous": np.array(0.98), "commonest": np.array(0.6)},
        "sentiment": {"accuracy|both": 0.99 * level, "accuracy|forward": 0.9 * level},
    }


def of_pairs() -> Pieces:
    """Returns what was measured of attention, search and pairs of sequences."""
    return {
        "search": {
            "systems": np.array(["fixed context", "fed context", "attention", "Transformer"]),
            "widths": np.array([1.0, 5.0]),
            "bleu": np.array([[5.0, 6.0], [20.0, 22.0], [80.0, 82.0], [85.0, 86.0]]),
            "seconds": np.array([[1.0, 4.0]] * 4),
            "joined": np.array(3),
            "lengths": np.array([1, 3, 5]),
            "length_bleu": np.array(
                [[5.0, 4.0, 1.0], [20.0, 9.0, 2.0], [80.0, 70.0, 40.0], [85.0, 80.0, 60.0]]
            ),
            "divergence": np.array([0.3, 0.4]),
        },
        "paths": {
            "tasks": np.array(["copy_memory", "adding"]),
            "nets": np.array(["copy_memory", "adding", "text, transformer"]),
            "tau": np.array([0.6, 0.7, 0.8]),
            "total": np.array([1.0, 0.5]),
            "recurrence": np.array([1e-6, 1e-9]),
        },
        "source": {
            "lengths": np.array([5, 20, 80]),
            "trained": np.array(20),
            "fixed context": np.array([0.95, 0.5, 0.1]),
            "fixed context, source reversed": np.array([0.8, 0.92, 0.1]),
            "attention": np.array([1.0, 1.0, 0.5]),
            "reach|fixed context": np.array([0.2, 1e-4, 1e-12]),
            "reach|fixed context, source reversed": np.array([5.0, 1e4, 1e12]),
            "reach|attention": np.array([1.1, 0.9, 0.8]),
        },
        "pairs": {
            "few pairs": np.array(0.4),
            "back-translation": np.array(0.6),
            "no pairs": np.array(0.95),
            "all pairs": np.array(0.97),
            "word by word": np.array(0.3),
        },
        "teaching": {"exact|0": 0.8 * SPREAD, "exact|0.9": 0.3 * np.array([0.5, 1.0, 1.5])},
        "sentences": {
            "grammar|autoencoder": 0.9 * np.stack([SPREAD, SPREAD]),
            "grammar|skip-thought": 0.6 * np.stack([SPREAD, SPREAD]),
            "meaning|autoencoder": 0.1 * np.stack([SPREAD, SPREAD]),
            "meaning|skip-thought": 0.3 * np.stack([SPREAD, SPREAD]),
        },
        "trimming": {"bound": np.array(0.0), "trimmed": np.array(0.02), "ctc": np.array(0.99)},
    }
