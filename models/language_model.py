"""Language models: predict the next token from the tokens before it, with a state carried from segment to
segment."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float, Int

from models.cell import Array, BatchShape, Cell, Key, Params, State, check_at_least
from models.layers.dropout import Dropout, check_rate
from models.layers.layer import check_causal
from models.layers.recurrent import Recurrent
from models.recurrence.methods import Method
from models.recurrence.streaming import advance
from models.recurrence.unroll import output_size
from models.softmax import cross_entropies, summed_cross_entropy
from models.token_ids import embed


class LanguageModel(nn.Module):
    """Models p(w_{t+1} | w_1 … w_t), for T tokens w of B texts at once:

        e_t = E[w_t]      y_1 … y_T = cell(e_1 … e_T)      p(w_{t+1} | …) = softmax(y_t W + b)

    `cell` is any causal cell: a stack of LSTMs (Zaremba, Sutskever & Vinyals 2014), an Elman net (Mikolov et al.
    2010), or a `FixedWindow`, which makes it the feedforward model of Bengio et al. 2003. `tied` shares the
    embedding with the output layer, W = Eᵀ (Press & Wolf 2017; Inan, Khosravi & Socher 2017), for which
    `embedding_size` must be the size of y. In training `dropout` is applied to e and y, with new units at every
    step (dropout between the layers of a stack is the stack's own); it uses the RNG stream `dropout`, the cell
    `recurrent`.

    Tokens and targets are ids 0 … V−1; values at masked steps are ignored. A concrete id outside raises ValueError;
    under `jit` it gives NaN.

    Every method takes a state and returns the next one; `initial_carry` is the first.

    Examples:
        >>> model = LanguageModel(LSTM(8), vocabulary_size=50, embedding_size=8)
        >>> tokens = jnp.zeros((7, 2), jnp.int32)
        >>> params = model.init(jax.random.key(0), tokens)
        >>> model.apply(params, tokens, method="predictions").shape
        (7, 2, 50)
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
        params = jax.eval_shape(lambda: self.cell.init(jax.random.key(0), self.embedding_size))
        size = output_size(self.cell, params, self.embedding_size, "the cell of a language model")
        if self.tied and size != self.embedding_size:
            raise ValueError(
                "tied embeddings are the output layer too, so embedding_size must be the cell's output size "
                f"{size}, but is {self.embedding_size}"
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
        """Returns the state after the last valid step, and y, which `logits` maps to predictions."""
        if mask is not None:
            tokens = jnp.where(mask, tokens, 0)
        xs = self.apply_dropout(embed(self.embedding.embedding, tokens, what="tokens"), train)
        state, ys = self.recurrent(xs, state, mask=mask, method=self.method, train=train)
        return state, self.apply_dropout(ys, train)

    def logits(self, ys: Float[Array, "*batch H"]) -> Float[Array, "*batch V"]:
        """Computes z = y W + b."""
        kernel, bias = self.readout()
        return ys @ kernel + bias.reshape((1,) * (ys.ndim - 1) + bias.shape)

    def predictions(
        self, tokens: Int[Array, "T *batch"], *, mask: Bool[Array, "T *batch"] | None = None
    ) -> Float[Array, "T *batch V"]:
        """Computes z for every step, from the initial state: V numbers per token, so for short texts."""
        return self.logits(self(tokens, mask=mask)[1])

    def loss(
        self,
        tokens: Int[Array, "T *batch"],
        targets: Int[Array, "T *batch"],
        state: State | None = None,
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        counted: Bool[Array, "T *batch"] | None = None,
        train: bool = True,
    ) -> tuple[Array, State]:
        """Computes Σ −ln p(target) over the steps that are `counted`, by default the valid ones, in nats, and the
        state: see `summed_cross_entropy`.

        Where padding comes last and the state isn't needed, `counted` alone is enough: no output depends on later
        steps, and a model without a mask is faster.
        """
        state, ys = self(tokens, state, mask=mask, train=train)
        counted = mask if counted is None else counted
        dtype = jnp.promote_types(ys.dtype, jnp.float32)
        weights = jnp.ones(targets.shape, dtype) if counted is None else jnp.asarray(counted, dtype)
        total = summed_cross_entropy(
            ys.reshape(-1, ys.shape[-1]), *self.readout(), targets.reshape(-1), weights.reshape(-1)
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
        """Computes −ln p(target) of each token, in nats, zero where the mask is False, and the state."""
        state, ys = self(tokens, state, mask=mask)
        targets = targets if mask is None else jnp.where(mask, targets, 0)
        losses = cross_entropies(ys.reshape(-1, ys.shape[-1]), *self.readout(), targets.reshape(-1))
        losses = losses.reshape(targets.shape)
        return losses if mask is None else jnp.where(mask, losses, 0), state

    def readout(self) -> tuple[Array, Array]:
        """Returns W `[H, V]` and b `[V]`."""
        return self.embedding.embedding.T if self.tied else self.kernel, self.bias

    def apply_dropout(self, xs: Array, train: bool) -> Array:
        """Drops units in training."""
        if not train or not self.dropout:
            return xs
        return Dropout(self.dropout)(xs, self.make_rng("dropout"))


def initial_carry(model: LanguageModel, params: Params, batch_shape: BatchShape = ()) -> State:
    """Returns the state before the first token."""
    return model.cell.initial_state(params["params"]["recurrent"]["cell"], batch_shape)


def language_step(
    model: LanguageModel, params: Params, batch_shape: BatchShape = ()
) -> tuple[Callable[[State, Array], tuple[State, Array]], State]:
    """Returns `step(state, tokens [*batch]) → (state, logits [*batch, V])`, for free running and beam search, and
    the state before the first token.

    To continue a text, search from the state after it: `model.apply(params, tokens)[0]`."""
    own = params["params"]["recurrent"]["cell"]
    weights = model.cell.prepare(own, batch_shape=batch_shape)
    table = params["params"]["embedding"]["embedding"]

    def step(state: State, tokens: Array) -> tuple[State, Array]:
        state, y = advance(model.cell, weights, state, embed(table, tokens, what="tokens"))
        return state, jnp.asarray(model.apply(params, y, method="logits"))

    return step, model.cell.initial_state(own, batch_shape)


def uniform_like(params: Params, key: Key, scale: float) -> Params:
    """Redraws every parameter, biases too, from U(−a, a), a = `scale`, as Zaremba et al. 2014 initialise."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.uniform(k, leaf.shape, leaf.dtype, -scale, scale)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)
