"""The layers of a Transformer as NumPy loops: one query, one head, one key at a time."""

from math import erf, sqrt
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


def cross_attention(
    layer: Any, params: Any, xs: np.ndarray, mask: np.ndarray, places: list[np.ndarray]
) -> np.ndarray:
    """Outputs `[T, N]` of one sequence that looks at the valid places of a memory."""
    p = {name: {k: np.asarray(v) for k, v in part.items()} for name, part in params.items()}
    heads, width = layer.heads, layer.hidden_size // layer.heads
    rows = [np.split(m @ p["memory"]["kernel"] + p["memory"]["bias"], 2) for m in places]
    ys = np.zeros((len(xs), layer.hidden_size))
    for t in np.flatnonzero(mask):
        q = xs[t] @ p["query"]["kernel"] + p["query"]["bias"]
        context = np.zeros(layer.hidden_size)
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            scores = np.array([q[part] @ k[part] / np.sqrt(width) for k, _ in rows])
            weights = np.exp(scores) / np.exp(scores).sum()
            for w, (_, v) in zip(weights, rows, strict=True):
                context[part] += w * v[part]
        ys[t] = context @ p["output"]["kernel"] + p["output"]["bias"]
    return ys


def layer_norm(params: Any, xs: np.ndarray) -> np.ndarray:
    """α (x − mean) / √(var + ε) + β, row by row."""
    rows = [(x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5) for x in xs]
    return np.array(rows) * np.asarray(params["gain"]) + np.asarray(params["bias"])


def feed_forward(activation: Any, params: Any, xs: np.ndarray) -> np.ndarray:
    """φ(x W_1 + b_1) W_2 + b_2; GELU by the error function."""
    p = {name: {k: np.asarray(v) for k, v in part.items()} for name, part in params.items()}
    z = xs @ p["input"]["kernel"] + p["input"]["bias"]
    gelu = np.vectorize(lambda x: x / 2 * (1 + erf(x / sqrt(2))))
    return (gelu(z) if activation == "gelu" else np.maximum(z, 0)) @ p["output"]["kernel"] + p["output"][
        "bias"
    ]
