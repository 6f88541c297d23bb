"""Lyapunov spectra of a driven tanh net, H = 256, T = 1,000: `lyapunov_spectrum` against loops in PyTorch.

Each side runs in its own processes, in turns, so that their threads don't interfere; medians. Both have the same
weights and inputs, and their exponents must agree. There are two loops in PyTorch, both with a QR at every step:
`torch`, which takes directional derivatives of any step by `torch.func` as we do, and `torch by hand`, with the
derivative of tanh written out.

    python -m benchmarks.lyapunov      measures this alone, and writes its part of docs/benchmarks.md
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.command import WORKER, run

H, T, GAIN, ROUNDS = 256, 1000, 1.5, 3
SIDES = ("ours", "torch", "torch by hand")
ROOT = str(Path(__file__).parents[1])


def example() -> tuple[np.ndarray, np.ndarray]:
    """Draws R `[H, H]` from N(0, g²/H) and inputs `[T, H]` from N(0, 1), in single precision."""
    rng = np.random.default_rng(0)
    recurrent = GAIN / H**0.5 * rng.normal(size=(H, H))
    return recurrent.astype(np.float32), rng.normal(size=(T, H)).astype(np.float32)


def ours(k: int) -> Callable[[], np.ndarray]:
    """Returns a call of our public function."""
    import jax.numpy as jnp

    from analysis import lyapunov_spectrum
    from models import Elman

    recurrent, xs = (jnp.asarray(a) for a in example())
    params = {"kernel": jnp.eye(H), "recurrent": recurrent, "bias": jnp.zeros(H)}
    return lambda: np.asarray(lyapunov_spectrum(Elman(H), params, xs, k=k, warmup=100).exponents)


def torch_loop(k: int, by_hand: bool) -> Callable[[], np.ndarray]:
    """Returns the textbook loop in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.func import jvp, vmap  # pyright: ignore[reportMissingImports]

    recurrent, xs = (torch.from_numpy(a) for a in example())
    transposed = recurrent.T.contiguous()

    @torch.no_grad()
    def run() -> np.ndarray:
        torch.manual_seed(0)
        h, total = torch.zeros(H), torch.zeros(k)
        q, _ = torch.linalg.qr(torch.randn(H, k))
        for t, x in enumerate(xs):

            def step(h: torch.Tensor, x: torch.Tensor = x) -> torch.Tensor:
                return torch.tanh(x + h @ recurrent)

            if by_hand:
                h = step(h)
                w = (1 - h * h)[:, None] * (transposed @ q)
            else:
                along = vmap(lambda v, h=h, step=step: jvp(step, (h,), (v,))[1], in_dims=1, out_dims=1)
                w, h = along(q), step(h)
            q, r = torch.linalg.qr(w)
            if t >= 100:
                total += torch.log(torch.abs(torch.diagonal(r)))
        return (total / (T - 100)).numpy()

    return run


def one(side: str, k: int) -> None:
    """Prints the seconds of the best of three runs, and the exponents; for a separate process."""
    run = ours(k) if side == "ours" else torch_loop(k, side == "torch by hand")
    exponents, seconds = run(), []  # the first compiles
    for _ in range(3):
        start = time.perf_counter()
        exponents = run()
        seconds.append(time.perf_counter() - start)
    print(min(seconds), *exponents)


def measure(say: Callable[..., None] = print) -> list[dict[str, Any]]:
    """Measures in turns, and returns a record for each k and installed side: `k`, `side`, `seconds` (median),
    `apart` (the largest difference of an exponent from ours)."""
    sides = SIDES if importlib.util.find_spec("torch") else SIDES[:1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}
    found = []
    for k in (32, H):
        runs: dict[str, list[np.ndarray]] = {side: [] for side in sides}
        for _ in range(ROUNDS):
            for side in sides:
                command = [sys.executable, "-m", "benchmarks.lyapunov", WORKER, side, str(k)]
                finished = subprocess.run(
                    command, env=environment, capture_output=True, text=True, check=True
                )
                runs[side].append(np.array(finished.stdout.split(), float))
        for side, each in runs.items():
            apart = float(np.abs(each[0][1:] - runs["ours"][0][1:]).max())
            seconds = float(median(run[0] for run in each))
            found.append({"k": k, "side": side, "seconds": seconds, "apart": apart})
        say(f"Lyapunov spectrum, k = {k}, done", flush=True)
    return found


if __name__ == "__main__":
    run("lyapunov", __doc__, measure, lambda side, k: one(side, int(k)))
