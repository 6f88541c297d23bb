"""The unitary recurrent network: a complex state whose norm the recurrent matrix preserves."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from models.cell import Array, BatchShape, Cell, Key, Params, Weights, check_at_least
from models.cells.complex_parts import complex_affine, complex_type, modrelu, to_complex
from models.initializers import Glorot, Initializer, gate_blocks


@dataclass(frozen=True)
class UnitaryRNN(Cell):
    """Arjovsky, Shah & Bengio 2016 (uRNN):

        h_t = modReLU(U h_{t−1} + V x_t; b)      y_t = [Re h_t, Im h_t]
        U = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁

    D_k = diag(exp(iθ_k)); R_k = I − 2 v_k v_kᴴ / ‖v_k‖², a reflection; F the unitary discrete Fourier transform;
    Π a fixed permutation, drawn from `permutation_seed`. So U costs H log H and has 7H parameters.
    modReLU(z; b) = max(|z| + b, 0) z/|z|.
    Parameters, all real: `kernel` V `[D, 2H]`, real parts before imaginary ones; `phases` θ `[3, H]`;
    `reflections` v `[2, 2, H]`, the vector before the part; `bias` b `[H]`; `initial` h_0 `[2, H]`, learned.
    State: h complex `[*batch, H]`. Output: real `[*batch, 2H]`.
    """

    hidden_size: int
    permutation_seed: int = 0
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        check_at_least(0, permutation_seed=self.permutation_seed)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size = self.hidden_size
        keys = jax.random.split(key, 4)
        bound = (3 / (2 * size)) ** 0.5  # E ‖h_0‖² = 1
        return {
            "kernel": gate_blocks(self.kernel_init, keys[0], input_size, size, gates=2),
            "phases": jax.random.uniform(keys[1], (3, size), minval=-np.pi, maxval=np.pi),
            "reflections": jax.random.uniform(keys[2], (2, 2, size), minval=-1.0),
            "bias": jnp.zeros(size),
            "initial": jax.random.uniform(keys[3], (2, size), minval=-bound, maxval=bound),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Complex[Array, "*batch H"]:
        return jnp.broadcast_to(to_complex(*params["initial"]), (*batch_shape, self.hidden_size))

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """Returns diagonals and reflection vectors (of length √2) as complex numbers."""
        vectors = jax.vmap(to_complex)(params["reflections"][:, 0], params["reflections"][:, 1])
        squares = jnp.sum(params["reflections"] ** 2, axis=(1, 2))
        return {
            "kernel": params["kernel"],
            "bias": params["bias"],
            "diagonals": to_complex(jnp.cos(params["phases"]), jnp.sin(params["phases"])),
            "reflections": vectors * jnp.sqrt(2 / squares)[:, None],
        }

    def drive(self, weights: Weights, x: Array) -> Complex[Array, "... H"]:
        return complex_affine(x, *jnp.split(weights["kernel"], 2, axis=-1))

    def rotate(self, weights: Weights, h: Complex[Array, "... H"]) -> Complex[Array, "... H"]:
        """Computes U h."""
        d, v = weights["diagonals"], weights["reflections"]
        order = np.random.default_rng(self.permutation_seed).permutation(self.hidden_size)

        def scale(k: int, h: Array) -> Array:
            return h * jnp.broadcast_to(d[k], h.shape)

        def reflect(k: int, h: Array) -> Array:
            vector = jnp.broadcast_to(v[k], h.shape)
            return h - vector * jnp.sum(vector.conj() * h, axis=-1, keepdims=True)

        h = reflect(0, jnp.fft.fft(scale(0, h), norm="ortho"))
        h = jnp.fft.ifft(scale(1, h[..., order]), norm="ortho")
        return scale(2, reflect(1, h))

    def matrix(self, params: Params) -> Complex[Array, "H H"]:
        """Returns U as a matrix, for inspection."""
        eye = jnp.eye(self.hidden_size, dtype=complex_type(params["phases"].dtype))
        return self.rotate(self.prepare(params), eye).T

    def step(
        self, weights: Weights, state: Complex[Array, "*batch H"], drive: Complex[Array, "*batch H"]
    ) -> tuple[Array, Float[Array, "*batch 2*H"]]:
        h = modrelu(self.rotate(weights, state) + drive, weights["bias"])
        return h, jnp.concatenate([h.real, h.imag], axis=-1)
