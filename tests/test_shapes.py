"""The suite's own checks of annotations: what they refuse, and that leaves are asked as JAXtyping asks them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float, PyTree, TypeCheckError, jaxtyped

from models import Elman
from models.cell import Array
from models.crf import init_chain, log_partition


def test_a_wrong_shape_and_a_wrong_leaf_are_refused() -> None:
    weights: Any = init_chain(jax.random.key(0), 3)
    log_partition(weights, jnp.zeros((2, 3)))
    with pytest.raises(TypeCheckError, match="emissions"):
        log_partition(weights, jnp.zeros(3, int))
    cell: Any = Elman(3)
    params = cell.init(jax.random.key(0), 2)
    cell.initial_state(params)
    with pytest.raises(TypeCheckError, match="params"):
        cell.initial_state(jax.tree.map(np.asarray, params))


@pytest.mark.parametrize(
    ("annotation", "accepted", "refused"),
    [
        (PyTree[Array], {"a": jnp.zeros(2), "b": (jnp.ones(()),)}, {"a": jnp.zeros(2), "b": 1.0}),
        (PyTree[Float[Array, " N"]], [jnp.zeros(2), jnp.ones(2)], [jnp.zeros(2), jnp.ones(3)]),
        (PyTree[Array | None], {"a": jnp.zeros(2), "b": None}, {"a": "none"}),
    ],
)
def test_leaves(annotation: Any, accepted: Any, refused: Any) -> None:
    """A class of leaves is asked by isinstance, other annotations by JAXtyping itself; sizes must agree in both."""
    with jaxtyped("context"):
        assert isinstance(accepted, annotation)
    with jaxtyped("context"):
        assert not isinstance(refused, annotation)
