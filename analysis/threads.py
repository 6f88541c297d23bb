"""Keeps NumPy's linear algebra on one thread where it is called in a loop.

XLA keeps threads of its own on every core. A second pool beside it, OpenBLAS's or MKL's, makes factorizations of
small matrices many times slower than one thread does.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")


def one_blas_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Runs a function with BLAS on one thread, and gives BLAS its threads back afterwards."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@cache
def controller() -> ThreadpoolController:
    """Finds the libraries once: a search takes longer than many a factorization."""
    return ThreadpoolController()
