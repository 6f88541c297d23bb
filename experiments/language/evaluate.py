"""Measurements of a trained language model: losses by position and frequency, and gradients by lag."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from analysis import gradient_by_lag
from analysis.gradients import scaled_norm
from experiments.language.held_out import WholeText, all_losses
from models import LanguageModel, holds_cache, unroll
from models.cell import Array, Output, Params, State

Ids = Int[np.ndarray, "N"]


def losses_from_zero(
    model: LanguageModel, params: Params, seen: Ids, following: Ids, length: int, most: int = 2048
) -> Float[np.ndarray, "T M"]:
    """Returns −ln p of `length` tokens after a state of zero, for up to `most` pieces of a text spread over all of
    it."""
    count = len(seen) // length
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    inputs, targets = (x[: count * length].reshape(count, length)[chosen].T for x in (seen, following))
    pieces = WholeText(inputs[None], targets[None], np.ones((1, *inputs.shape), bool))
    # In parts: the logits of all at once would be [T, M, V].
    parts = [jax.tree.map(lambda leaf, i=i: leaf[..., i : i + 32], pieces) for i in range(0, len(chosen), 32)]
    full = [all_losses(model, params, part.pad_to(32))[0] for part in parts]
    return np.concatenate([np.asarray(each) for each in full], axis=1)[:, : len(chosen)]


@partial(jax.jit, static_argnums=0)
def text_gradients(
    model: LanguageModel, params: Params, tokens: Int[Array, "T N"], targets: Int[Array, " N"]
) -> Float[Array, "T N"]:
    """Returns ‖∂L/∂s_{T−k}‖, L the loss of the token after the last step: row i for lag i + 1, a column a piece of
    text.

    Of a cell whose state holds a cache, which only copies, it returns ‖∂L/∂x_{T−k+1}‖ instead: by the inputs, those
    of the last step in row 0.
    """
    inner: Any = params["params"]
    cell, own = model.cell, inner["recurrent"]["cell"]

    def loss(final: State, ys: Output) -> Array:
        logits = jnp.asarray(model.apply(params, ys[-1], method="logits"))
        # The sum over pieces, so that each keeps its own gradient.
        return -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], axis=1))

    xs = inner["embedding"]["embedding"][tokens]
    if holds_cache(cell):
        return scaled_norm(jax.grad(lambda xs: loss(*unroll(cell, own, xs)))(xs), axis=-1)[::-1]
    return gradient_by_lag(cell, own, xs, loss)


def by_frequency(
    losses: Float[np.ndarray, " N"], targets: Ids, counts: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Averages the loss of tokens by how often their types stand in the training text, in decades:

    `least [b]` of each bin, `cross_entropy [b]` (nats), and `share [b]` of all tokens. Empty bins are left out;
    types that stand there never are the bin 0.
    """
    times = np.asarray(counts)[targets]
    decade = np.where(times > 0, 10 ** np.floor(np.log10(np.maximum(times, 1))), 0).astype(np.int64)
    bins = np.unique(decade)
    return {
        "least": bins,
        "cross_entropy": np.array([losses[decade == b].mean() for b in bins]),
        "share": np.array([np.mean(decade == b) for b in bins]),
    }


def by_position(losses: Float[np.ndarray, "T M"], bins: int = 20) -> dict[str, np.ndarray]:
    """Averages the loss of the t-th token over M pieces of text, in bins that widen with t, because single
    positions far out are noisy.

    Returns `position [b]`, the geometric middle of each bin, `cross_entropy [b]`, and the standard `error [b]` of
    that mean over pieces, in nats.
    """
    edges = np.unique(np.geomspace(1, len(losses) + 1, bins).round().astype(int))
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    pieces = np.array([losses[a - 1 : b - 1].mean(axis=0) for a, b in spans], np.float64)
    count = losses.shape[1]
    spread = pieces.std(axis=1, ddof=1) if count > 1 else np.zeros(len(pieces))
    return {
        "position": np.array([np.sqrt(a * (b - 1)) for a, b in spans]),
        "cross_entropy": pieces.mean(axis=1),
        "error": spread / np.sqrt(count),
    }
