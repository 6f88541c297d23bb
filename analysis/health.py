"""The health of a net during training: a few numbers on a few sequences, cheap enough for every hundred steps.

- λ₁, the leading Lyapunov exponent along each sequence: above zero small perturbations grow (Engelken, Wolf &
  Abbott 2023).
- The leading singular values of the products of the last k step Jacobians, at lags k = 1, 4, 16, …: they bound the
  gradient's growth, and show how many directions carry it (Pascanu, Mikolov & Bengio 2013).
- The gradient of the loss by lag (Hochreiter 1991).
- The fraction of saturated gates (Karpathy, Johnson & Fei-Fei 2015, "Visualizing and understanding recurrent
  networks", with their bounds 0.1 and 0.9).

No Jacobian is formed: everything comes from directional derivatives, forward and backward.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from analysis.gradients import Loss, gradient_by_lag
from analysis.leading_singular_values import OVERSAMPLING, subspace_round
from analysis.lyapunov import lyapunov_spectrum
from analysis.products import product_spectrum
from models.cell import Array, Cell, Params
from models.recurrence.scan import states_before
from models.state import coordinates_size, starts_empty

SATURATED_BELOW, SATURATED_ABOVE = 0.1, 0.9  # bounds of a gate
SHORT_LAG = 16  # largest lag with three rounds of subspace iteration
QR_EVERY = (
    4  # steps; for an Elman net a report costs 2 to 4 % of a hundred training steps, with every step 8 %
)
GATES = frozenset({"input", "forget", "output", "update", "reset", "recurrence"})
UNITS = frozenset({"hidden"})


def health_arrays(
    cell: Cell, params: Params, xs: Float[Array, "T B D"], loss: Loss, *, directions: int = 8
) -> dict[str, Shaped[Array, "..."]]:
    """Measures the net's health, as arrays; to be jitted by the caller, since a loss may have its own parameters.

    `loss` of the final state and outputs is the sum over the batch, as for `gradient_by_lag`. Returns `exponents
    [B]`, natural logarithm per step; `gradient_norms [T, B]`, row i for lag i + 1; `triangles_k [B, N, m, m]`, one
    per four steps, of the products over each lag k, m ≥ `directions` or S, for `leading_values`; and
    `saturated_NAME`, the fraction of each gate's values, over units, steps and examples, below 0.1 or above 0.9
    (for tanh units of modulus above 0.9, for ReLU units at zero).

    Raises ValueError for a cell without a step (it isn't causal), and for sequences of a single step.
    """
    length = xs.shape[0]
    if length < 2:
        raise ValueError(f"health needs sequences of two steps or more, but they have {length}")
    weights = cell.prepare(params, batch_shape=())
    qr_every = min(10, length - length // 10)

    def exponent(xs: Array) -> Array:
        return lyapunov_spectrum(cell, params, xs, k=1, qr_every=qr_every).exponents[0]

    def measure_sequence(xs: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        state, drive = cell.initial_state(params), cell.drive(weights, xs)
        before = states_before(cell, weights, state, drive)
        steps = length - starts_empty(cell, params)  # steps with a state before them
        observed = jax.vmap(lambda state, drive: cell.observe(weights, state, drive))(before, drive)
        size = coordinates_size(cell, state)
        width = min(directions + OVERSAMPLING, size)
        start = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, width), xs.dtype))[0]
        triangles = {}
        for lag in probe_lags(steps):
            last = jax.tree.map(lambda leaf: leaf[length - lag :], (before, drive))  # noqa: B023 (used at once)
            # Each round turns the frame towards the leading directions; the last forward pass measures them. The
            # spectra of short products are flat, but their rounds are cheap.
            frame, iterate = start, partial(subspace_round, cell, weights, *last, qr_every=min(QR_EVERY, lag))
            for _ in range(1 if lag > SHORT_LAG else 3):
                frame, _ = iterate(frame)
            triangles[f"triangles_{lag}"] = iterate(frame)[1]
        return triangles, observed

    triangles, observed = jax.vmap(measure_sequence, in_axes=1)(xs)
    return {
        "exponents": jax.vmap(exponent, in_axes=1)(xs),
        "gradient_norms": gradient_by_lag(cell, params, xs, loss),
        **triangles,
        **{f"saturated_{name}": share for name, share in saturation(cell, observed).items()},
    }


def probe_lags(length: int) -> list[int]:
    """Returns the lags of the products: 1, 4, 16, … up to the length."""
    return [4**i for i in range(32) if 4**i <= length]


def saturation(cell: Cell, observed: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
    """Computes the saturated fraction of every gate or unit among the diagnostics of `observe`."""
    shares = {}
    for name, values in observed.items():
        kind = name.replace(".", " ").split()[-1]
        if kind in GATES:
            saturated = (values < SATURATED_BELOW) | (values > SATURATED_ABOVE)
        elif kind in UNITS and (found := activation_of(cell)) in ("tanh", "relu", "sigmoid"):
            saturated = {
                "tanh": jnp.abs(values) > SATURATED_ABOVE,
                "relu": values == 0,
                "sigmoid": (values < SATURATED_BELOW) | (values > SATURATED_ABOVE),
            }[found]
        else:
            continue
        shares[name] = jnp.mean(saturated.astype(jnp.float32))
    return shares


def activation_of(cell: Any) -> str:
    """Returns the name of a cell's activation, or of the cell that it wraps or stacks."""
    if hasattr(cell, "activation"):
        return cell.activation if isinstance(cell.activation, str) else ""
    parts = getattr(cell, "layers", None) or (getattr(cell, "cell", None),)
    found = {activation_of(part) for part in parts if part is not None}
    return found.pop() if len(found) == 1 else ""


def leading_values(
    measured: Mapping[str, Any], directions: int = 8
) -> tuple[np.ndarray, Float[np.ndarray, "B L m"]]:
    """Returns the lags `[L]`, and ln of the m ≤ `directions` largest singular values of the product over each,
    largest first.

    From a few rounds of subspace iteration (`leading_singular_values` iterates until convergence): they are
    underestimates, most of all if singular values are close together, as those of a single step are.
    """
    lags = sorted(int(name.removeprefix("triangles_")) for name in measured if name.startswith("triangles_"))
    values = []
    for lag in lags:
        triangles = np.asarray(measured[f"triangles_{lag}"], np.float64)
        stretches = partial_products(triangles, min(triangles.shape[1], 4))
        values.append(
            [product_spectrum(example, [stretches.shape[1]])[0, :directions] for example in stretches]
        )
    return np.array(lags), np.moveaxis(np.array(values), 0, 1)


def partial_products(triangles: Float[np.ndarray, "B K m m"], count: int) -> Float[np.ndarray, "B N m m"]:
    """Multiplies `count` consecutive triangles at a time, the later to the left. Their rows have similar scales, so
    that none is lost to rounding."""
    groups = triangles.reshape(len(triangles), -1, count, *triangles.shape[2:])
    product = groups[:, :, 0]
    for i in range(1, count):
        product = groups[:, :, i] @ product
    return product
