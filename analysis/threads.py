"""Limits NumPy's linear algebra to one thread in loops.

XLA has its own threads on every core. Next to them a second pool, that of OpenBLAS or MKL, makes factorizations of
small matrices many times slower than a single thread.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")


def one_blas_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function to run with one BLAS thread, and restores the number of threads afterwards."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@cache
def controller() -> ThreadpoolController:
    """Finds the libraries once, since the search takes longer than a small factorization."""
    return ThreadpoolController()
