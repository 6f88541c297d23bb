"""The state that training changes, as one pytree."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from train.averaging import ParameterAverage
from train.optimizer import OptimizerConfig, make_optimizer

PyTree = Any
Leaf = Any
"""An array; inside JAX's transformations, whatever stands for one."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything one step hands to the next: this saved, and the data's position, is the run saved.

    Attributes:
        step: int32 `[]`, the number of updates done so far.
        params: the parameters, real arrays; running averages among them stand under the name `averages`.
        opt_state: what Optax remembers of earlier gradients.
        carry: what else goes from step to step, example by example: the hidden state of truncated
            backpropagation; `()` when there is nothing. Its leaves begin with the batch axis `[B, …]`, along
            which devices share it as they share the batch, and never change their shapes.
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
    """The state before the first update, in memory of its own: `params` stay usable after training."""
    params = copied(params)
    opt_state = copied(make_optimizer(optimizer).init(params))
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, copied(carry), copied(key))


def evaluated_params(state: TrainState) -> PyTree:
    """The parameters to evaluate: the average of them that the optimizer keeps (`average_from`), else themselves.

    Running averages are always those of the state: they are means already.
    """
    nodes = jax.tree.leaves(state.opt_state, is_leaf=lambda node: isinstance(node, ParameterAverage))
    for node in nodes:
        if isinstance(node, ParameterAverage):
            return jax.tree.map_with_path(
                lambda path, own, mean: own if is_average(path) else mean, state.params, node.mean
            )
    return state.params


def copied(tree: PyTree) -> PyTree:
    """The same leaves in memory of their own: a train step gives its input's memory away (donation)."""

    def copy(leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf)
        # Naming the dtype drops JAX's "weak type", which would compile the first step twice.
        return jnp.copy(leaf) if is_key(leaf) else jnp.array(leaf, dtype=leaf.dtype, copy=True)

    return jax.tree.map(copy, tree)


def is_key(leaf: jax.Array) -> bool:
    """Tells whether a leaf is a typed random key (`jax.random.key`), whose bits have to be asked for."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_average(path: tuple[Any, ...]) -> bool:
    """Tells whether a leaf belongs to running averages, which no gradient reaches and no optimizer may change."""
    return "averages" in leaf_name(path).split("/")


def leaf_name(path: tuple[Any, ...]) -> str:
    """`params/cell/recurrent`: how messages and checkpoints name a leaf."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
