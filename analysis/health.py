"""The health of a net while it trains: a few numbers on a few sequences, cheap enough to take every hundred steps.

- λ₁, the leading Lyapunov exponent along each sequence: above zero small changes grow (Engelken, Wolf & Abbott
  2023).
- The leading singular values of the products of the last k step Jacobians, at lags k = 1, 4, 16, …: what bounds the
  gradient's growth, and how many directions carry it (Pascanu, Mikolov & Bengio 2013).
- The gradient of the loss by lag (Hochreiter 1991).
- The share of saturated gates (Karpathy, Johnson & Fei-Fei 2015, "Visualizing and understanding recurrent
  networks", whose bounds 0.1 and 0.9 are taken here).

No Jacobian is formed: all comes from directional derivatives, forth and back.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from analysis.gradients import Loss, gradient_by_lag
from analysis.leading_singular_values import BESIDE, there_and_back
from analysis.lyapunov import lyapunov_spectrum
from analysis.products import product_spectrum
from models.cell import Array, Cell, Params
from models.recurrence.scan import states_before
from models.state import coordinates_size, starts_empty

LOW, HIGH = 0.1, 0.9  # a gate beyond is saturated
SHORT = 16  # lags up to which subspace iteration goes three rounds
QR_EVERY = 4  # steps; at every one a report cost an Elman net 8 % of a hundred training steps, so 2 to 4
GATES = frozenset({"input", "forget", "output", "update", "reset", "recurrence"})
UNITS = frozenset({"hidden"})


def health_arrays(
    cell: Cell, params: Params, xs: Float[Array, "T B D"], loss: Loss, *, directions: int = 8
) -> dict[str, Shaped[Array, "..."]]:
    """Measures the net's health, as arrays; to be jitted by the caller, for a loss knows parameters of its own.

    `loss` of the final state and outputs is the sum over the batch, as for `gradient_by_lag`. Gives `exponents
    [B]`, natural logarithm per step; `gradient_norms [T, B]`, row i for lag i + 1; `triangles_k [B, N, m, m]`,
    one for four steps, of the products over each lag k, m ≥ `directions` or S, for `leading_values`; and
    `saturated_NAME`, the share of each gate's values, over units, steps and examples, below 0.1 or above 0.9 (of
    tanh units of size above 0.9, of ReLU units at zero).

    Raises ValueError where the cell has no step (it reads the future), and for sequences of a single step.
    """
    length = xs.shape[0]
    if length < 2:
        raise ValueError(f"health is measured over two steps or more, but the sequences have {length}")
    weights = cell.prepare(params, batch_shape=())
    qr_every = min(10, length - length // 10)

    def exponent(xs: Array) -> Array:
        return lyapunov_spectrum(cell, params, xs, k=1, qr_every=qr_every).exponents[0]

    def follow(xs: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        state, drive = cell.initial_state(params), cell.drive(weights, xs)
        before = states_before(cell, weights, state, drive)
        counted = length - starts_empty(cell, params)  # steps with a state before them
        seen = jax.vmap(lambda state, drive: cell.observe(weights, state, drive))(before, drive)
        size = coordinates_size(cell, state)
        width = min(directions + BESIDE, size)
        start = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, width), xs.dtype))[0]
        triangles = {}
        for lag in lags_of(counted):
            last = jax.tree.map(lambda leaf: leaf[length - lag :], (before, drive))  # noqa: B023 (used at once)
            # There and back turns the frame to where the product is large; the last way there measures it. The
            # spectra of short products are flat, and their rounds cheap.
            frame, turn = start, partial(there_and_back, cell, weights, *last, qr_every=min(QR_EVERY, lag))
            for _ in range(1 if lag > SHORT else 3):
                frame, _ = turn(frame)
            triangles[f"triangles_{lag}"] = turn(frame)[1]
        return triangles, seen

    triangles, seen = jax.vmap(follow, in_axes=1)(xs)
    return {
        "exponents": jax.vmap(exponent, in_axes=1)(xs),
        "gradient_norms": gradient_by_lag(cell, params, xs, loss),
        **triangles,
        **{f"saturated_{name}": share for name, share in saturation(cell, seen).items()},
    }


def lags_of(length: int) -> list[int]:
    """The lags at which products are looked at: 1, 4, 16, … up to the length."""
    return [4**i for i in range(32) if 4**i <= length]


def saturation(cell: Cell, seen: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
    """Of every gate or unit that `observe` shows the share that is saturated; what is neither is left out."""
    shares = {}
    for name, values in seen.items():
        kind = name.replace(".", " ").split()[-1]
        if kind in GATES:
            beyond = (values < LOW) | (values > HIGH)
        elif kind in UNITS and (found := activation_of(cell)) in ("tanh", "relu", "sigmoid"):
            beyond = {
                "tanh": jnp.abs(values) > HIGH,
                "relu": values == 0,
                "sigmoid": (values < LOW) | (values > HIGH),
            }[found]
        else:
            continue
        shares[name] = jnp.mean(beyond.astype(jnp.float32))
    return shares


def activation_of(cell: Any) -> str:
    """The name of a cell's activation, of the cell inside where it wraps one or is a stack of equal ones."""
    if hasattr(cell, "activation"):
        return cell.activation if isinstance(cell.activation, str) else ""
    parts = getattr(cell, "layers", None) or (getattr(cell, "cell", None),)
    found = {activation_of(part) for part in parts if part is not None}
    return found.pop() if len(found) == 1 else ""


def leading_values(
    measured: Mapping[str, Any], directions: int = 8
) -> tuple[np.ndarray, Float[np.ndarray, "B L m"]]:
    """The lags `[L]`, and ln of the m ≤ `directions` largest singular values of the product over each, largest
    first.

    By few rounds of subspace iteration (`leading_singular_values` iterates until nothing changes): below the true
    ones, most where singular values lie close together, as those of a single step do.
    """
    lags = sorted(int(name.removeprefix("triangles_")) for name in measured if name.startswith("triangles_"))
    values = []
    for lag in lags:
        triangles = np.asarray(measured[f"triangles_{lag}"], np.float64)
        stretches = products_of(triangles, min(triangles.shape[1], 4))
        values.append(
            [product_spectrum(of_one, [stretches.shape[1]])[0, :directions] for of_one in stretches]
        )
    return np.array(lags), np.moveaxis(np.array(values), 0, 1)


def products_of(triangles: Float[np.ndarray, "B K m m"], count: int) -> Float[np.ndarray, "B N m m"]:
    """Products of so many triangles at a time, the later to the left. Their rows fall in size together, so that
    none drowns in another."""
    cut = triangles.reshape(len(triangles), -1, count, *triangles.shape[2:])
    product = cut[:, :, 0]
    for i in range(1, count):
        product = cut[:, :, i] @ product
    return product
