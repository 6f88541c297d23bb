"""The chaotic systems beside SciPy's solvers."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from data.dynamics import Lorenz, MackeyGlass, settled, trajectory


def test_mackey_glass_is_the_delay_equation() -> None:
    """Solved by the method of steps: over each delay an ordinary equation, driven by the solution before it."""
    system, count = MackeyGlass(), 20
    x0 = float(system.start(3)[0])
    past = [lambda t: np.full(np.shape(t), x0)]  # for −τ … 0, then for each delay
    tau, last = system.delay, x0

    def x(t: float) -> float:
        return float(past[int(np.floor(t / tau)) + 1](t))

    for piece in range(int(np.ceil(count * system.interval / tau))):
        before, begin = past[-1], piece * tau

        def slope(t: float, x: np.ndarray, before=before) -> np.ndarray:
            delayed = before(t - tau)
            return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

        solved = solve_ivp(
            slope, (begin, begin + tau), [last], "DOP853", rtol=1e-10, atol=1e-12, dense_output=True
        )
        past.append(lambda t, dense=solved.sol: dense(t)[0])
        last = float(solved.y[0, -1])
    found = trajectory(system, count, seed=3, transient=0)[:, 0]
    expected = [x(system.interval * i) for i in range(count)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_lorenz_is_the_flow() -> None:
    system = Lorenz()
    solved = solve_ivp(
        lambda _, s: [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]],
        (0, 2),
        system.start(0),
        "DOP853",
        t_eval=system.interval * np.arange(20),
        rtol=1e-11,
        atol=1e-11,
    )
    np.testing.assert_allclose(trajectory(system, 20, transient=0), solved.y.T, atol=2e-4)


@pytest.mark.parametrize("system", [MackeyGlass(), Lorenz()])
def test_the_transient_is_left_out(system: MackeyGlass | Lorenz) -> None:
    whole = trajectory(system, 30, transient=0)
    np.testing.assert_allclose(trajectory(system, 20, transient=10), whole[10:], rtol=1e-12)
    state = settled(system, transient=10)
    np.testing.assert_allclose(np.asarray(state)[: system.channels], whole[10], rtol=1e-12)
    assert not np.allclose(trajectory(system, 1, seed=1), trajectory(system, 1, seed=0))
