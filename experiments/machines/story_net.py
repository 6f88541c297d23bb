"""A model that reads a story step by step and answers."""

import jax.numpy as jnp
from flax import linen as nn

from models import Cell, Recurrent
from models.cell import Array
from models.recurrence.methods import Method
from models.recurrence.unroll import last_output


class StoryReader(nn.Module):
    """Logits for the answer to a question that ends a story:

        e_t = Σ_k l_k ∘ E[x_tk]      y_1 … y_T = cell(e_1 … e_T)      logits = y_T W + b

    A step has words k = 1 … W, of which 0 is none. The vectors l_k tell places in a sentence apart and are learned
    from ones (Sukhbaatar et al. 2015 fix theirs). Inputs are ids `[T, B, W]`."""

    cell: Cell
    answers: int
    words: int
    widest: int
    embedding_size: int = 32
    method: Method = "auto"

    @nn.compact
    def __call__(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """Returns logits `[B, answers]`."""
        ids = jnp.asarray(inputs)
        vectors = nn.Embed(self.words, self.embedding_size, name="embedding")(ids)
        places = self.param("places", nn.initializers.ones, (self.widest, self.embedding_size))
        xs = jnp.einsum("...ke,ke->...e", jnp.where(ids[..., None] > 0, vectors, 0), places)
        pooled = Recurrent(self.cell, name="recurrent")(
            xs, mask=mask, method=self.method, train=train, run=last_output
        )
        return nn.Dense(self.answers, name="readout")(pooled)
