"""The cells once more, in NumPy and double precision, from the equations alone: what ours are compared with.

A state is a tuple of arrays here: (h,) or (h, c). Nothing is packed for speed, nothing is imported from `models`.
"""

from collections.abc import Callable, Iterator

import numpy as np

Arrays = dict[str, np.ndarray]
State = tuple[np.ndarray, ...]
Step = Callable[[Arrays, State, np.ndarray], State]  # the output is the first entry of the new state


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gate(p: Arrays, k: int, h: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x W_k + h R_k + b_k for the k-th gate."""
    size = h.shape[-1]
    block = slice(k * size, (k + 1) * size)
    return x @ p["kernel"][:, block] + h @ p["recurrent"][:, block] + p["bias"][block]


def elman(activation: Callable[[np.ndarray], np.ndarray] = np.tanh) -> Step:
    return lambda p, state, x: (activation(gate(p, 0, state[0], x)),)


def basic_gru(p: Arrays, state: State, x: np.ndarray) -> State:
    (h,) = state
    z, n = sigmoid(gate(p, 0, h, x)), np.tanh(gate(p, 1, h, x))
    return ((1 - z) * n + z * h,)


def gru_before(p: Arrays, state: State, x: np.ndarray) -> State:
    (h,) = state
    r, z = sigmoid(gate(p, 0, h, x)), sigmoid(gate(p, 1, h, x))
    n = np.tanh(gate(p, 2, r * h, x))
    return ((1 - z) * n + z * h,)


def gru_after(p: Arrays, state: State, x: np.ndarray) -> State:
    (h,) = state
    size = h.shape[-1]
    r, z = sigmoid(gate(p, 0, h, x)), sigmoid(gate(p, 1, h, x))
    of_input = x @ p["kernel"][:, 2 * size :] + p["bias"][2 * size :]
    of_state = h @ p["recurrent"][:, 2 * size :] + p["recurrent_bias"]
    n = np.tanh(of_input + r * of_state)
    return ((1 - z) * n + z * h,)


def lstm(p: Arrays, state: State, x: np.ndarray) -> State:
    h, c = state
    i, f, o = (sigmoid(gate(p, k, h, x)) for k in (0, 1, 3))
    c = f * c + i * np.tanh(gate(p, 2, h, x))
    return o * np.tanh(c), c


def run(
    step: Step,
    p: Arrays,
    xs: np.ndarray,
    state: State,
    mask: np.ndarray | None = None,
    reverse: bool = False,
) -> tuple[State, np.ndarray]:
    """Final state and outputs `[T, *batch, H]`, one example at a time, over its valid steps only."""
    batch = xs.shape[1:-1]
    final = tuple(leaf.copy() for leaf in state)
    ys = np.zeros((len(xs), *batch, state[0].shape[-1]))
    for b in np.ndindex(*batch):
        steps = range(len(xs)) if mask is None else np.flatnonzero(mask[(slice(None), *b)])
        one = tuple(leaf[b] for leaf in state)
        for t in reversed(steps) if reverse else steps:
            one = step(p, one, xs[(t, *b)])
            ys[(t, *b)] = one[0]
        for leaf, value in zip(final, one, strict=True):
            leaf[b] = value
    return final, ys


def entries(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """Every entry of every array."""
    for array in arrays:
        for index in np.ndindex(*array.shape):
            yield array, index


def central_differences(f: Callable[[], float], *arrays: np.ndarray, h: float = 1e-5) -> list[np.ndarray]:
    """The gradient of f in each array that it reads, by (f(x + h) − f(x − h)) / 2h in place: error ~ h²."""
    found = [np.zeros_like(array) for array in arrays]
    by_identity = {id(array): gradient for array, gradient in zip(arrays, found, strict=True)}
    for array, index in entries(*arrays):
        kept = array[index]
        array[index] = kept + h
        above = f()
        array[index] = kept - h
        below = f()
        array[index] = kept
        by_identity[id(array)][index] = (above - below) / (2 * h)
    return found
