"""Benettin's loop in NumPy, which the spectra are compared with."""

import numpy as np


def textbook(jacobians: np.ndarray, k: int, warmup: int) -> np.ndarray:
    """Benettin's loop: a QR at every step, in double precision."""
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(jacobians.shape[1], k)))[0]
    total = np.zeros(k)
    for t, jacobian in enumerate(jacobians):
        q, r = np.linalg.qr(jacobian @ q)
        total += np.log(np.abs(np.diag(r))) * (t >= warmup)
    return total / (len(jacobians) - warmup)
