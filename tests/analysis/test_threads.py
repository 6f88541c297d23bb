"""NumPy's linear algebra on one thread, whatever the process it is called in has set."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from analysis import jacobian_eigenvalues, jacobian_singular_values, product_spectrum
from analysis.threads import one_blas_thread


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize(
    ("function", "used"),
    [(jacobian_eigenvalues, "eigvals"), (jacobian_singular_values, "svd"), (product_spectrum, "qr")],
)
def test_one_thread_inside_and_all_of_them_after(
    function: Callable, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BLAS that is given four threads uses one of them inside, and four again afterwards."""
    found: list[set[int]] = []
    original = getattr(np.linalg, used)

    def watched(*args: object, **options: object) -> object:
        found.append(threads())
        return original(*args, **options)

    monkeypatch.setattr(np.linalg, used, watched)
    with threadpool_limits(limits=4, user_api="blas"):
        function(np.stack([np.eye(3), 2 * np.eye(3)]))
        assert threads() == {4}
    assert found
    assert all(pools == {1} for pools in found)


def test_threads_are_given_back_after_an_error() -> None:
    @one_blas_thread
    def fails() -> None:
        raise ValueError("no")

    with threadpool_limits(limits=4, user_api="blas"):
        with pytest.raises(ValueError, match="no"):
            fails()
        assert threads() == {4}


def test_the_command_line_limits_them_before_numpy_loads() -> None:
    """Without a word in the environment; what the user has set there stays."""
    script = (
        "import os, sys; import experiments.__main__; assert 'numpy' not in sys.modules; import numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'], *{pool['num_threads'] for pool in threadpool_info()})"
    )
    bare = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    bare["PYTHONPATH"] = str(Path(__file__).parents[2])
    for given, said in (({}, "1 1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2 2")):
        found = subprocess.check_output([sys.executable, "-c", script], env=bare | given, text=True)
        assert found.split()[:2] == said.split()
