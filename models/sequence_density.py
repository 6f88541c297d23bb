"""A density over sequences of vectors: what comes next, given what came before."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float

from models.cell import Array, Cell, Key, Params, State, check_at_least
from models.layers.dropout import Dropout, check_rate
from models.layers.layer import check_causal
from models.layers.pooling import last_valid
from models.layers.recurrent import Recurrent
from models.output_distributions import BitByBit, Bits, GaussianMixture
from models.recurrence.methods import Method
from models.recurrence.unroll import unroll

Output = Bits | BitByBit | GaussianMixture


class SequenceDensity(nn.Module):
    """p(x_{t+1} | x_1 … x_t) = output(y_t),   y_1 … y_T = cell(x_1 … x_T), for any causal cell.

    `output` is a distribution over vectors (`models.output_distributions`). In training `dropout` falls on y, with
    new units at every step; it uses the RNG stream `recurrent`, as the cell does.
    """

    cell: Cell
    output: Output
    dropout: float = 0.0
    method: Method = "auto"

    def setup(self) -> None:
        check_rate(self.dropout)
        check_causal(self.cell)
        self.recurrent = Recurrent(self.cell)

    def __call__(
        self, inputs: Float[Array, "T *batch D"], *, mask: Any = None, train: bool = False
    ) -> tuple[Array, ...]:
        """Returns what determines the distribution of the vector after each step."""
        ys = self.recurrent(inputs, mask=mask, method=self.method, train=train)[1]
        if train and self.dropout:
            ys = Dropout(self.dropout)(ys, self.make_rng("recurrent"))
        return self.output(ys)

    def log_prob(
        self,
        inputs: Float[Array, "T *batch D"],
        targets: Float[Array, "T *batch N"],
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        counted: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Float[Array, "T *batch"]:
        """Computes ln p(target | inputs so far) of each step, zero where it isn't `counted` (by default where it is
        masked); such targets may be NaN."""
        counted = mask if counted is None else counted
        given: Any = self(inputs, mask=mask, train=train)
        if counted is None:
            return self.output.log_prob(given, targets)
        found = self.output.log_prob(given, jnp.where(counted[..., None], targets, 0))
        return jnp.where(counted, found, 0)

    def next(self, y: Float[Array, "*batch H"], key: Key | None, choice: str) -> Float[Array, "*batch N"]:
        """Returns a sample of what follows an output of the cell, or its mean."""
        given = self.output(y)
        if choice == "mean":
            assert isinstance(self.output, GaussianMixture)
            return self.output.mean(given)  # type: ignore[arg-type]
        return self.output.sample(given, key)  # type: ignore[arg-type]


@partial(jax.jit, static_argnums=(0, 3), static_argnames="choice")
def free_run(
    model: SequenceDensity,
    params: Params,
    inputs: Float[Array, "T *batch N"],
    steps: int,
    key: Key,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    choice: Literal["sample", "mean"] = "sample",
) -> Float[Array, "S *batch N"]:
    """Continues sequences by `steps` vectors: the model reads the inputs, then each vector that it outputs, a
    sample or its distribution's mean, is its next input.

    Raises ValueError for inputs without a step.
    """
    check_at_least(1, **{"the steps of the inputs": inputs.shape[0], "steps": steps})
    own = params["params"]["recurrent"]["cell"]
    weights = model.cell.prepare(own, batch_shape=inputs.shape[1:-1])
    state, ys = unroll(model.cell, own, inputs, mask=mask)

    def write(carry: tuple[State, Array], key: Key) -> tuple[tuple[State, Array], Array]:
        state, y = carry
        x = jnp.asarray(model.apply(params, y, key, choice, method="next"))
        return model.cell.step(weights, state, model.cell.drive(weights, x)), x

    return jax.lax.scan(write, (state, last_valid(ys, mask)), jax.random.split(key, steps))[1]
