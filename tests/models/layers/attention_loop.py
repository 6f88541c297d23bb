"""Self-attention as a NumPy loop: one query, one head, one key at a time."""

from typing import Any

import numpy as np


def turned(x: np.ndarray, position: int) -> np.ndarray:
    """Rotates the pairs (x_i, x_{i+N/2}) by position · 10000^(−2i/N), each by its rotation matrix."""
    half = len(x) // 2
    y = np.zeros(len(x))
    for i in range(half):
        angle = position * 10_000.0 ** (-2 * i / len(x))
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        y[[i, i + half]] = rotation @ x[[i, i + half]]
    return y


def code(position: int, size: int) -> np.ndarray:
    """The sinusoids of Vaswani et al. 2017, an entry at a time."""
    angles = [position / 10_000.0 ** (2 * (i // 2) / size) for i in range(size)]
    return np.array([np.cos(a) if i % 2 else np.sin(a) for i, a in enumerate(angles)])


def self_attention(layer: Any, params: Any, xs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Outputs `[T, D]` of one sequence from an empty state: the equations of the docstring."""
    p = {name: {k: np.asarray(v) for k, v in part.items()} for name, part in params.items()}
    size, heads = layer.hidden_size, layer.heads
    width, valid = size // heads, [t for t in range(len(xs)) if mask[t]]
    rows = {}
    for position, t in enumerate(valid):
        x = xs[t]
        if layer.position == "learned":
            x = x + p["position"]["codes"][position]
        if layer.position == "sinusoidal":
            x = x + code(position, len(x))
        q, k, v = np.split(x @ p["input"]["kernel"] + p["input"]["bias"], 3)
        q, k, v = (part.reshape(heads, width) for part in (q, k, v))
        if layer.position == "rotary":
            q, k = (np.stack([turned(row, position) for row in part]) for part in (q, k))
        rows[t] = (q, k, v, position)
    ys = np.zeros((len(xs), size))
    for t in valid:
        seen = [s for s in valid if not layer.causal or 0 <= rows[t][3] - rows[s][3] < layer.context]
        contexts = []
        for h in range(heads):
            scores = np.array([rows[t][0][h] @ rows[s][1][h] / np.sqrt(width) for s in seen])
            weights = np.exp(scores) / np.exp(scores).sum()
            contexts.append(sum(w * rows[s][2][h] for w, s in zip(weights, seen, strict=True)))
        ys[t] = np.concatenate(contexts) @ p["output"]["kernel"] + p["output"]["bias"]
    return ys
