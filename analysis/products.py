"""Singular values of long products of Jacobians, each to high relative accuracy.

The product P_k = J_T J_{T−1} … J_{T−k+1} can't be formed: 0.5^5000 underflows, and long before that the small
singular values are lost in the rounding of the large ones. It is stored as Q · diag(eᵈ) · V instead, with Q
orthogonal, d the logarithms of the scales, largest first, and V well conditioned; multiplying by the next
Jacobian is one QR factorisation. (Loh et al. 1989; columns ordered by their norm before it: Tomás et al. 2012.)
The singular values of diag(eᵈ) V are computed by a Jacobi SVD, which finds each to high relative accuracy since
the scaling is one-sided (Demmel et al. 1999; LAPACK's dgejsv).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

from analysis.threads import one_blas_thread
from models.cell import Array

# A window of scales that float64 can represent even squared, and the distance from its edges (both in natural
# logarithms) at which a split has no effect: the coupling across a gap g decays as e^−g.
WINDOW, MARGIN = 600.0, 60.0


@one_blas_thread
def product_spectrum(
    jacobians: Float[np.ndarray | Array, "T S S"], lags: Sequence[int] | None = None
) -> Float[np.ndarray, "K S"]:
    """Computes natural logarithms of the singular values of the products J_T … J_{T−k+1}, largest first: `[K, S]`.

    Row i is for the i-th of `lags` k (by default 1 … T, so that row i is lag i + 1). In float64 on the host,
    whatever the Jacobians' own type. Neither underflows nor overflows; −∞ stands for an exact zero (rows or
    columns of zeros in a Jacobian: dead units). Values below 1e-16 of the largest singular value *of one step*
    are the rounding error of that step's Jacobian, and propagate as such.

    Raises ValueError if the Jacobians aren't square, real and finite, or a lag is outside 1 … T.

    Examples:
        >>> jacobians = np.stack([np.diag([0.5, 0.1])] * 100)
        >>> product_spectrum(jacobians, lags=[1, 100]).round(2)  # 0.1^100 = e^−230
        array([[  -0.69,   -2.3 ],
               [ -69.31, -230.26]])
    """
    matrices = real_matrices(jacobians)
    if matrices.ndim != 3:
        raise ValueError(f"jacobians must be [T, S, S], but is {list(matrices.shape)}")
    length, size, _ = matrices.shape
    if not np.isfinite(matrices).all():
        first = int(np.argmin(np.isfinite(matrices).all(axis=(1, 2))))
        raise ValueError(f"the Jacobian of step {first} is not finite")
    selected = range(1, length + 1) if lags is None else lags
    if any(not 1 <= lag <= length for lag in selected):
        raise ValueError(f"lags must lie in 1 … {length}, the number of Jacobians, but are {list(selected)}")

    spectra: dict[int, np.ndarray] = {}
    q, d, v = np.eye(size), np.zeros(size), np.eye(size)
    for lag in range(1, max(selected, default=0) + 1):
        q, d, v = multiply(matrices[length - lag].T, q, d, v)
        if lag in selected:
            spectra[lag] = log_singular_values(d, v)
    return np.array([spectra[lag] for lag in selected]).reshape(len(selected), size)


def real_matrices(jacobians: Any) -> Float[np.ndarray, "*T S S"]:
    """Converts Jacobians to float64 on the host.

    Raises ValueError if they are complex, since a complex state counts as two real numbers, or not square.
    """
    if np.iscomplexobj(jacobians):
        raise ValueError(
            f"jacobians must be real, but are {np.asarray(jacobians).dtype}: write a complex state as real and "
            "imaginary parts, as step_jacobians does"
        )
    matrices = np.asarray(jacobians, np.float64)
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise ValueError(f"jacobians must be [T, S, S], but is {list(matrices.shape)}")
    return matrices


def multiply(
    a: np.ndarray, q: np.ndarray, d: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the form (Q, d, V) of A · Q diag(eᵈ) V. Q has fewer columns than before if A has zero rows or
    columns."""
    columns = a.any(axis=0) & q.any(axis=1)
    rows = a[:, columns].any(axis=1)
    if not columns.all():
        # Removed before the product, which would leave rounding errors in place of zeros.
        q, d, v = factor(q[columns], d, v)
    nonzero, d, v = factor(a[rows][:, columns] @ q, d, v)
    q = np.zeros((len(a), len(d)))
    q[rows] = nonzero
    return q, d, v


def factor(b: np.ndarray, d: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the form (Q, e, U) of B diag(eᵈ) V: U has rows of length one, and none for an exact zero."""
    order = np.argsort(-(safe_log(np.linalg.norm(b, axis=0)) + d), kind="stable")
    q, r = np.linalg.qr(b[:, order])
    scales, u = split_scales(r, d[order])
    u = u @ v[order]
    lengths = np.linalg.norm(u, axis=1)
    alive = lengths > 0
    return q[:, alive], scales[alive] + np.log(lengths[alive]), u[alive] / lengths[alive, None]


def split_scales(r: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Writes R diag(eᵈ) as diag(eᵉ) U, where the largest entry of each row of U is ±1: returns e, U. A row of zeros
    has e = −∞ and stays zero. The diagonal entry wouldn't do: it is zero if columns are parallel."""
    logs = safe_log(np.abs(r)) + d
    scales = np.max(logs, axis=1, initial=-np.inf)
    finite = np.where(np.isfinite(scales), scales, 0.0)
    return scales, np.sign(r) * np.exp(logs - finite[:, None])


def log_singular_values(d: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Computes logarithms of the singular values of diag(eᵈ) V `[K, S]`, largest first; −∞ for the S − K
    missing."""
    order = np.argsort(-d, kind="stable")
    # One more QR, of the transpose: the result is graded, so that distant scales decouple.
    r = np.linalg.qr(v[order].T)[1]
    scales, u = split_scales(r, d[order])
    alive = np.isfinite(scales)
    spectrum = (
        windowed_singular_values(scales, u) if alive.all() else log_singular_values(scales[alive], u[alive])
    )
    return np.concatenate([spectrum, np.full(v.shape[1] - len(spectrum), -np.inf)])


def windowed_singular_values(d: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Computes `log_singular_values` of diag(eᵈ) U for a graded upper triangle, by windows that fit in float64."""
    size, start, pieces = len(d), 0, [np.zeros(0)]
    upper = np.maximum.accumulate(d[::-1])[::-1]  # d decreases up to factors of order one; made monotonic
    while start < size:
        low = int(np.argmax(upper <= upper[start] + MARGIN))
        high = int(np.flatnonzero(upper >= upper[low] - WINDOW)[-1])
        if high == size - 1 or upper[high] - upper[high + 1] > MARGIN:
            stop = high + 1
        else:
            stop = int(np.argmax(upper < upper[high] + MARGIN))
        shift = (upper[low] + upper[high]) / 2
        block = np.exp(d[low : high + 1] - shift)[:, None] * u[low : high + 1, low : high + 1]
        pieces.append((jacobi_svd(block.T) + shift)[start - low : stop - low])
        start = stop
    return np.concatenate(pieces)


def jacobi_svd(a: np.ndarray) -> np.ndarray:
    """Computes logarithms of the singular values of A = C diag(scales), C well conditioned, to high relative
    accuracy."""
    # joba=0: A is column-scaled; jobu, jobv=3: no vectors; jobr=1: scales within the square root of the range.
    values, _, _, work, _, info = scipy.linalg.lapack.dgejsv(  # pyright: ignore[reportAttributeAccessIssue]
        np.asfortranarray(a), joba=0, jobu=3, jobv=3, jobr=1
    )
    if info != 0:
        raise ArithmeticError(f"the singular values did not converge (dgejsv returned {info})")
    return safe_log(np.sort(values)[::-1]) + np.log(work[0] / work[1])


def safe_log(x: np.ndarray) -> np.ndarray:
    """Computes the natural logarithm, with log 0 = −∞ without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(x)
