"""The training state, as one pytree."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from train.optimizer import OptimizerConfig, make_optimizer
from train.optimizer.transforms import ParameterAverage

PyTree = Any
Leaf = Any
"""An array; inside JAX's transformations, anything that represents one."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that a step passes to the next; with the position of the data, it is all that a run saves.

    Attributes:
        step: int32 `[]`, the number of updates done so far.
        params: the parameters, real arrays; running averages among them are under the name `averages`.
        opt_state: the state of the Optax optimizer.
        carry: what else is carried from step to step for each example: the hidden state of truncated
            backpropagation; `()` if nothing is. Its leaves begin with the batch axis `[B, …]`, are sharded like the
            batch, and have constant shapes.
        key: the run's random key. Step `n` draws from `fold_in(key, n)`, resumed or not.
    """

    step: Leaf
    params: PyTree
    opt_state: PyTree
    carry: PyTree
    key: Leaf


def create_state(
    params: PyTree, optimizer: OptimizerConfig, key: jax.Array, carry: PyTree = ()
) -> TrainState:
    """Returns the state before the first update, with copies of `params`, which stay usable after training."""
    return _create_state(params, optimizer, key, carry)


@partial(jax.jit, static_argnames="optimizer")
def _create_state(params: PyTree, optimizer: OptimizerConfig, key: jax.Array, carry: PyTree) -> TrainState:
    """Creates the state in one program, in place of one for each leaf."""
    params = copy_tree(params)
    opt_state = copy_tree(make_optimizer(optimizer).init(params))
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, copy_tree(carry), copy_tree(key))


def evaluated_params(state: TrainState) -> PyTree:
    """Returns the parameters to evaluate: their average kept by the optimizer (`average_from`), or themselves.

    Running averages are always those of the state, as they are means already.
    """
    nodes = jax.tree.leaves(state.opt_state, is_leaf=lambda node: isinstance(node, ParameterAverage))
    for node in nodes:
        if isinstance(node, ParameterAverage):
            return jax.tree.map_with_path(
                lambda path, own, mean: own if is_average(path) else mean, state.params, node.mean
            )
    return state.params


@jax.jit
def copy_tree(tree: PyTree) -> PyTree:
    """Copies all leaves, since a train step donates its input."""

    def copy(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        # Naming the dtype drops JAX's "weak type", which would compile the first step twice.
        return jnp.copy(leaf) if is_key(leaf) else jnp.array(leaf, dtype=leaf.dtype, copy=True)

    return jax.tree.map(copy, tree)


def is_key(leaf: jax.Array) -> bool:
    """Returns True for a typed random key (`jax.random.key`), whose bits must be read by `key_data`."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_average(path: tuple[Any, ...]) -> bool:
    """Tells whether a leaf belongs to running averages, which no gradient reaches and no optimizer may change."""
    return is_average_name(leaf_name(path))


def is_average_name(name: str) -> bool:
    """Tells whether the leaf of a name belongs to running averages."""
    return "averages" in name.split("/")


def leaf_name(path: tuple[Any, ...]) -> str:
    """`params/cell/recurrent`: how messages and checkpoints name a leaf."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
