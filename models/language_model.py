"""Language models: the next token from the tokens before it, with a state that goes on from text to text."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float, Int

from models.cell import Array, BatchShape, Cell, Key, Params, State, check_at_least
from models.layers.dropout import Dropout, check_rate
from models.layers.layer import check_causal, check_output
from models.layers.recurrent import Recurrent
from models.recurrence.methods import Method
from models.recurrence.unroll import unroll
from models.softmax import cross_entropies, summed_cross_entropy
from models.token_ids import embedded


class LanguageModel(nn.Module):
    """p(w_{t+1} | w_1 … w_t), for T tokens w of B texts at once:

        e_t = E[w_t]      y_1 … y_T = cell(e_1 … e_T)      p(w_{t+1} | …) = softmax(y_t W + b)

    Any cell goes that reads forward: a stack of LSTMs (Zaremba, Sutskever & Vinyals 2014), an Elman net (Mikolov et
    al. 2010), or a `FixedWindow`, which makes it the feedforward model of Bengio et al. 2003. `tied` makes one
    matrix of two, W = Eᵀ (Press & Wolf 2017; Inan, Khosravi & Socher 2017), for which `embedding_size` must be that
    of y. In training `dropout` falls on e and y, other units at every step (of a stack, what falls between its
    layers is its own); it draws from the RNG stream `dropout`, the cell from `recurrent`.

    Tokens and targets are ids of 0 … V−1; what stands at a masked step counts nothing. Raises ValueError for a
    concrete id outside, and under `jit` gives NaN.

    Every method begins from a state and gives the next one; `initial_carry` is the first.
    """

    cell: Cell
    vocabulary_size: int
    embedding_size: int
    tied: bool = False
    dropout: float = 0.0
    method: Method = "auto"

    def setup(self) -> None:
        check_at_least(1, vocabulary_size=self.vocabulary_size, embedding_size=self.embedding_size)
        check_rate(self.dropout)
        check_causal(self.cell)
        size = output_size(self.cell, self.embedding_size)
        if self.tied and size != self.embedding_size:
            raise ValueError(
                f"tied embeddings are the output layer too, so embedding_size must be the {size} numbers that the "
                f"cell gives, but is {self.embedding_size}"
            )
        self.embedding = nn.Embed(
            self.vocabulary_size, self.embedding_size, param_dtype=jnp.result_type(float)
        )
        self.recurrent = Recurrent(self.cell)
        if not self.tied:
            shape = (size, self.vocabulary_size)
            self.kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocabulary_size,))

    def __call__(
        self,
        tokens: Int[Array, "T *batch"],
        state: State | None = None,
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> tuple[State, Float[Array, "T *batch H"]]:
        """The state after the last valid step, and y, of which `logits` makes predictions."""
        if mask is not None:
            tokens = jnp.where(mask, tokens, 0)
        xs = self.dropped(embedded(self.embedding.embedding, tokens, what="tokens"), train)
        state, ys = self.recurrent(xs, state, mask=mask, method=self.method, train=train)
        return state, self.dropped(ys, train)

    def logits(self, ys: Float[Array, "*batch H"]) -> Float[Array, "*batch V"]:
        """z = y W + b."""
        kernel, bias = self.readout()
        return ys @ kernel + bias.reshape((1,) * (ys.ndim - 1) + bias.shape)

    def predictions(
        self, tokens: Int[Array, "T *batch"], *, mask: Bool[Array, "T *batch"] | None = None
    ) -> Float[Array, "T *batch V"]:
        """z of every step, from the first state: V numbers for each token, so for short texts."""
        return self.logits(self(tokens, mask=mask)[1])

    def loss(
        self,
        tokens: Int[Array, "T *batch"],
        targets: Int[Array, "T *batch"],
        state: State | None = None,
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = True,
    ) -> tuple[Array, State]:
        """Σ −ln p(target) over the valid steps, in nats, and the state: see `summed_cross_entropy`."""
        state, ys = self(tokens, state, mask=mask, train=train)
        dtype = jnp.promote_types(ys.dtype, jnp.float32)
        counts = jnp.ones(targets.shape, dtype) if mask is None else jnp.asarray(mask, dtype)
        total = summed_cross_entropy(
            ys.reshape(-1, ys.shape[-1]), *self.readout(), targets.reshape(-1), counts.reshape(-1)
        )
        return total, state

    def token_losses(
        self,
        tokens: Int[Array, "T *batch"],
        targets: Int[Array, "T *batch"],
        state: State | None = None,
        *,
        mask: Bool[Array, "T *batch"] | None = None,
    ) -> tuple[Float[Array, "T *batch"], State]:
        """−ln p(target) of each token, in nats, zero where the mask is False; and the state."""
        state, ys = self(tokens, state, mask=mask)
        targets = targets if mask is None else jnp.where(mask, targets, 0)
        losses = cross_entropies(ys.reshape(-1, ys.shape[-1]), *self.readout(), targets.reshape(-1))
        losses = losses.reshape(targets.shape)
        return losses if mask is None else jnp.where(mask, losses, 0), state

    def readout(self) -> tuple[Array, Array]:
        """W `[H, V]` and b `[V]`."""
        return self.embedding.embedding.T if self.tied else self.kernel, self.bias

    def dropped(self, xs: Array, train: bool) -> Array:
        """With units dropped, in training."""
        if not train or not self.dropout:
            return xs
        return Dropout(self.dropout)(xs, self.make_rng("dropout"))


def output_size(cell: Cell, input_size: int) -> int:
    """Counts the numbers that a cell gives a step. Raises ValueError where that is no single array."""

    def one_step() -> Any:
        return unroll(cell, cell.init(jax.random.key(0), input_size), jnp.zeros((1, input_size)))[1]

    return check_output(cell, jax.eval_shape(one_step), "the cell of a language model")


def initial_carry(model: LanguageModel, params: Params, batch_shape: BatchShape = ()) -> State:
    """The state before the first token."""
    return model.cell.initial_state(params["params"]["recurrent"]["cell"], batch_shape)


def uniform_like(params: Params, key: Key, scale: float) -> Params:
    """Every parameter drawn anew from U(−a, a), a = `scale`, biases too, as Zaremba et al. 2014 begin."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.uniform(k, leaf.shape, leaf.dtype, -scale, scale)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)
