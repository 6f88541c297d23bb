"""Gated cells at rest: the growth rate of a small state in closed form.

**LSTM.** With h = c = 0, no input and biases of the gates only, the candidate g = tanh(h R_g) is zero. So the
derivatives of the gates are multiplied by zero, and to first order

    δc_t = σ(b_f) δc_{t−1} + σ(b_i) δh_{t−1} R_g,        δh_t = σ(b_o) δc_t

Substitute δh_{t−1} = σ(b_o) δc_{t−1} in the first: the memory is carried over by its forget gate *and* by the loop
c → h → g → c. In a direction of R_g with eigenvalue μ it is multiplied each step by

    σ(b_f) + μ σ(b_i) σ(b_o)

The other H eigenvalues of the Jacobian in (h, c) are zero. With b_i = b_o = 0 and μ = 1 the factor is σ(b_f) + ¼:
one at b_f = ln 3 ≈ 1.10, below which the rest state is stable and above which it isn't. Chrono biases b_i = −b_f
give σ(b_f) + ½ μ σ(−b_f). `output_tanh` makes no difference at c = 0.

**GRU.** At h = 0 with biases of the gates only, n = tanh(r ∘ h R_n) is zero, and to first order

    δh_t = σ(b_z) δh_{t−1} + (1 − σ(b_z)) σ(b_r) δh_{t−1} R_n

so that a direction with eigenvalue μ of R_n is multiplied by σ(b_z) + μ (1 − σ(b_z)) σ(b_r): ¾ with zero biases and
μ = 1, ½ with zero weights.

**The mean over directions.** If R is g times an orthogonal matrix whose eigenvalues g e^{iθ} are uniform on the
circle, Jensen's formula gives for a + b e^{iθ}, a, b ≥ 0,

    ∫ ln |a + b e^{iθ}| dθ / 2π = ln max(a, b)

so the mean exponent of the memory is ln max(σ(b_f), g σ(b_i) σ(b_o)): the loop changes the extremes, not the mean.

**Biases that differ between units** (chrono) make the factors the eigenvalues of a matrix:
diag σ(b_f) + diag σ(b_o) R_g diag σ(b_i) for an LSTM, and likewise for a GRU. The largest modulus is that of the
slowest decay.
"""

import numpy as np
import scipy

from models import GRU, LSTM, Cell
from models.cell import Params

Real = float | np.ndarray
Number = float | complex | np.ndarray


def lstm_rest_factor(
    forget_bias: Real,
    eigenvalue: Number = 1.0,
    *,
    input_bias: Real = 0.0,
    output_bias: Real = 0.0,
) -> np.ndarray:
    """Returns σ(b_f) + μ σ(b_i) σ(b_o), by which an LSTM's memory at rest is multiplied each step in a direction
    where the candidate's recurrent matrix has the eigenvalue μ, real or complex. Arguments broadcast."""
    return np.asarray(
        scipy.special.expit(forget_bias)
        + np.asarray(eigenvalue) * scipy.special.expit(input_bias) * scipy.special.expit(output_bias)
    )


def gru_rest_factor(
    update_bias: Real = 0.0, eigenvalue: Number = 1.0, *, reset_bias: Real = 0.0
) -> np.ndarray:
    """Returns σ(b_z) + μ (1 − σ(b_z)) σ(b_r), by which the state of a GRU at rest is multiplied each step in a
    direction where the candidate's recurrent matrix has the eigenvalue μ. Arguments broadcast."""
    return np.asarray(
        scipy.special.expit(update_bias)
        + np.asarray(eigenvalue)
        * scipy.special.expit(np.negative(update_bias))
        * scipy.special.expit(reset_bias)
    )


def lstm_mean_rest_exponent(
    forget_bias: Real,
    gain: Real = 1.0,
    *,
    input_bias: Real = 0.0,
    output_bias: Real = 0.0,
) -> np.ndarray:
    """Returns ln max(σ(b_f), g σ(b_i) σ(b_o)), the mean exponent of an LSTM's memory at rest over the directions of
    `gain` g times an orthogonal matrix with evenly spread eigenvalues."""
    loop = np.asarray(gain) * scipy.special.expit(input_bias) * scipy.special.expit(output_bias)
    return np.asarray(np.log(np.maximum(scipy.special.expit(forget_bias), loop)))


def critical_forget_bias(
    eigenvalue: float = 1.0, *, input_bias: float = 0.0, output_bias: float = 0.0
) -> float:
    """Returns the forget bias at which an LSTM's rest state loses its stability along a real eigenvalue
    μ > 0: σ(b_f) = 1 − μ σ(b_i) σ(b_o), ln 3 for μ = 1 and zero biases.

    Raises ValueError if the factor of the loop is outside (0, 1), so that no forget bias is critical.
    """
    loop = eigenvalue * float(scipy.special.expit(input_bias)) * float(scipy.special.expit(output_bias))
    if not 0 < loop < 1:
        raise ValueError(
            f"the loop c → h → c has the factor {loop:g}: a critical forget bias exists only if it is between 0 "
            "and 1"
        )
    return float(scipy.special.logit(1 - loop))


def rest_exponent(cell: Cell, params: Params) -> float:
    """Returns the leading Lyapunov exponent of an LSTM or GRU at rest, nats per step: ln of the largest modulus of
    the factors of all directions of its state, with its own recurrent matrix and the biases of its gates.

    Raises ValueError for any other cell, and if the candidate has a bias, so that zero is not a rest state.
    """
    if type(cell) not in (LSTM, GRU):
        raise ValueError(f"the rest exponent is known in closed form for LSTM and GRU, not for {cell}")
    gates = 4 if type(cell) is LSTM else 3
    recurrent = np.split(np.asarray(params["recurrent"], np.float64), gates, axis=1)
    biases = np.split(np.asarray(params["bias"], np.float64), gates)
    candidate = biases[2]
    if np.any(candidate) or np.any(np.asarray(params.get("recurrent_bias", 0.0))):
        raise ValueError("the candidate has a bias, so that zero is not a rest state of the cell")
    if isinstance(cell, LSTM):
        input_gate, forget, _, output_gate = map(scipy.special.expit, biases)
        step = np.diag(forget) + output_gate[:, None] * recurrent[2] * input_gate
    else:
        assert isinstance(cell, GRU)
        reset, update, _ = map(scipy.special.expit, biases)
        loop = reset[:, None] * recurrent[2] if cell.reset == "before" else recurrent[2] * reset
        step = np.diag(update) + loop * (1 - update)
    return float(np.log(np.abs(np.linalg.eigvals(step)).max()))
