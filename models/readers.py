"""The two ends of an encoder–decoder: what is read becomes vectors, and vectors become what is written."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from models.cell import Array, Key, Params, check_at_least
from models.initializers import Glorot, Initializer
from models.token_ids import embed


@runtime_checkable
class Reader(Protocol):
    """Maps inputs `[L, *batch, ...]` to vectors `[L, *batch, E]`."""

    @property
    def size(self) -> int:
        """E, the size of the vectors."""
        ...

    def init(self, key: Key) -> Params:
        """Returns parameters."""
        ...

    def __call__(self, params: Params, inputs: Array) -> Array:
        """Computes the vectors."""
        ...


@dataclass(frozen=True)
class TokenReader:
    """Looks up token ids of 0 … V−1, V = `vocabulary_size`: e = E[x], with `scale` √E · E[x], for Transformers
    (Vaswani et al. 2017).

    Parameters: `embedding [V, E]`, drawn from N(0, 1/E), E = `size`."""

    vocabulary_size: int
    size: int
    scale: bool = False

    def __post_init__(self) -> None:
        check_at_least(1, vocabulary_size=self.vocabulary_size, size=self.size)

    def init(self, key: Key) -> Params:
        return {"embedding": jax.random.normal(key, (self.vocabulary_size, self.size)) * self.size**-0.5}

    def __call__(self, params: Params, inputs: Int[Array, "*shape"]) -> Float[Array, "*shape E"]:
        """Returns the vectors. A concrete id outside the vocabulary raises ValueError; under `jit` it gives
        NaN."""
        vectors = embed(params["embedding"], inputs)
        return vectors * self.size**0.5 if self.scale else vectors


@dataclass(frozen=True)
class FrameReader:
    """Reads vectors of D = `size` numbers as they are: frames of sound, rows of an image. No parameters."""

    size: int

    def __post_init__(self) -> None:
        check_at_least(1, size=self.size)

    def init(self, key: Key) -> Params:
        return {}

    def __call__(self, params: Params, inputs: Float[Array, "*shape D"]) -> Float[Array, "*shape D"]:
        """Returns the vectors. Raises ValueError for those of another size."""
        if inputs.shape[-1] != self.size:
            raise ValueError(f"the frames have {inputs.shape[-1]} numbers, but the reader takes {self.size}")
        return inputs


@dataclass(frozen=True)
class LinearReader:
    """Maps vectors of D = `frame_size` numbers, rows or patches of an image, to vectors of E = `size`: e = x W + b.

    Parameters: `kernel [D, E]`, `bias [E]`."""

    frame_size: int
    size: int
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, frame_size=self.frame_size, size=self.size)

    def init(self, key: Key) -> Params:
        return {
            "kernel": self.kernel_init(key, (self.frame_size, self.size)),
            "bias": jnp.zeros(self.size),
        }

    def __call__(self, params: Params, inputs: Float[Array, "*shape D"]) -> Float[Array, "*shape E"]:
        """Returns the vectors. Raises ValueError for inputs of another size."""
        if inputs.shape[-1] != self.frame_size:
            raise ValueError(
                f"the frames have {inputs.shape[-1]} numbers, but the reader takes {self.frame_size}"
            )
        return inputs @ params["kernel"] + jnp.broadcast_to(params["bias"], (*inputs.shape[:-1], self.size))


@dataclass(frozen=True)
class TokenWriter(TokenReader):
    """Writes token ids of 0 … V−1, reads them back as a decoder's inputs, and predicts the next:

        e_t = E[w_{t−1}], w_0 the id `end`        p(w_t | …) = softmax(y_t W + b)

    `end` is the id of the end mark, with which every target ends, and which stands before its first token.
    `tied` shares the embedding with the output layer, W = Eᵀ (Press & Wolf 2017), for which the outputs y must
    be of size E.

    Parameters: `embedding [V, E]`, `bias [V]` and, unless tied, `kernel [H, V]`."""

    end: int = 0
    tied: bool = False
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.end < self.vocabulary_size:
            raise ValueError(
                f"end is the id of the end mark, one of 0 … {self.vocabulary_size - 1}, but is {self.end}"
            )

    def init_readout(self, key: Key, hidden_size: int) -> Params:
        """Returns the parameters beside the embedding, for outputs of size H = `hidden_size`. Raises ValueError
        if they are tied to an embedding of another size."""
        if self.tied and hidden_size != self.size:
            raise ValueError(
                f"tied embeddings are the output layer too, so their size {self.size} must be that of the "
                f"decoder's outputs, {hidden_size}: end the decoder with Dense({self.size})"
            )
        bias = {"bias": jnp.zeros(self.vocabulary_size)}
        return (
            bias
            if self.tied
            else bias | {"kernel": self.kernel_init(key, (hidden_size, self.vocabulary_size))}
        )

    def readout(self, params: Params) -> tuple[Array, Array]:
        """Returns W `[H, V]` and b `[V]`."""
        return params["embedding"].T if self.tied else params["kernel"], params["bias"]

    def shifted(
        self, targets: Int[Array, "T *batch"], mask: Bool[Array, "T *batch"] | None = None
    ) -> Int[Array, "T *batch"]:
        """Returns the decoder's inputs: at each step the valid target before it, at the first the end mark."""
        first = jnp.full((1, *targets.shape[1:]), self.end, targets.dtype)
        if mask is None:
            return jnp.concatenate([first, targets[:-1]])
        steps = jnp.arange(1, len(targets) + 1).reshape((-1,) + (1,) * (targets.ndim - 1))
        last = jax.lax.cummax(jnp.where(mask, steps, 0))  # the last valid step up to each, 0 before the first
        before = jnp.concatenate([jnp.zeros_like(last[:1]), last[:-1]])
        return jnp.take_along_axis(jnp.concatenate([first, targets]), before, axis=0)
